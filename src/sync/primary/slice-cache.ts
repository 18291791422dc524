/**
 * What many partners ask of the same slice, kept in memory: its first cells, which are the same for everybody, and the list that says
 * which grain has which symbol. Bounded, least recently used out first; one build at a time. Losing it costs time only.
 */
import { setImmediate as breathe } from "node:timers/promises";
import type { Database } from "../../database/database.ts";
import type { Scope } from "../../database/scope.ts";
import type { SliceKey } from "../../ids.ts";
import { ListBuffer, listPieces } from "../../slices/grain-lists.ts";
import { listEntryBytes } from "../../slices/rules/hash.ts";
import { addList, Cells, encodeList } from "../protocol/coded-symbols.ts";
import { cellBytes } from "../protocol/frames.ts";
import type { Pieces } from "../protocol/pieces.ts";
import type { Read } from "../protocol/primary-port.ts";
import { entriesWith, SymbolSet } from "../protocol/symbols.ts";
import { read } from "./primary-store.ts";

/** Cells that are kept of a slice: 57 KB. */
const keptCells = 4096;

interface Entry {
  hash: string;
  cells: Cells;
  /** List entries (id, symbol) of the whole slice, ascending; undefined when it would take too much of the memory. */
  list: Buffer | undefined;
}

const weight = (entry: Entry) => keptCells * cellBytes + (entry.list?.length ?? 0);

export class SliceCache {
  readonly #most: number;
  /** In order of use, the least recently used first. */
  readonly #entries = new Map<SliceKey, Entry>();
  #bytes = 0;
  #building: Promise<unknown> = Promise.resolve();

  /** @param bytes most that is kept. */
  constructor(bytes: number) {
    this.#most = bytes;
  }

  /** The first `length` cells of a slice, or more, as the scope sees it now. */
  async readCells(db: Database, scope: Scope, id: string, length: number): Promise<Read<Cells>> {
    const { view, data: entry } = await this.#entry(db, scope, id);
    if (entry === undefined || length <= keptCells) return { view, data: entry?.cells ?? new Cells(0) };
    const { list } = entry;
    if (list !== undefined) return { view, data: await this.#inTurn(() => inTurns(encodeList(list, length))) };
    return this.#inTurn(() =>
      read(db, scope, id, new Cells(0), async (tx, { contentKey }) => {
        const cells = new Cells(length);
        for await (const piece of listPieces(tx, contentKey)) await inTurns(addList(cells, piece));
        return cells;
      }),
    );
  }

  /** The list entries of the grains that have these symbols (8 bytes each), ascending by id. */
  async findSymbols(db: Database, scope: Scope, id: string, symbols: Buffer): Promise<Read<Buffer>> {
    const { view, data: entry } = await this.#entry(db, scope, id);
    if (entry === undefined) return { view, data: Buffer.alloc(0) };
    const wanted = await inTurns(SymbolSet.of(symbols));
    const { list } = entry;
    if (list !== undefined) return { view, data: await this.#inTurn(() => inTurns(entriesWith(list, wanted))) };
    return this.#inTurn(() =>
      read(db, scope, id, Buffer.alloc(0), async (tx, { contentKey }) => {
        const found = new ListBuffer(wanted.size);
        for await (const piece of listPieces(tx, contentKey)) found.add(await inTurns(entriesWith(piece, wanted)));
        return found.all;
      }),
    );
  }

  /** What is kept of a slice as the scope sees it now; it is made when it is missing. */
  async #entry(db: Database, scope: Scope, id: string): Promise<Read<Entry | undefined>> {
    const lookUp = () =>
      read(db, scope, id, undefined as Entry | undefined, async (_tx, { key, hash }) => this.#kept(key, hash));
    const quick = await lookUp();
    if (quick.view === undefined || quick.data !== undefined) return quick;
    return this.#inTurn(async () => {
      // Whoever waited for another build may find here what it needs.
      const now = await lookUp();
      return now.view === undefined || now.data !== undefined ? now : this.#build(db, scope, id);
    });
  }

  #build(db: Database, scope: Scope, id: string): Promise<Read<Entry | undefined>> {
    return read(db, scope, id, undefined as Entry | undefined, async (tx, { key, contentKey, hash, count }) => {
      const cells = new Cells(keptCells);
      const list = count * listEntryBytes > this.#most / 2 ? undefined : new ListBuffer(count);
      for await (const piece of listPieces(tx, contentKey)) {
        await inTurns(addList(cells, piece));
        list?.add(piece);
      }
      const entry = { hash, cells, list: list?.all };
      this.#keep(key, entry);
      return entry;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#building.then(work);
    this.#building = turn.catch(() => {});
    return turn;
  }

  #kept(key: SliceKey, hash: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.hash !== hash) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  #keep(key: SliceKey, entry: Entry): void {
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#bytes += weight(entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#most || this.#entries.size === 1) break;
      this.#drop(oldest);
    }
  }

  #drop(key: SliceKey): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= weight(entry);
  }
}

/** Does long work, and lets others have their turn in between. */
async function inTurns<T>(work: Pieces<T>): Promise<T> {
  for (;;) {
    const piece = work.next();
    if (piece.done) return piece.value;
    await breathe();
  }
}
