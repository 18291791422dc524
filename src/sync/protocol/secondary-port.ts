/** What the secondary's session works with: its port, its facts, and what all its parts share. Pure. */

import type { SandpiperError } from "../../errors.ts";
import type { ContentKey, SliceKey } from "../../ids.ts";
import type { Pieces } from "../../pieces.ts";
import type { Cells } from "../../slices/rules/sketch.ts";
import { asker, type Conversation, inPieces } from "./effects.ts";
import { refuse } from "./guards.ts";
import { comparedSize, contentSize } from "./limits.ts";
import {
  type Confirm,
  type Due as DueMessages,
  type Incoming,
  type outcomes,
  type PrimaryMessage,
  readPrimaryMessage,
  type SecondaryMessage,
  violation,
} from "./messages.ts";
import type { RunOptions } from "./run-options.ts";

/** A slice that this side wants in sync, as it is here. */
export interface LocalSlice {
  /** 0 in a rehearsal, with the content key, for a slice that is not here yet. */
  key: SliceKey;
  contentKey: ContentKey;
  id: string;
  name: string;
  subscriptionId: string;
  /** The subscription's name: what an operator knows it by. */
  subscription: string;
  hash: string;
  count: number;
}

/** What the primary says a slice holds. */
export type Content = Extract<PrimaryMessage, { type: "content" }>;

/** The state of a slice that is to be reached, or that was found. */
export interface Target {
  hash: string;
  count: number;
}

/** All that turns a local slice into the primary's, once its grains have arrived. */
export interface Change {
  content: Content;
  /** Ids of grains to delete. */
  removed: Buffer;
}

/** How a slice fared. */
export interface SliceResult {
  slice: LocalSlice;
  outcome: "unchanged" | (typeof outcomes)[number];
  /** Grains. */
  added: number;
  removed: number;
  /** Payload bytes. */
  bytes: number;
  error?: SandpiperError;
  /** On which sides it was not what its rows said, before it was counted again. */
  damaged?: { here: boolean; there: boolean };
}

/** Grains of (slice, hash) that an earlier run staged before it died: all up to the id `after`. */
export interface StagedSoFar {
  after: Buffer | null;
  grains: number;
  bytes: number;
  /** The grain `after` is in chunks, and not all of them are there: bytes that are left, and the next chunk. */
  large: { left: number; sequence: number } | null;
}

/** Grains that are to come, and about how many bytes of payload. */
export interface Due {
  grains: number;
  bytes: number;
}

/** What the secondary's session asks of the world. */
export interface SecondaryPort {
  receive(): Promise<Incoming>;
  /** The primary has no place for us yet: this many syncs come first. */
  queued(ahead: number): Promise<void>;
  send(message: SecondaryMessage): Promise<void>;
  sendFrame(frame: Buffer): Promise<void>;
  /** Confirmations of earlier runs that were not acknowledged. */
  readOutbox(): Promise<Confirm[]>;
  /** An acknowledged confirmation is forgotten. */
  settle(runId: string, sliceId: string): Promise<void>;
  /** List entries (id, check) of a local slice, ascending. */
  readLocalList(slice: LocalSlice): Promise<Buffer>;
  /** The first `length` cells of a local slice. */
  readLocalCells(slice: LocalSlice, length: number): Promise<Cells>;
  /** Counts a local slice again from its rows, and puts right what it said. @returns what it is, and whether it had been right. */
  recount(slice: LocalSlice): Promise<Target & { wasRight: boolean }>;
  /** Finds room for the grains of (slice, hash), and says which of them are staged already. */
  openStage(slice: LocalSlice, hash: string, due: Due): Promise<StagedSoFar>;
  /** Takes whole records, `body` as it came. */
  stageGrains(body: Buffer, entries: number): Promise<void>;
  stageChunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void>;
  /** All grains have arrived: held in memory, or staged and committed, which survives our crash, though not the machine's. */
  closeStage(): Promise<void>;
  /** Applies in one transaction, verified from what is stored, with the confirmation in the outbox. */
  apply(slice: LocalSlice, change: Change, confirm: Confirm): Promise<void>;
  /** Milliseconds since the run began. */
  elapsedMs(): Promise<number>;
  /** Lets others have their turn, in the middle of long work. */
  breathe(): Promise<void>;
  /** A slice is done with. @returns whether for good: if not, the run tries it again, and nobody is told yet. */
  finished(result: SliceResult): Promise<boolean>;
}

export const ask = asker<SecondaryPort>();
/** A part of the conversation with the primary. */
export type Talk<T> = Conversation<SecondaryPort, T>;
/** Does long work, and lets others have their turn in between. */
export const inTurns = <T>(work: Pieces<T>): Talk<T> => inPieces<SecondaryPort, T>(work, ask.breathe);

/** What the secondary's session is about, and the one thing that it remembers. */
export interface SecondaryFacts {
  readonly runId: string;
  readonly options: RunOptions;
  /** The primary's id as it was when it was registered. */
  readonly primaryId: string;
  readonly slices: readonly LocalSlice[];
  readonly maxGrains: number;
  readonly maxGrainBytes: number;
  /** Name and version of this program. */
  readonly program: string;
  /** Confirmations that were sent and not acknowledged. */
  unconfirmed: number;
}

/** The next message, which must be of one of these types; acknowledgements in between are taken care of. */
export function* expect<T extends PrimaryMessage["type"]>(
  facts: SecondaryFacts,
  ...types: T[]
): Talk<Extract<PrimaryMessage, { type: T }>> {
  const due = sizes(facts, types);
  for (;;) {
    const message = yield* take(facts, yield* ask.receive(), due);
    if (message === undefined) continue;
    if (!(types as string[]).includes(message.type))
      refuse("message.due", violation(`the primary sent ${message.type} where ${types.join(" or ")} is due`));
    return message as Extract<PrimaryMessage, { type: T }>;
  }
}

/** How large those of these types may be that are larger than usual. */
function sizes(facts: SecondaryFacts, types: readonly string[]): DueMessages<PrimaryMessage> {
  return {
    ...(types.includes("compared") && { compared: comparedSize(facts.slices.length) }),
    ...(types.includes("content") && { content: contentSize }),
  };
}

/** Reads a message; undefined for an acknowledgement, which is dealt with here. */
export function* take(
  facts: SecondaryFacts,
  incoming: Incoming,
  due: DueMessages<PrimaryMessage> = {},
): Talk<PrimaryMessage | undefined> {
  const message = yield* inTurns(readPrimaryMessage(incoming, due));
  if (message.type !== "confirmed") return message;
  if (facts.unconfirmed === 0) refuse("confirmed.sent", violation("the primary acknowledged what was not sent"));
  facts.unconfirmed--;
  yield* ask.settle(message.run_id, message.id);
  return undefined;
}
