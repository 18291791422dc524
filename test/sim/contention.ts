/** A few sessions in one database that get in each other's way: for traces in which locks are waited for, and of what syncs seldom do. */

import { finishRun, startRun } from "../../src/activity/run-store.ts";
import type { Company } from "../../src/companies/company.ts";
import type { Database, Session } from "../../src/database/database.ts";
import type { CompanyId, ContentKey, SliceKey } from "../../src/ids.ts";
import { uuidBytes } from "../../src/ids.ts";
import { changeSlice } from "../../src/slices/change-slice.ts";
import type { Slice } from "../../src/slices/rules/slice.ts";
import { chunkBytes } from "../../src/slices/rules/slice.ts";
import { removeSlice, setAllowSync } from "../../src/slices/slice-store.ts";
import { removeSubscription, setSubscriptionActive } from "../../src/subscriptions/subscription-store.ts";
import { recordConfirm } from "../../src/sync/primary/primary-store.ts";
import type { Confirm } from "../../src/sync/protocol/messages.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import { updateSubscriptions } from "../../src/sync/run/update-subscriptions.ts";
import { isAsIt, noteApplied } from "../../src/sync/secondary/apply.ts";
import { wasCommitted } from "../../src/sync/secondary/outbox-store.ts";
import { estimateHeld, giveUpStage, listStages, measureHeld } from "../../src/sync/secondary/space-store.ts";
import { clearStage, openStage, Stage, sweepStages } from "../../src/sync/secondary/stage.ts";
import { Random } from "../harness/random.ts";
import { encodeTuple, int8 } from "../harness/tuples.ts";
import { Clock } from "./clock.ts";
import { idOf } from "./names.ts";
import { Recorder } from "./recorder.ts";
import { SimDatabase } from "./sim-database.ts";
import { SimPool } from "./sim-pool.ts";
import { Tx } from "./tables.ts";

/** Who is at work at once, and how much each does. */
const workers = 4;
const works = 6;
const companies = [0, 1].map((n) => idOf(1, n) as CompanyId);
const names = ["Brakes", "Filters", "Lamps"];

interface Place {
  db: Database;
  sim: SimDatabase;
  random: Random;
  clock: Clock;
}

/** What somebody may do, each as often as it stands here. */
const kinds: readonly ((place: Place) => Promise<unknown>)[] = [
  takeList,
  takeList,
  takeList,
  stage,
  stage,
  stage,
  remove,
  remove,
  publish,
  publish,
  ask,
  ask,
  hold,
  hold,
  operate,
  operate,
  runs,
  sweep,
  giveUp,
];

/** @returns the recorder of what was done. */
export async function contend(seed: number): Promise<Recorder> {
  const clock = new Clock();
  const random = new Random(seed);
  const sim = new SimDatabase("one database", clock, new Random(seed + 1), 1, true);
  const recorder = new Recorder(sim, `contention ${seed}`);
  const owner = { scope: "all", purpose: "operator", server: sim };
  const tx = new Tx(() => sim.tables, sim.locks, owner, 0, sim.next, false);
  for (const id of companies)
    tx.put("companies", id, { id, name: `company ${id}`, active: true, apiKey: id, etag: null });
  sim.commit(owner, tx.changes, true);
  const worker = async (n: number) => {
    const place = { db: new SimPool(sim, `worker ${n}`).handle("worker"), sim, random, clock };
    await takeList(place).catch(() => {});
    for (let i = 0; i < works; i++)
      await random
        .pick(kinds)(place)
        .catch(() => {}); // what fails is in the trace too
  };
  let left = workers;
  for (let n = 0; n < workers; n++) void worker(n).finally(() => left--);
  await clock.run(() => left === 0, 3_600_000, 100_000);
  return recorder;
}

/** A primary's list is applied, in which names move from one slice or subscription to another. */
function takeList({ db, random }: Place) {
  const company = random.int(0, 1);
  const shuffled = [...names].sort(() => random.next() - 0.5);
  const slices = [...names.keys()].sort(() => random.next() - 0.5);
  const rows = names
    .map((_, n) => ({
      id: idOf(4, company, n),
      name: `${shuffled[n]} for us`,
      description: "",
      active: random.chance(0.8),
      slice: {
        id: idOf(3, company, slices[n]),
        name: shuffled[slices[n]!]!,
        type: random.pick(["aces-file", "asset-files"]),
      },
    }))
    .filter(() => random.chance(0.8));
  const runId = idOf(7, random.int(0, 3));
  const options = { ...plainRun, rehearsal: random.chance(0.2), allowDrops: true };
  return db.session((session) =>
    updateSubscriptions(
      session,
      { id: companies[company]!, name: "" } as Company,
      { rows, etag: `"${random.int(0, 9)}"` },
      { runId, options },
    ),
  );
}

function sliceAt({ sim, random }: Place): Slice | undefined {
  const rows = [...sim.tables.slices.values()];
  if (rows.length === 0) return undefined;
  const { key, content, id, name, company } = random.pick(rows);
  return { key, contentKey: content, id, name, companyId: company } as Slice;
}

