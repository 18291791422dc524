/** What a run needs besides its database: the primary, the clock, and chance. */
import { setTimeout as sleep } from "node:timers/promises";
import type { App } from "../../app.ts";
import { openApiKey } from "../../companies/api-key.ts";
import type { Company } from "../../companies/company.ts";
import { readSealedKey } from "../../companies/company-store.ts";
import type { SyncTarget } from "../../companies/sync-address.ts";
import { requireSecret } from "../../config/secrets.ts";
import { SandpiperError } from "../../errors.ts";
import type { Wire } from "../transport/channel.ts";
import { connectChannel } from "../transport/connect.ts";
import { fetchOffers, type Login, login, type Offers, type Traffic } from "../transport/primary-client.ts";

export interface Outside {
  /** Logs in with the primary's API key. */
  login(): Promise<Login>;
  /** @param etag of the list that was applied last. */
  offers(credentials: Login, etag: string | null): Promise<Offers>;
  connect(credentials: Login): Promise<Wire>;
  /** A clock that never goes back. */
  nowMs(): number;
  /** From 0 to 1. */
  random(): number;
  wait(ms: number): Promise<void>;
}

/** The real one. */
export class Internet implements Outside {
  constructor(
    private readonly app: App,
    private readonly company: Company,
    private readonly traffic: Traffic,
    private readonly signal: AbortSignal | undefined,
  ) {}

  async login(): Promise<Login> {
    const { app, company } = this;
    const sealed = await readSealedKey(app.db, company.id);
    if (sealed === undefined || company.syncAddr === null) {
      throw new SandpiperError("auth", `no API key or address is stored for ${company.name}`, {
        hint: `Store them with \`sandpiper company rekey ${JSON.stringify(company.name)} --api-key-file FILE --sync-addr URL\`.`,
      });
    }
    const apiKey = openApiKey(sealed, company.id, requireSecret(app.config, "partner_key"));
    return login(this.#target, apiKey, this.traffic, this.signal);
  }

  offers(credentials: Login, etag: string | null): Promise<Offers> {
    const most = this.app.config.limits.max_subscriptions;
    return fetchOffers(this.#target, credentials, etag, most, this.traffic, this.signal);
  }

  connect(credentials: Login): Promise<Wire> {
    const { sync, limits } = this.app.config;
    return connectChannel(
      this.#target,
      credentials.token,
      limits.max_subscriptions,
      sync.idle_seconds * 1000,
      this.traffic,
      this.signal,
    );
  }

  nowMs(): number {
    return performance.now();
  }

  random(): number {
    return Math.random();
  }

  async wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal });
  }

  get #target(): SyncTarget {
    return { url: this.company.syncAddr!, mayBePrivate: this.company.syncPrivate };
  }
}
