/** The world of one schedule: primaries, secondaries, their databases and the network, and what may be done to them. */
import type { Database } from "../../src/database/database.ts";
import { SandpiperError } from "../../src/errors.ts";
import type { CompanyId, SliceKey } from "../../src/ids.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import type { PartnerReport } from "../../src/sync/run/report.ts";
import { Random } from "../harness/random.ts";
import { Clock } from "./clock.ts";
import { listTamperer, tamperer } from "./hostile.ts";
import { idOf } from "./names.ts";
import { type Connection, type Watcher, windowBytes } from "./network.ts";
import { Oracle, type Owner } from "./oracle.ts";
import type { Plan } from "./plan.ts";
import { PrimaryNode } from "./primary-node.ts";
import { namesOf, rareEvents } from "./rare.ts";
import { type Running, SecondaryNode } from "./secondary-node.ts";
import { type Connected, SimDatabase } from "./sim-database.ts";
import { SimPool } from "./sim-pool.ts";
import { type Grain, type Holder, ordered, Tx } from "./tables.ts";

const limits = { max_grains: 1000, max_grain_bytes: 100_000, max_subscriptions: 100 };

/** Who takes part, and what they do to each other. */
export class World {
  readonly clock = new Clock();
  readonly primaries: PrimaryNode[] = [];
  readonly secondaries: SecondaryNode[] = [];
  readonly owners: Owner[] = [];
  readonly oracle: Oracle;
  readonly connections: Connection[] = [];
  readonly events = new Map<string, number>();
  readonly lines: string[] = [];
  /** Stands for everything that happened, and when. */
  trace = 0x811c9dc5;
  readonly #versions = new Map<number, number>();

  constructor(
    readonly plan: Plan,
    private readonly traced: boolean,
  ) {
    this.oracle = new Oracle(() => this.clock.nowMs);
    this.#build();
  }

  /** Something happened that has a name. */
  event = (name: string): void => {
    if (name.startsWith("FAULT")) this.oracle.fail(name);
    this.events.set(name, (this.events.get(name) ?? 0) + 1);
    this.note(name);
  };

  /** An operator's command may be refused, or fail with its database; but not for a fault of the program. */
  refused = (error: unknown): void => {
    if (!(error instanceof SandpiperError) || error.code === "internal")
      this.oracle.fail(`an operator's command: ${(error as Error).stack}`);
  };

  note(what: string): void {
    const text = `${this.clock.nowMs.toFixed(3)} ${what}`;
    for (let i = 0; i < text.length; i++) this.trace = Math.imul(this.trace ^ text.charCodeAt(i), 0x01000193) >>> 0;
    if (this.traced) this.lines.push(text);
  }

  /** Somebody at the console of a database. */
  operator = (db: SimDatabase): Database => new SimPool(db, "operator").handle("operator");

  /** A change that is simply there, as if an operator had made it. */
  write(db: SimDatabase, work: (tx: Tx) => void): void {
    const session: Holder = { scope: "all", purpose: "operator", server: db };
    const tx = new Tx(() => db.tables, db.locks, session, 0, db.next, false);
    work(tx);
    db.commit(session, tx.changes, true);
  }

  companyOf = (secondary: SecondaryNode): CompanyId => idOf(2, this.secondaries.indexOf(secondary)) as CompanyId;
  numberOf = (primary: PrimaryNode): number => this.primaries.indexOf(primary);
  /** @param of whom, if it need not be a number of its own in the whole world. */
  nextVersion(of = -1): number {
    const next = (this.#versions.get(of) ?? 0) + 1;
    this.#versions.set(of, next);
    return next;
  }

  grainsOf(primary: PrimaryNode, key: number): readonly Grain[] {
    const { tables } = primary;
    return ordered(tables.grains.get(tables.slices.get(key)?.content ?? -1) ?? new Map());
  }

  /** Assigns a slice to a partner. */
  async offer(primary: PrimaryNode, secondary: SecondaryNode, key: number): Promise<void> {
    const number = this.numberOf(primary);
    const place = Number(/slice (\d+)$/.exec(primary.tables.slices.get(key)!.nameKey)![1]);
    const partner = this.secondaries.indexOf(secondary);
    const input = {
      // One that is offered again is another subscription.
      id: idOf(4, this.plan.sameIds ? 0 : number + 1, place, partner, this.clock.nowMs < 1000 ? 0 : this.nextVersion()),
      companyId: this.companyOf(secondary),
      sliceKey: key as SliceKey,
      name: `slice ${place} for ${partner}`,
    };
    await addSubscription(this.operator(primary.db), input).catch((error) => {
      // It looks the new row up by a query that the simulation has no use for.
      if (!/does not know/.test((error as Error).message)) throw error;
    });
  }

  killSecondary(secondary: SecondaryNode): void {
    if (secondary.running.size > 0) this.event("a secondary dies in the middle of a run");
    secondary.kill();
  }

  failRequest(secondary: SecondaryNode): void {
    for (const { requests } of secondary.running)
      for (const fail of requests) fail(new SandpiperError("network", "the connection was reset"));
  }

  /** One run. @returns its report, or undefined when its process dies. */
  sync(secondary: SecondaryNode, primary: PrimaryNode, n: number): Promise<PartnerReport | undefined> {
    const options = {
      ...plainRun,
      rehearsal: n % 11 === 10,
      allowDrops: n % 2 === 0,
      retryForSeconds: n % 3 === 0 ? 20 : 0,
    };
    return new Promise((resolve) => {
      const { pool } = secondary;
      const wait = () => {
        if (secondary.pool !== pool) resolve(undefined);
      };
      secondary.onKill.add(wait);
      void secondary.run(primary, options, (running, report) => {
        secondary.onKill.delete(wait);
        this.#ended(secondary, running, report);
        resolve(report);
      });
    });
  }

  #ended(secondary: SecondaryNode, running: Running, report: PartnerReport): void {
    const owner = this.owners[this.numberOf(running.primary)]!;
    this.note(`${running.id} ends with ${report.exitCode}: ${report.error?.code ?? ""}`);
    for (const error of [report.error, ...report.results.map((result) => result.error)]) {
      if (error === undefined) continue;
      for (const name of rareEvents.of(error, owner.hostile)) this.event(name);
      if (error.code === "internal")
        this.oracle.fail(
          `${secondary.name}: a fault of the program: ${(error.cause as Error | undefined)?.stack ?? error.message}`,
        );
      if (!owner.hostile && (error.code === "protocol" || error.code === "verification"))
        this.oracle.fail(`${secondary.name}: an honest primary is accused: ${error.message}`);
    }
    const run = { name: secondary.name, owner, id: report.runId, startedMs: running.startedMs };
    for (const result of report.results) this.oracle.atResult(run, result, secondary.db.tables);
    for (const warning of report.warnings) this.event(warning.replace(/\d+/g, "n").slice(0, 60));
    // A token may run out after each slice; apart from that there is one try.
    if (running.options.retryForSeconds === 0 && running.logins > 2 + report.results.length)
      this.oracle.fail(`${running.id} logged in ${running.logins} times, and was not to try again`);
    if (report.exitCode === 0 && !report.rehearsal) {
      const { tables } = secondary.db;
      this.oracle.atSuccess(run, this.companyOf(secondary), tables, running.primary.tables);
    }
    if (secondary.running.size === 0) {
      for (const name of secondary.pool.kept) this.oracle.fail(`${secondary.name}: lock ${name} is kept after a run`);
      if (secondary.pool.busy) this.oracle.fail(`${secondary.name}: a transaction is left open after a run`);
    }
  }

