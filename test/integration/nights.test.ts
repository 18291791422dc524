/** A secondary that lives from cron and its embedded database: what it holds is replaced night after night, and its files do not grow. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { publishFile } from "../../src/slices/publish-file.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { sandpiper } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";
import { addLines, offer, Party } from "./parties.ts";

t.setTimeout(600_000);

const nights = 30;
const fileBytes = 2_000_000;
const [grains, grainBytes] = [1500, 1000];

/** Bytes of all files below a directory. */
async function bytesOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  return bytes;
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

t.test("thirty nights", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await primary.serve();
  const directory = join(await scratch(t), "cron");
  await mkdir(directory);
  const ok = async (args: string[], input?: string) => {
    const { code, stdout, stderr } = await sandpiper(args, { cwd: directory, input });
    if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stdout}${stderr}`);
    return stdout;
  };
  const key = await primary.ok(["company", "add", "Epicor", "--json"]);
  const { id, api_key } = JSON.parse(key) as { id: string; api_key: string };
  await ok(["init", "--role", "secondary", "--company", "Epicor", "--server-id", id]);
  await ok(["company", "add", "ABC Brakes", "--sync-addr", primary.server!.url, "--api-key-file", "-"], api_key);
  const epicor = { company: "Epicor" } as Party;
  await offer(primary, "file", "aces-file", epicor);
  await offer(primary, "parts", "aces-items", epicor);

  const base = join(directory, "sandpiper-data", "postgres", "base");
  const sizes = [await bytesOf(base)];
  for (let night = 1; night <= nights; night++) {
    const file = join(primary.directory, "pads.bin");
    await writeFile(file, randomBytes(fileBytes));
    const db = await primary.db();
    await publishFile(db, await requireSlice(db, "file"), file, 2 ** 32);
    await primary.batch("parts", [
      { delete_all: true },
      ...addLines(night * grains, grains, grainBytes).map(({ add }) => ({
        add: { ...add, encoding: "b64" as const, payload: randomBytes(grainBytes).toString("base64") },
      })),
    ]);
    const outcome = await ok(["sync", "--quiet"]);
    t.equal(outcome, "", `night ${night}`);
    sizes.push(await bytesOf(base));
  }
  const mb = sizes.map((bytes) => Math.round(bytes / 1e6));
  t.comment(`MB after each night: ${mb.join(" ")}`);
  const content = fileBytes + grains * (grainBytes + 300);
  const early = Math.max(...sizes.slice(1, 6));
  // When exactly a night's vacuum comes differs, by some megabytes; what grows would show in all of the last nights.
  t.ok(Math.max(...sizes.slice(6)) < early * 1.2, `what five nights took is enough for thirty: ${mb.join(" ")}`);
  t.ok(Math.min(...sizes.slice(-10)) < Math.min(...sizes.slice(2, 12)) * 1.1, "nor is the least of them more");
  t.ok(median(sizes.slice(-10)) < median(sizes.slice(2, 12)) * 1.1, "the last ten nights are as the first");
  t.ok(early - sizes[0]! < 4.5 * content, "the content, its successor beside it, and what waits for its vacuum");
});
