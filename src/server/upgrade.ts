/** `GET /sync`: a partner's request becomes a websocket, and a primary session serves it. The server's end of `ws` is made here. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { aborted } from "../aborted.ts";
import { roles } from "../companies/company.ts";
import { asSandpiperError, meanings, SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { PrimaryAdapter } from "../sync/primary/primary-adapter.ts";
import { PrimaryDesk } from "../sync/primary/primary-desk.ts";
import { drive } from "../sync/protocol/effects.ts";
import { compareSize } from "../sync/protocol/limits.ts";
import { subprotocol } from "../sync/protocol/messages.ts";
import { primarySession } from "../sync/protocol/primary-session.ts";
import { Channel, socketOptions } from "../sync/transport/channel.ts";
import { authenticateRequest, identityStillValid, recheckMs } from "./auth/authenticate.ts";
import type { Identity } from "./auth/token.ts";
import type { ServerContext } from "./context.ts";
import { clientAddress } from "./http/client-address.ts";
import { checkFraming, splitAddress } from "./http/framing.ts";
import { noSuchAddress, RequestError, refuseSocket, stopping } from "./http/problem.ts";
import { SyncLine } from "./sync-line.ts";

const socketsPerPartner = 5;

export interface Syncs {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Lets sessions end by themselves until `over` is aborted, then closes them. As soon as the server is stopping, who waits is sent away, and what is new is refused. */
  stop(over: AbortSignal): Promise<void>;
}

/** The sessions of partners: a service of the daemon. */
export function createSyncs(context: ServerContext): Syncs {
  const sockets = new WebSocketServer({
    ...socketOptions(compareSize(context.app.config.limits.max_subscriptions).bytes),
    noServer: true,
    clientTracking: false,
    handleProtocols: () => subprotocol,
  });
  const perPartner = new Map<string, number>();
  const sessions = new Map<Channel, Promise<void>>();
  const desk = new PrimaryDesk(context.app.db, () => performance.now());
  const line = new SyncLine(context.app.config.server.max_syncs);
  void aborted(context.stopping).then(() => line.dissolve());

  const serve = async (channel: Channel, identity: Identity): Promise<void> => {
    const { app } = context;
    const log = app.log.child({ company_id: identity.companyId, company: identity.name });
    let adapter: PrimaryAdapter | undefined;
    const watch = setInterval(() => {
      adapter?.closeIfExpired();
      stillPermitted(identity, channel, adapter).then(
        (permitted) => {
          if (!permitted) void channel.close(meanings.auth.close, "not authorised any more");
        },
        () => {}, // the database is away: the session notices by itself
      );
    }, recheckMs);
    const cameMs = performance.now();
    let leave: (() => void) | undefined;
    try {
      leave = await line.enter(channel, identity.companyId);
      // What it stood in line does not count against its token.
      const waitedMs = Math.round(performance.now() - cameMs);
      const expired = () => Date.now() >= identity.expiresAt.getTime() + waitedMs;
      const onFailure = (sliceId: string, { code, message, hint, cause }: SandpiperError) =>
        log.error({ event: "sync.slice_failed", slice_id: sliceId, code, reason: message, hint, err: cause });
      adapter = new PrimaryAdapter(app.db, desk, identity.companyId, channel, expired, onFailure);
      log.info({ event: "sync.opened", waited_ms: waitedMs });
      step("p.begin");
      await drive(
        primarySession({
          serverId: app.server.serverId,
          companyId: identity.companyId,
          maxSlices: app.config.limits.max_subscriptions,
        }),
        adapter,
      );
      await channel.close(1000);
      log.info({ event: "sync.ended", ...adapter.counters() });
    } catch (thrown) {
      const error = asSandpiperError(thrown);
      const { close, http } = meanings[error.code];
      // What is told to a partner is about what it did; our own troubles stay here.
      await channel.close(close, http < 500 ? error.message.slice(0, 100) : "");
      log[http === 500 ? "error" : "warn"]({
        event: "sync.failed",
        code: error.code,
        reason: error.message,
        ...adapter?.counters(),
        ...(http === 500 ? { err: error.cause ?? error } : {}),
      });
    } finally {
      leave?.();
      clearInterval(watch);
    }
  };

  /** A partner that is behind is asked about here: its session waits, and cannot look by itself. */
  const stillPermitted = async (identity: Identity, channel: Channel, adapter: PrimaryAdapter | undefined) =>
    (await identityStillValid(identity, context)) && (!channel.blocked || adapter === undefined || adapter.mayHave());

  const accept = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const identity = await checkRequest(request, context);
    // Its "close" has been and gone if the peer hung up meanwhile: then nothing would ever free the place.
    if (socket.destroyed) return;
    if (context.stopping.aborted) throw stopping();
    const open = perPartner.get(identity.companyId) ?? 0;
    if (open >= socketsPerPartner)
      throw new RequestError(429, "rate_limited", `a partner has at most ${socketsPerPartner} connections at once`);
    line.check(identity.companyId);
    perPartner.set(identity.companyId, open + 1);
    const leave = () => {
      const left = (perPartner.get(identity.companyId) ?? 1) - 1;
      if (left > 0) perPartner.set(identity.companyId, left);
      else perPartner.delete(identity.companyId);
    };
    socket.once("close", leave);
    sockets.handleUpgrade(request, socket, head, (websocket) => {
      const channel = new Channel(websocket, {
        idleMs: context.app.config.sync.idle_seconds * 1000,
        peer: "the secondary",
      });
      const session = serve(channel, identity).finally(() => sessions.delete(channel));
      sessions.set(channel, session);
    });
  };

  return {
    upgrade: (request, socket, head) => {
      socket.on("error", () => {});
      const peer = clientAddress(request, context.trustedProxies); // a closed socket has none
      accept(request, socket, head).catch((error) => {
        context.app.log.warn({
          event: "sync.refused",
          peer,
          code: asSandpiperError(error).code,
          reason: asSandpiperError(error).message,
        });
        refuseSocket(socket, error);
      });
    },
    stop: async (over) => {
      const all = Promise.all(sessions.values());
      await Promise.race([all, aborted(over)]);
      await Promise.all(
        [...sessions.keys()].map((channel) => channel.close(meanings.terminated.close, "the server is stopping")),
      );
      await all;
    },
  };
}

