/** What the primary's session works with: its port, and the question whether a slice may be served. Pure. */
import { SandpiperError } from "../../errors.ts";
import type { Pieces } from "../../pieces.ts";
import type { Metadata } from "../../slices/rules/hash.ts";
import type { Records } from "../../slices/rules/records.ts";
import type { Cells } from "../../slices/rules/sketch.ts";
import { asker, type Conversation, inPieces } from "./effects.ts";
import type { Confirm, Incoming, PrimaryMessage, Refusal } from "./messages.ts";

/** A slice as the partner may see it at this moment. */
export interface SliceView {
  id: string;
  allowSync: boolean;
  hash: string;
  count: number;
  bytes: number;
}

/**
 * A read of a slice, with the partner's view of it in the same snapshot; `view` undefined when there is nothing to see. What was read may
 * be sent if that view allows it: no more is read at once than makes a few frames.
 */
export interface Read<T> {
  view: SliceView | undefined;
  data: T;
}

/** What a partner says that it holds, in three arrays of one length. */
export interface Held {
  ids: readonly string[];
  hashes: readonly string[];
  counts: readonly number[];
}

/** What the primary's session asks of the world. All reads are scoped to the partner. */
export interface PrimaryPort {
  receive(): Promise<Incoming>;
  send(message: PrimaryMessage): Promise<void>;
  sendFrame(frame: Buffer): Promise<void>;
  /** From now on frames may be compressed. */
  useCompression(): Promise<void>;
  /** The slices among `ids` that the partner may see now. */
  look(ids: readonly string[]): Promise<SliceView[]>;
  /** In one look: what comes of it may be sent without another. */
  readMetadata(id: string): Promise<Read<Metadata>>;
  /** List entries (id, check) after the id `after`, ascending; empty at the end. */
  readList(id: string, after: Buffer | null): Promise<Read<Buffer>>;
  /** The first `length` cells of the slice. */
  readCells(id: string, length: number): Promise<Read<Cells>>;
  /** Records of grains after `after`, ascending; of those in `wanted` only, if given. Empty at the end. */
  readGrains(id: string, after: Buffer | null, wanted: Buffer | null): Promise<Read<Records>>;
  /** Chunk `sequence` of a large grain. */
  readChunk(id: string, grainId: Buffer, sequence: number): Promise<Read<Buffer>>;
  /** Counts the slice again from its rows, unless that was done lately, and puts right what it said. @returns whether it had been right. */
  recount(id: string): Promise<Read<{ wasRight: boolean }>>;
  /** Lets others have their turn, in the middle of long work. */
  breathe(): Promise<void>;
  /** This slice could not be served: the partner hears only that, our own operator why. */
  failed(id: string, error: SandpiperError): Promise<void>;
  /** Stores which slices the partner holds as they are now, by what it compares: a confirmation may have got lost. */
  recordHeld(held: Held): Promise<void>;
  /** Stores what the partner reports, once however often it is repeated. */
  record(confirm: Confirm): Promise<void>;
}

export const ask = asker<PrimaryPort>();
/** A part of the conversation with a partner. */
export type Talk<T> = Conversation<PrimaryPort, T>;
/** Does long work, and lets others have their turn in between. */
export const inTurns = <T>(work: Pieces<T>): Talk<T> => inPieces<PrimaryPort, T>(work, ask.breathe);

/** Why a slice cannot be served as (slice, hash) was agreed; undefined when it can. */
export function judge(view: SliceView | undefined, hash: string): Refusal | undefined {
  if (view === undefined) return "unavailable";
  if (!view.allowSync) return "locked";
  return view.hash === hash ? undefined : "changed";
}

/** What a slice should hold is not there. */
export const damaged = (what: string): SandpiperError =>
  new SandpiperError("storage", what, {
    hint: "Run `sandpiper slice refresh`; if that does not help, publish the slice again, or restore the database from a backup.",
  });
