import fc from "fast-check";
import t from "tap";
import { SandpiperError } from "../../../src/errors.ts";
import { isUuid, uuidBytes, uuidText } from "../../../src/ids.ts";
import { checkName, nameKey, nameProblem } from "../../../src/names.ts";
import { grainTextProblem } from "../../../src/slices/rules/slice.ts";

t.test("an id is any 128 bits in the usual form", async (t) => {
  for (const id of [
    "2bea8308-1840-4802-ad38-72b53e31594c",
    "11111111-2222-3333-4444-555555555555", // outside RFC 9562, as real partners have
    "00000000-0000-0000-0000-000000000000",
    "2BEA8308-1840-4802-AD38-72B53E31594C",
  ]) {
    t.ok(isUuid(id), id);
  }
  for (const text of [
    "",
    "2bea8308-1840-4802-ad38-72b53e31594",
    "2bea8308-1840-4802-ad38-72b53e31594cc",
    "2bea8308184048 02ad3872b53e31594c",
    "2bea830818404802ad3872b53e31594c",
    "{2bea8308-1840-4802-ad38-72b53e31594c}",
    "2bea8308-1840-4802-ad38-72b53e31594g",
    "2bea8308-1840-4802-ad38-72b53e31594c\n",
    " 2bea8308-1840-4802-ad38-72b53e31594c",
  ]) {
    t.notOk(isUuid(text), JSON.stringify(text));
  }
});

t.test("bytes and text of an id are the same thing", async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const text = uuidText(bytes);
      return isUuid(text) && text === text.toLowerCase() && uuidBytes(text).equals(bytes);
    }),
  );
  const larger = Buffer.alloc(40, 0xff);
  uuidBytes("11111111-2222-3333-4444-555555555555").copy(larger, 9);
  t.equal(uuidText(larger.subarray(9)), "11111111-2222-3333-4444-555555555555", "from within a larger buffer");
  t.equal(uuidText(larger.subarray(9, 25)), "11111111-2222-3333-4444-555555555555");
});

t.test("order of ids as text is order of their bytes, which is PostgreSQL's order", async (t) => {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(id, id, (a, b) => {
      const [x, y] = [uuidText(a), uuidText(b)];
      return Math.sign(Buffer.compare(a, b)) === (x < y ? -1 : x > y ? 1 : 0);
    }),
  );
  t.pass();
});

t.test("names are matched without regard to case or to how accents are composed", async (t) => {
  t.equal(nameKey("ACME Rotors"), nameKey("acme rotors"));
  t.equal(nameKey("Caf\u00e9"), nameKey("CAFE\u0301"));
  t.not(nameKey("acme-rotors"), nameKey("acme rotors"));
  fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => nameKey(name) === nameKey(nameKey(name))));
});

t.test("what cannot be a name says why", async (t) => {
  for (const name of ["a", "acme-rotors", "Bosch – Österreich", "a".repeat(200), "😀".repeat(200), "10,5 mm (v2)/x"]) {
    t.equal(nameProblem(name), undefined, name.slice(0, 20));
  }
  t.match(nameProblem(""), "empty");
  t.match(nameProblem("   "), "empty");
  t.match(nameProblem(" a"), "space");
  t.match(nameProblem("a\u00a0"), "space");
  t.match(nameProblem("a".repeat(201)), "longer");
  t.match(nameProblem("😀".repeat(201)), "longer");
  for (const control of ["\0", "\n", "\t", "\x1b[31m", "\x7f", "\x85", "\u2028"]) {
    t.match(nameProblem(`a${control}b`), "control", encodeURIComponent(control));
  }
  t.match(nameProblem("a\ud800b"), "Unicode");
  t.throws(() => checkName("slice", "a\u200bb"), { code: "usage", message: /has the invisible character U\+200B/ });
  t.throws(() => checkName("slice", "a\nb"), { code: "usage", message: /slice's name has control characters/ });
  t.throws(() => checkName("slice", "2BEA8308-1840-4802-AD38-72B53E31594C"), { message: /looks like an id/ });
  t.equal(checkName("slice", "a"), "a");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (name) => {
      try {
        return checkName("company", name) === name;
      } catch (error) {
        return error instanceof SandpiperError && error.code === "usage" && error.hint !== undefined;
      }
    }),
  );
});

t.test("keys and sources are measured in bytes", async (t) => {
  t.equal(grainTextProblem("k", 1), undefined);
  t.equal(grainTextProblem("", 0), undefined);
  t.match(grainTextProblem("", 1), "empty");
  t.equal(grainTextProblem("é".repeat(512), 1), undefined);
  t.match(grainTextProblem("é".repeat(513), 1), "1024 bytes");
  t.match(grainTextProblem("a\0b", 1), "NUL");
  t.match(grainTextProblem("\udc00", 1), "Unicode");
  t.equal(grainTextProblem("tabs\tand\nlines are bytes too", 1), undefined);
});
