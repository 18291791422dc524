/** GET /sync/slice/{slice}: every grain of a slice as one bare array, streamed; `?brief=yes` leaves the payloads out. */
import { once } from "node:events";
import type { Response, Router } from "express";
import { z } from "zod";
import { SandpiperError } from "../errors.ts";
import { armour } from "../slices/encoding.ts";
import { largestPayload, listGrainsAfter } from "../slices/grain-store.ts";
import type { Slice } from "../slices/slice.ts";
import { findSlice } from "../slices/slice-store.ts";
import { type Call, endpoint, resource } from "./endpoint.ts";
import { grainJson, grainWithPayload, maxShownBytes, tooLargeToShow } from "./grain-json.ts";
import { pathUuid } from "./path-id.ts";
import { missing } from "./problem.ts";
import type { ServerContext } from "./server-context.ts";

/** Grains that are read at once: at most 1 MiB each with their payloads. */
const pageSize = { brief: 1000, whole: 32 };
const stuckMs = 30_000;

export function syncSliceRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/sync/slice/:slice", {
    get: endpoint({
      allow: "all",
      on: "primary",
      query: z.strictObject({ brief: z.enum(["yes", "no"]).default("no") }),
      handle: async (call) => {
        const { db, scope, params, query, response } = call;
        const slice = await findSlice(db, scope, pathUuid(params.slice));
        if (slice === undefined) throw missing("slice");
        if (!slice.allowSync) {
          throw new SandpiperError("deferred", "the slice is being changed", { hint: "Ask again later." });
        }
        const brief = query.brief === "yes";
        if (!brief && (await largestPayload(db, slice.key)) > maxShownBytes) throw tooLargeToShow();
        response.setHeader("content-type", "application/json; charset=utf-8");
        await send(response, documents(call, slice, brief));
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
): AsyncGenerator<object> {
  let after: string | undefined;
  let count = 0;
  for (;;) {
    const limit = brief ? pageSize.brief : pageSize.whole;
    const grains = await listGrainsAfter(db, scope, slice.key, { after, limit, payload: !brief });
    for (const { payload, ...grain } of grains) {
      if (brief) yield grainJson(grain);
      else if (payload === null) yield await grainWithPayload(db, grain);
      else yield { ...grainJson(grain), payload: armour(grain.encoding, payload) };
    }
    count += grains.length;
    after = grains.at(-1)?.id;
    if (grains.length < limit) break;
    await stillPermitted();
  }
  const now = await findSlice(db, scope, slice.id);
  if (now?.hash !== slice.hash || now.count !== slice.count || count !== slice.count) {
    throw new SandpiperError("deferred", "the slice was changed while it was read", { hint: "Ask again." });
  }
}

/** Writes a JSON array, no faster than it is read. */
async function send(response: Response, items: AsyncIterable<object>): Promise<void> {
  let text = "[";
  let separator = "";
  for await (const item of items) {
    text += separator + JSON.stringify(item);
    separator = ",";
    if (text.length < 65_536) continue;
    if (response.destroyed) throw new SandpiperError("network", "the client went away");
    if (!response.write(text)) await drained(response);
    text = "";
  }
  response.end(`${text}]`);
}

async function drained(response: Response): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), stuckMs);
  const leave = () => stop.abort();
  response.once("close", leave);
  try {
    await once(response, "drain", { signal: stop.signal });
  } catch (cause) {
    throw new SandpiperError("network", "the client does not read its answer", { cause });
  } finally {
    clearTimeout(timer);
    response.off("close", leave);
  }
}
