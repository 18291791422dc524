/** What somebody says of a sync of their own company: partners with the reference implementation report theirs. */
import { addActivity } from "../activity/activity-store.ts";
import type { App } from "../app.ts";
import type { Subscription } from "../companies/company.ts";
import { missing } from "../errors.ts";
import type { CompanyId } from "../ids.ts";
import { findSubscription } from "../subscriptions/subscription-store.ts";
import { forbidden } from "./actor.ts";

export interface ActivityReport {
  /** Whose it is said to be. Whose it is, the actor says. */
  companyId?: string;
  subscriptionId?: string;
  /** So that a report that is repeated counts once. */
  runId?: string;
  success: boolean;
  message: string;
  durationMs: number;
}

/** Records it. @returns the subscription that it is about, if it names one. @throws `forbidden` for another company's, `not_found` for a subscription that is not the actor's own. */
export async function reportActivity(
  { db }: App,
  actor: { readonly companyId: CompanyId },
  report: ActivityReport,
): Promise<Subscription | undefined> {
  const { companyId } = actor;
  if (report.companyId !== undefined && report.companyId !== companyId)
    throw forbidden("an activity can be reported for one's own company only");
  const subscription = await ownSubscription(db, companyId, report.subscriptionId);
  await addActivity(db, {
    companyId,
    runId: report.runId ?? null,
    sliceId: subscription?.sliceId ?? null,
    sliceName: subscription?.sliceName ?? "",
    subId: subscription?.id ?? null,
    rehearsal: false,
    outcome: report.success ? "updated" : "failed",
    message: report.message,
    grainsAdded: 0,
    grainsRemoved: 0,
    bytes: 0,
    durationMs: report.durationMs,
  });
  return subscription;
}

async function ownSubscription(
  db: App["db"],
  company: CompanyId,
  id: string | undefined,
): Promise<Subscription | undefined> {
  if (id === undefined) return undefined;
  // Of the company itself, though it may be ours, which sees everything.
  const subscription = await findSubscription(db, id, { company });
  if (subscription === undefined) throw missing("subscription");
  return subscription;
}
