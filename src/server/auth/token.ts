/** Tokens that this server gives out and takes back. The only file that knows jsonwebtoken. */
import { createSecretKey, type KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import * as z from "zod";
import { roles } from "../../companies/company.ts";
import type { Config } from "../../config/config.ts";
import { requireSecret } from "../../config/secrets.ts";
import { SandpiperError } from "../../errors.ts";
import type { CompanyId } from "../../ids.ts";

/** Who a request is from. */
export interface Identity {
  companyId: CompanyId;
  /** A number of `roles` (companies/company.ts). */
  role: number;
  /** Set for people. */
  userId?: number;
  /** Set for people: `users.token_stamp` at their login. Without it a person's token is good for nothing. */
  stamp?: string;
  /** Set for partners: the API key that they logged in with. */
  keyId?: string;
  /** The user's name, or the partner's. */
  name: string;
  email?: string;
  expiresAt: Date;
}

export interface TokenKey {
  readonly key: KeyObject;
  /** Our server id: a token of another primary is not ours, even if both had one key. */
  readonly issuer: string;
}

const audience = "sandpiper";
const lifetimeSeconds = 15 * 60;
/** How far a clock of another server process may be ahead of ours. */
const skewSeconds = 60;
const maxTokenLength = 4096;

// Nothing that names another key (kid, jwk, jku, x5c ...) or changes the meaning (crit) is taken.
const headerSchema = z.strictObject({ alg: z.literal("HS256"), typ: z.literal("JWT") });

const claimsSchema = z.object({
  c: z.guid().toLowerCase(),
  r: z.literal(Object.values(roles)),
  /** The user's number; 0 for a partner. */
  id: z.int().min(0),
  u: z.string(),
  e: z.string().optional(),
  k: z.guid().optional(),
  /** The stamp of a user's login. */
  s: z.guid().optional(),
  sub: z.string(),
  iat: z.int(),
  exp: z.int(),
});

/** @throws `config` when secrets.token_key is missing. */
export function createTokenKey(config: Config, serverId: string): TokenKey {
  // A KeyObject: with plain bytes every signature would derive the key anew (1.2 ms where this takes 16 us).
  return { key: createSecretKey(requireSecret(config, "token_key")), issuer: serverId };
}

/** A token for whoever has just logged in, valid for 15 minutes. */
export function signToken(
  { key, issuer }: TokenKey,
  identity: Omit<Identity, "expiresAt">,
): { token: string; expiresAt: Date } {
  const iat = Math.floor(Date.now() / 1000);
  const exp = iat + lifetimeSeconds;
  const claims = {
    c: identity.companyId,
    r: identity.role,
    id: identity.userId ?? 0,
    u: identity.name,
    ...(identity.email === undefined ? {} : { e: identity.email }),
    ...(identity.keyId === undefined ? {} : { k: identity.keyId }),
    ...(identity.stamp === undefined ? {} : { s: identity.stamp }),
    iat,
    exp,
  };
  const subject = identity.keyId ?? String(identity.userId);
  const token = jwt.sign(claims, key, { algorithm: "HS256", issuer, audience, subject });
  return { token, expiresAt: new Date(exp * 1000) };
}

/** Who the token speaks for. Whether that still holds is for the database to say (authenticate.ts). @throws `auth` on any fault. */
export function verifyToken({ key, issuer }: TokenKey, text: string): Identity {
  try {
    if (text.length > maxTokenLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) throw new Error("not a compact JWT");
    const { header, payload } = jwt.verify(text, key, { algorithms: ["HS256"], issuer, audience, complete: true });
    headerSchema.parse(header);
    const claims = claimsSchema.parse(payload);
    if (claims.iat > Date.now() / 1000 + skewSeconds) throw new Error("issued in the future");
    if (claims.exp - claims.iat > lifetimeSeconds) throw new Error("valid for too long");
    const partner = claims.r === roles.sync;
    if (partner !== (claims.k !== undefined) || partner === claims.id > 0) throw new Error("neither user nor partner");
    return {
      companyId: claims.c as CompanyId,
      role: claims.r,
      ...(partner ? { keyId: claims.k! } : { userId: claims.id }),
      ...(claims.s === undefined ? {} : { stamp: claims.s }),
      name: claims.u,
      ...(claims.e === undefined ? {} : { email: claims.e }),
      expiresAt: new Date(claims.exp * 1000),
    };
  } catch (cause) {
    throw invalidToken(cause);
  }
}

/** One text for every fault, so that nobody learns which it was. */
export const invalidToken = (cause?: unknown) =>
  new SandpiperError("auth", "the token is not valid", { cause, hint: "Log in again." });
