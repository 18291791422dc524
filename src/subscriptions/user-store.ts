/** People who may log in, with Argon2id password hashes. */
import { hash, verify } from "@node-rs/argon2";
import type { Database, Session } from "../database.ts";
import { violatedConstraint } from "../database-errors.ts";
import { SandpiperError } from "../errors.ts";
import { prepared } from "../prepared.ts";
import { companyInScope, type Scope, scopeValue } from "../scope.ts";
import { type CompanyId, checkName, nameKey } from "../slices/slice.ts";
import type { Page } from "../slices/slice-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

export interface User {
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
const hashPassword = (password: string) => hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 });

let decoyHash: Promise<string> | undefined;
/** What a wrong name is checked against, so that it takes as long as a wrong password. Made once a process. */
const decoy = () => {
  decoyHash ??= hashPassword("a password that nobody has");
  return decoyHash;
};

function checkPassword(password: string): void {
  if (password.length < minPasswordLength || password.length > 200) {
    throw new SandpiperError("usage", `a password has ${minPasswordLength} to 200 characters`, {
      hint: "Choose a longer one.",
    });
  }
}

/** Adds a user. @throws `conflict` for a taken name, `usage` for a short password. */
export async function addUser(
  db: Queries,
  input: { companyId: CompanyId; name: string; email?: string; role: number; password: string },
): Promise<User> {
  checkName("user", input.name);
  checkPassword(input.password);
  try {
    const row = await db.one<User>(
      `INSERT INTO users AS u (company_id, name, name_key, email, role, password_hash) VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${columns}`,
      [
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
    if (violatedConstraint(error) === undefined) throw error;
    throw new SandpiperError("conflict", `there is a user ${JSON.stringify(input.name)} already`, {
      cause: error,
      hint: "Choose another name.",
    });
  }
}

/** The user with this name and password, if both are right and user and company are active. An unknown name takes as long as a wrong password. */
export async function authenticateUser(db: Queries, name: string, password: string): Promise<User | undefined> {
  const row = await db.one<User & { passwordHash: string; usable: boolean }>(
    `SELECT ${columns}, u.password_hash AS "passwordHash", u.active AND c.active AS usable FROM users u JOIN companies c ON c.id = u.company_id WHERE u.name_key = $1`,
    [nameKey(name)],
  );
  const fallback = await decoy();
  const right = await verify(row?.passwordHash ?? fallback, password.slice(0, 200));
  if (row === undefined || !right || !row.usable) return undefined;
  const { passwordHash: _hash, usable: _usable, ...user } = row;
  return user;
}

/** Users of the companies that the scope sees, by name. */
export async function listUsers(db: Queries, scope: Scope, page?: Page): Promise<User[]> {
  return db.query<User>(
    `SELECT ${columns} FROM users u WHERE ${companyInScope(scope, "$1", "u")} ORDER BY u.name_key LIMIT $2 OFFSET $3`,
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

/** Whether a token's user (and company) is still active with this role. */
export async function userStillValid(db: Queries, id: number, role: number): Promise<boolean> {
  const row = await db.one(
    prepared(
      "SELECT 1 FROM users u JOIN companies c ON c.id = u.company_id WHERE u.id = $1 AND u.role = $2 AND u.active AND c.active",
    ),
    [id, role],
  );
  return row !== undefined;
}

/** Changes what is given of a user. */
export async function updateUser(
  db: Queries,
  id: number,
  change: { email?: string; active?: boolean; password?: string },
): Promise<void> {
  if (change.password !== undefined) checkPassword(change.password);
  await db.run(
    "UPDATE users SET email = coalesce($2, email), active = coalesce($3, active), password_hash = coalesce($4, password_hash), updated_at = now() WHERE id = $1",
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
