/** What must hold at every frame and every commit, looked at from outside with code of its own. */
import { createHash } from "node:crypto";
import { asSandpiperError } from "../../src/errors.ts";
import { uuidBytes } from "../../src/ids.ts";
import { sketchCells } from "../../src/slices/rules/sketch.ts";
import { chunkBytes } from "../../src/slices/rules/slice.ts";
import type { PrimaryMessage } from "../../src/sync/protocol/messages.ts";
import type { PrimaryPort } from "../../src/sync/protocol/primary-port.ts";
import type { SliceResult } from "../../src/sync/protocol/secondary-port.ts";
import { misstated } from "../harness/recount.ts";
import { tagsIn } from "./names.ts";
import {
  type Changes,
  type Chunks,
  type Grain,
  type Grains,
  ordered,
  type SliceRow,
  type SubscriptionRow,
  type Tables,
} from "./tables.ts";

/** A state that a slice had at its primary. */
interface State {
  content: string;
  hash: string;
  fromMs: number;
  /** Until when; infinity for the present one. */
  toMs: number;
}

export interface Owner {
  id: string;
  number: number;
  hostile: boolean;
}

/** A run that has ended. */
export interface RunFacts {
  name: string;
  owner: Owner;
  id: string;
  startedMs: number;
}

const noGrains: Grains = new Map();
const noChunks: Chunks = new Map();

/** A slice that has more may not lose half of them unasked (small-limits.ts). */
const manyGrains = 5;

/** What may be sent of one read: a page of grains, each frame with its header. */
const mostOfOneRead = 3 * chunkBytes;

/** A grain of a slice that is shown has a digest. */
const counted = ({ id, digest, bytes }: Grain) => ({ id: uuidBytes(id), digest: digest ?? Buffer.alloc(0), bytes });

type Pairs = readonly (readonly [string, string])[];
const noPairs: Pairs = [];
/** By a slice's grains: its content, as long as the rest of it is the same too. Rows are never changed, only replaced. */
const known = new WeakMap<Grains, { chunks: Chunks; pairs: Pairs; content: string }>();

/** What a slice holds, in one word. */
export function contentOf(tables: Tables, slice: SliceRow): string {
  const grains = tables.grains.get(slice.content) ?? noGrains;
  const chunks = tables.chunks.get(slice.content) ?? noChunks;
  const pairs = tables.metadata.get(slice.key) ?? noPairs;
  const last = known.get(grains);
  if (last?.chunks === chunks && last.pairs === pairs) return last.content;
  const hash = createHash("sha1");
  for (const grain of ordered(grains)) {
    hash.update(grain.id).update(grain.record);
    if (grain.payload !== null) continue;
    for (let n = 0, data = chunks.get(`${grain.id}/0`); data !== undefined; data = chunks.get(`${grain.id}/${++n}`))
      hash.update(data);
  }
  for (const pair of pairs) hash.update(JSON.stringify(pair));
  const content = hash.digest("base64");
  known.set(grains, { chunks, pairs, content });
  return content;
}

const emptyContent = createHash("sha1").digest("base64");

export class Oracle {
  readonly violations: string[] = [];
  /** By primary and slice id, oldest first. */
  readonly #history = new Map<string, State[]>();
  /** The newest state that a secondary has had of a slice. */
  readonly #reached = new Map<string, number>();
  /** When the subscriptions of a partner at a primary changed last. */
  readonly #rightsMs = new Map<string, number>();

  /** The ids of slices, removed ones among them, by what marks their bytes. */
  readonly #ids = new Map<string, string>();
  /** When a partner lost the right to a slice of a primary last. */
  readonly #lostMs = new Map<string, number>();

  /** Runs and slices that were committed: secondary, primary, run and slice. */
  readonly #applied = new Set<string>();
  /** When an operator of a secondary removed a subscription of a primary last. */
  readonly #removedMs = new Map<string, number>();

  constructor(private readonly nowMs: () => number) {}

  fail(what: string): void {
    if (this.violations.length < 10) this.violations.push(`${this.nowMs().toFixed(1)} ms: ${what}`);
  }

