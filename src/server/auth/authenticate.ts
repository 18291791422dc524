/** From a request to who sent it; the same for REST and for the websocket upgrade. */
import type { IncomingMessage } from "node:http";
import type { App } from "../../app.ts";
import { keyStillValid } from "../../companies/company-store.ts";
import { userStillValid } from "../../companies/user-store.ts";
import { SandpiperError } from "../../errors.ts";
import { scopeOf } from "../../operations/actor.ts";
import { type Identity, invalidToken, type TokenKey, verifyToken } from "./token.ts";

/** What knows who somebody is; a ServerContext is one. */
export interface Authority {
  readonly app: App;
  readonly tokenKey: TokenKey;
}

/** How soon, in milliseconds, work that goes on notices that the token it was begun with is ended. */
export const recheckMs = 2000;

/**
 * Who sent the request, by its `Authorization: Bearer` header and, each time, by the database: a switched-off company or user,
 * a revoked key and a new password end it at once, whatever the token says.
 *
 * @throws `auth` when there is no token or it is not valid any more.
 */
export async function authenticateRequest(request: IncomingMessage, context: Authority): Promise<Identity> {
  const identity = claimedIdentity(request, context);
  await requireStillValid(identity, context);
  return identity;
}

/** Whom the token of a request speaks for: one that we have signed, and that has not run out. @throws `auth` when there is none. */
export function claimedIdentity(request: IncomingMessage, context: Authority): Identity {
  const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "");
  if (match === null) {
    throw new SandpiperError("auth", "this needs a token", {
      hint: "POST /login, then send Authorization: Bearer TOKEN.",
    });
  }
  return verifyToken(context.tokenKey, match[1]!);
}

/** @throws `auth` unless what the token says still holds. */
export async function requireStillValid(identity: Identity, context: Authority): Promise<void> {
  if (!(await identityStillValid(identity, context))) throw invalidToken();
}

/** Whether what the token says still holds, for a connection that outlives its first request. Ignores the token's own end. */
export async function identityStillValid(identity: Identity, { app }: Authority): Promise<boolean> {
  // As what follows, so that one connection serves both without being told anew for whom.
  const db = app.db.as(scopeOf(identity));
  if (identity.keyId !== undefined) return keyStillValid(db, identity.keyId, identity.companyId);
  const { userId, stamp, companyId, role } = identity;
  if (userId === undefined || stamp === undefined) return false;
  return userStillValid(db, { userId, stamp, companyId, role });
}
