/** GET /sync/slice/{slice}: every grain of a slice as one bare array, streamed; `?brief=yes` leaves the payloads out. */
import type { Router } from "express";
import * as z from "zod";
import { missing, SandpiperError } from "../../errors.ts";
import { listGrainsAfter, readGrainsAfter } from "../../slices/grain-store.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import { findSlice } from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { answerText } from "../http/answer.ts";
import { type Call, endpoint, resource } from "./endpoint.ts";
import { grainJson, grainText, maxShownBytes, tooLargeToShow } from "./grain-json.ts";
import { pathUuid } from "./path-id.ts";

export function syncSliceRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/sync/slice/:slice", {
    get: endpoint({
      allow: "all",
      on: "primary",
      lasting: true,
      query: z.strictObject({ brief: z.enum(["yes", "no"]).default("no") }),
      handle: async (call) => {
        const { db, scope, params, query, response, wanted } = call;
        const slice = await findSlice(db, scope, pathUuid(params.slice));
        if (slice === undefined) throw missing("slice");
        if (!slice.allowSync) {
          throw new SandpiperError("deferred", "the slice is being changed", { hint: "Ask again later." });
        }
        const brief = query.brief === "yes";
        if (!brief && (await payloads.hasOver(db, slice.contentKey, maxShownBytes))) throw tooLargeToShow();
        await answerText(response, documents(call, slice, brief), wanted);
        return undefined;
      },
    }),
  });
}

/**
 * The grains as JSON. No transaction spans them, which a slow reader would keep open for hours; instead the slice must be the
 * same at the end as at the beginning.
 *
 * @throws `deferred` when it is not, or is not permitted any more, `auth` when the reader's token has been ended.
 */
async function* documents(
  { db, scope, stillPermitted }: Call<unknown, unknown>,
  slice: Slice,
  brief: boolean,
): AsyncGenerator<string> {
  let after: string | undefined;
  let count = 0;
  let separator = "[";
  for (;;) {
    const grains = brief
      ? await listGrainsAfter(db, scope, slice.contentKey, after)
      : await readGrainsAfter(db, scope, slice, after);
    for (const grain of grains) {
      yield separator;
      separator = ",";
      if (brief) yield JSON.stringify(grainJson(grain));
      else yield* grainText(db, grain);
    }
    count += grains.length;
    if (grains.length === 0) break;
    after = grains.at(-1)!.id;
    await stillPermitted();
  }
  const now = await findSlice(db, scope, slice.id);
  if (now?.hash !== slice.hash || now.count !== slice.count || count !== slice.count) {
    throw new SandpiperError("deferred", "the slice was changed while it was read", { hint: "Ask again." });
  }
  yield count === 0 ? "[]" : "]";
}
