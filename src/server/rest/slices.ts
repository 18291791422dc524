/** /slices: sets of data, as things. What is in them: slice-content.ts, slice-batch.ts, grains.ts. */
import type { Router } from "express";
import { z } from "zod";
import { checkName } from "../../names.ts";
import { metadataInput } from "../../slices/batch.ts";
import { sortMetadata } from "../../slices/rules/hash.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import {
  addSlice,
  checkType,
  findSlice,
  listSlices,
  removeSlice,
  renameSlice,
  setSliceType,
} from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { missing } from "../http/problem.ts";
import { shortText } from "../http/strict-json.ts";
import { type Call, created, endpoint, noContent, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";

export const sliceJson = (slice: Slice) => ({
  id: slice.id,
  slice_name: slice.name,
  slice_type: slice.type,
  content_hash: slice.contentHash,
  content_count: slice.count,
  content_date: slice.contentDate,
  allow_sync: slice.allowSync,
  created_at: slice.createdAt,
  updated_at: slice.updatedAt,
});

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
  const { server } = context.app;

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
      on: "primary",
      body: newSlice,
      bodyLimits: metadataBody,
      handle: async ({ db, scope, body }) => {
        const { name, slice_type: type, allow_sync: allowSync, id } = body;
        const metadata = sortMetadata(Object.entries(body.metadata ?? {}));
        const slice = await addSlice(db, { companyId: server.serverId, id, name, type, metadata, allowSync });
        return created(sliceJson(found(await findSlice(db, scope, slice.id))));
      },
    }),
  });

  resource(router, context, "/slices/name/:name", {
    get: endpoint({
      allow: "all",
      handle: async ({ db, scope, params }) => ok(sliceJson(found(await findSlice(db, scope, params.name!)))),
    }),
  });

  resource(router, context, "/slices/:id", {
    get: endpoint({ allow: "all", handle: async (call) => ok(sliceJson(await requestedSlice(call))) }),
    patch: endpoint({
      allow: "admin",
      on: "primary",
      body: sliceChange,
      handle: async (call) => {
        const { key } = await requestedSlice(call);
        const { name, slice_type: type } = call.body;
        if (name !== undefined) checkName("slice", name);
        if (type !== undefined) checkType(type);
        await call.db.transaction(async (tx) => {
          if (name !== undefined) await renameSlice(tx, key, name);
          if (type !== undefined) await setSliceType(tx, key, type);
        });
        return ok(sliceJson(await requestedSlice(call)));
      },
    }),
    delete: endpoint({
      allow: "admin",
      on: "primary",
      handle: async (call) => {
        const { key } = await requestedSlice(call);
        await removeSlice(call.db, key);
        return noContent;
      },
    }),
  });
}

/** The slice whose id stands in the path, if the caller may see it. */
export const requestedSlice = async ({ db, scope, params }: Call<unknown, unknown>): Promise<Slice> =>
  found(await findSlice(db, scope, pathUuid(params.id)));

function found(slice: Slice | undefined): Slice {
  if (slice === undefined) throw missing("slice");
  return slice;
}
