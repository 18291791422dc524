import fc from "fast-check";
import t from "tap";
import { escapeUnseen, escapeUnseenInJson, fitForName, unfitForName } from "../src/characters.ts";

/** Every code point that Unicode's tables name, and those of the reports by name. */
const named = [
  ..."\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\u00ad\u034f\u115f\u3164\uffa0\u180e\ufe0f\u{e0001}\u{e0041}\u{e0100}",
];
const controls = [..."\u0000\u0007\t\n\r\u001b\u007f\u0085\u009b\u2028\u2029\ud800\udfff\ue000\uffff\u{10ffff}"];

t.test("none of what nobody sees is left, and nothing else is touched", async (t) => {
  for (const character of [...named, ...controls]) {
    const shown = escapeUnseen(`a${character}b`);
    t.match(shown, /^a\\u(\{[0-9a-f]{5,6}\}|[0-9a-f]{4})b$/, escapeUnseen(character));
    t.equal(escapeUnseen(shown), shown, "once is enough");
  }
  for (const text of [
    "Bremsbeläge",
    "ブレーキ パッド",
    "тормоз",
    "مكابح",
    "בלמים",
    "ब्रेक",
    "e\u0301",
    "😀",
    "a\u00a0b",
    "\\u200b",
  ])
    t.equal(escapeUnseen(text), text);
});

t.test("JSON stays the same value, in ASCII where it could not be seen", async (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string({ unit: "binary" }), (value, text) => {
      const json = JSON.stringify([value, text, ...named]);
      const escaped = escapeUnseenInJson(json);
      return JSON.stringify(JSON.parse(escaped)) === json && escapeUnseen(escaped) === escaped;
    }),
  );
  t.equal(escapeUnseenInJson('"\u{e0041}"'), '"\\udb40\\udc41"', "JSON has no other form for it");
});

t.test("names", async (t) => {
  for (const name of [
    "Brake pads",
    "Bremsbeläge",
    "می\u200cخواهم",
    "क्\u200dष",
    "株式会社",
    "e\u0301",
    "a-b_c.d",
    "😀",
  ]) {
    t.equal(unfitForName(name), undefined, escapeUnseen(name));
    t.equal(fitForName(name), name);
  }
  for (const [name, character, fit] of [
    ["Bo\u200csch", "U+200C", "Bo_sch"],
    ["\u200dक", "U+200D", "_क"],
    ["می\u200c\u200cخ", "U+200C", "می__خ"],
    ["Bosch\u200b", "U+200B", "Bosch_"],
    ["Bosch\u{e0041}", "U+E0041", "Bosch_"],
    ["Bosch\u00a0GmbH", "U+00A0", "Bosch_GmbH"],
    ["\u202ehcsoB", "U+202E", "_hcsoB"],
    ["a\tb", "U+0009", "a_b"],
    ["a\ud800", "U+D800", "a_"],
  ] as const) {
    t.equal(unfitForName(name), character);
    t.equal(fitForName(name), fit);
    t.equal(unfitForName(fit), undefined);
  }
});