  /** Nothing may be left over when everybody is done. */
  checkEnd(): void {
    if (this.connections.length > 0) this.oracle.fail(`${this.connections.length} connections are left`);
    for (const secondary of this.secondaries) {
      if (secondary.running.size > 0) this.oracle.fail(`${secondary.name} still runs`);
      this.oracle.atEnd(secondary.name, secondary.db.tables);
    }
    for (const { db } of [...this.primaries, ...this.secondaries])
      if (db.locks.kept.length > 0) this.oracle.fail(`${db.name}: locks are left: ${db.locks.kept[0]!.name}`);
    if (this.clock.planned > 0) this.oracle.fail(`${this.clock.planned} timers are left`);
  }

  #build(): void {
    const { plan, clock } = this;
    const random = (n: number) => new Random(plan.seed * 31 + n);
    const watcher: Watcher = {
      event: this.event,
      sent: (data) => {
        for (const name of namesOf(data)) this.event(name);
      },
      buffered: (bytes, largest) => {
        if (bytes > windowBytes + 2 * largest) this.oracle.fail(`${bytes} bytes wait in a connection`);
      },
    };
    for (const [i, { hostile }] of plan.primaries.entries()) {
      const owner = { id: idOf(1, i), number: i, hostile };
      const db = new SimDatabase(`primary ${i}`, clock, random(i), plan.dbMs, true);
      db.onEvent = this.event;
      db.onCommit = (_session, before, changes) => {
        this.note(`commit at primary ${i}`);
        this.oracle.atPrimary(owner, before, db.tables, changes);
      };
      db.onCrash = (before, after) => this.oracle.atCrash(db.name, before, after);
      const node: PrimaryNode = new PrimaryNode(
        owner.id as CompanyId,
        db,
        plan.tokenMs,
        (port, company, expired) => this.oracle.watch(owner, () => db.tables, port, company, expired),
        this.event,
      );
      this.owners.push(owner);
      this.primaries.push(node);
    }
    for (const i of plan.secondaries.keys()) {
      const name = `secondary ${i}`;
      const db = new SimDatabase(name, clock, random(10 + i), plan.dbMs, true);
      db.onEvent = this.event;
      db.onCommit = (session, before, changes) => {
        const by = session.purpose;
        this.note(`commit at ${name} by ${by}`);
        // What a commit that went on alone was allowed is not known any more.
        const alone = !db.sessions.has(session as Connected);
        const allowed = [...node.running].some((run) => run.primary.id === by && run.options.allowDrops);
        const mayDrop = by === "operator" || alone || allowed;
        this.oracle.atSecondary(name, by, before, db.tables, changes, mayDrop);
      };
      db.onCrash = (before, after) => this.oracle.atCrash(name, before, after);
      const lie = listTamperer(random(30 + i), this.event);
      const node: SecondaryNode = new SecondaryNode(
        name,
        db,
        random(20 + i),
        plan.netMs,
        limits,
        watcher,
        (answer, primary) => (this.owners[this.numberOf(primary)]!.hostile ? lie(answer) : answer),
        (connection, primary) => {
          this.connections.push(connection);
          void Promise.all([connection.primary.gone, connection.secondary.gone]).then(() =>
            this.connections.splice(this.connections.indexOf(connection), 1),
          );
          if (this.owners[this.numberOf(primary)]!.hostile)
            connection.primary.tamper = tamperer(new Random(plan.seed + this.nextVersion()), this.event);
        },
      );
      this.secondaries.push(node);
    }
  }
}
