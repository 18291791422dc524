/** Taking over a primary's list of subscriptions, and finding out which slices are to be synced. */

import { addLosses } from "../../activity/activity-store.ts";
import type { Company, Subscription } from "../../companies/company.ts";
import { setSubsEtag } from "../../companies/company-store.ts";
import type { Session } from "../../database/database.ts";
import { namesLock } from "../../database/locks.ts";
import { everything } from "../../database/scope.ts";
import { SandpiperError } from "../../errors.ts";
import type { CompanyId, ContentKey, SliceKey } from "../../ids.ts";
import { applyPlan, readNames } from "../../subscriptions/plan-store.ts";
import { activeAfter, planSubscriptions } from "../../subscriptions/rules/rules.ts";
import { listSubscriptions } from "../../subscriptions/subscription-store.ts";
import { refuse } from "../protocol/guards.ts";
import type { LocalSlice } from "../protocol/secondary-port.ts";
import type { Offers } from "../transport/primary-client.ts";
import type { PartnerOrder } from "./partner-context.ts";

export interface Updated {
  /** Slices to sync, by the name of their subscriptions. */
  slices: LocalSlice[];
  notices: string[];
  /** Subscriptions that were withdrawn or switched off just now. */
  lost: number;
}

/** A slice that would be added: a rehearsal compares it as what it would be, empty. */
const notStored = { key: 0 as SliceKey, contentKey: 0 as ContentKey, hash: "", count: 0 };

/**
 * Applies the rules of subscriptions in one transaction; a rehearsal only decides.
 *
 * @throws `limit` when more than half of the subscriptions disappeared at once; nothing is changed then.
 */
export async function updateSubscriptions(
  session: Session,
  company: Company,
  offers: Offers,
  { runId, options, onlySubscription }: Pick<PartnerOrder, "runId" | "options" | "onlySubscription">,
): Promise<Updated> {
  if (offers.rows === null) {
    return { slices: await dueSlices(session, company.id, onlySubscription), notices: [], lost: 0 };
  }
  const { rows: listed, etag } = offers;
  return session.transaction(async (tx) => {
    await tx.run(`/* updateSubscriptionsLock */ SELECT pg_advisory_xact_lock(${namesLock})`);
    // Whoever changes a subscription here meanwhile waits, and has the list looked at again. A rehearsal only reads, and may not lock rows.
    if (!options.rehearsal)
      await tx.run("/* updateSubscriptionsCompany */ SELECT 1 FROM companies WHERE id = $1 FOR NO KEY UPDATE", [
        company.id,
      ]);
    const local = await listSubscriptions(tx, everything, { companyId: company.id });
    const { slices: known, taken } = await readNames(tx, company.id);
    const plan = planSubscriptions(local, listed, known, taken, options.allowDrops);
    if (plan.massWithdrawal !== undefined) {
      const { gone, of } = plan.massWithdrawal;
      refuse(
        "offers.gone",
        new SandpiperError("limit", `${gone} of ${of} subscriptions disappeared at ${company.name} at once`, {
          hint: "Nothing was changed. Ask the primary whether that is right; if so, run once with --allow-drops.",
        }),
      );
    }
    if (!options.rehearsal) {
      await applyPlan(tx, company.id, plan);
      await setSubsEtag(tx, company.id, etag);
      const off = new Set(plan.change.filter((row) => !row.active).map((row) => row.id));
      const switchedOff = local.filter((row) => row.active && off.has(row.id));
      // What the primary took away is in the log of activity.
      await addLosses(tx, company.id, runId, [
        ...plan.withdraw.map((row) => lossOf(row, "withdrawn")),
        ...switchedOff.map((row) => lossOf(row, "switched-off")),
      ]);
    }
    const rows = await tx.query<{ id: string; key: SliceKey; contentKey: ContentKey; hash: string; count: number }>(
      '/* updateSubscriptions */ SELECT id, slice_key AS key, content_key AS "contentKey", hash, content_count AS count FROM slices WHERE company_id = $1',
      [company.id],
    );
    const stored = new Map(rows.map((row) => [row.id, row]));
    const names = new Map([...known, ...plan.changeSlices, ...plan.addSlices].map((slice) => [slice.id, slice.name]));
    const active = activeAfter(local, plan).filter(
      (row) => onlySubscription === undefined || row.id === onlySubscription,
    );
    const slices = active.map((row) => {
      const { key, contentKey, hash, count } = stored.get(row.sliceId) ?? notStored;
      const name = names.get(row.sliceId) ?? row.name;
      return { id: row.sliceId, name, subscription: row.name, key, contentKey, hash, count, subscriptionId: row.id };
    });
    return { slices, notices: plan.notices, lost: plan.lost };
  });
}

/** The slices to sync when the primary's list is the one that was applied last. */
async function dueSlices(session: Session, companyId: CompanyId, only: string | undefined): Promise<LocalSlice[]> {
  return session.query<LocalSlice>(
    `/* dueSlices */ SELECT s.id, s.name, u.name AS subscription, s.slice_key AS key, s.content_key AS "contentKey", s.hash, s.content_count AS count, u.id AS "subscriptionId"
     FROM subscriptions u JOIN slices s USING (slice_key)
     WHERE u.company_id = $1 AND u.active AND u.offered AND u.withdrawn_at IS NULL AND ($2::uuid IS NULL OR u.id = $2) ORDER BY u.name_key`,
    [companyId, only ?? null],
  );
}

const lossOf = ({ id, sliceId, sliceName }: Subscription, outcome: string) => ({
  sliceId,
  sliceName,
  subId: id,
  outcome,
});
