/** Many partners at once, against the same ones one after another. */

import { addCompany, issueApiKey, readServer } from "../../src/companies/company-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { everything } from "../../src/database/scope.ts";
import { listSlices } from "../../src/slices/slice-store.ts";
import type { Party } from "../integration/parties.ts";
import { highWater } from "./measure.ts";
import { type Copy, MemoryPartner } from "./memory-partner.ts";
import { mb, median, round, rounds, type Scenario, seconds } from "./scenario.ts";
import { makeParts, makeWorld, type Parts, replace } from "./world.ts";

const sliceCount = 20;
const changedSlices = 2;
const changedGrains = 10;

export const fanout: Scenario = async (quick) => {
  const count = quick ? 25 : 200;
  const { primary } = await makeWorld();
  const slices: Parts[] = [];
  for (let i = 0; i < sliceCount; i++) slices.push(await makeParts(primary, [], `parts-${i}`, 300, 200, "xml"));
  const partners = await makePartners(primary, count);
  const atOnce = async () => {
    await Promise.all(partners.map((partner) => partner.sync()));
  };
  const inTurn = async () => {
    for (const partner of partners) await partner.sync();
  };
  let next = 0;
  const measure = async (work: () => Promise<void>) => {
    for (let i = 0; i < changedSlices; i++) await replace(primary, slices[next++ % sliceCount]!, changedGrains);
    const started = performance.now();
    await work();
    const ms = performance.now() - started;
    await requireCurrent(primary, partners);
    return ms;
  };
  await measure(atOnce); // the first time, the lists of subscriptions cross too
  const together: number[] = [];
  const apart: number[] = [];
  for (let i = 0; i < rounds(quick); i++) {
    together.push(await measure(atOnce));
    apart.push(await measure(inTurn));
  }
  const ratio = median(together) / median(apart);
  const rss = highWater(primary.server!.pid);
  return {
    figures: {
      partners: count,
      at_once_seconds: seconds(together),
      in_turn_seconds: seconds(apart),
      ratio: round(ratio),
      primary_rss_mb: mb(rss),
    },
    must: "all succeed; RSS <= 300 MB; at once <= 1.0 x one after another (aim: 0.7)",
    pass: ratio <= 1 && rss <= 300e6,
  };
};

/** Partners that subscribe to all slices, and hold them already. */
async function makePartners(primary: Party, count: number): Promise<MemoryPartner[]> {
  const db = await primary.db();
  const { serverId } = await readServer(db);
  const copies = await readCopies(primary);
  const hmac = requireSecret(primary.config(), "api_key_hmac");
  const partners: MemoryPartner[] = [];
  for (let i = 0; i < count; i++) {
    const { id } = await addCompany(db, { name: `partner-${i}` });
    partners.push(new MemoryPartner(primary.server!.url, serverId, await issueApiKey(db, id, hmac), copies));
  }
  await db.run(
    `INSERT INTO subscriptions (company_id, id, slice_key, name, name_key)
     SELECT c.id, gen_random_uuid(), s.slice_key, c.name || ' ' || s.name, c.name || ' ' || s.name FROM companies c, slices s WHERE c.name LIKE 'partner-%'`,
  );
  return partners;
}

async function readCopies(primary: Party): Promise<Copy[]> {
  const db = await primary.db();
  const { slices } = await listSlices(db, everything);
  return Promise.all(
    slices.map(async ({ key, contentKey, id, name, hash, count }) => {
      const grains = await db.query<{ id: string; mark: Buffer }>(
        "SELECT id, uuid_send(id) || digest || int8send(payload_bytes) AS mark FROM grains WHERE content_key = $1",
        [contentKey],
      );
      const marks = new Map(grains.map((grain) => [grain.id, grain.mark]));
      return { id, name, key, contentKey, subscriptionId: id, subscription: name, hash, count, marks };
    }),
  );
}

/** All have what the primary has, and the primary knows it. */
async function requireCurrent(primary: Party, partners: MemoryPartner[]): Promise<void> {
  const db = await primary.db();
  const { slices } = await listSlices(db, everything);
  const same = partners.every(({ copies }) => slices.every(({ id, hash }) => copies.get(id)?.hash === hash));
  const row = await db.one<{ n: number }>(
    "SELECT count(*) AS n FROM holdings h JOIN slices s ON s.slice_key = h.slice_key AND s.hash <> h.hash",
  );
  if (!same || row!.n !== 0) throw new Error("not all partners are current");
}
