import fc from "fast-check";
import t from "tap";
import { z } from "zod";
import { checkShape, parseStrictJson } from "../../../src/server/http/strict-json.ts";
import { batchLine } from "../../../src/slices/batch.ts";

const parse = (text: string) => parseStrictJson(Buffer.from(text));

t.test("what is JSON comes through", async (t) => {
  const text = String.raw`{"a": [1, -1.5, 9007199254740991, true, null, "x:{}[]\"\\"], "b\"": {"c": "\\"}, "é😀": "\u00e9"}`;
  t.same(parse(text), JSON.parse(text));
  const deep = `${"[".repeat(32)}1${"]".repeat(32)}`;
  t.same(parse(deep), JSON.parse(deep));
});

t.test("traps", async (t) => {
  const traps: [string, RegExp][] = [
    ["", /not valid JSON/],
    ["{", /not valid JSON/],
    ["\ufeff{}", /byte order mark/],
    [`${"[".repeat(33)}${"]".repeat(33)}`, /deeper than 32/],
    [`${"[".repeat(200_000)}`, /deeper than 32/],
    [`${'{"a":'.repeat(33)}1${"}".repeat(33)}`, /deeper than 32/],
    ['{"__proto__": {"x": 1}}', /not allowed/],
    ['{"a": {"constructor": {"prototype": {"x": 1}}}}', /not allowed/],
    [String.raw`{"__pr\u006fto__": 1}`, /not allowed/],
    [String.raw`{"a": "\u0000"}`, /NUL/],
    [String.raw`{"\u0000": 1}`, /NUL/],
    [String.raw`{"a": "\ud800"}`, /surrogate/],
    ["1e400", /exactly/],
    ["9007199254740993", /exactly/],
    ["-9007199254740993", /exactly/],
    ["-0", /exactly/],
    ['{"a": 1, "a": 2}', /twice/],
    [String.raw`{"a": 1, "\u0061": 2}`, /twice/],
    ["NaN", /not valid JSON/],
    ["{'a': 1}", /not valid JSON/],
  ];
  for (const [text, problem] of traps)
    t.throws(() => parse(text), { code: "usage", message: problem }, text.slice(0, 40));
  t.throws(() => parseStrictJson(Buffer.from([0x22, 0xc3, 0x28, 0x22])), { message: /UTF-8/ });
  t.equal(({} as { x?: unknown }).x, undefined);
});

t.test("a run of backslashes does not take quadratic time", async (t) => {
  const begun = performance.now();
  t.throws(() => parse(`"${String.raw`\"`.repeat(500_000)}${"\\".repeat(1_000_000)}`));
  t.ok(performance.now() - begun < 2000);
});

t.test("strings end where they end, however long and escaped", async (t) => {
  const text = fc
    .array(fc.constantFrom('"', "\\", "a", "[{,:}]", "é😀", "x".repeat(200), '\\"'.repeat(150), "\\".repeat(257)), {
      maxLength: 12,
    })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), (texts) => {
      const value = Object.fromEntries(texts.map((one, n) => [`${n}${one}`, [one]]));
      return JSON.stringify(parse(JSON.stringify(value))) === JSON.stringify(value);
    }),
  );
  t.pass();
});

t.test("many values are refused before they are anything", async (t) => {
  const value = (n: number) => `[${"0,".repeat(n - 2)}0]`;
  t.equal((parse(value(1000)) as unknown[]).length, 999);
  const many = ["0,", "[],", "{},", '"",', '"a":0,'].map((unit) => `[${unit.repeat(1_000_000)}0]`);
  for (const text of [value(1001), ...many]) {
    t.throws(() => parse(text), { code: "limit", message: /more than 1000 values/ });
    const bytes = Buffer.from(text);
    const begun = performance.now();
    t.throws(() => parseStrictJson(bytes));
    t.ok(performance.now() - begun < 100);
  }
  t.equal(
    (parseStrictJson(Buffer.from(value(5000)), 5000) as unknown[]).length,
    4999,
    "unless it is said that there may be",
  );
});

t.test("shape: names the member that is wrong", async (t) => {
  const schema = z.strictObject({ a: z.strictObject({ b: z.string() }) });
  t.same(checkShape(schema, { a: { b: "x" } }, "the body"), { a: { b: "x" } });
  t.throws(() => checkShape(schema, { a: { b: 1 } }, "the body"), { code: "usage", message: /^a\.b: .*string/ });
  t.throws(() => checkShape(schema, [], "the body"), { message: /^the body: .*object/ });
  t.throws(() => checkShape(schema, { a: { b: "x" }, c: 1 }, "the body"), { message: /"c"/ });
  const line = { add: { grain_key: "k", encoding: "zip", payload: "" } };
  t.throws(() => checkShape(batchLine, line, "the line"), { message: /^add\.encoding: / });
  t.throws(() => checkShape(batchLine, { what: 1 }, "the line"), { message: /^the line: / });
});
