/** All attacks of bad-crowd-attacks.ts at once, beside syncs and logins that must not notice. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { everything } from "../../src/database/scope.ts";
import { findGrainByKey } from "../../src/slices/grain-store.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { offer, type Party, subscribe } from "../integration/parties.ts";
import { type Attack, type AttackedWorld, attacks } from "./bad-crowd-attacks.ts";
import { makeWorld, password } from "./bad-input-world.ts";
import type { Figures } from "./figures.ts";
import type { Latency } from "./latency-probe.ts";
import { residentMb } from "./resident.ts";
import type { Teardown } from "./subject.ts";

const mostMb = 300;
const mostMs = 250;
/** Logins of a person who knows the password. */
const logins = 20;

/** @param healthySyncs one after another, while all attacks are under way. @param chosen for a test of one. */
export async function syncBesideAttacks(
  test: Teardown,
  healthySyncs: number,
  tell: (fault: string) => void,
  chosen: readonly Attack[] = attacks,
): Promise<Figures> {
  const world = await prepareWorld(test);
  const { primary } = world;
  const figures = {
    attacks: chosen.length,
    "attacks that did nothing": 0,
    "failed syncs": 0,
    "failed logins": 0,
    "slow or refused /healthz": 0,
    "not ready": 0,
    "servers over memory": 0,
    restarts: 0,
  };
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };

  const stop = new AbortController();
  const running = chosen.map(({ name, run }) =>
    run(world, stop.signal).then(
      (times) => {
        if (times === 0) fault("attacks that did nothing", name);
      },
      (error) => fault("attacks that did nothing", `${name}: ${error}`),
    ),
  );
  await sleep(5000); // for all of them to be there
  const probe = new Worker(new URL("./latency-probe.js", import.meta.url), {
    workerData: `${primary.server!.url}/healthz`,
  });
  let peakMb = 0;
  const weigh = setInterval(async () => {
    peakMb = Math.max(peakMb, await residentMb(primary));
  }, 200);

  const healthy = async () => {
    for (let n = 0; n < healthySyncs; n++) {
      await primary.batch("Own", [
        { delete_key: "part 1" },
        { add: { grain_key: "part 1", source: "", encoding: "raw", payload: `${n}` } },
      ]);
      const run = await world.secondary.run(["sync", "--retry-for", "0"]);
      if (run.code !== 0) fault("failed syncs", `exit ${run.code}: ${run.stderr}`);
    }
  };
  const person = async () => {
    for (let n = 0; n < logins; n++) {
      const status = await login(primary);
      if (status !== 200) fault("failed logins", `${status}`);
      const ready = await fetch(`${primary.server!.url}/readyz`);
      if (ready.status !== 200) fault("not ready", `${ready.status}`);
      await sleep(100);
    }
  };
  await Promise.all([healthy(), person()]);

  probe.postMessage("enough");
  const [{ taken, failures }] = (await once(probe, "message")) as [Latency];
  clearInterval(weigh);
  stop.abort();
  await Promise.all(running);
  const p99 = taken.sort((a, b) => a - b)[Math.floor(taken.length * 0.99)]!;
  if (p99 > mostMs)
    fault("slow or refused /healthz", `99 of 100 within ${Math.round(p99)} ms ${failures.slice(0, 5).join(", ")}`);
  if (peakMb > mostMb) fault("servers over memory", `${Math.round(peakMb)} MB`);
  if (await Promise.race([primary.server!.exited.then(() => true), sleep(0, false)]))
    fault("restarts", primary.server!.stderr().slice(-2000));
  tell(
    `/healthz: ${taken.length} answers, 99 of 100 within ${Math.round(p99)} ms; the primary took ${Math.round(peakMb)} MB at most`,
  );
  return figures;
}

/** With a slice of pictures that the prober and another partner have, one of which is large. */
async function prepareWorld(test: Teardown): Promise<AttackedWorld> {
  const world = await makeWorld(test);
  const { primary } = world;
  await offer(primary, "Pictures", "asset-files");
  await subscribe(primary, "Pictures", { company: "Prober" } as Party);
  const picture = (name: string, bytes: number) => ({
    add: {
      grain_key: name,
      source: "",
      encoding: "b64" as const,
      payload: Buffer.alloc(bytes, name).toString("base64"),
    },
  });
  await primary.batch("Pictures", [
    picture("large", 12_000_000),
    ...Array.from({ length: 40 }, (_, n) => picture(`small ${n}`, 700_000)),
  ]);
  const db = await primary.db();
  const { id, key, hash } = await requireSlice(db, "Pictures", everything);
  return {
    ...world,
    pictures: id,
    picturesHash: hash,
    largeGrain: (await findGrainByKey(db, everything, key, "large"))!.id,
  };
}

async function login({ server }: Party): Promise<number> {
  const answer = await fetch(`${server!.url}/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "admin", password }),
  });
  await answer.text();
  return answer.status;
}
