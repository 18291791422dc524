/** POST /slices/{id}/batch: a stream of lines changes a slice, all or none (src/slices/batch.ts says which lines there are). */
import type { Router } from "express";
import { applyBatch, batchLine } from "../../slices/batch.ts";
import { recheckMs } from "../auth/authenticate.ts";
import type { ServerContext } from "../context.ts";
import { requireMediaType } from "../http/json-body.ts";
import { readLines } from "../http/ndjson.ts";
import { endpoint, ok, resource } from "./endpoint.ts";
import { requestedSlice } from "./slices.ts";

export function sliceBatchRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/slices/:id/batch", {
    post: endpoint({
      allow: "admin",
      on: "primary",
      lasting: true,
      handle: async (call) => {
        requireMediaType(call.request, "application/x-ndjson");
        const slice = await requestedSlice(call);
        const lines = whilePermitted(readLines(call.request, batchLine), call.stillPermitted);
        const { added, removed, content } = await applyBatch(
          call.db,
          slice,
          lines,
          context.app.config.limits.max_grain_bytes,
        );
        return ok({
          grains_added: added,
          grains_removed: removed,
          hash: content.hash,
          content_count: content.count,
        });
      },
    }),
  });
}

/** The lines as long as their sender may send them, which is looked at again before the end: a batch may take hours. */
async function* whilePermitted<T>(lines: AsyncIterable<T>, stillPermitted: () => Promise<void>): AsyncGenerator<T> {
  let lookedMs = performance.now();
  for await (const line of lines) {
    if (performance.now() - lookedMs > recheckMs) {
      await stillPermitted();
      lookedMs = performance.now();
    }
    yield line;
  }
  await stillPermitted();
}
