/** The server row, companies and API keys in the database. */
import { randomUUID } from "node:crypto";
import type { Database, Session } from "../database/database.ts";
import { violatedConstraint } from "../database/database-errors.ts";
import { prepared } from "../database/prepared.ts";
import { companyInScope, everything, type Scope, scopeValue } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type CompanyId, isUuid } from "../ids.ts";
import { checkName, nameKey } from "../names.ts";
import type { Page } from "../slices/slice-store.ts";
import { mintApiKey } from "./api-key.ts";
import type { Company, Server, ServerRole } from "./company.ts";
import type { SyncTarget } from "./sync-address.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

const columns = `c.id, c.name, c.active, c.sync_addr AS "syncAddr", c.sync_private AS "syncPrivate", c.created_at AS "createdAt", c.updated_at AS "updatedAt"`;

/** What this database is. @throws `config` before `init`. */
export async function readServer(db: Queries): Promise<Server> {
  const row = await db.one<Server>(
    `SELECT role, server_id AS "serverId", c.name AS "companyName" FROM server JOIN companies c ON c.id = server_id`,
  );
  if (row === undefined)
    throw new SandpiperError("config", "this database is not set up", { hint: "Run `sandpiper init`." });
  return row;
}

/** Sets up an empty database; through the owner's connection. @throws `conflict` when it is set up already as something else, `usage` for a bad name. */
export async function initServer(
  owner: Database,
  role: ServerRole,
  companyName: string,
  serverId?: string,
): Promise<Server> {
  checkName("company", companyName);
  return owner.transaction(async (tx) => {
    await tx.run("LOCK TABLE server IN EXCLUSIVE MODE");
    const there = await tx.one<Server>(
      `SELECT role, server_id AS "serverId", c.name AS "companyName" FROM server JOIN companies c ON c.id = server_id`,
    );
    if (there !== undefined) {
      const same =
        there.role === role &&
        nameKey(there.companyName) === nameKey(companyName) &&
        (serverId === undefined || serverId.toLowerCase() === there.serverId);
      if (same) return there;
      throw new SandpiperError("conflict", `the database is already the ${there.role} of ${there.companyName}`, {
        hint: "Use another --data directory or database.url.",
      });
    }
    const id = (serverId?.toLowerCase() ?? randomUUID()) as CompanyId;
    await tx.run("INSERT INTO companies (id, name, name_key) VALUES ($1, $2, $3)", [
      id,
      companyName,
      nameKey(companyName),
    ]);
    await tx.run("INSERT INTO server (role, server_id) VALUES ($1, $2)", [role, id]);
    return { role, serverId: id, companyName };
  });
}

/** Companies that the scope sees, by name, our own included. */
export async function listCompanies(db: Queries, scope: Scope = everything, page?: Page): Promise<Company[]> {
  return db.query<Company>(
    prepared(
      `SELECT ${columns} FROM (SELECT *, id AS company_id FROM companies) c WHERE ${companyInScope(scope, "$1", "c")} ORDER BY c.name_key LIMIT $2 OFFSET $3`,
    ),
    [scopeValue(scope), page?.limit ?? null, page?.offset ?? 0],
  );
}

/** How many companies the scope sees. */
export async function countCompanies(db: Queries, scope: Scope): Promise<number> {
  const row = await db.one<{ n: number }>(
    prepared(
      `SELECT count(*) AS n FROM (SELECT id AS company_id FROM companies) c WHERE ${companyInScope(scope, "$1", "c")}`,
    ),
    [scopeValue(scope)],
  );
  return row!.n;
}

/** The company with this name or id, if the scope sees it. */
export async function findCompany(
  db: Queries,
  nameOrId: string,
  scope: Scope = everything,
): Promise<Company | undefined> {
  const byId = isUuid(nameOrId);
  return db.one<Company>(
    prepared(
      `SELECT ${columns} FROM (SELECT *, id AS company_id FROM companies) c WHERE ${byId ? "c.id = $2::uuid" : "c.name_key = $2"} AND ${companyInScope(scope, "$1", "c")}`,
    ),
    [scopeValue(scope), byId ? nameOrId : nameKey(nameOrId)],
  );
}

/** The primary that is registered under exactly this address. */
export async function findCompanyByAddress(db: Queries, syncAddr: string): Promise<Company | undefined> {
  return db.one<Company>(`SELECT ${columns} FROM companies c WHERE c.sync_addr = $1 ORDER BY c.name_key LIMIT 1`, [
    syncAddr,
  ]);
}

/** As {@link findCompany}. @throws `not_found` when there is none. */
export async function requireCompany(db: Queries, nameOrId: string, scope: Scope = everything): Promise<Company> {
  const company = await findCompany(db, nameOrId, scope);
  if (company === undefined) {
    throw new SandpiperError("not_found", `there is no company ${JSON.stringify(nameOrId)}`, {
      hint: "`sandpiper company list` shows the companies on file.",
    });
  }
  return company;
}

