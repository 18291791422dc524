/** The quick form of `npm run test:evil`, and that no guard is overlooked. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { guardNames } from "../../src/sync/protocol/guards.ts";
import { projectRoot } from "../harness/project-root.ts";
import { sufferEvil } from "./evil.ts";
import { line, missed } from "./figures.ts";

t.setTimeout(120_000);

t.test("what is refused in the protocol's name is refused by a guard", async (t) => {
  const guarded = new Map<string, number>(guardNames.map((name) => [name, 0]));
  let bare = 0;
  for (const file of await readdir(join(projectRoot, "src/sync"), { recursive: true })) {
    if (!file.endsWith(".ts")) continue;
    const text = (await readFile(join(projectRoot, "src/sync", file), "utf8")).replace(/\s+/g, " ");
    for (const [, name] of text.matchAll(/\brefused?\(\s*"([a-z.-]+)"/g)) guarded.set(name!, guarded.get(name!)! + 1);
    bare += (text.match(/\bthrow (violation\(|new SandpiperError\( ?"(verification|limit|protocol)")/g) ?? []).length;
  }
  t.same(
    [...guarded].filter(([, times]) => times !== 1),
    [],
    "each guard stands in one place",
  );
  t.equal(bare, 0, "nothing is refused without one");
});

t.test("an evil primary and an evil secondary", async (t) => {
  const figures = await sufferEvil({ patient: false, every: 12 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
