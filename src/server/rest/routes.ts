/** The resources of every server. Services of the daemon add theirs. */
import express, { type Router } from "express";
import type { ServerContext } from "../context.ts";
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

/** Adds addresses to a router. */
export type Routes = (router: Router, context: ServerContext) => void;

const routes: readonly Routes[] = [
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
export function createRouter(context: ServerContext, more: readonly Routes[] = []): Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  for (const add of [...routes, ...more]) add(router, context);
  return router;
}
