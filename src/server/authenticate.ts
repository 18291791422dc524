/** From a request to who sent it; the same for REST and for the websocket upgrade. */
import type { IncomingMessage } from "node:http";
import { SandpiperError } from "../errors.ts";
import { keyStillValid } from "../subscriptions/company-store.ts";
import { userStillValid } from "../subscriptions/user-store.ts";
import type { ServerContext } from "./server-context.ts";
import { type Identity, invalidToken, verifyToken } from "./token.ts";

/**
 * Who sent the request, by its `Authorization: Bearer` header and, each time, by the database: a switched-off company or user
 * and a revoked key end at once, whatever the token says.
 *
 * @throws `auth` when there is no token or it is not valid any more.
 */
export async function authenticateRequest(request: IncomingMessage, context: ServerContext): Promise<Identity> {
  const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "");
  if (match === null) {
    throw new SandpiperError("auth", "this needs a token", {
      hint: "POST /login, then send Authorization: Bearer TOKEN.",
    });
  }
  const identity = verifyToken(context.tokenKey, match[1]!);
  if (!(await identityStillValid(identity, context))) throw invalidToken();
  return identity;
}

/** Whether what the token says still holds, for a connection that outlives its first request. Ignores the token's own end. */
export async function identityStillValid(identity: Identity, { app }: ServerContext): Promise<boolean> {
  if (identity.keyId !== undefined) return keyStillValid(app.db, identity.keyId, identity.companyId);
  if (identity.userId !== undefined) return userStillValid(app.db, identity.userId, identity.role);
  return false;
}
