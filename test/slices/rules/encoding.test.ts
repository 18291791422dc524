import { gzipSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { SandpiperError } from "../../../src/errors.ts";
import { Armour, armour, isGzip, unarmour } from "../../../src/slices/rules/encoding.ts";
import { encodings } from "../../../src/slices/rules/slice.ts";

const anyBytes = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));

t.test("what is armoured and unarmoured is what it was", async (t) => {
  for (const encoding of encodings) {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const stored = isGzip(encoding) ? gzipSync(bytes) : encoding === "raw" ? Buffer.from(bytes.toString()) : bytes;
        return unarmour(encoding, armour(encoding, stored)).equals(stored);
      }),
    );
    t.pass(encoding);
  }
});

t.test("in pieces, of whatever size, the armour is the same", async (t) => {
  for (const encoding of encodings) {
    fc.assert(
      fc.property(
        fc.oneof(
          anyBytes,
          fc.string({ unit: "binary", maxLength: 300 }).map((text) => Buffer.from(text)),
        ),
        fc.integer({ min: 1, max: 50 }),
        (bytes, size) => {
          const stored = encoding === "raw" ? Buffer.from(bytes.toString()) : bytes;
          const text = new Armour(encoding);
          let pieces = "";
          for (let at = 0; at < stored.length; at += size) pieces += text.take(stored.subarray(at, at + size));
          return pieces + text.end() === armour(encoding, stored);
        },
      ),
    );
    t.pass(encoding);
  }
  const cut = new Armour("raw");
  t.equal(cut.take(Buffer.from([0x61, 0xc3])), "a");
  t.throws(() => cut.end(), { code: "conflict" }, "half a character at the end");
});

t.test("armour is plain ASCII, but for raw", async (t) => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      return /^[A-Za-z0-9+/]*={0,2}$/.test(armour("b64", bytes)) && /^[!-uz]*$/.test(armour("a85", bytes));
    }),
  );
  t.pass();
});

t.test("base64 is written with padding, and read with and without", async (t) => {
  t.equal(armour("b64", Buffer.from("a")), "YQ==");
  for (const [text, bytes] of [
    ["YQ==", "a"],
    ["YQ=", "a"],
    ["YQ", "a"],
    ["YWI=", "ab"],
    ["YWI", "ab"],
    ["YWJj", "abc"],
    ["", ""],
    ["YW\r\nJj\n", "abc"],
  ] as const) {
    t.equal(unarmour("b64", text).toString(), bytes, JSON.stringify(text));
  }
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const unpadded = armour("b64", bytes).replaceAll("=", "");
      return unarmour("b64", unpadded).equals(bytes);
    }),
  );
  const z64 = gzipSync("<ACES/>").toString("base64").replaceAll("=", "");
  t.same(unarmour("z64", z64), gzipSync("<ACES/>"), "as the Go reference writes z64");
});

t.test("what is not base64 is refused, not guessed", async (t) => {
  for (const text of ["Y", "YWJjZ", "YW Jj", "YW-_", "YQ===", "Y=Q=", "=", "==", "YWJj=", "YWJj\0", "ÿÿÿÿ", "YWJj\t"]) {
    t.throws(() => unarmour("b64", text), { code: "usage", message: /not base64/ }, JSON.stringify(text));
  }
});

// Recomputed here from the definition in btoa(1), which Go's encoding/ascii85 follows: five digits in base 85 from "!".
function referenceAscii85(bytes: Buffer): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const group = bytes.subarray(at, at + 4);
    let value = BigInt(`0x${Buffer.concat([group, Buffer.alloc(4 - group.length)]).toString("hex")}`);
    let digits = "";
    for (let i = 0; i < 5; i++) {
      digits = String.fromCharCode(33 + Number(value % 85n)) + digits;
      value /= 85n;
    }
    out += group.length === 4 && digits === "!!!!!" ? "z" : digits.slice(0, group.length + 1);
  }
  return out;
}

