/**
 * Where the evil peers act: an honest primary, and a secondary that has two primaries. Both have the same ids of slices, grains
 * and subscriptions; one is honest, the other is {@link EvilPrimary}. After each run it is looked at whether anything is where it must not be.
 */
import { randomUUID } from "node:crypto";
import { sealApiKey } from "../../../src/companies/api-key.ts";
import { addCompany, issueApiKey } from "../../../src/companies/company-store.ts";
import { requireSecret } from "../../../src/config/secrets.ts";
import { createSyncs, type Syncs } from "../../../src/server/upgrade.ts";
import { applyBatch, type BatchLine } from "../../../src/slices/batch.ts";
import { payloads } from "../../../src/slices/payloads/payloads.ts";
import type { Slice } from "../../../src/slices/rules/slice.ts";
import { addSlice } from "../../../src/slices/slice-store.ts";
import { addSubscription } from "../../../src/subscriptions/subscription-store.ts";
import { plainRun } from "../../../src/sync/protocol/run-options.ts";
import type { PartnerReport } from "../../../src/sync/run/report.ts";
import { runSync } from "../../../src/sync/run/run.ts";
import { heldLocks, sliceContents } from "../../integration/oracle.ts";
import { addLines, withIds } from "../../integration/parties.ts";
import { serverOf, type TestServer } from "../../server/support.ts";
import type { Teardown } from "../subject.ts";
import { EvilPrimary } from "./evil-primary.ts";

/** `many` is compared by cells, `few` by lists, `file` has a grain in chunks, `fresh` is copied for the first time. */
export const sliceNames = ["many", "few", "file", "fresh"] as const;
export type SliceName = (typeof sliceNames)[number];

const sizes = { many: 150, few: 10, fresh: 6 } as const;

export const limits = {
  grains: 1000,
  grainBytes: 4 * 1024 * 1024,
  subscriptions: 50,
  compared: 100,
  primaryBytes: 6 * 1024 * 1024,
};

export class World {
  #generation = 0;
  #upgrade: Syncs | undefined;
  #others = "";
  readonly ids = new Map<SliceName, string>();
  readonly #slices = new Map<SliceName, Slice>();

  private constructor(
    readonly primary: TestServer,
    readonly secondary: TestServer,
    readonly evil: EvilPrimary,
  ) {}

  static async make(test: Teardown, idleSeconds: number): Promise<World> {
    const upgrade: { now?: Syncs } = {};
    const primary = await serverOf(test, "primary", {
      more: [{ upgrade: (request, socket, head) => upgrade.now!.upgrade(request, socket, head) }],
      settings: {
        SANDPIPER_SYNC_IDLE_SECONDS: String(idleSeconds),
        SANDPIPER_LIMITS_MAX_SUBSCRIPTIONS: String(limits.compared),
      },
    });
    upgrade.now = createSyncs(primary.context);
    const secondary = await serverOf(test, "secondary", {
      settings: {
        SANDPIPER_SYNC_IDLE_SECONDS: String(idleSeconds),
        SANDPIPER_LIMITS_MAX_GRAINS: String(limits.grains),
        SANDPIPER_LIMITS_MAX_GRAIN_BYTES: String(limits.grainBytes),
        SANDPIPER_LIMITS_MAX_SUBSCRIPTIONS: String(limits.subscriptions),
        SANDPIPER_LIMITS_PRIMARY_BYTES: String(limits.primaryBytes),
      },
    });
    const evil = await EvilPrimary.before(primary.url);
    test.teardown(() => evil.close());
    const world = new World(primary, secondary, evil);
    world.#upgrade = upgrade.now;
    test.teardown(() => world.#upgrade!.stop(AbortSignal.abort()));
    await world.#fill(test);
    return world;
  }

  async #fill(test: Teardown): Promise<void> {
    const { primary, secondary } = this;
    const us = secondary.app.server.serverId;
    const there = primary.app.db;
    const here = secondary.app.db;
    await addCompany(there, { id: us, name: "Retailer" });
    const apiKey = await issueApiKey(there, us, primary.context.apiKeyHmac);
    for (const name of sliceNames) {
      const type = name === "file" ? "binary-blob" : "aces-items";
      const slice = await addSlice(there, { companyId: primary.app.server.serverId, name, type });
      this.ids.set(name, slice.id);
      this.#slices.set(name, slice);
      await addSubscription(there, { companyId: us, sliceKey: slice.key, name: `${name}-retailer` });
      if (name !== "file") await this.#batch(name, withIds(addLines(0, sizes[name])));
      await this.change(name);
    }
    const partnerKey = requireSecret(secondary.app.config, "partner_key");
    const register = (id: string, name: string, url: string) =>
      addCompany(here, {
        id,
        name,
        target: { url, mayBePrivate: true },
        sealed: sealApiKey(apiKey, id, partnerKey),
      });
    // The other primary is the same one under another id: whatever it calls by an id, the evil one calls so too.
    const otherId = randomUUID();
    const other = await EvilPrimary.before(primary.url, otherId);
    test.teardown(() => other.close());
    await register(otherId, "Other", other.url);
    if ((await this.sync()).exitCode !== 0) throw new Error("the other primary cannot be synced with");
    await here.run("UPDATE companies SET active = false WHERE id = $1", [otherId]);
    await register(primary.app.server.serverId, "Evil", this.evil.url);
    this.#others = await this.#dumpOthers();
    if ((await this.sync()).exitCode !== 0)
      throw new Error("the evil primary cannot be synced with while it is honest");
  }

