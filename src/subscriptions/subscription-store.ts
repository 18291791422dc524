/** Subscriptions in the database. */
import { randomUUID } from "node:crypto";
import type { Subscription } from "../companies/company.ts";
import type { Database, Session } from "../database/database.ts";
import { violatedConstraint } from "../database/database-errors.ts";
import { prepared } from "../database/prepared.ts";
import { companyInScope, everything, type Scope, scopeValue } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type CompanyId, isUuid, type SliceKey } from "../ids.ts";
import { checkName, nameKey } from "../names.ts";
import type { Page } from "../slices/slice-store.ts";
import { checkDescription } from "./rules/description.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** The columns of a {@link Subscription}, from {@link tables}. */
export const columns = `u.subscription_key AS key, u.company_id AS "companyId", c.name AS "companyName", u.id, u.slice_key AS "sliceKey",
  s.id AS "sliceId", s.name AS "sliceName", s.slice_type AS "sliceType", u.name, u.description, u.active, u.offered,
  u.withdrawn_at AS "withdrawnAt", u.created_at AS "createdAt", u.updated_at AS "updatedAt"`;
export const tables =
  "subscriptions u JOIN companies c ON c.id = u.company_id JOIN slices s ON s.slice_key = u.slice_key";

/** Subscriptions that the scope sees, by name. */
export async function listSubscriptions(
  db: Queries,
  scope: Scope = everything,
  filter: { companyId?: CompanyId; sliceKey?: SliceKey } = {},
  page?: Page,
): Promise<Subscription[]> {
  return db.query<Subscription>(
    prepared(`/* listSubscriptions */ SELECT ${columns} FROM ${tables} WHERE ${companyInScope(scope, "$1", "u")}
       AND ($2::uuid IS NULL OR u.company_id = $2) AND ($3::bigint IS NULL OR u.slice_key = $3) ORDER BY u.name_key LIMIT $4 OFFSET $5`),
    [scopeValue(scope), filter.companyId ?? null, filter.sliceKey ?? null, page?.limit ?? null, page?.offset ?? 0],
  );
}

/** How many subscriptions the scope sees. */
export async function countSubscriptions(db: Queries, scope: Scope, companyId?: CompanyId): Promise<number> {
  const row = await db.one<{ n: number }>(
    prepared(
      `SELECT count(*) AS n FROM subscriptions u WHERE ${companyInScope(scope, "$1", "u")} AND ($2::uuid IS NULL OR u.company_id = $2)`,
    ),
    [scopeValue(scope), companyId ?? null],
  );
  return row!.n;
}

/** The subscription with this name or id, if the scope sees it. @throws `usage` when an id means those of several companies. */
export async function findSubscription(
  db: Queries,
  nameOrId: string,
  scope: Scope = everything,
): Promise<Subscription | undefined> {
  const byId = isUuid(nameOrId);
  const rows = await db.query<Subscription>(
    prepared(
      `SELECT ${columns} FROM ${tables} WHERE ${byId ? "u.id = $2::uuid" : "u.name_key = $2"} AND ${companyInScope(scope, "$1", "u")}`,
    ),
    [scopeValue(scope), byId ? nameOrId : nameKey(nameOrId)],
  );
  if (rows.length > 1)
    throw new SandpiperError("usage", `several companies have a subscription with the id ${nameOrId}`, {
      hint: "Use its name.",
    });
  return rows[0];
}

/** As {@link findSubscription}. @throws `not_found` when there is none. */
export async function requireSubscription(
  db: Queries,
  nameOrId: string,
  scope: Scope = everything,
): Promise<Subscription> {
  const row = await findSubscription(db, nameOrId, scope);
  if (row === undefined) {
    throw new SandpiperError("not_found", `there is no subscription ${JSON.stringify(nameOrId)}`, {
      hint: "`sandpiper subscription list` shows what there is.",
    });
  }
  return row;
}