t.test("ascii85 agrees with Go's encoding/ascii85", async (t) => {
  // Vectors of ascii85_test.go, without its wrapping.
  const wikipedia =
    "Man is distinguished, not only by his reason, but by this singular passion from other animals, which is a lust of the mind, " +
    "that by a perseverance of delight in the continued and indefatigable generation of knowledge, exceeds the short vehemence of any carnal pleasure.";
  const encoded =
    '9jqo^BlbD-BleB1DJ+*+F(f,q/0JhKF<GL>Cj@.4Gp$d7F!,L7@<6@)/0JDEF<G%<+EV:2F!,O<DJ+*.@<*K0@<6L(Df-\\0Ec5e;DffZ(EZee.Bl.9pF"AGXBPCsi' +
    "+DGm>@3BB/F*&OCAfu2/AKYi(DIb:@FD,*)+C]U=@3BN#EcYf8ATD3s@q?d$AftVqCh[NqF<G:8+EV:.+Cf>-FD5W8ARlolDIal(DId<j@<?3r@:F%a+D58'ATD4$Bl@l3De:,-DJs`8ARoFb/0JMK@qB4^F!,R<AKZ&-DfTqBG%G" +
    ">uD.RTpAKYo'+CT/5+Cei#DII?(E,9)oF*2M7/c";
  t.equal(armour("a85", Buffer.from(wikipedia)), encoded);
  t.equal(unarmour("a85", encoded).toString(), wikipedia);
  for (const [hex, text] of [
    ["", ""],
    ["00000000", "z"],
    ["0000000000000000", "zz"],
    ["00", "!!"],
    ["000000", "!!!!"],
    ["ffffffff", "s8W-!"],
    ["ff", "rr"],
  ] as const) {
    t.equal(armour("a85", Buffer.from(hex, "hex")), text, `0x${hex}`);
    t.equal(unarmour("a85", text).toString("hex"), hex, text);
  }
  fc.assert(fc.property(anyBytes, (bytes) => armour("a85", bytes) === referenceAscii85(bytes)));
  t.equal(unarmour("a85", "9jq o^\r\nBlb\nD-").toString(), "Man is d", "lines and blanks do not matter");
});

t.test("what is not ascii85 is refused", async (t) => {
  const bad = ["!", "<~9jqo^~>", "9jqo^v", "9jq\x7f", 's8W-"', "uuuuu", "9jzqo^", "z!", "é!!!!", "9jqo\0"];
  for (const text of bad) {
    t.throws(() => unarmour("a85", text), { code: "usage", message: /not ascii85/ }, JSON.stringify(text));
  }
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.constantFrom(...encodings), (text, encoding) => {
      try {
        unarmour(encoding, text);
        return true;
      } catch (error) {
        return error instanceof SandpiperError && error.code === "usage";
      }
    }),
  );
});

t.test("z64 and z85 must be gzip", async (t) => {
  const plain = Buffer.from("not compressed at all, and long enough");
  t.throws(() => unarmour("z64", plain.toString("base64")), { code: "usage", message: /not gzip, which z64 says/ });
  t.throws(() => unarmour("z85", armour("a85", plain)), { code: "usage", message: /not gzip, which z85 says/ });
  t.throws(() => unarmour("z64", ""), { code: "usage" });
  t.same(unarmour("z85", armour("z85", gzipSync(plain))), gzipSync(plain));
});

t.test("raw is text, exactly", async (t) => {
  t.same(
    unarmour("raw", "\uFEFFé\r\n\0"),
    Buffer.from([0xef, 0xbb, 0xbf, 0xc3, 0xa9, 13, 10, 0]),
    "byte order mark kept",
  );
  t.equal(armour("raw", Buffer.from("\uFEFFé")), "\uFEFFé");
  t.throws(() => armour("raw", Buffer.from([0x92])), { code: "conflict", message: /not UTF-8/ }, "cp1252");
  t.throws(() => unarmour("raw", "a\ud800"), { code: "usage" }, "half a character has no bytes");
});