  /** A commit at a primary: its slices have new states, or its partners other rights. */
  atPrimary(owner: Owner, before: Tables, after: Tables, changes: Changes): void {
    for (const key of (changes.get("subscriptions") ?? new Map()).keys()) {
      const { company } = (after.subscriptions.get(key) ?? before.subscriptions.get(key))!;
      this.#rightsMs.set(`${owner.id} ${company}`, this.nowMs());
    }
    for (const { nameKey, id } of after.slices.values())
      this.#ids.set(`${owner.number}/${/slice (\d+)$/.exec(nameKey)?.[1]}`, id);
    for (const { company, slice } of before.subscriptions.values()) {
      const id = before.slices.get(slice)?.id;
      if (id !== undefined && this.#permitted(before, company, id) && !this.#permitted(after, company, id))
        this.#lostMs.set(`${owner.id} ${company} ${id}`, this.nowMs());
    }
    for (const slice of after.slices.values()) {
      if (!changed(before, after, slice)) continue;
      this.#checkFigures(`primary ${owner.number}`, after, slice);
      const key = `${owner.id} ${slice.id}`;
      const states = this.#history.get(key) ?? [];
      const content = contentOf(after, slice);
      const last = states.at(-1);
      if (last?.content === content && last.hash === slice.hash) continue;
      if (last !== undefined) last.toMs = this.nowMs();
      states.push({ content, hash: slice.hash, fromMs: this.nowMs(), toMs: Number.POSITIVE_INFINITY });
      this.#history.set(key, states);
    }
  }

  /**
   * A commit at a secondary: no slice is mixed, nothing is touched that another primary delivered, and little is lost.
   * @param mayDrop the operator accepts that much is lost.
   */
  atSecondary(name: string, by: string, before: Tables, after: Tables, changes: Changes, mayDrop: boolean): void {
    for (const slice of after.slices.values()) {
      if (!changed(before, after, slice)) continue;
      if (by !== "operator" && slice.company !== by)
        this.fail(`${name}: ${by} changed slice ${slice.id} of ${slice.company}`);
      this.#checkSlice(name, before, after, slice);
      this.#checkFigures(name, after, slice);
      const had = before.slices.get(slice.key)?.count ?? 0;
      const least = had > manyGrains ? had / 2 : Math.min(had, 1);
      if (!mayDrop && slice.count < least)
        this.fail(`${name}: slice ${slice.id} went from ${had} grains to ${slice.count}, and nobody had allowed it`);
    }
    for (const slice of before.slices.values()) {
      if (after.slices.has(slice.key)) continue;
      this.#reached.delete(`${name} ${slice.company} ${slice.id}`);
      if (by !== "operator") this.fail(`${name}: ${by} removed slice ${slice.id}`);
    }
    for (const key of (changes.get("outbox") ?? new Map()).keys()) this.#applied.add(`${name} ${key}`);
    const offered = [...before.subscriptions.values()].filter((row) => row.company === by && row.withdrawnAt === null);
    const withdrawn = offered.filter(({ key }) => (after.subscriptions.get(key)?.withdrawnAt ?? null) !== null);
    if (!mayDrop && withdrawn.length * 2 > offered.length)
      this.fail(`${name}: ${withdrawn.length} of ${offered.length} subscriptions went, and nobody had allowed it`);
    for (const [key, row] of (changes.get("subscriptions") ?? []) as Map<number, SubscriptionRow | undefined>) {
      const company = row?.company ?? before.subscriptions.get(key)?.company;
      if (row === undefined) this.#removedMs.set(`${name} ${company}`, this.nowMs());
      if (by === "operator") continue;
      if (company !== by) this.fail(`${name}: ${by} changed a subscription of ${company}`);
      if (row === undefined) continue;
      // One that is offered anew takes the place of the old one.
      const replaced = (one: SubscriptionRow) => one.slice === row.slice && !after.subscriptions.has(one.key);
      const was = before.subscriptions.get(key) ?? [...before.subscriptions.values()].find(replaced);
      if (was !== undefined && row.active !== (was.active && row.offered))
        this.fail(`${name}: subscription ${row.id} was switched ${row.active ? "on" : "off"}, and nobody had said so`);
    }
  }

  /** What is carried forward is what a recount of the rows comes to. */
  #checkFigures(name: string, tables: Tables, slice: SliceRow): void {
    const grains = [...(tables.grains.get(slice.content) ?? noGrains).values()];
    const wrong = misstated(slice, grains.map(counted), sketchCells(grains.length));
    if (wrong !== undefined) this.fail(`${name}: slice ${slice.id}: ${wrong}`);
  }