/** Grains arrive. Sometimes two of one key. */
async function stage(place: Place) {
  const { db, random } = place;
  const slice = sliceAt(place);
  if (slice === undefined) return;
  const record = (large: boolean) => {
    const payload = Buffer.from(`payload ${random.int(0, 9)}`);
    const fields = [`part ${random.int(0, 9)}`, "", "raw"].map((text) => Buffer.from(text));
    const id = uuidBytes(idOf(5, large ? 30 : random.int(0, 20)));
    if (large) return encodeTuple([id, ...fields, int8(2 * chunkBytes), null]);
    return encodeTuple([id, ...fields, int8(payload.length), payload]);
  };
  await db.session(async (session) => {
    const hash = `hash ${random.int(0, 1)}`;
    const { contentKey } = await openStage(session, slice.key, hash);
    const stage = new Stage(session, slice.key, contentKey as ContentKey);
    try {
      await stage.grains(Buffer.concat([record(false), record(random.chance(0.4))]));
      await stage.chunk(uuidBytes(idOf(5, 30)), random.int(0, 2), Buffer.from("a chunk"));
    } finally {
      await stage.keep();
    }
    await openStage(session, slice.key, hash); // as the next run does
    if (random.chance(0.3)) await session.transaction((tx) => clearStage(tx, slice.key));
  });
}

async function remove(place: Place) {
  const slice = sliceAt(place);
  if (slice !== undefined) await removeSlice(place.db, slice.key);
}

async function publish(place: Place) {
  const slice = sliceAt(place);
  if (slice === undefined) return;
  const { random } = place;
  const grain = (n: number) => ({
    id: idOf(5, n),
    key: `part ${random.int(0, 9)}`,
    source: "",
    encoding: "raw" as const,
    payload: random.bytes(9),
  });
  await changeSlice(place.db, slice, (edit) => edit.put([grain(random.int(0, 9)), grain(random.int(10, 20))]));
}

const confirmOf = (run: string, slice: Slice): Confirm => ({
  type: "confirm",
  run_id: run,
  id: slice.id,
  test: false,
  outcome: "updated",
  hash: "",
  count: 0,
  added: 0,
  removed: 0,
  bytes: 0,
  duration_ms: 0,
  message: "",
});

const nothing = { hash: "a hash", sum: Buffer.alloc(32), count: 0, bytes: 0, sketch: Buffer.alloc(0), metadata: [] };

/** Whether a run has committed a slice, asked while it perhaps does. */
async function ask(place: Place) {
  const { db, random, clock } = place;
  const slice = sliceAt(place);
  if (slice === undefined) return;
  const run = idOf(7, random.int(0, 3));
  await db.session((session) => isAsIt(session, { ...slice, hash: "a hash", count: 0 } as never));
  await db.transaction(async (tx) => {
    if (!(await wasCommitted(tx, slice.companyId, run, slice.id)))
      await noteApplied(
        tx,
        slice.companyId,
        { ...slice, subscriptionId: idOf(4, 0, 0) },
        nothing,
        confirmOf(run, slice),
      );
    await clock.wait(random.int(0, 20));
  });
}

/** Rows are held for a while, as by a program that is slow. */
async function hold(place: Place) {
  const { db, random, clock } = place;
  const slice = sliceAt(place);
  if (slice === undefined) return;
  const take = random.pick([
    (tx: Session) =>
      tx.one("/* openStageSlice */ SELECT 1 FROM slices WHERE slice_key = $1 FOR KEY SHARE", [slice.key]),
    (tx: Session) =>
      tx.one("/* removeSliceRow */ SELECT content_key FROM slices WHERE slice_key = $1 FOR UPDATE", [slice.key]),
    (tx: Session) =>
      tx.one("/* updateSubscriptionsCompany */ SELECT 1 FROM companies WHERE id = $1 FOR NO KEY UPDATE", [
        slice.companyId,
      ]),
    (tx: Session) => tx.one("/* openStageOld */ SELECT hash FROM staging WHERE slice_key = $1 FOR UPDATE", [slice.key]),
    (tx: Session) => setAllowSync(tx, slice.key, random.chance(0.5)),
    (tx: Session) => recordConfirm(tx, slice.companyId, confirmOf(idOf(7, random.int(0, 3)), slice)),
  ]);
  await db.transaction(async (tx) => {
    await take(tx);
    await clock.wait(random.int(0, 20));
    if (random.chance(0.2)) throw new Error("given up");
  });
}

/** Somebody at the console. */
async function operate(place: Place) {
  const { db, random, sim } = place;
  const rows = [...sim.tables.subscriptions.keys()];
  if (rows.length === 0) return;
  if (random.chance(0.3)) await removeSubscription(db, random.pick(rows));
  else await setSubscriptionActive(db, random.pick(rows), random.chance(0.7));
  const slice = sliceAt(place);
  if (slice !== undefined) await setAllowSync(db, slice.key as SliceKey, random.chance(0.5));
}

/** A run begins, and another one that was never ended is found. */
async function runs({ db, random, clock }: Place) {
  const [run, company] = [idOf(7, random.int(0, 3)), random.pick(companies)];
  await startRun(db, run, company);
  await clock.wait(random.int(0, 9));
  if (random.chance(0.5)) await finishRun(db, run, 0, {});
}

/** What nobody wants any more is taken away. */
function sweep({ db, random }: Place) {
  return db.session((session) =>
    sweepStages(session, random.pick(companies), random.chance(0.5) ? [idOf(3, 0, 1)] : []),
  );
}

/** Room is short: something that is staged is given up, whether or not somebody is at it. */
async function giveUp({ db, random }: Place) {
  await estimateHeld(db, random.pick(companies));
  const stages = await listStages(db);
  if (stages.length > 0) await giveUpStage(db, random.pick(stages).contentKey);
  await measureHeld(db, random.pick(companies));
}
