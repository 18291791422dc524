import fc from "fast-check";
import t from "tap";
import { fileNameKey } from "../../../src/files/rules/file-name.ts";
import { chooseDirectories, type Directory, identity } from "../../../src/files/rules/slice-directory.ts";
import type { CompanyId, SliceId, SliceKey } from "../../../src/ids.ts";
import { nameKey } from "../../../src/names.ts";

const [prim, evil] = ["prim", "evil"] as CompanyId[] as [CompanyId, CompanyId];
const id = "2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77" as SliceId;
const other = "00000000-0000-4000-8000-000000000001" as SliceId;
const slice = (key: number, companyId: CompanyId, name: string, sliceId = id) => ({
  key: key as SliceKey,
  companyId,
  id: sliceId,
  name,
});
const nameOf = (chosen: Map<SliceKey, string>, key: number) => chosen.get(key as SliceKey);

t.test("directories of slices never clash", async (t) => {
  const slices = [
    slice(5, prim, "A:B"),
    slice(1, prim, "a/b", other),
    slice(9, evil, "a*b"),
    slice(2, evil, "Caf\u00e9", other),
    slice(3, prim, "cafe\u0301", "3" as SliceId),
    slice(4, prim, "Manifest.JSON", "4" as SliceId),
  ];
  const chosen = chooseDirectories(slices, [], ["manifest.json"]);
  t.equal(nameOf(chosen, 1), "a_b", "the first that was added keeps the bare name");
  t.equal(nameOf(chosen, 5), `A_B-${id}`);
  t.equal(nameOf(chosen, 9), `a_b-${id}-2`, "even when two companies chose one id");
  t.equal(nameOf(chosen, 3), "cafe\u0301-3", "composition does not matter");
  t.equal(nameOf(chosen, 4), "Manifest.JSON-4", "nor may a slice take the manifest's name");
  t.equal(new Set([...chosen.values()].map(fileNameKey)).size, slices.length);
});

t.test("names that differ in the database and are one directory", async (t) => {
  for (const [honest, like] of [
    ["file-shared", "file-shared."],
    ["file-shared", " file-shared"],
    ["a_b", "a:b"],
    ["x", ".x"],
    ["strasse", "stra\u00dfe"],
    ["office", "o\ufb03ce"],
    ["_con", "CON"],
    ["_lpt1.xml", "lpt1.xml"],
  ] as const) {
    t.not(nameKey(honest), nameKey(like));
    const both = [slice(1, evil, like), slice(2, prim, honest)];
    const chosen = chooseDirectories(both, [], []);
    t.equal(nameOf(chosen, 2), honest, `${honest} goes before ${like}, though it came later`);
    t.match(nameOf(chosen, 1), new RegExp(`-${id}$`));
    const belongs = [{ name: honest, companyId: prim, sliceId: id }];
    const renamed = chooseDirectories([slice(1, evil, like), slice(2, prim, "elsewhere")], belongs, []);
    t.equal(nameOf(renamed, 2), honest, "what a slice has it keeps, whatever it is called now");
    t.match(nameOf(renamed, 1), new RegExp(`-${id}$`), `${like} does not get it`);
    const alone = chooseDirectories([slice(1, evil, like), slice(3, evil, honest, other)], belongs, []);
    t.match(nameOf(alone, 1), new RegExp(`-${id}$`), "nor when its slice is gone");
    t.equal(nameOf(alone, 3), `${honest}-${other}`, "not even one of the very name");
  }
});

t.test("a slice that its own company put in place of another has its directory", async (t) => {
  const before = [{ name: "prices", companyId: prim, sliceId: id }];
  t.equal(nameOf(chooseDirectories([slice(7, prim, "Prices", other)], before, []), 7), "Prices");
  const both = chooseDirectories([slice(7, prim, "Prices", other), slice(6, prim, "old prices")], before, []);
  t.equal(nameOf(both, 7), `Prices-${other}`, "but not while that is here");
  t.equal(nameOf(both, 6), "prices");
});

t.test("whatever companies list, no directory passes from one to another", async () => {
  const names = ["a", "A", "a.", "a:b", "a_b", "ss", "\u00df", "CON", "_con", `a-${id}`, `a-${id}-2`, "m.json"];
  const listing = fc.uniqueArray(
    fc.record({
      company: fc.constantFrom(prim, evil),
      id: fc.constantFrom(id, other),
      name: fc.constantFrom(...names),
    }),
    { maxLength: 4, selector: (one) => identity(one.company, one.id) },
  );
  fc.assert(
    fc.property(fc.array(listing, { maxLength: 8 }), (listings) => {
      let remembered: Directory[] = [];
      const owners = new Map<string, CompanyId>();
      for (const list of listings) {
        const slices = list.map((one, i) => slice(i, one.company, one.name, one.id));
        const chosen = chooseDirectories(slices, remembered, ["m.json"]);
        const keys = new Set([...chosen.values()].map(fileNameKey));
        if (keys.size !== slices.length || keys.has("m.json")) return false;
        for (const { key, companyId, id: sliceId } of slices) {
          const name = chosen.get(key)!;
          if ((owners.get(fileNameKey(name)) ?? companyId) !== companyId) return false;
          owners.set(fileNameKey(name), companyId);
          // Its own company may have given it away while it was gone.
          const now = remembered.find((one) => one.companyId === companyId && one.sliceId === sliceId);
          if (now !== undefined && now.name !== name) return false;
          remembered = remembered.filter((one) => fileNameKey(one.name) !== fileNameKey(name));
          remembered.push({ name, companyId, sliceId });
        }
      }
      return true;
    }),
    { numRuns: 3000 },
  );
});
