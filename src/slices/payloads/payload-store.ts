/**
 * The port to payload bytes: nothing else in the program knows where they are. A grain's row and its payload are written, moved and
 * deleted together, many by one statement; a first copy runs as fast as the database can write.
 *
 * A payload need not be in the database for this: an implementation may keep a reference in the row, and the bytes elsewhere. What holds
 * for every implementation is in test/slices/payloads/contract.ts.
 */

import type { Database, Session } from "../../database/database.ts";
import type { ContentKey } from "../../ids.ts";
import type { Records } from "../rules/records.ts";
import type { Encoding } from "../rules/slice.ts";

/** A grain to add, whose payload has at most 1 MiB. */
export interface SmallGrain {
  id: string;
  key: string;
  source: string;
  encoding: Encoding;
  payload: Buffer;
}

/** Which payload: what reading it needs of its grain. */
export interface PayloadOf {
  contentKey: ContentKey;
  id: string;
  /** Stored bytes of the payload. */
  bytes: number;
}

/** What there is of a copy that arrives in order of id. */
export interface Arrived {
  grains: number;
  /** Payload bytes that these grains have, or will have. */
  bytes: number;
  /** The id of the last one; null when there is none. */
  after: Buffer | null;
  /** What the last one lacks, when its pieces have not all come: bytes, and the number of the next piece. */
  large: { left: number; sequence: number } | null;
}

/** From a database, each piece is read in a session of its own: none is held while whoever reads is slow. */
export type ReadFrom = Session | Pick<Database, "session">;

export interface PayloadStore {
  /** A payload in pieces of 1 MiB, but for the last; at least one. @throws `deferred` when the grain is gone. */
  get(from: ReadFrom, payload: PayloadOf): AsyncGenerator<Buffer>;
  /** A single piece of a payload over 1 MiB, counted from 0; undefined when it is not stored. */
  piece(session: Session, content: ContentKey, grainId: Buffer, sequence: number): Promise<Buffer | undefined>;
  /**
   * Records in order of id: those after an id (null: from the first), or those with these ids (16 bytes each, ascending). As many as make
   * 2 MiB at most; at least one, if there is one. Payloads over 1 MiB are left out of their records.
   *
   * @param of how much there is in all, so that not many rows more are looked at than will be read.
   */
  page(
    tx: Session,
    content: ContentKey,
    which: { after: Buffer | null } | { ids: Buffer },
    of: { count: number; bytes: number },
  ): Promise<Records>;
  /** Whether a content has a payload of more than so many bytes, which is no less than 1 MiB. */
  hasOver(db: Pick<Session | Database, "one">, content: ContentKey, bytes: number): Promise<boolean>;

  /** Adds grains. @returns their marks (tally.ts), as they are stored, in order of id. @throws `conflict` for an id or key that is taken. */
  put(tx: Session, content: ContentKey, grains: readonly SmallGrain[]): Promise<Buffer>;
  /** Adds a grain of any size. @returns its mark. @throws `limit` beyond `maxBytes`, `conflict` as {@link put}. */
  putStream(
    tx: Session,
    content: ContentKey,
    grain: Omit<SmallGrain, "payload">,
    payload: AsyncIterable<Buffer>,
    maxBytes: number,
  ): Promise<Buffer>;
  /**
   * Adds whole, checked records as they came, under the content that the session is set to (`sandpiper.content_key`). Payloads over 1 MiB
   * follow by {@link putPiece}.
   */
  putRecords(session: Session, records: readonly Buffer[]): Promise<void>;
  putPiece(session: Session, content: ContentKey, grainId: string, sequence: number, data: Buffer): Promise<void>;
  /** What has been put so far. */
  arrived(tx: Session, content: ContentKey): Promise<Arrived>;

  /** Deletes these grains. @returns the marks of those that there were. */
  delete(tx: Session, content: ContentKey, ids: readonly string[]): Promise<Buffer>;
  /** Deletes all grains of a content. @returns how many there were. */
  clear(tx: Session, content: ContentKey): Promise<number>;
  /** Files all grains of a content under another one. @throws `conflict` for an id or key that is taken there. */
  move(tx: Session, from: ContentKey, to: ContentKey): Promise<void>;

  /** Lets grains whose pieces have been put one by one have their digests; all others have theirs from the beginning. */
  digest(tx: Session, content: ContentKey): Promise<void>;
  /** Whether the bytes that are stored are still those that the grain's digest was computed from. */
  isIntact(session: Session, payload: PayloadOf): Promise<boolean>;
}
