/** `pull` is killed (-9) at every published step and at random moments: files are whole, and the next pull puts everything right. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { levelOneKey } from "../../src/slices/rules/slice.ts";
import { Random } from "../harness/random.ts";
import { offer, Party } from "../integration/parties.ts";
import type { Figures } from "./figures.ts";
import { type KillCounts, placesIn, watched } from "./kills.ts";
import type { Teardown } from "./subject.ts";

const slices = ["dated", "fixed", "large", "now and then"] as const;

/** The files of all slices in the n-th state: path below the directory, and bytes. */
function state(n: number): Map<string, Buffer> {
  const files = new Map([
    [`dated/prices-${n}.xml`, Buffer.from(`prices ${n}`)],
    ["fixed/prices.xml", Buffer.from(`fixed ${n}`)],
    [`large/catalogue-${n % 3}.bin`, new Random(n).bytes(3 * 1024 * 1024)],
  ]);
  if (n % 2 === 1) files.set("now and then/it.xml", Buffer.from(`it ${n}`));
  return files;
}

/** Every file in a directory, hidden ones and the manifest included. */
async function filesIn(directory: string): Promise<string[]> {
  const all = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  return all
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** @param tell is told of each fault that was found. */
export async function killPulls(
  test: Teardown,
  counts: Pick<KillCounts, "places" | "random">,
  tell: (fault: string) => void,
): Promise<Figures> {
  const party = await Party.make(test, "primary", "ABC Brakes");
  for (const name of slices) await offer(party, name, "binary-blob");
  const out = join(party.directory, "out");
  const figures = {
    "kills of pull": 0,
    "files not whole": 0,
    "false manifests": 0,
    "left behind": 0,
    "not reached": 0,
    "wrong exit codes": 0,
  };
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };

  let n = 0;
  const change = async () => {
    const files = [...state(++n)];
    for (const name of slices) {
      const [path, bytes] = files.find(([path]) => path.startsWith(`${name}/`)) ?? [];
      const source = path?.slice(name.length + 1) ?? "";
      const payload = bytes?.toString("base64") ?? "";
      const add = { grain_key: levelOneKey, source, encoding: "b64" as const, payload };
      await party.batch(name, [{ delete_all: true }, ...(bytes === undefined ? [] : [{ add }])]);
    }
  };

  /** After a kill: what goes by a name is whole, of the old state or of the new one. */
  const lookAtFiles = async (what: string, before: Map<string, Buffer>) => {
    const after = state(n);
    for (const file of await filesIn(out)) {
      if (/(^|\/)\.sandpiper-|manifest/.test(file)) continue;
      const bytes = await readFile(join(out, file));
      const whole = [before, after].some((files) => files.get(file)?.equals(bytes));
      if (!whole) fault("files not whole", `${what}: ${file}, ${bytes.length} bytes`);
    }
  };

  /** After the next pull: the files of the state are there, the manifest says so, and nothing else is there. */
  const lookAtAll = async (what: string) => {
    const wanted = state(n);
    const found = await filesIn(out);
    const extra = found.filter((file) => !wanted.has(file) && file !== "sandpiper-manifest.json");
    if (extra.length > 0) fault("left behind", `${what}: ${extra.join(", ")}`);
    for (const [file, bytes] of wanted) {
      const there = await readFile(join(out, file)).catch(() => undefined);
      if (!there?.equals(bytes)) fault("files not whole", `${what}: ${file}`);
    }
    const said = JSON.parse(await readFile(join(out, "sandpiper-manifest.json"), "utf8")) as {
      file: string;
      sha256: string;
    }[];
    const truth = [...wanted].map(([file, bytes]) => `${file} ${createHash("sha256").update(bytes).digest("hex")}`);
    if (said.map(({ file, sha256 }) => `${file} ${sha256}`).join() !== truth.sort().join())
      fault("false manifests", `${what}: ${said.map(({ file }) => file).join()}`);
  };

  const during = async (what: string, kill: () => Promise<void>) => {
    const before = state(n);
    await change();
    await kill();
    figures["kills of pull"]++;
    await lookAtFiles(what, before);
    // What was written and never told of is known all the same, also when it is old by the next time.
    if (figures["kills of pull"] % 2 === 0) await change();
    const { code, stderr } = await party.run(["pull", "out"]);
    if (code !== 0) fault("wrong exit codes", `${what}: ${code} ${stderr}`);
    await lookAtAll(what);
  };

  await change();
  await party.ok(["pull", "out"]);
  await change();
  const log = join(party.directory, "steps");
  const begun = performance.now();
  await party.ok(["pull", "out"], watched({ SP_FP_LOG: log }));
  const wholeMs = performance.now() - begun;
  await lookAtAll("without a kill");
  for (const place of await placesIn(log, counts.places)) {
    await during(place, async () => {
      const { signal } = await party.run(["pull", "out"], watched({ SP_FP: `${place}:kill` }));
      if (signal !== "SIGKILL") fault("not reached", place);
    });
  }
  const random = new Random(5);
  for (let i = 0; i < counts.random; i++) {
    const ms = random.int(0, Math.round(wholeMs));
    await during(`after ${ms} ms`, async () => {
      const run = party.start(["pull", "out"]);
      await sleep(ms);
      run.kill("SIGKILL");
      await run.exited;
    });
  }
  return figures;
}
