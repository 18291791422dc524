/**
 * A secondary whose primaries are evil in every way at once, but for two: one is asked first, one last. The run must not take much
 * memory, must end, and must bring what the honest ones have.
 */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { sealApiKey } from "../../src/companies/api-key.ts";
import { addCompany, issueApiKey, readServer } from "../../src/companies/company-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { uuidText } from "../../src/ids.ts";
import { sliceContents } from "../integration/oracle.ts";
import { addLines, offer, Party } from "../integration/parties.ts";
import { EvilPrimary, type Passing, type Script } from "./evil/evil-primary.ts";
import { altered, bomb, instead, inventedGrain, ofNobody, packed } from "./evil/primary-script.ts";
import type { Figures } from "./figures.ts";
import type { Teardown } from "./subject.ts";

/** Most memory that a run may take. */
const mostMb = 300;
const megabyte = Buffer.alloc(2 ** 20, " ");

/** An answer of so many MiB that is right JSON, and begins as an honest one. */
function swollen(response: ServerResponse, head: string, tail: string, mib: number): true {
  response.on("error", () => {});
  response.writeHead(200, { "content-type": "application/json" }).write(head);
  let left = mib;
  const more = (): void => {
    if (response.destroyed) return;
    if (left-- > 0) response.write(megabyte, () => setImmediate(more));
    else response.end(tail);
  };
  more();
  return true;
}

/** 4 million elements of 2 bytes: what a message of 8 MiB holds. */
const manyZeros = `[${"0,".repeat(4_000_000)}0]`;
const numbered = (n: number) => uuidText(Buffer.from(n.toString(16).padStart(32, "f"), "hex"));

/** Pours messages without a byte, which cost nothing but what they are kept in. */
const empties: Script = {
  takeOver: (socket) => {
    const pour = (): void => {
      for (let n = 0; n < 1000; n++) socket.send("");
      if (socket.readyState === socket.OPEN) socket.send("", () => setImmediate(pour));
    };
    pour();
  },
};

/** Records of a payload of 1 MiB that is a few bytes on the wire, one after another. */
const unfolding = instead("grains", 0, ({ next, flood, frame }: Passing) => {
  const zeros = "\0".repeat(2 ** 20 - 200);
  flood((i) => {
    const grain = inventedGrain(next + i, numbered(i), `more ${i}`, zeros);
    return packed(grain, bomb(grain.body.length), grain.body.length);
  });
  return [frame];
});

/** What each of them does; "honest" twice, asked first and last. */
const kinds: Readonly<Record<string, Script>> = {
  "A, honest": {},
  "a login of 64 MiB": {
    http: (request, response) => request.url === "/v1/login" && swollen(response, '{"token":"', '"}', 63),
  },
  "a login of many members": {
    http: (request, response) =>
      request.url === "/v1/login" &&
      swollen(response, `{${Array.from({ length: 400_000 }, (_, i) => `"m${i}":0`)},"x":"`, '"}', 1),
  },
  "a list of 64 MiB": {
    http: (request, response) => request.url === "/v1/sync/subs" && swollen(response, '[{"id":"', '"}]', 63),
  },
  "a list of zeros": {
    http: (request, response) =>
      request.url === "/v1/sync/subs" && swollen(response, `${manyZeros.slice(0, -1)},"`, '"]', 1),
  },
  "compared with zeros": instead("compared", 0, () => [`{"type":"compared","slices":${manyZeros}}`]),
  "compared with what nobody asked about": altered("compared", () => ({
    slices: Array.from({ length: 80_000 }, (_, i) => ({ id: numbered(i), state: "locked" })),
  })),
  "metadata without measure": altered("content", () => ({
    metadata: Array.from({ length: 800 }, (_, i) => [`k${String(i).padStart(3, "0")}`, "v".repeat(10_000)]),
  })),
  "begin with many capabilities": altered("begin", () => ({
    capabilities: Array.from({ length: 400_000 }, () => "c"),
  })),
  "messages of nothing": empties,
  unfolding,
  "confirmations without an end": instead("compared", 0, ({ message, flood }) => {
    flood(() => ({ type: "confirmed", id: ofNobody, run_id: ofNobody }));
    return [message];
  }),
  "deep nesting": instead("compared", 0, () => ["[".repeat(4_000_000)]),
  "Z, honest": {},
};

