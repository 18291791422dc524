/** POST /login: a partner shows its API key, a person name and password; both get a token. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Router } from "express";
import * as z from "zod";
import { parseApiKey, secretMatches } from "../../companies/api-key.ts";
import { roles } from "../../companies/company.ts";
import { findApiKey, findCompany, markKeyUsed } from "../../companies/company-store.ts";
import { authenticateUser } from "../../companies/user-store.ts";
import { SandpiperError } from "../../errors.ts";
import { nameKey } from "../../names.ts";
import { step } from "../../step.ts";
import { type Attempt, LoginLimit } from "../auth/login-limit.ts";
import { type Identity, signToken } from "../auth/token.ts";
import type { ServerContext } from "../context.ts";
import { clientAddress, rateKey } from "../http/client-address.ts";
import { ok, publicEndpoint, resource } from "./endpoint.ts";

const slowMs = 1000;

const text = z
  .string()
  .max(1000)
  .nullish()
  .transform((given) => given ?? "");

const loginInput = z.strictObject({
  username: text,
  password: text,
  "sync-api-key": text,
  /** Clients of the specification send it; it says nothing to us. */
  plandocument: z.string().max(4000).nullish(),
});
type LoginInput = z.infer<typeof loginInput>;

type Claimant = Omit<Identity, "expiresAt">;

// However a login fails: the same bytes.
const refused = () =>
  new SandpiperError("auth", "the login is refused", {
    hint: "Check the API key, or name and password; ask the other side whether it is active.",
  });

export function loginRoutes(router: Router, context: ServerContext): void {
  const limits = { keys: new LoginLimit("keys"), people: new LoginLimit("people") };
  resource(router, context, "/login", {
    post: publicEndpoint({
      body: loginInput,
      handle: async ({ body, request, wanted }) => {
        const address = rateKey(clientAddress(request, context.trustedProxies));
        const apiKey = body["sync-api-key"];
        const login =
          apiKey === ""
            ? loginPerson(context, limits.people, body, address, wanted)
            : context.lines.keys.use(address, wanted, () => checkKey(context, limits.keys, apiKey, address));
        const claimant = await login.catch(async (error) => {
          // Who fails without an end is to wait for it: as often as it likes would be a flood.
          const limit = apiKey === "" ? limits.people : limits.keys;
          if (await limit.slows({ address })) await sleep(slowMs, undefined, { signal: wanted }).catch(() => {});
          throw error;
        });
        step("p.login");
        const { token, expiresAt } = signToken(context.tokenKey, claimant);
        return ok({
          token,
          expires: expiresAt.toISOString(),
          server_id: context.app.server.serverId,
          company_id: claimant.companyId,
        });
      },
    }),
  });
}

/** With and without its company a name is one, and so is what is taken for a company by mistake. */
const guessedName = (username: string) => nameKey(username.split("@", 1)[0]!);

async function loginPerson(
  context: ServerContext,
  limit: LoginLimit,
  body: LoginInput,
  address: string,
  wanted: AbortSignal,
): Promise<Claimant> {
  const attempt = { name: guessedName(body.username), address };
  // Before the line, where whoever guesses would only be in the way; and again in its place, for others of its may have failed meanwhile.
  await limit.check(attempt);
  // Whoever is known at an address does not stand in line behind those who are not.
  const who = limit.knows(attempt) ? `known ${address}` : address;
  return context.lines.passwords.use(who, wanted, () => limited(limit, attempt, () => checkPassword(context, body)));
}

async function limited(
  limit: LoginLimit,
  attempt: Attempt,
  check: () => Promise<Claimant | undefined>,
): Promise<Claimant> {
  await limit.check(attempt);
  const claimant = await check();
  if (claimant === undefined) {
    await limit.failed(attempt);
    throw refused();
  }
  limit.succeeded(attempt);
  return claimant;
}

async function checkPassword(
  { app }: ServerContext,
  { username, password }: LoginInput,
): Promise<Claimant | undefined> {
  const user = await authenticateUser(app.db, username, password);
  if (user === undefined) return undefined;
  const { companyId, role, id: userId, stamp, name, email } = user;
  return { companyId, role, userId, stamp, name, email };
}

function checkKey(context: ServerContext, limit: LoginLimit, apiKey: string, address: string): Promise<Claimant> {
  const { db } = context.app;
  const parsed = parseApiKey(apiKey);
  return limited(limit, { name: parsed?.keyId ?? "", address }, async () => {
    if (parsed === undefined) return undefined;
    const stored = await findApiKey(db, parsed.keyId);
    const right = secretMatches(parsed.secret, stored?.secretHmac, context.apiKeyHmac);
    if (!right || stored === undefined || !stored.companyActive) return undefined;
    await markKeyUsed(db, parsed.keyId);
    const company = await findCompany(db, stored.companyId);
    return { companyId: stored.companyId, role: roles.sync, keyId: parsed.keyId, name: company?.name ?? "" };
  });
}
