/** The story itself: two companies, a file, a slice of parts, and what crosses between them. */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeAces } from "../harness/aces.ts";
import { DemoError, Shell } from "./command.ts";
import { batchLines, corrected, generateParts } from "./parts.ts";
import { Rest } from "./rest.ts";
import { sameBytes } from "./same-bytes.ts";
import { detail, good, number, say, seconds, step, table } from "./story.ts";
import type { Workplace } from "./workplace.ts";

const applications = 6500;
const partCount = 2000;
const changedCount = 10;

/** What a sync says of itself in its last line. */
interface Figures {
  unchanged: number;
  updated: number;
  grains_added: number;
  grains_removed: number;
  bytes_received: number;
  bytes_sent: number;
  duration_ms: number;
}

/**
 * Lets it happen, and tells it.
 *
 * @param given the file to publish; a generated one without it.
 * @throws DemoError when something is not as it should be.
 */
export async function tell(place: Workplace, given: string | undefined, signal: AbortSignal): Promise<void> {
  const abc = new Shell("abc", place.primary, signal);
  const epicor = new Shell("epicor", place.secondary, signal);
  const file = given ?? (await generatedFile(place));

  step("ABC Brakes sets up its server. It owns data: it is a primary.");
  await abc.run(["init", "--role", "primary", "--company", "ABC Brakes"]);
  const url = await abc.serve();
  detail(`listens on ${url}`);

  step("ABC Brakes publishes a file, and lets Epicor have it.");
  const fileBytes = (await stat(file)).size;
  const what = given === undefined ? `a generated ACES file with ${number(applications)} applications` : "your file";
  detail(`${basename(file)}: ${what}, ${number(fileBytes)} bytes`);
  await abc.run(["slice", "add", "brake-pads", "--type", "aces-file"]);
  await abc.run(["add", "--slice", "brake-pads", given ?? basename(file)]);
  const partner = await abc.quietly(["company", "add", "Epicor"], { shown: " > api-key" });
  detail("Epicor is registered; it gets the API key, and the two commands of step 3.");
  await abc.run(["subscription", "add", "epicor-pads", "--slice", "brake-pads", "--company", "Epicor"]);

  step("Epicor sets up its server, a secondary. It needs no open port: it is the one who calls.");
  await epicor.run(["init", "--role", "secondary", "--company", "Epicor", "--server-id", uuidIn(partner.stderr)]);
  const key = { input: partner.stdout, shown: " < api-key" };
  await epicor.run(["company", "add", "ABC Brakes", "--sync-addr", url, "--api-key-file", "-"], key);

  step("Epicor syncs, as its crontab will every night, and takes the file out.");
  await sync(epicor);
  const pulled = await epicor.run(["pull", "catalogues"]);
  const copy = join("catalogues", pulled.trimEnd().split("\t").at(-1)!);
  if (!(await sameBytes(file, join(place.secondary, copy)))) throw new DemoError(`${copy} differs from ${file}.`);
  good(`     The file that came out is the file that went in, byte for byte: ${number(fileBytes)} bytes.`);

  step(`ABC Brakes publishes ${number(partCount)} parts too, each a grain of its own, by one request.`);
  const parts = generateParts(partCount);
  const sliceId = uuidIn(await abc.run(["slice", "add", "rotors", "--type", "aces-app-elements"]));
  await abc.run(["subscription", "add", "epicor-rotors", "--slice", "rotors", "--company", "Epicor"]);
  const password = `demo-${sliceId}`;
  await abc.run(["user", "add", "maria", "--role", "admin"], { input: `${password}\n`, shown: " < password" });
  const rest = new Rest(url, signal);
  await rest.login("maria", password);
  await batch(rest, sliceId, batchLines(parts));
  const first = await sync(epicor);

  step(`ABC Brakes corrects ${changedCount} of them. Epicor's next sync moves those ${changedCount}.`);
  const every = partCount / changedCount;
  const changed = parts.filter((_, index) => index % every === 0).map(corrected);
  await batch(rest, sliceId, batchLines(changed, { replace: true }));
  const second = await sync(epicor);
  if (second.grains_added !== changedCount || second.grains_removed !== changedCount) {
    throw new DemoError(
      `${changedCount} parts were changed, but +${second.grains_added} -${second.grains_removed} moved.`,
    );
  }

  if (second.bytes_received * 10 > first.bytes_received) throw new DemoError("The second sync moved too many bytes.");

  step("Nothing has changed since. Epicor's next sync finds that out.");
  const third = await sync(epicor);
  if (third.updated + third.grains_added + third.grains_removed > 0) throw new DemoError("A sync moved what is there.");
  await compareSlices(abc, epicor);

  say("");
  table([
    ["What moved", "grains", "bytes received", "bytes sent", "time"],
    row(`${number(partCount)} parts for the first time`, first),
    row(`${changedCount} of ${number(partCount)} parts changed`, second),
    row("nothing changed", third),
  ]);
}

async function generatedFile(place: Workplace): Promise<string> {
  const file = join(place.primary, "ABC_Brakes_ACES_3_1_FULL.xml");
  await writeAces(file, { applications, seed: 1 });
  return file;
}

async function batch(rest: Rest, sliceId: string, lines: string): Promise<void> {
  const startedMs = performance.now();
  const { grains_added, grains_removed } = await rest.batch(sliceId, lines);
  const change = `${number(grains_added)} added, ${number(grains_removed)} removed`;
  detail(
    `POST /v1/slices/${sliceId}/batch   ${number(Buffer.byteLength(lines))} bytes: ${change}, ${seconds(performance.now() - startedMs)}`,
  );
}

const uuidIn = (text: string): string => /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(text)![0];

/** One JSON object a line; the last is the summary. */
async function sync(shell: Shell): Promise<Figures> {
  const lines = (await shell.quietly(["sync", "--json"])).stdout.trimEnd().split("\n");
  const figures = JSON.parse(lines.at(-1)!) as Figures;
  const slices = `slices: ${figures.updated} updated, ${figures.unchanged} unchanged`;
  detail(`${slices}; ${number(figures.bytes_received)} bytes received, ${number(figures.bytes_sent)} sent`);
  return figures;
}

interface SliceRow {
  name: string;
  grains: number;
  hash: string;
}

/** Both sides have computed the hash of each slice from what they stored. */
async function compareSlices(abc: Shell, epicor: Shell): Promise<void> {
  const list = async (shell: Shell) => {
    const slices = JSON.parse((await shell.quietly(["list", "--json"])).stdout) as SliceRow[];
    return slices
      .map(
        ({ name, grains, hash }) => `${name}: hash ${hash} and ${number(grains)} ${grains === 1 ? "grain" : "grains"}`,
      )
      .sort();
  };
  const [theirs, ours] = [await list(abc), await list(epicor)];
  if (theirs.join() !== ours.join())
    throw new DemoError(`The slices differ:\n${theirs.join("\n")}\n${ours.join("\n")}`);
  for (const line of theirs) detail(`${line} on both sides`);
}

function row(title: string, figures: Figures): string[] {
  const grains = `+${number(figures.grains_added)} -${number(figures.grains_removed)}`;
  const bytes = [number(figures.bytes_received), number(figures.bytes_sent)];
  return [title, grains, ...bytes, seconds(figures.duration_ms)];
}
