/** What an evil primary does to the files of others, by what it calls its slices and by what it lets them unfold to: `pull` at the secondary. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Pulled, pullFiles } from "../../../src/files/pull.ts";
import type { CompanyId } from "../../../src/ids.ts";
import { applyBatch } from "../../../src/slices/batch.ts";
import { levelOneKey } from "../../../src/slices/rules/slice.ts";
import { addSlice, requireSlice } from "../../../src/slices/slice-store.ts";
import { addSubscription } from "../../../src/subscriptions/subscription-store.ts";
import { scratch } from "../../harness/scratch.ts";
import { zeros } from "../../harness/zeros.ts";
import type { Teardown } from "../subject.ts";
import type { Message } from "./evil-primary.ts";
import type { Tally } from "./tally.ts";
import type { World } from "./world.ts";

/** A name for its slice; of a directory that is pulled to for the first time it is said so. */
export interface PullMove {
  name: string;
  called: string;
  /** Into a directory of which nothing is known. */
  anew?: true;
}

const honestFile = "file-shared/file-shared.xml";
const honestText = "the other primary's prices";

export const pullMoves: PullMove[] = [
  "file-shared",
  "file-shared.",
  " .file-shared",
  "FILE-SHARED..",
  "\ufb01le-shared",
  "file\u2011shared",
  "../file-shared",
  "sandpiper-manifest.json",
  ".sandpiper-journal",
].flatMap((called) => [
  { name: `pull: it calls its slice ${JSON.stringify(called)}`, called },
  { name: `pull: it calls its slice ${JSON.stringify(called)}, anew`, called, anew: true },
]);

export class EvilFiles {
  private constructor(
    private readonly world: World,
    private readonly root: string,
  ) {}

  /** The other primary has a file, which was pulled; the evil one has a slice that is older, and unfolds to 64 MiB. */
  static async make(test: Teardown, world: World): Promise<EvilFiles> {
    const { primary, secondary } = world;
    const there = primary.app.db;
    const bomb = await addSlice(there, { companyId: primary.app.server.serverId, name: "bomb", type: "binary-blob" });
    const payload = (await zeros(64)).toString("base64");
    const add = { grain_key: levelOneKey, source: "file-shared.xml", encoding: "z64" as const, payload };
    await applyBatch(there, bomb, [{ add }], 2 ** 30);
    await addSubscription(there, { companyId: secondary.app.server.serverId, sliceKey: bomb.key, name: "bomb" });
    await world.sync();
    const here = secondary.app.db;
    const other = await here.one<{ id: CompanyId }>("SELECT id FROM companies WHERE name = 'Other'");
    await addSlice(here, { companyId: other!.id, name: "file-shared", type: "xml-file" });
    const text = { grain_key: levelOneKey, source: "file-shared.xml", encoding: "raw" as const, payload: honestText };
    await applyBatch(here, await requireSlice(here, "file-shared"), [{ add: text }], 1e6);
    const files = new EvilFiles(world, join(await scratch(test), "out"));
    await files.#pull(files.root);
    return files;
  }

  #pull(directory: string): Promise<Pulled[]> {
    const { db, server } = this.world.secondary.app;
    return pullFiles(db, directory, { maxFileBytes: 2 ** 40, serverId: server.serverId, onWait: () => {} });
  }

  async attempt(move: PullMove, tally: Tally): Promise<void> {
    const where = (what: string) => `primary: ${move.name}: ${what}`;
    const { evil } = this.world;
    evil.script = {
      subs: (rows: Message[]) =>
        rows.map((row) =>
          row.slice.slice_name === "bomb" ? { ...row, slice: { ...row.slice, slice_name: move.called } } : row,
        ),
    };
    const { exitCode } = await this.world.sync();
    evil.script = {};
    const root = move.anew ? `${this.root} anew` : this.root;
    const results = await this.#pull(root);
    tally.runs++;
    if (exitCode !== 0) tally.fault("wrong exit codes", where(`exit ${exitCode}`));
    const text = await readFile(join(root, honestFile), "utf8").catch(() => "nothing");
    if (text !== honestText) tally.fault("foreign", where(`the other primary's file is ${text.slice(0, 40)}`));
    const found = await readdir(root, { recursive: true, withFileTypes: true });
    const files = found.filter((entry) => entry.isFile()).map(({ name }) => name);
    if (files.sort().join() !== "file-shared.xml,sandpiper-manifest.json")
      tally.fault("too heavy", where(`there is ${files.join(", ")}`));
    const failed = results.flatMap((one) => (one.outcome === "failed" ? [one.error.code] : []));
    if (failed.join() !== "limit") tally.fault("wrong exit codes", where(`failed: ${failed.join()}`));
    if (move.anew) await rm(root, { recursive: true });
  }
}