  #checkSlice(name: string, before: Tables, after: Tables, slice: SliceRow): void {
    const content = contentOf(after, slice);
    const was = before.slices.get(slice.key);
    const same = was !== undefined && contentOf(before, was) === content && was.hash === slice.hash;
    if (same || (content === emptyContent && slice.hash === "")) return;
    const count = after.grains.get(slice.content)?.size ?? 0;
    if (count !== slice.count) this.fail(`${name}: slice ${slice.id} says ${slice.count} grains and has ${count}`);
    const states = this.#history.get(`${slice.company} ${slice.id}`) ?? [];
    const reachedKey = `${name} ${slice.company} ${slice.id}`;
    const state = states.findLastIndex((one) => one.content === content);
    // A hostile primary lies on the wire only: what it says and what it sends never fit, unless both are true.
    if (state < 0) this.fail(`${name}: slice ${slice.id} of ${slice.company} is mixed`);
    else if (states[state]!.hash !== slice.hash) this.fail(`${name}: slice ${slice.id} has a hash that is not its own`);
    else if (state < (this.#reached.get(reachedKey) ?? -1)) this.fail(`${name}: slice ${slice.id} went back in time`);
    this.#reached.set(reachedKey, state);
  }

  /** A server has stopped without a word: what was committed is there, but for what is staged, which may be lost. */
  atCrash(name: string, before: Tables, after: Tables): void {
    for (const table of Object.keys(before) as (keyof Tables)[]) {
      if (table === "grains" || table === "chunks" || before[table] === after[table]) continue;
      this.fail(`${name}: what was committed to ${table} is lost with the database`);
    }
  }

  /** A slice was reported as failed: then it was not committed after all. As good: then it is as it was at the primary at some moment of the run. */
  atResult(
    { name, owner, id: runId, startedMs }: RunFacts,
    { slice, outcome, error }: SliceResult,
    local: Tables,
  ): void {
    const applied = this.#applied.has(`${name} ${owner.id} ${runId} ${slice.id}`);
    if (error !== undefined) {
      if (applied && !/not known whether the commit succeeded/.test(error.message))
        this.fail(`${name}: slice ${slice.id} was committed and is reported as failed: ${error.message}`);
      return;
    }
    if (outcome === "updated" && !applied) this.fail(`${name}: slice ${slice.id} is reported as updated, and was not`);
    if (outcome === "would-update") return;
    const row = [...local.slices.values()].find((one) => one.company === owner.id && one.id === slice.id);
    // Unless somebody has removed it here meanwhile.
    if (row !== undefined && row.hash !== "" && !this.#wasSo(owner, row, local, startedMs))
      this.fail(`${name}: slice ${slice.id} is reported as ${outcome}, and is not what it was`);
  }

  /** Whether the primary has had the slice like this at a moment since. */
  #wasSo(owner: Owner, slice: SliceRow, local: Tables, sinceMs: number): boolean {
    const content = contentOf(local, slice);
    const states = this.#history.get(`${owner.id} ${slice.id}`) ?? [];
    return states.some((state) => state.content === content && state.toMs >= sinceMs);
  }

  /** Everybody is done: what a primary was told is what there is, and no grain is left that belongs to nothing. */
  atEnd(name: string, tables: Tables): void {
    const contents = new Set([...tables.slices.values(), ...tables.staging.values()].map(({ content }) => content));
    for (const content of [...tables.grains.keys(), ...tables.chunks.keys()])
      if (!contents.has(content)) this.fail(`${name}: grains are left under ${content}, which nothing shows`);
    for (const [content, chunks] of tables.chunks)
      for (const chunk of chunks.keys())
        if (tables.grains.get(content)?.get(chunk.slice(0, 36))?.payload !== null)
          this.fail(`${name}: a chunk is left under ${content} of a grain that is not there`);
  }

  /** What a secondary holds and is subscribed to, its primary knows. */
  atConverged(name: string, owner: Owner, company: string, local: Tables, primary: Tables): void {
    const due = [...local.subscriptions.values()].filter(
      (row) => row.company === owner.id && row.active && row.offered && row.withdrawnAt === null,
    );
    // With nothing to sync there is no session in which it could be told.
    if (due.length === 0) return;
    for (const row of local.outbox.values())
      if (row.company === owner.id) this.fail(`${name}: a confirmation of slice ${row.slice} was never sent`);
    const there = new Map([...primary.slices.values()].map((slice) => [slice.id, slice.key]));
    for (const slice of local.slices.values()) {
      // What is switched off here is not compared either.
      if (!due.some((row) => row.slice === slice.key) || slice.hash === "") continue;
      const holding = primary.holdings.get(`${company} ${there.get(slice.id)}`);
      if (this.#permitted(primary, company, slice.id) && holding?.hash !== slice.hash)
        this.fail(`${name}: primary ${owner.number} does not know what is held of slice ${slice.id}`);
    }
  }

  #permitted(primary: Tables, company: string, id: string): boolean {
    if (!primary.companies.get(company)?.active) return false;
    const slice = [...primary.slices.values()].find((row) => row.id === id);
    return [...primary.subscriptions.values()].some(
      (row) => row.company === company && row.slice === slice?.key && row.active,
    );
  }

  /** A run said that all went well: then every slice is as it was at the primary at some moment of it. */
  atSuccess({ name, owner, startedMs }: RunFacts, company: string, local: Tables, primary: Tables): void {
    if (owner.hostile) return;
    for (const subscription of local.subscriptions.values()) {
      const slice = local.slices.get(subscription.slice)!;
      if (slice.company !== owner.id || !subscription.active || !subscription.offered) continue;
      if (subscription.withdrawnAt !== null) continue;
      if (!this.#wasSo(owner, slice, local, startedMs))
        this.fail(`${name}: success was reported, and slice ${slice.id} is not what it was`);
    }
    if ((this.#rightsMs.get(`${owner.id} ${company}`) ?? 0) >= startedMs) return;
    if ((this.#removedMs.get(`${name} ${owner.id}`) ?? 0) >= startedMs) return;
    const here = new Map([...local.subscriptions.values()].map((row) => [`${row.company} ${row.id}`, row]));
    for (const row of primary.subscriptions.values()) {
      if (row.company !== company) continue;
      const mine = here.get(`${owner.id} ${row.id}`);
      if (mine === undefined) this.fail(`${name}: success was reported, and subscription ${row.id} is not here`);
      else if (mine.offered !== row.active || mine.withdrawnAt !== null)
        this.fail(`${name}: success was reported, and subscription ${row.id} is not as the primary has it`);
    }
  }

  /**
   * Watches what a primary sends to a partner: nothing of a slice that it might not have when that was read, nothing that was read long
   * ago, and nothing for a token that has run out.
   */
  watch(owner: Owner, tables: () => Tables, port: PrimaryPort, company: string, expired: () => boolean): PrimaryPort {
    let asked = "";
    /** By slice: when the last read of it began, and how many bytes were sent since. */
    const reads = new Map<string, { sinceMs: number; bytes: number }>();
    const may = (id: string) =>
      this.#permitted(tables(), company, id) ||
      (this.#lostMs.get(`${owner.id} ${company} ${id}`) ?? -1) >= (reads.get(id)?.sinceMs ?? this.nowMs());
    const reading =
      <A extends unknown[], T>(read: (...args: A) => Promise<T>) =>
      (...args: A) => {
        for (const id of [args[0]].flat() as string[]) reads.set(id, { sinceMs: this.nowMs(), bytes: 0 });
        return read.apply(port, args);
      };
    const check = (id: string, what: string) => {
      if (!may(id))
        this.fail(`primary ${owner.number} sent ${what} of slice ${id} to ${company}, which may not have it`);
    };
    const tags = (bytes: Buffer | string) => {
      for (const tag of new Set(tagsIn(bytes))) {
        const [, place, primary] = /<((\d+)\/\d+)>/.exec(tag)!;
        const id = this.#ids.get(place!);
        if (Number(primary) !== owner.number || id === undefined || !may(id))
          this.fail(`primary ${owner.number} sent bytes of ${tag} to ${company}, which may not have them`);
      }
    };
    const watched: Partial<PrimaryPort> = {
      receive: async () => {
        const incoming = await port.receive();
        if (expired()) this.fail(`primary ${owner.number} takes a request of ${company}, whose token has run out`);
        const id = "text" in incoming ? /"id":"([^"]+)"/.exec(incoming.text.toString())?.[1] : undefined;
        if (id !== undefined) asked = id;
        return incoming;
      },
      send: (message: PrimaryMessage) => {
        if (message.type === "content") check(message.id, "the content");
        if (message.type === "refused" && message.hash !== undefined) check(message.id, "the hash");
        if (message.type === "compared")
          for (const { id, state } of message.slices) if (state !== "unavailable") check(id, "the state");
        tags(JSON.stringify(message));
        return port.send(message);
      },
      look: reading(port.look),
      readMetadata: reading(port.readMetadata),
      readList: reading(port.readList),
      readCells: reading(port.readCells),
      readGrains: reading(port.readGrains),
      readChunk: reading(port.readChunk),
      sendFrame: (frame: Buffer) => {
        check(asked, "a frame");
        const read = reads.get(asked);
        if (read !== undefined) read.bytes += frame.length;
        if ((read?.bytes ?? Number.POSITIVE_INFINITY) > mostOfOneRead)
          this.fail(
            `primary ${owner.number} sent ${read?.bytes} bytes of slice ${asked} after a single look at its rights`,
          );
        tags(frame);
        return port.sendFrame(frame);
      },
    };
    return new Proxy(port, {
      get: (target, name: keyof PrimaryPort) => {
        const operation = (watched[name] ?? target[name].bind(target)) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          try {
            return await operation(...args);
          } catch (error) {
            const found = asSandpiperError(error);
            if (found.code === "internal")
              this.fail(`primary ${owner.number}: ${name}: ${((found.cause ?? found) as Error).stack}`);
            throw error;
          }
        };
      },
    });
  }
}

/** Whether anything that a slice shows was written. */
const changed = (before: Tables, after: Tables, slice: SliceRow): boolean =>
  before.slices.get(slice.key) !== slice ||
  before.grains.get(slice.content) !== after.grains.get(slice.content) ||
  before.chunks.get(slice.content) !== after.chunks.get(slice.content) ||
  before.metadata.get(slice.key) !== after.metadata.get(slice.key);
