/** People who may log in, with Argon2id password hashes. */
import { randomBytes, randomInt } from "node:crypto";
import type { Database, Session } from "../database/database.ts";
import { violatedConstraint } from "../database/database-errors.ts";
import { prepared } from "../database/prepared.ts";
import { companyInScope, type Scope, scopeValue } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type CompanyId, isUuid } from "../ids.ts";
import { checkName, nameKey } from "../names.ts";
import type { Page } from "../slices/slice-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

export interface User {
  /** A random number below 2^48: it says nothing about how many users there are, or where. */
  id: number;
  companyId: CompanyId;
  name: string;
  email: string;
  /** 100 super-admin, 110 admin, 120 company-admin. */
  role: number;
  active: boolean;
  createdAt: Date;
}

const columns = `u.id, u.company_id AS "companyId", u.name, u.email, u.role, u.active, u.created_at AS "createdAt"`;
export const minPasswordLength = 12;

// OWASP's minimum for Argon2id (19 MiB, 2 passes).
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
/**
 * Loaded when a password is at hand, since hardly a command needs it. A server loads it before it listens: a crowd that leaves no file to
 * be opened must not decide whether anybody can log in.
 */
export const argon2 = () => import("@node-rs/argon2");
const hashPassword = async (password: string) => (await argon2()).hash(password, cost);