/** @param runs how many syncs in a row. */
export async function sufferCrowd(test: Teardown, runs: number, tell: (fault: string) => void): Promise<Figures> {
  const figures = {
    runs: 0,
    "honest primaries not served": 0,
    "over memory": 0,
    "wrong exit codes": 0,
    "not named": 0,
  };
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };
  const primary = await Party.make(test, "primary", "ABC Brakes");
  const secondary = await Party.make(test, "secondary", "Epicor");
  await primary.serve();
  const { here, there } = { here: await secondary.db(), there: await primary.db() };
  await addCompany(there, { id: (await readServer(here)).serverId, name: secondary.company });
  for (const name of ["One", "Two"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 200));
  }
  const apiKey = await issueApiKey(
    there,
    (await readServer(here)).serverId,
    requireSecret(primary.config(), "api_key_hmac"),
  );
  const honestIds: string[] = [];
  for (const [name, script] of Object.entries(kinds)) {
    const id = randomUUID();
    const evil = await EvilPrimary.before(primary.server!.url, id);
    test.teardown(() => evil.close());
    evil.script = script;
    const sealed = sealApiKey(apiKey, id, requireSecret(secondary.config(), "partner_key"));
    await addCompany(here, { id, name, target: { url: evil.url, mayBePrivate: true }, sealed });
    if (name.endsWith("honest")) honestIds.push(id);
  }
  let peakMb = 0;
  for (let n = 0; n < runs; n++) {
    await primary.batch("One", [
      { delete_key: "part 1" },
      { add: { grain_key: "part 1", source: "", encoding: "raw", payload: `${n}` } },
    ]);
    figures.runs++;
    const run = secondary.start(["sync", "--json", "--retry-for", "0", "--jobs", "4"]);
    const weigh = watch(run.pid);
    const ended = await Promise.race([run.exited, sleep(90_000, undefined, { ref: false })]);
    const mb = await weigh();
    peakMb = Math.max(peakMb, mb);
    if (mb > mostMb) fault("over memory", `${mb} MB`);
    if (ended === undefined) run.kill("SIGKILL");
    if (ended?.code === undefined || ![4, 8, 11].includes(ended.code ?? -1))
      fault("wrong exit codes", `exit ${ended?.code} ${ended?.signal}: ${run.stderr().slice(-500)}`);
    const wanted = JSON.stringify(Object.values(await sliceContents(there)));
    for (const id of honestIds)
      if (JSON.stringify(Object.values(await sliceContents(here, id))) !== wanted)
        fault("honest primaries not served", id);
    const partners = run
      .stdout()
      .split("\n")
      .flatMap((line) =>
        line.includes('"event":"partner"') ? [JSON.parse(line) as { exit_code: number; company: unknown }] : [],
      );
    const blamed = partners.filter(({ exit_code }) => exit_code !== 0).length;
    if (blamed !== Object.keys(kinds).length - 2) fault("not named", `${blamed} of ${Object.keys(kinds).length - 2}`);
  }
  tell(`${runs} runs with ${Object.keys(kinds).length - 2} evil primaries took ${Math.round(peakMb)} MB at most`);
  return figures;
}

/** @returns what says how much memory the process took at most, in MB. */
function watch(pid: number): () => Promise<number> {
  let mb = 0;
  let going = true;
  const watching = (async () => {
    while (going) {
      const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
      mb = Math.max(mb, Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
      await sleep(20);
    }
  })();
  return async () => {
    going = false;
    await watching;
    return mb;
  };
}