  #batch(name: SliceName, lines: BatchLine[]): Promise<unknown> {
    return applyBatch(this.primary.app.db, this.#slices.get(name)!, lines, 2 ** 32);
  }

  /** A new state of a slice at the primary: three grains are new, one has another payload, and another id. */
  async change(name: SliceName, extra: BatchLine[] = []): Promise<void> {
    const n = ++this.#generation;
    const id = (i: number) => `00000000-0000-4000-b000-${String(n * 4 + i).padStart(12, "0")}`;
    if (name === "file") {
      const payload = Buffer.alloc(1024 * 1024 + 100, n).toString("base64");
      await this.#batch(name, [
        { delete_all: true },
        { add: { id: id(0), grain_key: "level-1", source: "f", encoding: "b64", payload } },
        { add: { id: id(1), grain_key: "level-2", source: "f", encoding: "raw", payload: `small ${n}` } },
        ...extra,
      ]);
      return;
    }
    const grains = [0, 1, 2].map((i) => ({
      add: { id: id(i), grain_key: `new ${n} ${i}`, source: "", encoding: "raw" as const, payload: "x".repeat(300) },
    }));
    const olds = await this.primary.app.db.query<{ id: string }>(
      "SELECT id FROM grains WHERE content_key = $1 AND grain_key LIKE 'new %'",
      [this.#slices.get(name)!.contentKey],
    );
    await this.#batch(name, [
      ...olds.map(({ id }) => ({ delete: id })),
      { delete_key: "part 3" },
      { add: { ...addLines(3, 1)[0]!.add, id: id(3), payload: `another payload ${n}` } },
      ...grains,
      { metadata: { generation: String(n) } },
      ...extra,
    ]);
  }

  /** As if the secondary had never had the slice. */
  async forget(name: SliceName): Promise<void> {
    const { app } = this.secondary;
    await app.db.transaction(async (tx) => {
      const row = await tx.one<{ shown: Slice["contentKey"] }>(
        `UPDATE slices SET hash = '', content_sum = decode(repeat('00', 32), 'hex'), content_count = 0, content_bytes = 0, sketch = '' WHERE id = $1 AND company_id = $2
         RETURNING content_key AS shown`,
        [this.ids.get(name)!, this.primary.app.server.serverId],
      );
      await payloads.clear(tx, row!.shown);
    });
  }

  /** Where the secondary looks for the evil primary. */
  async dial(url: string): Promise<void> {
    await this.secondary.app.db.run("UPDATE companies SET sync_addr = $1 WHERE id = $2", [
      url,
      this.primary.app.server.serverId,
    ]);
  }

  /** A sync of the secondary with the evil primary, and nobody else. */
  async sync(signal?: AbortSignal, retryForSeconds = 0): Promise<PartnerReport> {
    const order = { jobs: 1, splaySeconds: 0, options: { ...plainRun, retryForSeconds }, signal };
    return (await runSync(this.secondary.app, order)).partners[0]!;
  }

  here(): Promise<Record<string, unknown>> {
    return sliceContents(this.secondary.app.db, this.primary.app.server.serverId);
  }

  there(): Promise<Record<string, unknown>> {
    return sliceContents(this.primary.app.db);
  }

  /** What a run has left where nothing may be. */
  async traces(): Promise<string[]> {
    const { db } = this.secondary.app;
    const found: string[] = [];
    if ((await this.#dumpOthers()) !== this.#others) found.push("data of the other primary has changed");
    const count = async (what: string, sql: string) => {
      const { n } = (await db.one<{ n: number }>(sql))!;
      if (n > 0) found.push(`${n} ${what}`);
    };
    await count(
      "grains that belong to nothing",
      `SELECT count(*) AS n FROM grains WHERE content_key NOT IN (SELECT content_key FROM slices UNION SELECT content_key FROM staging)`,
    );
    await count(
      "chunks that belong to nothing",
      `SELECT count(*) AS n FROM grain_chunks WHERE content_key NOT IN (SELECT content_key FROM slices UNION SELECT content_key FROM staging)`,
    );
    await count(
      "COPYs that go on",
      `SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND query ILIKE '/* % */ COPY%'`,
    );
    const locks = await heldLocks(db);
    if (locks > 0) found.push(`${locks} locks`);
    return found;
  }

  /** Every row of the other primary's, but for what we note of our own runs with it. */
  async #dumpOthers(): Promise<string> {
    const rows = await this.secondary.app.db.query<{ row: string }>(
      `WITH s AS (SELECT * FROM slices WHERE company_id <> $1)
       SELECT s::text AS row FROM s UNION ALL
       SELECT u::text FROM subscriptions u WHERE company_id <> $1 UNION ALL
       SELECT m::text FROM slice_metadata m WHERE slice_key IN (SELECT slice_key FROM s) UNION ALL
       SELECT g::text FROM grains g WHERE content_key IN (SELECT content_key FROM s) UNION ALL
       SELECT c.grain_id::text || c.seq::text || sha256(c.data)::text FROM grain_chunks c WHERE content_key IN (SELECT content_key FROM s) ORDER BY 1`,
      [this.primary.app.server.serverId],
    );
    return rows.map(({ row }) => row).join("\n");
  }
}