const noise = (bytes: number) => randomBytes(bytes).toString("base64").replace(/=+$/, "");
/** What the password of a wrong name is checked against, so that it takes as long as a wrong password: the hash of nothing. */
const decoy = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=${cost.parallelism}$${noise(16)}$${noise(32)}`;

function checkPassword(password: string): void {
  if (password.length < minPasswordLength || password.length > 200) {
    throw new SandpiperError("usage", `a password must have ${minPasswordLength} to 200 characters`, {
      hint: "Choose one of that length.",
    });
  }
}

/** @throws `usage` unless it is an address, of 254 characters at most (RFC 5321), or empty, for none. */
export function checkEmail(email: string): void {
  if (email === "" || (email.length <= 254 && /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u.test(email))) return;
  throw new SandpiperError("usage", `${JSON.stringify(email.slice(0, 300))} is not an e-mail address`, {
    hint: "Give NAME@HOST, with 254 characters at most, or leave it out.",
  });
}

/** Adds a user. @throws `conflict` for a name that its company has already, `usage` for a bad name, password or e-mail address. */
export async function addUser(
  db: Queries,
  input: { companyId: CompanyId; name: string; email?: string; role: number; password: string },
): Promise<User> {
  checkName("user", input.name);
  checkPassword(input.password);
  checkEmail(input.email ?? "");
  try {
    const row = await db.one<User>(
      `INSERT INTO users AS u (id, company_id, name, name_key, email, role, password_hash) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${columns}`,
      [
        randomInt(1, 2 ** 48 - 1),
        input.companyId,
        input.name,
        nameKey(input.name),
        input.email ?? "",
        input.role,
        await hashPassword(input.password),
      ],
    );
    return row!;
  } catch (error) {
    if (violatedConstraint(error) !== "users_company_name") throw error;
    throw new SandpiperError("conflict", `that company has a user ${JSON.stringify(input.name)} already`, {
      cause: error,
      hint: "Choose another name.",
    });
  }
}

/** A user who has just shown the password. */
export interface LoggedIn extends User {
  /** What a token of this login holds: it is good while the user has this stamp. */
  stamp: string;
}

type Candidate = LoggedIn & { passwordHash: string; usable: boolean; qualified: boolean };

/**
 * The user with this name and password, if both are right and user and company are active. The name is `NAME@COMPANY`, with the name or id of
 * the company after the last `@`; or it is NAME alone, if no other user of this server has that name. A text that can be read in both ways is
 * read in the first, which nobody can take from a user by adding another.
 *
 * Whatever is wrong, exactly one password hash is computed.
 */
export async function authenticateUser(db: Queries, name: string, password: string): Promise<LoggedIn | undefined> {
  const user = await findLogin(db, name);
  const { verify } = await argon2();
  const right = await verify(user?.passwordHash ?? decoy, password.slice(0, 200));
  if (user === undefined || !right || !user.usable) return undefined;
  const { passwordHash: _hash, usable: _usable, qualified: _qualified, ...loggedIn } = user;
  return loggedIn;
}

async function findLogin(db: Queries, text: string): Promise<Candidate | undefined> {
  const at = text.lastIndexOf("@");
  const company = text.slice(at + 1);
  const rows = await db.query<Candidate>(
    `SELECT ${columns}, u.token_stamp AS stamp, u.password_hash AS "passwordHash", u.active AND c.active AS usable, q.qualified
     FROM users u JOIN companies c ON c.id = u.company_id, LATERAL (SELECT u.name_key = $2 AND (c.name_key = $3 OR c.id = $4) IS TRUE AS qualified) q
     WHERE u.name_key = $1 OR (u.name_key = $2 AND q.qualified) ORDER BY q.qualified DESC LIMIT 2`,
    [nameKey(text), at < 0 ? null : nameKey(text.slice(0, at)), nameKey(company), isUuid(company) ? company : null],
  );
  const [first, second] = rows;
  return first?.qualified || second === undefined ? first : undefined;
}

/** The login name that is always accepted. */
export const loginName = (name: string, company: { id: CompanyId; name: string }): string =>
  `${name}@${company.name.includes("@") ? company.id : company.name}`;

/** How many users of this server have the name. */
export async function countNamesakes(db: Queries, name: string): Promise<number> {
  const row = await db.one<{ n: number }>("SELECT count(*) AS n FROM users WHERE name_key = $1", [nameKey(name)]);
  return row!.n;
}

/** Users of the companies that the scope sees, by name. */
export async function listUsers(db: Queries, scope: Scope, page?: Page): Promise<User[]> {
  return db.query<User>(
    `SELECT ${columns} FROM users u WHERE ${companyInScope(scope, "$1", "u")} ORDER BY u.name_key, u.company_id LIMIT $2 OFFSET $3`,
    [scopeValue(scope), page?.limit ?? null, page?.offset ?? 0],
  );
}

/** How many users the scope sees. */
export async function countUsers(db: Queries, scope: Scope): Promise<number> {
  const row = await db.one<{ n: number }>(
    `SELECT count(*) AS n FROM users u WHERE ${companyInScope(scope, "$1", "u")}`,
    [scopeValue(scope)],
  );
  return row!.n;
}

/** The user with this number, if the scope sees it. */
export async function findUser(db: Queries, scope: Scope, id: number): Promise<User | undefined> {
  return db.one<User>(`SELECT ${columns} FROM users u WHERE u.id = $2 AND ${companyInScope(scope, "$1", "u")}`, [
    scopeValue(scope),
    id,
  ]);
}

/** Whether what a token says of its user still holds: company, role and stamp; and whether user and company are active. */
export async function userStillValid(
  db: Queries,
  token: { userId: number; companyId: CompanyId; role: number; stamp: string },
): Promise<boolean> {
  const row = await db.one(
    prepared(`SELECT 1 FROM users u JOIN companies c ON c.id = u.company_id
     WHERE u.id = $1 AND u.company_id = $2 AND u.role = $3 AND u.token_stamp = $4 AND u.active AND c.active`),
    [token.userId, token.companyId, token.role, token.stamp],
  );
  return row !== undefined;
}

/**
 * Changes what is given of a user. A new password, and switching off, end the user's tokens for good.
 *
 * @throws `usage` for a bad password or e-mail address.
 */
export async function updateUser(
  db: Queries,
  id: number,
  change: { email?: string; active?: boolean; password?: string },
): Promise<void> {
  if (change.password !== undefined) checkPassword(change.password);
  if (change.email !== undefined) checkEmail(change.email);
  await db.run(
    `UPDATE users SET email = coalesce($2, email), active = coalesce($3, active), password_hash = coalesce($4, password_hash),
       token_stamp = CASE WHEN $4 IS NOT NULL OR NOT $3 THEN gen_random_uuid() ELSE token_stamp END, updated_at = now() WHERE id = $1`,
    [
      id,
      change.email ?? null,
      change.active ?? null,
      change.password === undefined ? null : await hashPassword(change.password),
    ],
  );
}

export async function removeUser(db: Queries, id: number): Promise<void> {
  await db.run("DELETE FROM users WHERE id = $1", [id]);
}
