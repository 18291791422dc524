/**
 * Guards: the places where a peer's word is refused. Each has a name, so that a test can count how often it refuses, and can
 * switch it off to see what stands behind it. Pure.
 */
import type { SandpiperError } from "../../errors.ts";

/** Every guard, by what it guards. */
export const guardNames = [
  "apply.proof",
  "apply.two-keys",
  "begin.protocol",
  "begin.server",
  "begin.slices",
  "cells.number",
  "chunk.size",
  "compare.arrays",
  "compare.first",
  "compare.number",
  "compare.slice-twice",
  "compare.twice",
  "compared.asked",
  "compared.twice",
  "confirmed.due",
  "confirmed.sent",
  "content.agreed",
  "content.drop",
  "content.grains",
  "content.slice",
  "fetch.chunk",
  "fetch.entries",
  "fetch.interrupted",
  "fetch.number",
  "fetch.order",
  "frame.empty",
  "frame.entries",
  "frame.flags",
  "frame.large",
  "frame.length",
  "frame.one-chunk",
  "frame.sequence",
  "frame.short",
  "frame.type",
  "frames.entries-due",
  "frames.interrupted",
  "grain.bytes",
  "grains.bytes",
  "grains.ended-early",
  "grains.interrupted",
  "grains.number",
  "grains.order",
  "grains.wanted",
  "http.redirect",
  "list.number",
  "list.order",
  "login.server",
  "login.valid",
  "message.binary",
  "message.bytes",
  "message.due",
  "message.json",
  "message.own-bytes",
  "message.valid",
  "message.values",
  "offers.company",
  "offers.gone",
  "offers.number",
  "offers.one-slice",
  "offers.twice",
  "offers.valid",
  "packed.declares",
  "packed.inflates",
  "packed.length",
  "recounted.slice",
  "record.beyond",
  "record.chunked-last",
  "record.cut-in-field",
  "record.cut-in-number",
  "record.encoding",
  "record.fields",
  "record.id",
  "record.key",
  "record.payload",
  "record.payload-bytes",
  "record.source",
  "room.budget",
  "rows.cut",
  "rows.entry-bytes",
  "rows.json",
  "rows.list",
  "stage.two-keys",
] as const;

export type GuardName = (typeof guardNames)[number];

/** Sees what a guard refuses. @returns whether it may. */
type Watch = (guard: GuardName, error: SandpiperError) => boolean;
let watch: Watch | undefined;

/** For tests: `watching` is asked whenever a guard refuses something. */
export function watchGuards(watching: Watch): void {
  watch = watching;
}

/** Refuses with `error`. @throws it, unless a test has switched the guard off. */
export function refuse(guard: GuardName, error: SandpiperError): never {
  const thrown = refused(guard, error);
  if (thrown !== undefined) throw thrown;
  return undefined as never;
}

/** The same, where the error is handed on instead of thrown: undefined when a test has switched the guard off. */
export const refused = (guard: GuardName, error: SandpiperError): SandpiperError | undefined =>
  watch === undefined || watch(guard, error) ? error : undefined;
