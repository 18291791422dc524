/** /slices/refresh, lock, unlock and metadata: what concerns a slice's content as a whole. */
import type { Router } from "express";
import * as z from "zod";
import { setMetadata } from "../../operations/slice-metadata.ts";
import { lockSlice, recountSlice } from "../../operations/slices.ts";
import type { Metadata } from "../../slices/rules/hash.ts";
import { maxMetadataPairs } from "../../slices/rules/slice.ts";
import { readMetadata } from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { endpoint, type Handler, ok, resource } from "./endpoint.ts";
import { pathUuid } from "./path-id.ts";
import { metadataBody, requestedSlice, sliceJson } from "./slices.ts";

const metadataPairs = z.array(z.strictObject({ key: shortText, val: z.string().max(10_000) })).max(maxMetadataPairs);
const metadataJson = (metadata: Metadata) => metadata.map(([key, val]) => ({ key, val }));

export function sliceContentRoutes(router: Router, context: ServerContext): void {
  const refresh = endpoint({
    allow: "admin",
    handle: async ({ app, identity, params }) => {
      const { slice, wasRight } = await recountSlice(app, identity, pathUuid(params.id));
      return ok({ ...sliceJson(slice), was_right: wasRight });
    },
  });
  const lock = (locked: boolean): Handler =>
    endpoint({
      allow: "admin",
      handle: async ({ app, identity, params }) =>
        ok(sliceJson(await lockSlice(app, identity, pathUuid(params.id), locked))),
    });
  // The reference implementation has them under GET too, and its clients use that.
  resource(router, context, "/slices/refresh/:id", { get: refresh, post: refresh });
  resource(router, context, "/slices/lock/:id", { get: lock(true), post: lock(true) });
  resource(router, context, "/slices/unlock/:id", { get: lock(false), post: lock(false) });

  resource(router, context, "/slices/metadata/:id", {
    get: endpoint({
      allow: "all",
      handle: async (call) => ok(metadataJson(await readMetadata(call.db, (await requestedSlice(call)).key))),
    }),
    put: endpoint({
      allow: "admin",
      body: metadataPairs,
      bodyLimits: metadataBody,
      handle: async ({ app, identity, params, body }) => {
        const pairs = body.map(({ key, val }) => [key, val] as const);
        return ok(metadataJson(await setMetadata(app, identity, pathUuid(params.id), pairs)));
      },
    }),
  });
}
