/** /slices/refresh, lock, unlock and metadata: what concerns a slice's content as a whole. */
import type { Router } from "express";
import { z } from "zod";
import { SandpiperError } from "../../errors.ts";
import { changeSlice } from "../../slices/publish.ts";
import { type Metadata, sortMetadata } from "../../slices/rules/hash.ts";
import { checkMetadata } from "../../slices/rules/metadata.ts";
import { maxMetadataPairs } from "../../slices/rules/slice.ts";
import { readMetadata, replaceMetadata, setAllowSync } from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { endpoint, type Handler, ok, resource } from "./endpoint.ts";
import { metadataBody, requestedSlice, sliceJson } from "./slices.ts";

const metadataPairs = z.array(z.strictObject({ key: shortText, val: z.string().max(10_000) })).max(maxMetadataPairs);
const metadataJson = (metadata: Metadata) => metadata.map(([key, val]) => ({ key, val }));

export function sliceContentRoutes(router: Router, context: ServerContext): void {
  const refresh = endpoint({
    allow: "admin",
    on: "primary",
    handle: async (call) => {
      await changeSlice(call.db, await requestedSlice(call), async () => {});
      return ok(sliceJson(await requestedSlice(call)));
    },
  });
  const allowSync = (allow: boolean): Handler =>
    endpoint({
      allow: "admin",
      on: "primary",
      handle: async (call) => {
        await setAllowSync(call.db, (await requestedSlice(call)).key, allow);
        return ok(sliceJson(await requestedSlice(call)));
      },
    });
  // The reference implementation has them under GET too, and its clients use that.
  resource(router, context, "/slices/refresh/:id", { get: refresh, post: refresh });
  resource(router, context, "/slices/lock/:id", { get: allowSync(false), post: allowSync(false) });
  resource(router, context, "/slices/unlock/:id", { get: allowSync(true), post: allowSync(true) });

  resource(router, context, "/slices/metadata/:id", {
    get: endpoint({
      allow: "all",
      handle: async (call) => ok(metadataJson(await readMetadata(call.db, (await requestedSlice(call)).key))),
    }),
    put: endpoint({
      allow: "admin",
      on: "primary",
      body: metadataPairs,
      bodyLimits: metadataBody,
      handle: async (call) => {
        const slice = await requestedSlice(call);
        const metadata = sortMetadata(call.body.map(({ key, val }) => [key, val] as const));
        if (new Set(metadata.map(([key]) => key)).size < metadata.length) {
          throw new SandpiperError("usage", "the metadata names a key twice");
        }
        checkMetadata(metadata);
        await changeSlice(call.db, slice, (tx) => replaceMetadata(tx, slice.key, metadata));
        return ok(metadataJson(metadata));
      },
    }),
  });
}
