/** /slices: sets of data, as things. What is in them: slice-content.ts, slice-batch.ts, grains.ts. */
import type { Router } from "express";
import * as z from "zod";
import { everything } from "../../database/scope.ts";
import { sliceFor } from "../../operations/find.ts";
import { createSlice, deleteSlice, editSlice } from "../../operations/slices.ts";
import { metadataInput } from "../../slices/batch.ts";
import { referenceHash } from "../../slices/reference-hash.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import { listSlices } from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { type Call, created, endpoint, noContent, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";

export const sliceJson = (slice: Slice) => ({
  id: slice.id,
  slice_name: slice.name,
  slice_type: slice.type,
  content_hash: slice.referenceHash,
  content_count: slice.count,
  content_date: slice.contentDate,
  allow_sync: slice.allowSync,
  created_at: slice.createdAt,
  updated_at: slice.updatedAt,
});

/** A slice on its own: with its hash, and the one that the Go reference has for it, which lists have only if somebody has asked for it. Not for a subscription that is switched off. */
async function wholeSliceJson(
  { app }: ServerContext,
  { wanted }: Pick<Call<unknown, unknown>, "wanted">,
  slice: Slice,
) {
  // Not with the partner's rights, who has been shown to have this slice: what it asked for is kept, and not computed for it again and again.
  const db = app.db.as(everything, wanted);
  return { ...sliceJson(slice), hash: slice.hash, content_hash: await referenceHash(db, slice) };
}

/** Of a document with a slice's metadata. */
export const metadataBody = { maxBytes: 1024 * 1024, maxValues: 50_000 };

const newSlice = z.strictObject({
  id: z.guid().toLowerCase().optional(),
  name: shortText,
  slice_type: shortText,
  metadata: metadataInput.optional(),
  allow_sync: z.boolean().optional(),
});
const sliceChange = z
  .strictObject({ name: shortText.optional(), slice_type: shortText.optional() })
  .refine((change) => Object.keys(change).length > 0, "nothing to change is named");

export function sliceRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/slices", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async ({ db, scope, query }) => {
        const { slices, total } = await listSlices(db, scope, query);
        return ok(listing(slices.map(sliceJson), query, total));
      },
    }),
    post: endpoint({
      allow: "admin",
      body: newSlice,
      bodyLimits: metadataBody,
      handle: async (call) => {
        const { app, body } = call;
        const { name, slice_type: type, allow_sync: allowSync, id } = body;
        const metadata = Object.entries(body.metadata ?? {});
        return created(
          await wholeSliceJson(context, call, await createSlice(app, { id, name, type, metadata, allowSync })),
        );
      },
    }),
  });

  resource(router, context, "/slices/name/:name", {
    get: endpoint({
      allow: "all",
      handle: async (call) =>
        ok(await wholeSliceJson(context, call, await sliceFor(call.app, call.identity, call.params.name!))),
    }),
  });

  resource(router, context, "/slices/:id", {
    get: endpoint({
      allow: "all",
      handle: async (call) => ok(await wholeSliceJson(context, call, await requestedSlice(call))),
    }),
    patch: endpoint({
      allow: "admin",
      body: sliceChange,
      handle: async (call) => {
        const { app, identity, params, body } = call;
        const { name, slice_type: type } = body;
        return ok(
          await wholeSliceJson(context, call, await editSlice(app, identity, pathUuid(params.id), { name, type })),
        );
      },
    }),
    delete: endpoint({
      allow: "admin",
      handle: async ({ app, identity, params }) => {
        await deleteSlice(app, identity, pathUuid(params.id));
        return noContent;
      },
    }),
  });
}

/** The slice whose id stands in the path, if the caller may see it. */
export const requestedSlice = ({ app, identity, params }: Call<unknown, unknown>): Promise<Slice> =>
  sliceFor(app, identity, pathUuid(params.id));
