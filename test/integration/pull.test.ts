/** `pull` at a secondary of several primaries, one of which means harm; on a disk that is small; and two at once. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { levelOneKey } from "../../src/slices/rules/slice.ts";
import { renameSlice, requireSlice } from "../../src/slices/slice-store.ts";
import { Random } from "../harness/random.ts";
import { scratch } from "../harness/scratch.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { stepReached } from "../harness/steps.ts";
import { zeros } from "../harness/zeros.ts";
import { introduce, makePair, offer, Party } from "./parties.ts";

t.setTimeout(300_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;

/** The slice's file is another one now. */
const file = (party: Party, slice: string, source: string, bytes: Buffer | string, encoding: "b64" | "z64" = "b64") => {
  const payload = Buffer.from(bytes).toString("base64");
  return party.batch(slice, [{ delete_all: true }, { add: { grain_key: levelOneKey, source, encoding, payload } }]);
};

/** A secondary of two primaries: Evil's slices come first, in the alphabet as well as by age. */
async function together(test: Parameters<typeof makePair>[0]) {
  const { primary: evil, secondary } = await makePair(test);
  const prim = await Party.make(test, "primary", "Prim");
  await prim.serve();
  await introduce(prim, secondary);
  await offer(evil, "a placeholder", "xml-file", secondary);
  await file(evil, "a placeholder", "file-shared.xml", "evil prices");
  await secondary.ok(["sync"]);
  await offer(prim, "file-shared", "xml-file", secondary);
  await file(prim, "file-shared", "file-shared.xml", "prices");
  await secondary.ok(["sync"]);
  return { evil, prim, secondary };
}

t.test("a primary that renames its slice does not get another's directory", async (t) => {
  const { evil, secondary } = await together(t);
  await secondary.ok(["pull", "out"]);
  const db = await evil.db();
  const slice = await requireSlice(db, "a placeholder");
  for (const name of ["file-shared.", ".FILE-SHARED", "\ufb01le-shared", "file-shared"]) {
    await renameSlice(db, slice.key, name);
    await secondary.ok(["sync"]);
    for (const out of ["out", `new ${Buffer.from(name).toString("hex")}`]) {
      await secondary.ok(["pull", out]);
      const there = join(secondary.directory, out, "file-shared");
      t.same(await readdir(there), ["file-shared.xml"], name);
      t.equal(await readFile(join(there, "file-shared.xml"), "utf8"), "prices", name);
    }
  }
});

t.test("a primary that fills the disk does not keep others from theirs", async (t) => {
  const { evil, prim, secondary } = await together(t);
  await offer(evil, "a large one", "binary-blob", secondary);
  await file(evil, "a placeholder", "bomb.xml", await zeros(1024), "z64");
  await file(evil, "a large one", "large.bin", new Random(3).bytes(40 * 1024 * 1024));
  await file(prim, "file-shared", "file-shared.xml", "new prices");
  await secondary.ok(["sync"]);

  const roomy = await secondary.run(["pull", "out", "--json"]);
  t.equal(roomy.code, 11, roomy.stderr);
  t.match(roomy.stderr, /expands to more than 200 times its stored size/);
  t.match(
    JSON.parse(roomy.stdout).map((row: { slice: string; outcome: string }) => [row.slice, row.outcome]),
    [
      ["a large one", "written"],
      ["a placeholder", "failed"],
      ["file-shared", "written"],
    ],
  );

  await t.test("on a disk of 32 MB", async (t) => {
    const mount = join(await scratch(t), "small");
    if (mountSmall(t, mount, "32m") === undefined)
      return t.skip("a small file system cannot be mounted here, which takes root", () => {});
    const out = join(mount, "out");
    const run = await secondary.run(["pull", out]);
    t.equal(run.code, 9, run.stderr);
    t.match(run.stderr, "2 of 3 slices failed, among them: there is too little free space in");
    t.match(run.stdout, /^a large one\tfailed\t\t\na placeholder\tfailed\t\t\nfile-shared\twritten\t10\tfile-shared\//);
    t.equal(await readFile(join(out, "file-shared/file-shared.xml"), "utf8"), "new prices");
    t.same(
      (await readdir(out, { recursive: true })).filter((name) => name.endsWith(".tmp")),
      [],
      "what did not fit takes no room",
    );
  });
});

t.test("two pulls at once both end, and the manifest has what both wrote", async (t) => {
  const { secondary } = await together(t);
  const log = join(secondary.directory, "steps");
  const first = secondary.start(["pull", "--slice", "a placeholder", "out"], {
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: "f.manifest:1:sleep:3000", SP_FP_LOG: log },
  });
  await stepReached(log, "f.manifest 1");
  const second = await secondary.run(["pull", "--slice", "file-shared", "./out/../out"]);
  t.match(second, {
    code: 0,
    stderr: /^Another pull into .* is running \(sandpiper pull pid \d+ on .*\): waiting for it\.\n$/,
  });
  t.equal((await first.exited).code, 0, first.stderr());
  const entries = JSON.parse(await readFile(join(secondary.directory, "out/sandpiper-manifest.json"), "utf8"));
  t.match(entries, [{ slice: "a placeholder" }, { slice: "file-shared" }]);
  t.equal(entries.length, 2);
});
