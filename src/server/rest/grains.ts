/** /grains: single grains. Those of a whole slice change by a batch (slice-batch.ts). */
import type { Router } from "express";
import * as z from "zod";
import { everything } from "../../database/scope.ts";
import { missing, SandpiperError } from "../../errors.ts";
import { applyBatch, type BatchLine, grainInput } from "../../slices/batch.ts";
import {
  findGrain,
  findGrainByKey,
  findGrainsByKey,
  type GrainWithPayload,
  listGrains,
} from "../../slices/grain-store.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import { findSlice } from "../../slices/slice-store.ts";
import type { ServerContext } from "../context.ts";
import { answerText } from "../http/answer.ts";
import { type Call, created, endpoint, noContent, ok, resource } from "./endpoint.ts";
import { grainJson, grainText, maxShownBytes } from "./grain-json.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";

const yesOrNo = z.enum(["yes", "no"]).default("no");

export function grainRoutes(router: Router, context: ServerContext): void {
  const { max_grain_bytes: maxGrainBytes } = context.app.config.limits;

  resource(router, context, "/grains", {
    post: endpoint({
      allow: "admin",
      on: "primary",
      lasting: true,
      query: z.strictObject({ replace: yesOrNo }),
      body: grainInput.extend({ slice_id: z.guid() }),
      bodyLimits: { maxBytes: maxShownBytes },
      handle: async (call) => {
        const { slice_id: sliceId, ...add } = call.body;
        const slice = await visibleSlice(call, sliceId);
        if (add.id !== undefined) await refuseForeign(call, add.id, slice);
        const lines: BatchLine[] = [{ add }];
        const old = await findGrainByKey(call.db, everything, slice.key, add.grain_key);
        if (old !== undefined && call.query.replace === "yes") lines.unshift({ delete: old.id });
        await applyBatch(call.db, slice, lines, maxGrainBytes);
        return created(grainJson(found(await findGrainByKey(call.db, everything, slice.key, add.grain_key))));
      },
    }),
  });

  resource(router, context, "/grains/slice/:slice", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async (call) => {
        const { db, scope, params, query } = call;
        const slice = await visibleSlice(call, pathUuid(params.slice));
        return ok(listing((await listGrains(db, scope, slice.key, query)).map(grainJson), query, slice.count));
      },
    }),
  });

  resource(router, context, "/grains/:id", {
    get: endpoint({
      allow: "all",
      lasting: true,
      handle: async (call) => show(call, await requestedGrain(call)),
    }),
    delete: endpoint({
      allow: "admin",
      on: "primary",
      handle: async (call) => {
        const grain = await requestedGrain(call);
        const slice = await visibleSlice(call, grain.sliceId);
        await applyBatch(call.db, slice, [{ delete: grain.id }], maxGrainBytes);
        return noContent;
      },
    }),
  });

  resource(router, context, "/grains/:slice/:key", {
    get: endpoint({
      allow: "all",
      lasting: true,
      query: z.strictObject({ payload: yesOrNo }),
      handle: async (call) => {
        const { db, scope, params, query } = call;
        const sliceId = pathUuid(params.slice);
        const [grain, another] = await findGrainsByKey(db, scope, sliceId, params.key!);
        // It is the slice that is not there, or not the only one.
        if (grain === undefined || another !== undefined) await visibleSlice(call, sliceId);
        return query.payload === "yes" ? show(call, found(grain)) : ok(grainJson(found(grain)));
      },
    }),
  });
}

async function visibleSlice({ db, scope }: Call<unknown, unknown>, id: string): Promise<Slice> {
  const slice = await findSlice(db, scope, id);
  if (slice === undefined) throw missing("slice");
  return slice;
}

async function show({ db, response, wanted }: Call<unknown, unknown>, grain: GrainWithPayload): Promise<undefined> {
  await answerText(response, grainText(db, grain), wanted);
}

const requestedGrain = async ({ db, scope, params }: Call<unknown, unknown>): Promise<GrainWithPayload> =>
  found(await findGrain(db, scope, pathUuid(params.id)));

function found<Grain>(grain: Grain | undefined): Grain {
  if (grain === undefined) throw missing("grain");
  return grain;
}

/** A grain belongs to one slice; an id that another one has would be found there, too. */
async function refuseForeign({ db }: Call<unknown, unknown>, id: string, slice: Slice): Promise<void> {
  const grain = await findGrain(db, everything, id);
  if (grain === undefined || grain.contentKey === slice.contentKey) return;
  throw new SandpiperError("conflict", "another slice has a grain with that id", {
    hint: "Leave the id out: a fresh one is chosen then.",
  });
}
