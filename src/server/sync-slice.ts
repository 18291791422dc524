/** GET /sync/slice/{slice}: every grain of a slice as one bare array, streamed; `?brief=yes` leaves the payloads out. */
import { once } from "node:events";
import type { Response, Router } from "express";
import { z } from "zod";
import type { Database } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import type { Scope } from "../scope.ts";
import { armour } from "../slices/encoding.ts";
import { type GrainRow, hasPayloadOver, listGrainsAfter, readPayloads } from "../slices/grain-store.ts";
import { chunkBytes, type Slice } from "../slices/slice.ts";
import { findSlice } from "../slices/slice-store.ts";
import { endpoint, resource } from "./endpoint.ts";
import { grainJson, grainWithPayload, maxShownBytes, tooLargeToShow } from "./grain-json.ts";
import { jsonPieces, LongText } from "./json-text.ts";
import { pathUuid } from "./path-id.ts";
import { missing } from "./problem.ts";
import type { ServerContext } from "./server-context.ts";

/** Grains that are read at once, without their payloads; and bytes of payloads. */
const pageGrains = 1000;
const pageBytes = chunkBytes;
const stuckMs = 30_000;

export function syncSliceRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/sync/slice/:slice", {
    get: endpoint({
      allow: "all",
      on: "primary",
      query: z.strictObject({ brief: z.enum(["yes", "no"]).default("no") }),
      handle: async ({ db, scope, params, query, response }) => {
        const slice = await findSlice(db, scope, pathUuid(params.slice));
        if (slice === undefined) throw missing("slice");
        if (!slice.allowSync) {
          throw new SandpiperError("deferred", "the slice is being changed", { hint: "Ask again later." });
        }
        const brief = query.brief === "yes";
        if (!brief && (await hasPayloadOver(db, slice.contentKey, maxShownBytes))) throw tooLargeToShow();
        response.setHeader("content-type", "application/json; charset=utf-8");
        await send(response, documents(db, scope, slice, brief));
        return undefined;
      },
    }),
  });
}

/**
 * The grains as JSON. No transaction spans them, which a slow reader would keep open for hours; instead the slice must be the
 * same at the end as at the beginning.
 *
 * @throws `deferred` when it is not, or is not permitted any more.
 */
async function* documents(db: Database, scope: Scope, slice: Slice, brief: boolean): AsyncGenerator<object> {
  let after: string | undefined;
  let count = 0;
  for (;;) {
    const grains = await listGrainsAfter(db, scope, slice.key, { after, limit: pageGrains });
    if (brief) for (const grain of grains) yield grainJson(grain);
    else for (const group of byBytes(grains)) yield* withPayloads(db, scope, slice, group);
    count += grains.length;
    after = grains.at(-1)?.id;
    if (grains.length < pageGrains) break;
  }
  const now = await findSlice(db, scope, slice.id);
  if (now?.hash !== slice.hash || now.count !== slice.count || count !== slice.count) {
    throw new SandpiperError("deferred", "the slice was changed while it was read", { hint: "Ask again." });
  }
}

/** Cuts grains into groups whose payloads are read at once; one that is larger has its own. */
function* byBytes(grains: readonly GrainRow[]): Generator<GrainRow[]> {
  let group: GrainRow[] = [];
  let bytes = 0;
  for (const grain of grains) {
    if (bytes + grain.bytes > pageBytes && group.length > 0) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(grain);
    bytes += grain.bytes;
  }
  if (group.length > 0) yield group;
}

async function* withPayloads(
  db: Database,
  scope: Scope,
  slice: Slice,
  grains: readonly GrainRow[],
): AsyncGenerator<object> {
  const small = grains.filter((grain) => grain.bytes <= chunkBytes).map(({ id }) => id);
  const payloads = await readPayloads(db, scope, slice.key, small);
  for (const grain of grains) {
    const payload = payloads.get(grain.id);
    if (payload !== undefined) yield { ...grainJson(grain), payload: new LongText(armour(grain.encoding, payload)) };
    // In chunks; or gone meanwhile, which is said there.
    else yield await grainWithPayload(db, grain);
  }
}

/** Writes a JSON array, no faster than it is read. */
async function send(response: Response, items: AsyncIterable<object>): Promise<void> {
  let text = "[";
  let separator = "";
  for await (const item of items) {
    text += separator;
    separator = ",";
    for (const piece of jsonPieces(item)) {
      text += piece;
      if (text.length < 65_536) continue;
      if (response.destroyed) throw new SandpiperError("network", "the client went away");
      if (!response.write(text)) await drained(response);
      text = "";
    }
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
