/** What every service of the daemon works with: made once, by its assembly. */
import { randomBytes } from "node:crypto";
import type { BlockList } from "node:net";
import type { App } from "../app.ts";
import { requireSecret } from "../config/secrets.ts";
import { createTokenKey, type TokenKey } from "./auth/token.ts";
import { proxyList } from "./http/client-address.ts";
import { RequestLines } from "./http/request-lines.ts";
import { WaitingConnections } from "./http/waiting-connections.ts";

export interface ServerContext {
  readonly app: App;
  /** Signs and checks the tokens of this server. */
  readonly tokenKey: TokenKey;
  /** Keys the HMAC of partners' API keys. */
  readonly apiKeyHmac: Buffer;
  /** Proxies whose word about a client's address is taken. */
  readonly trustedProxies: BlockList;
  /** Where requests wait for their turn. */
  readonly lines: RequestLines;
  /** What strangers hold. */
  readonly waiting: WaitingConnections;
  /** Aborted when the daemon begins to stop: from then on it takes no new work. */
  readonly stopping: AbortSignal;
}

/** @throws `config` when a secret is missing. */
export function createContext(app: App, stopping: AbortSignal): ServerContext {
  const { config, server } = app;
  const trustedProxies = proxyList(config.server.trusted_proxies);
  return {
    app,
    tokenKey: createTokenKey(config, server.serverId),
    // Only a primary gives out API keys; elsewhere a key of chance lets none match.
    apiKeyHmac: server.role === "primary" ? requireSecret(config, "api_key_hmac") : randomBytes(32),
    trustedProxies,
    lines: new RequestLines(config.database.pool_size),
    waiting: new WaitingConnections(app.log, trustedProxies),
    stopping,
  };
}
