/** The routes of every server, at the root and under /v1; those for syncs that are ordered over REST are added by sync-run.ts. */
import express, { type Router } from "express";
import type { ServerContext } from "../server-context.ts";
import { activityRoutes } from "./activity.ts";
import { companyRoutes } from "./companies.ts";
import { grainRoutes } from "./grains.ts";
import { healthRoutes } from "./health.ts";
import { loginRoutes } from "./login.ts";
import { meRoutes } from "./me.ts";
import { sliceBatchRoutes } from "./slice-batch.ts";
import { sliceContentRoutes } from "./slice-content.ts";
import { sliceRoutes } from "./slices.ts";
import { subscriptionRoutes } from "./subs.ts";
import { syncSliceRoutes } from "./sync-slice.ts";
import { syncSubsRoutes } from "./sync-subs.ts";
import { userRoutes } from "./users.ts";

const routes = [
  healthRoutes,
  loginRoutes,
  meRoutes,
  companyRoutes,
  userRoutes,
  // Before /slices/:id and its like, which "name", "refresh" ... would otherwise be taken for.
  sliceContentRoutes,
  sliceRoutes,
  sliceBatchRoutes,
  grainRoutes,
  subscriptionRoutes,
  activityRoutes,
  syncSubsRoutes,
  syncSliceRoutes,
];

/** A router with all of them. Addresses are matched exactly: case counts, and so does a slash at the end. */
export function createRouter(context: ServerContext): Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  for (const add of routes) add(router, context);
  return router;
}