/** Assigns a slice to a company. @throws `usage` for a bad name or description, `conflict` when the name is taken or the company has the slice already. */
export async function addSubscription(
  db: Database,
  input: {
    id?: string;
    companyId: CompanyId;
    sliceKey: SliceKey;
    name: string;
    description?: string;
    active?: boolean;
  },
): Promise<Subscription> {
  checkName("subscription", input.name);
  checkDescription(input.description ?? "");
  const id = input.id?.toLowerCase() ?? randomUUID();
  try {
    await db.transaction((tx) =>
      insertSubscriptions(tx, input.companyId, [
        {
          id,
          sliceKey: input.sliceKey,
          name: input.name,
          description: input.description ?? "",
          active: input.active ?? true,
          offered: true,
        },
      ]),
    );
  } catch (error) {
    const constraint = violatedConstraint(error);
    if (constraint === undefined) throw error;
    const what = constraint.includes("slice_key")
      ? "that company has that slice already"
      : `there is a subscription ${JSON.stringify(input.name)} or with that id already`;
    throw new SandpiperError("conflict", what, {
      cause: error,
      hint: "`sandpiper subscription list` shows what there is.",
    });
  }
  return requireSubscription(db, input.name);
}

/** The state of a subscription. */
export interface State {
  id: string;
  sliceKey: SliceKey;
  name: string;
  description: string;
  active: boolean;
  offered: boolean;
}

/** The states as arrays, for the columns of {@link stateColumns}. */
const columnsOf = (states: readonly State[]): unknown[][] => [
  states.map(({ id }) => id),
  states.map(({ sliceKey }) => sliceKey),
  states.map(({ name }) => name),
  states.map(({ name }) => nameKey(name)),
  states.map(({ description }) => description),
  states.map(({ active }) => active),
  states.map(({ offered }) => offered),
];
const stateColumns = `unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[])
       WITH ORDINALITY AS n (id, slice_key, name, name_key, description, active, offered, ordinal)`;

export async function insertSubscriptions(tx: Queries, companyId: CompanyId, states: readonly State[]): Promise<void> {
  await tx.run(
    `/* insertSubscriptions */ INSERT INTO subscriptions (company_id, id, slice_key, name, name_key, description, active, offered)
     SELECT $1, id, slice_key, name, name_key, description, active, offered FROM ${stateColumns} ORDER BY ordinal`,
    [companyId, ...columnsOf(states)],
  );
}

/**
 * After a change here the primary's list is looked at whole, even if it is the one that was applied last. The company's row is taken
 * first: whoever applies a list at this moment (update-subscriptions.ts) has it, and would not know of the change.
 */
const forgetList = `WITH owner AS (UPDATE companies SET subs_etag = NULL
  WHERE id = (SELECT company_id FROM subscriptions WHERE subscription_key = $1) RETURNING id)`;
const ofOwner = "WHERE subscription_key = $1 AND company_id IN (SELECT id FROM owner)";

/** Switches a subscription on or off on this side. */
export async function setSubscriptionActive(db: Queries, key: number, active: boolean): Promise<void> {
  await db.run(
    `/* setSubscriptionActive */ ${forgetList} UPDATE subscriptions SET active = $2, updated_at = now() ${ofOwner}`,
    [key, active],
  );
}

/** Removes a subscription; the slice and its data stay. */
export async function removeSubscription(db: Queries, key: number): Promise<void> {
  await db.run(`/* removeSubscription */ ${forgetList} DELETE FROM subscriptions ${ofOwner}`, [key]);
}

/** Changes subscriptions to these states. Names may pass from one to another. */
export async function changeSubscriptions(tx: Session, companyId: CompanyId, states: readonly State[]): Promise<void> {
  await tx.run(
    "/* changeSubscriptionsAside */ UPDATE subscriptions SET name_key = subscription_key::text || ' ' || name_key WHERE company_id = $1 AND id = ANY ($2::uuid[])",
    [companyId, states.map(({ id }) => id)],
  );
  await tx.run(
    `/* changeSubscriptions */ UPDATE subscriptions u SET slice_key = n.slice_key, name = n.name, name_key = n.name_key, description = n.description, active = n.active,
       offered = n.offered, withdrawn_at = NULL, updated_at = now() FROM ${stateColumns} WHERE u.company_id = $1 AND u.id = n.id`,
    [companyId, ...columnsOf(states)],
  );
}
