/** A plan of the rules (rules/rules.ts): what it must know of this database, and carrying it out. */
import type { Subscription } from "../companies/company.ts";
import type { Database, Session } from "../database/database.ts";
import type { CompanyId, SliceKey } from "../ids.ts";
import { insertCopies, renameSlice, setSliceType } from "../slices/slice-store.ts";
import type { KnownSlice, SubscriptionPlan } from "./rules/rules.ts";
import { changeSubscriptions, insertSubscriptions, type State } from "./subscription-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** What the rules need to know of this database besides the subscriptions of one primary. */
export async function readNames(
  db: Queries,
  companyId: CompanyId,
): Promise<{ slices: KnownSlice[]; taken: { subscriptions: Set<string>; slices: Set<string> } }> {
  const slices = await db.query<KnownSlice>(
    "/* readNames */ SELECT id, name, slice_type AS type FROM slices WHERE company_id = $1",
    [companyId],
  );
  const subscriptionNames = await db.query<{ k: string }>(
    "/* readNamesSubscriptions */ SELECT name_key AS k FROM subscriptions",
  );
  const sliceNames = await db.query<{ k: string }>("/* readNamesSlices */ SELECT name_key AS k FROM slices");
  return {
    slices,
    taken: {
      subscriptions: new Set(subscriptionNames.map((row) => row.k)),
      slices: new Set(sliceNames.map((row) => row.k)),
    },
  };
}

/** Does what {@link SubscriptionPlan} says, for one primary, in the caller's transaction; in few statements, however many subscriptions there are. */
export async function applyPlan(tx: Session, companyId: CompanyId, plan: SubscriptionPlan): Promise<void> {
  const known = await tx.query<{ id: string; key: SliceKey }>(
    "/* applyPlan */ SELECT id, slice_key AS key FROM slices WHERE company_id = $1",
    [companyId],
  );
  const keys = new Map(known.map((row) => [row.id, row.key]));
  for (const slice of plan.changeSlices) {
    // A name may pass from one slice to another within the plan: first everything steps aside.
    await tx.run(
      "/* applyPlanAside */ UPDATE slices SET name_key = slice_key::text || ' ' || name_key WHERE slice_key = $1",
      [keys.get(slice.id)],
    );
  }
  for (const slice of plan.changeSlices) {
    await renameSlice(tx, keys.get(slice.id)!, slice.name);
    await setSliceType(tx, keys.get(slice.id)!, slice.type);
  }
  for (const [id, key] of await insertCopies(tx, companyId, plan.addSlices)) keys.set(id, key);
  const stateOf = (row: SubscriptionPlan["add"][number]): State => ({ ...row, sliceKey: keys.get(row.sliceId)! });
  if (plan.replace.length > 0)
    await tx.run("/* applyPlanReplace */ DELETE FROM subscriptions WHERE subscription_key = ANY ($1::bigint[])", [
      keysOf(plan.replace),
    ]);
  if (plan.change.length > 0) await changeSubscriptions(tx, companyId, plan.change.map(stateOf));
  if (plan.add.length > 0) await insertSubscriptions(tx, companyId, plan.add.map(stateOf));
  if (plan.withdraw.length > 0) {
    await tx.run(
      "/* applyPlanWithdraw */ UPDATE subscriptions SET withdrawn_at = now(), updated_at = now() WHERE subscription_key = ANY ($1::bigint[])",
      [keysOf(plan.withdraw)],
    );
  }
}

const keysOf = (rows: readonly Subscription[]) => rows.map(({ key }) => key);