/** Registers a company. `sealed` is its API key, encrypted. @throws `conflict` when its name or id is taken, `usage` for a bad name. */
export async function addCompany(
  db: Queries,
  input: { id?: string; name: string; target?: SyncTarget; sealed?: Buffer },
): Promise<Company> {
  checkName("company", input.name);
  try {
    const row = await db.one<Company>(
      `INSERT INTO companies AS c (id, name, name_key, sync_addr, sync_private, sync_api_key) VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${columns}`,
      [
        input.id?.toLowerCase() ?? randomUUID(),
        input.name,
        nameKey(input.name),
        input.target?.url ?? null,
        input.target?.mayBePrivate ?? false,
        input.sealed ?? null,
      ],
    );
    return row!;
  } catch (error) {
    const constraint = violatedConstraint(error);
    if (constraint === undefined) throw error;
    const what =
      constraint === "companies_name_key_key" ? `named ${JSON.stringify(input.name)}` : `with the id ${input.id}`;
    throw new SandpiperError("conflict", `there is a company ${what} already`, {
      cause: error,
      hint: "`sandpiper company list` shows the companies on file.",
    });
  }
}

/** Switches a company on or off. */
export async function setCompanyActive(db: Queries, id: CompanyId, active: boolean): Promise<void> {
  await db.run("UPDATE companies SET active = $2, updated_at = now() WHERE id = $1", [id, active]);
}

/** Stores the encrypted API key and the address of a primary. */
export async function setSyncCredentials(
  db: Queries,
  id: CompanyId,
  sealed: Buffer,
  target: SyncTarget,
): Promise<void> {
  await db.run(
    "UPDATE companies SET sync_api_key = $2, sync_addr = $3, sync_private = $4, subs_etag = NULL, updated_at = now() WHERE id = $1",
    [id, sealed, target.url, target.mayBePrivate],
  );
}

/** Moves a primary to another address, and forgets its API key: whoever may only say where it is must not get the key sent there. */
export async function moveCompany(db: Queries, id: CompanyId, target: SyncTarget): Promise<void> {
  await db.run(
    "UPDATE companies SET sync_api_key = NULL, sync_addr = $2, sync_private = $3, subs_etag = NULL, updated_at = now() WHERE id = $1",
    [id, target.url, target.mayBePrivate],
  );
}

/** The encrypted API key of a primary. */
export async function readSealedKey(db: Queries, id: CompanyId): Promise<Buffer | undefined> {
  const row = await db.one<{ sealed: Buffer | null }>("SELECT sync_api_key AS sealed FROM companies WHERE id = $1", [
    id,
  ]);
  return row?.sealed ?? undefined;
}

/**
 * Gives a partner a new API key. The one in use stays valid until the new one is used for the first time, so that the partner
 * can change over without a gap; never more than two are valid.
 *
 * @returns the key, to be shown once.
 */
export function issueApiKey(db: Database, companyId: CompanyId, hmacKey: Buffer): Promise<string> {
  return db.transaction((tx) => addApiKey(tx, companyId, hmacKey));
}

/** As {@link issueApiKey}, in a transaction of the caller's, who may yet undo it. */
export async function addApiKey(tx: Session, companyId: CompanyId, hmacKey: Buffer): Promise<string> {
  await tx.run("SELECT 1 FROM companies WHERE id = $1 FOR UPDATE", [companyId]);
  await tx.run(
    "DELETE FROM api_keys WHERE company_id = $1 AND id NOT IN (SELECT id FROM api_keys WHERE company_id = $1 ORDER BY created_at DESC LIMIT 1)",
    [companyId],
  );
  const keyId = randomUUID();
  const { apiKey, secretHmac } = mintApiKey(keyId, hmacKey);
  await tx.run(
    "INSERT INTO api_keys (id, company_id, secret_hmac, created_at) VALUES ($1, $2, $3, clock_timestamp())",
    [keyId, companyId, secretHmac],
  );
  return apiKey;
}

/** An API key's stored half, with the company that it speaks for. */
export async function findApiKey(
  db: Queries,
  keyId: string,
): Promise<{ companyId: CompanyId; companyActive: boolean; secretHmac: Buffer } | undefined> {
  return db.one(
    prepared(
      `SELECT k.company_id AS "companyId", c.active AS "companyActive", k.secret_hmac AS "secretHmac" FROM api_keys k JOIN companies c ON c.id = k.company_id WHERE k.id = $1`,
    ),
    [keyId],
  );
}

/** Notes that a key was used; its first use revokes the older ones. */
export async function markKeyUsed(db: Queries, keyId: string): Promise<void> {
  await db.run(
    `WITH used AS (UPDATE api_keys SET first_used_at = coalesce(first_used_at, now()), last_used_at = now() WHERE id = $1 RETURNING company_id, created_at)
     DELETE FROM api_keys k USING used WHERE k.company_id = used.company_id AND k.created_at < used.created_at`,
    [keyId],
  );
}

/** Whether a token's key and company are still good. */
export async function keyStillValid(db: Queries, keyId: string, companyId: CompanyId): Promise<boolean> {
  const row = await db.one(
    prepared(
      "SELECT 1 FROM api_keys k JOIN companies c ON c.id = k.company_id WHERE k.id = $1 AND c.id = $2 AND c.active",
    ),
    [keyId, companyId],
  );
  return row !== undefined;
}

/** Names the list of subscriptions that was applied last, if nothing was changed here since. */
export async function readSubsEtag(db: Queries, id: CompanyId): Promise<string | null> {
  const row = await db.one<{ etag: string | null }>(
    "/* readSubsEtag */ SELECT subs_etag AS etag FROM companies WHERE id = $1",
    [id],
  );
  return row?.etag ?? null;
}

/** Remembers (in the transaction that applied it) or, with null, forgets the list of subscriptions of a primary. */
export async function setSubsEtag(db: Queries, id: CompanyId, etag: string | null): Promise<void> {
  await db.run("/* setSubsEtag */ UPDATE companies SET subs_etag = $2 WHERE id = $1", [id, etag]);
}
