/** A secondary in the simulation: runs of the program, against databases, primaries and a clock that are simulated. */
import type { App } from "../../src/app.ts";
import type { Company } from "../../src/companies/company.ts";
import { SandpiperError } from "../../src/errors.ts";
import { OfferList } from "../../src/sync/protocol/offer-list.ts";
import type { RunOptions } from "../../src/sync/protocol/run-options.ts";
import type { Outside } from "../../src/sync/run/outside.ts";
import type { PartnerReport } from "../../src/sync/run/report.ts";
import { runPartner } from "../../src/sync/run/run-partner.ts";
import type { Wire } from "../../src/sync/transport/channel.ts";
import type { Login, Offers } from "../../src/sync/transport/primary-client.ts";
import type { Random } from "../harness/random.ts";
import { Connection, type Watcher } from "./network.ts";
import type { ListAnswer, PrimaryNode } from "./primary-node.ts";
import type { SimDatabase } from "./sim-database.ts";
import { SimPool } from "./sim-pool.ts";

export interface Limits {
  max_grains: number;
  max_grain_bytes: number;
  max_subscriptions: number;
}

/** A run that goes on. */
export interface Running {
  primary: PrimaryNode;
  /** For messages and traces. */
  id: string;
  startedMs: number;
  options: RunOptions;
  /** How often it has logged in. */
  logins: number;
  connections: Set<Connection>;
  /** Requests that wait for an answer. */
  requests: Set<(error: SandpiperError) => void>;
}

const gone = () => new SandpiperError("network", "the connection to the primary was lost");
const never = <T>() => new Promise<T>(() => {});

export class SecondaryNode {
  pool: SimPool;
  readonly running = new Set<Running>();
  /** Are told when the process has died. */
  readonly onKill = new Set<() => void>();
  /** The API keys that it shows, by primary. */
  readonly apiKeys = new Map<PrimaryNode, string>();
  #runs = 0;

  constructor(
    readonly name: string,
    readonly db: SimDatabase,
    private readonly random: Random,
    private readonly netMs: number,
    private readonly limits: Limits,
    private readonly watcher: Watcher,
    /** What becomes of a list of subscriptions on its way. */
    private readonly tamper: (answer: ListAnswer, primary: PrimaryNode) => ListAnswer,
    /** A connection was made: somebody may want to do something to it. */
    private readonly onConnect: (connection: Connection, primary: PrimaryNode) => void,
  ) {
    this.pool = new SimPool(db, name);
  }

  /** `sandpiper sync` with one primary. @returns its report, unless the process dies first. */
  async run(
    primary: PrimaryNode,
    options: RunOptions,
    onEnd: (running: Running, report: PartnerReport) => void,
  ): Promise<void> {
    const id = `${this.name}-${++this.#runs}`;
    const running: Running = {
      primary,
      id,
      startedMs: this.db.clock.nowMs,
      options,
      logins: 0,
      connections: new Set(),
      requests: new Set(),
    };
    this.running.add(running);
    const pool = this.pool;
    const app = {
      db: pool.handle(primary.id),
      config: { limits: this.limits, database: { url: "simulated" }, sync: { idle_seconds: 20 }, data: "" },
    } as unknown as App;
    const company = { id: primary.id, name: `primary ${primary.id}` } as Company;
    const runId = `00000000-0000-4000-8${this.name.slice(-1).padStart(3, "0")}-${String(this.#runs).padStart(12, "0")}`;
    const report = await runPartner(app, company, { runId, options }, () => this.#outside(running));
    this.running.delete(running);
    onEnd(running, report);
  }

  /** The process dies in the middle of whatever it does. */
  kill(): void {
    this.pool.kill();
    for (const { connections } of this.running) for (const { secondary } of connections) secondary.kill();
    this.running.clear();
    this.pool = new SimPool(this.db, this.name);
    for (const tell of this.onKill) tell();
    this.onKill.clear();
  }

  #outside(running: Running): Outside {
    const { clock } = this.db;
    const { primary } = running;
    return {
      login: () => {
        running.logins++;
        return this.#request(running, () => primary.login(this.apiKeys.get(primary)!));
      },
      offers: async ({ token, companyId }: Login, etag): Promise<Offers> => {
        const answer = await this.#request(running, () => primary.offers(token, etag));
        const { body, etag: given } = this.tamper(answer, primary);
        if (body === null) return { rows: null, etag };
        const list = new OfferList(companyId, this.limits.max_subscriptions);
        list.take(Buffer.from(body));
        return { rows: list.end(), etag: given };
      },
      connect: ({ token }: Login) =>
        this.#request<Wire>(running, async () => {
          const connection = new Connection(clock, this.random, this.netMs, this.watcher, (ended) =>
            running.connections.delete(ended),
          );
          primary.accept(token, connection);
          running.connections.add(connection);
          this.onConnect(connection, primary);
          return connection.secondary;
        }),
      nowMs: () => clock.nowMs,
      random: () => this.random.next(),
      wait: async (ms) => {
        await clock.wait(ms);
        if (!this.running.has(running)) await never();
      },
    };
  }

  /** A request over HTTP: there, done, and back, unless something comes between. */
  async #request<T>(running: Running, work: () => Promise<T>): Promise<T> {
    const { clock } = this.db;
    const { primary } = running;
    const alive = () => this.running.has(running);
    const travel = () => clock.wait(-Math.log(1 - this.random.next()) * this.netMs);
    await travel();
    if (!alive()) return never();
    if (!primary.up) throw new SandpiperError("network", "nothing listens there");
    const { generation } = primary;
    let fail: (error: SandpiperError) => void = () => {};
    const broken = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    broken.catch(() => {});
    running.requests.add(fail);
    try {
      const died = clock.after(30_000, () => fail(new SandpiperError("timeout", "the primary said nothing")));
      const result = work();
      result.catch(() => {});
      const answer = await Promise.race([result, broken]).finally(died);
      await Promise.race([travel(), broken]);
      if (!alive()) return never();
      if (primary.generation !== generation) throw gone();
      return answer;
    } catch (error) {
      if (!alive()) return never();
      throw error;
    } finally {
      running.requests.delete(fail);
    }
  }
}
