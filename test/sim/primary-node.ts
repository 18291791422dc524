/** A primary in the simulation: the program's own session, adapter and store, behind a login and a list as the server gives them. */
import { asSandpiperError, meanings, SandpiperError } from "../../src/errors.ts";
import type { CompanyId } from "../../src/ids.ts";
import { readOffers } from "../../src/subscriptions/offer-store.ts";
import { PrimaryAdapter } from "../../src/sync/primary/primary-adapter.ts";
import { PrimaryDesk } from "../../src/sync/primary/primary-desk.ts";
import { drive } from "../../src/sync/protocol/effects.ts";
import type { PrimaryPort } from "../../src/sync/protocol/primary-port.ts";
import { primarySession } from "../../src/sync/protocol/primary-session.ts";
import type { Login } from "../../src/sync/transport/primary-client.ts";
import type { Connection } from "./network.ts";
import type { SimDatabase } from "./sim-database.ts";
import { SimPool } from "./sim-pool.ts";
import type { Tables } from "./tables.ts";

/** How soon a right that was taken away is noticed on an open connection. */
const recheckMs = 2000;

/** The answer to a request for the list of subscriptions: its body as JSON, null for 304. */
export interface ListAnswer {
  body: string | null;
  etag: string;
}

interface Identity {
  company: CompanyId;
  apiKey: string;
  expiresMs: number;
}

const refused = (code: "auth" | "network", message: string) => new SandpiperError(code, message);

export class PrimaryNode {
  up = true;
  /** Goes up when the process starts anew. */
  generation = 0;
  pool: SimPool;
  readonly connections = new Set<Connection>();
  #desk: PrimaryDesk;
  #tokens = new Map<string, Identity>();
  #nextToken = 1;

  constructor(
    readonly id: CompanyId,
    readonly db: SimDatabase,
    /** Milliseconds that a token is good for. */
    public tokenMs: number,
    /** Watches what leaves for a partner. */
    private readonly watch: (port: PrimaryPort, company: string, expired: () => boolean) => PrimaryPort,
    private readonly onEvent: (name: string) => void,
  ) {
    this.pool = new SimPool(db, `primary ${id}`);
    this.#desk = this.#newDesk();
  }

  #newDesk(): PrimaryDesk {
    return new PrimaryDesk(this.pool.database, () => this.db.clock.nowMs);
  }

  get tables(): Tables {
    return this.db.tables;
  }

  async login(apiKey: string): Promise<Login> {
    const company = [...this.tables.companies.values()].find((one) => one.apiKey === apiKey);
    if (company === undefined || !company.active) throw refused("auth", "the API key is not valid");
    const token = `token ${this.#nextToken++}`;
    const expiresMs = this.db.clock.nowMs + this.tokenMs;
    this.#tokens.set(token, { company: company.id as CompanyId, apiKey, expiresMs });
    return { token, serverId: this.id, companyId: company.id };
  }

  /** As server/rest/sync-subs.ts. */
  async offers(token: string, etag: string | null): Promise<ListAnswer> {
    const { company } = this.#identity(token);
    const known = etag === null ? undefined : etag.slice(1, -1);
    const { name, offers } = await readOffers(this.pool.database.as({ company }), company, known, 1000);
    if (offers === null) {
      this.onEvent("the list of subscriptions is the same");
      return { body: null, etag: `"${name}"` };
    }
    const list = offers.map(({ slice, id, name, description, active }) => ({
      id,
      company_id: company,
      name,
      description,
      active,
      slice: { id: slice.id, slice_name: slice.name, slice_type: slice.type },
    }));
    return { body: JSON.stringify(list), etag: `"${name}"` };
  }

  /** As server/upgrade.ts. @throws `auth` before there is a session. */
  accept(token: string, connection: Connection): void {
    const identity = this.#identity(token);
    this.connections.add(connection);
    void this.#serve(identity, connection);
  }

  async #serve(identity: Identity, connection: Connection): Promise<void> {
    const { clock } = this.db;
    const channel = connection.primary;
    const expired = () => clock.nowMs >= identity.expiresMs;
    const onFailure = () => this.onEvent("a primary notes why it could not serve");
    const adapter = new PrimaryAdapter(this.pool.database, this.#desk, identity.company, channel, expired, onFailure);
    let stop = () => {};
    const { generation } = this;
    const recheck = () => {
      if (this.generation !== generation) return; // its process has died
      adapter.closeIfExpired();
      if (!this.#valid(identity)) {
        this.onEvent("a partner that lost its right is cut off");
        void channel.close(meanings.auth.close, "not authorised any more");
      }
      stop = clock.after(recheckMs, recheck);
    };
    stop = clock.after(recheckMs, recheck);
    try {
      const facts = { serverId: this.id, companyId: identity.company, maxSlices: 1000 };
      await drive(primarySession(facts), this.watch(adapter, identity.company, expired));
      await channel.close(1000);
    } catch (thrown) {
      const error = asSandpiperError(thrown);
      const { close, http } = meanings[error.code];
      if (error.code === "internal") this.onEvent(`FAULT ${(error.cause as Error)?.stack ?? error.message}`);
      await channel.close(close, http < 500 ? error.message.slice(0, 100) : "");
    } finally {
      stop();
      this.connections.delete(connection);
    }
  }

  /** The process dies; whoever was connected hears that the connection is gone. */
  kill(): void {
    if (!this.up) return;
    this.up = false;
    this.generation++;
    this.pool.kill();
    for (const connection of this.connections) connection.primary.kill();
    this.connections.clear();
  }

  start(): void {
    this.up = true;
    this.pool = new SimPool(this.db, `primary ${this.id}`);
    this.#desk = this.#newDesk();
  }

  #valid({ company, apiKey }: Identity): boolean {
    const row = this.tables.companies.get(company);
    return row?.active === true && row.apiKey === apiKey;
  }

  #identity(token: string): Identity {
    const identity = this.#tokens.get(token);
    if (identity === undefined || identity.expiresMs <= this.db.clock.nowMs || !this.#valid(identity))
      throw refused("auth", "the token is not valid");
    return identity;
  }
}