/** Who asks, unless the request is to be refused for what it is; how many there are already is looked at by the caller, before the 101 too. */
async function checkRequest(request: IncomingMessage, context: ServerContext): Promise<Identity> {
  checkFraming(request);
  const [path] = splitAddress(request.url ?? "");
  if (path !== "/sync" && path !== "/v1/sync") throw noSuchAddress();
  if (request.method !== "GET") throw new SandpiperError("usage", "a websocket begins with GET");
  checkHandshake(request);
  if (request.headers.origin !== undefined) throw new RequestError(403, "forbidden", "browsers cannot sync");
  if (context.stopping.aborted) throw stopping();
  const identity = await authenticateRequest(request, context);
  if (context.app.server.role !== "primary")
    throw new SandpiperError("usage", "this server is a secondary; partners sync with primaries");
  if (identity.role !== roles.sync) throw new SandpiperError("forbidden", "only a partner's API key can sync");
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(subprotocol)) {
    throw new SandpiperError("usage", `the websocket must offer the subprotocol ${subprotocol}`, {
      hint: "The partner runs another major version of the protocol.",
    });
  }
  return identity;
}

/** What ws would refuse by itself: not in our words, and unseen by the log. */
function checkHandshake({ headers }: IncomingMessage): void {
  if (headers.upgrade?.toLowerCase() !== "websocket")
    throw new SandpiperError("usage", "this address takes only websockets");
  if (headers["sec-websocket-version"] !== "13") {
    throw new RequestError(426, "usage", "the websocket must be of version 13", {
      headers: { "sec-websocket-version": "13" },
    });
  }
  if (!/^[+/\w]{22}==$/.test(headers["sec-websocket-key"] ?? ""))
    throw new SandpiperError("usage", "the websocket's key is not valid");
}
