import { resolve } from "node:path";
import fc from "fast-check";
import t from "tap";
import { lastSegment, maxFileNameBytes, safeFileName, withSuffix } from "../../../src/files/rules/file-name.ts";

const id = "2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77";

t.test("names of files", async (t) => {
  for (const [given, name] of [
    ["ABC_ACES 4.2.xml", "ABC_ACES 4.2.xml"],
    ["été.xml", "été.xml"],
    ['a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"],
    ["a\0b\nc\u001b[31m\u009b", "a_b_c_[31m_"],
    ["..", id],
    [". . .", id],
    ["", id],
    [" .hidden. ", "hidden"],
    ["CON", "_CON"],
    ["con.xml", "_con.xml"],
    ["Lpt1 .txt", "_Lpt1 .txt"],
    ["COM\u00b9", "_COM\u00b9"],
    ["console.xml", "console.xml"],
    ["\u202egnp.exe", "_gnp.exe"],
    ["a\u061cb\u200bc\u2060d\ufeffe\u{e0041}f.xml", "a_b_c_d_e_f.xml"],
    ["\ud800x", "\ufffdx"],
    ["x".repeat(300), "x".repeat(200)],
    [`${"é".repeat(300)}.xml`, `${"é".repeat(98)}.xml`],
  ] as const) {
    t.equal(safeFileName(given, id), name, JSON.stringify(given).slice(0, 40));
  }
});

t.test("sources are paths of either kind", async (t) => {
  t.equal(lastSegment("../../etc/cron.d/x"), "x");
  t.equal(lastSegment("C:\\data\\aces.xml"), "aces.xml");
  t.equal(lastSegment("aces.xml"), "aces.xml");
  t.equal(lastSegment("dir/"), "");
});

t.test("whatever comes in, one harmless name comes out", async () => {
  const anything = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.string({ unit: "grapheme", maxLength: 300 }),
  );
  fc.assert(
    fc.property(anything, (text) => {
      const name = safeFileName(lastSegment(text), id);
      return (
        Buffer.byteLength(name) <= maxFileNameBytes &&
        Buffer.byteLength(withSuffix(name, id)) <= maxFileNameBytes &&
        resolve("/dir", name) === `/dir/${name}` &&
        name === name.trim() &&
        !name.startsWith(".") &&
        !name.endsWith(".") &&
        safeFileName(name, id) === name
      );
    }),
    { numRuns: 2000 },
  );
});
