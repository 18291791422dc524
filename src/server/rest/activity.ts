/** /activity: what was synced, and how it ended. Partners with the reference implementation report their syncs here. */
import type { Router } from "express";
import * as z from "zod";
import { type Activity, ActivityCount, listActivity } from "../../activity/activity-store.ts";
import { reportActivity } from "../../operations/report-activity.ts";
import type { ServerContext } from "../context.ts";
import { created, endpoint, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";

const nanosecondsPerMs = 1_000_000;
const nilUuid = "00000000-0000-0000-0000-000000000000";
const good = new Set(["updated", "would-update"]);

const activityJson = (activity: Activity) => {
  const success = good.has(activity.outcome);
  return {
    id: activity.id,
    company_id: activity.companyId,
    company_name: activity.companyName,
    sub_id: activity.subId,
    slice_id: activity.sliceId,
    slice_name: activity.sliceName,
    run_id: activity.runId,
    test: activity.rehearsal,
    outcome: activity.outcome,
    success,
    message: activity.message,
    error: success ? "" : activity.message,
    grains_added: activity.grainsAdded,
    grains_removed: activity.grainsRemoved,
    bytes: activity.bytes,
    duration: activity.durationMs * nanosecondsPerMs,
    created_at: activity.createdAt,
  };
};

const uuidOrNone = z
  .guid()
  .toLowerCase()
  .nullish()
  .transform((id) => (id === nilUuid ? undefined : (id ?? undefined)));

/** Two texts of 10,000 characters, however they are written. */
const maxReportBytes = 128 * 1024;

/** As the reference implementation's secondary sends it; there the id is a number that it has not got yet. */
const report = z.strictObject({
  id: z.union([uuidOrNone, z.int()]).optional(),
  company_id: uuidOrNone,
  sub_id: uuidOrNone,
  success: z.boolean(),
  message: z.string().max(10_000).default(""),
  error: z.string().max(10_000).nullish(),
  duration: z.int().min(0).default(0),
  created_at: z.string().max(50).nullish(),
});

export function activityRoutes(router: Router, context: ServerContext): void {
  const count = new ActivityCount();
  resource(router, context, "/activity", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async ({ db, scope, query }) =>
        ok(listing((await listActivity(db, scope, {}, query)).map(activityJson), query, await count.of(db, scope))),
    }),
    post: endpoint({
      allow: "all",
      body: report,
      bodyLimits: { maxBytes: maxReportBytes },
      handle: async ({ app, identity, body }) => {
        const subscription = await reportActivity(app, identity, {
          companyId: body.company_id,
          subscriptionId: body.sub_id,
          runId: typeof body.id === "string" ? body.id : undefined,
          success: body.success,
          message: [body.message, body.error ?? ""].filter((text) => text !== "").join(": "),
          durationMs: Math.round(body.duration / nanosecondsPerMs),
        });
        return created({ company_id: identity.companyId, sub_id: subscription?.id ?? null, success: body.success });
      },
    }),
  });
}
