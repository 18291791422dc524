/**
 * The first cells of slices, kept in memory: they are the same for every partner, so that hundreds of partners are served without a look at
 * the grains. Bounded, least recently used out first; one build at a time. Losing it costs time only.
 */
import type { Database } from "../database.ts";
import type { Scope } from "../scope.ts";
import type { SliceKey } from "../slices/slice.ts";
import { addList, Cells } from "./coded-symbols.ts";
import { cellBytes } from "./frames.ts";
import { listPieces } from "./grain-lists.ts";
import type { Read } from "./primary-port.ts";
import { read } from "./primary-store.ts";

/** Cells that are kept of a slice: 57 KB. */
const keptCells = 4096;
const defaultBytes = 64 * 1024 * 1024;

interface Entry {
  hash: string;
  cells: Cells;
}

export class CellCache {
  readonly #most: number;
  /** In order of use, the least recently used first. */
  readonly #entries = new Map<SliceKey, Entry>();
  #building: Promise<unknown> = Promise.resolve();

  constructor(bytes = defaultBytes) {
    this.#most = Math.max(1, Math.floor(bytes / (keptCells * cellBytes)));
  }

  /** The first `length` cells of a slice, or more, as the scope sees it now. */
  async read(db: Database, scope: Scope, id: string, length: number): Promise<Read<Cells>> {
    const quick = await this.#lookUp(db, scope, id, length);
    if (quick !== undefined) return quick;
    // Whoever waited for another build may find here what it needs.
    const build = this.#building.then(
      async () => (await this.#lookUp(db, scope, id, length)) ?? this.#build(db, scope, id, length),
    );
    this.#building = build.catch(() => {});
    return build;
  }

  async #lookUp(db: Database, scope: Scope, id: string, length: number): Promise<Read<Cells> | undefined> {
    if (length > keptCells) return undefined;
    const none = undefined as Cells | undefined;
    const found = await read(db, scope, id, none, async (_tx, { key, hash }) => {
      const entry = this.#entries.get(key);
      if (entry === undefined || entry.hash !== hash) return undefined;
      this.#keep(key, entry);
      return entry.cells;
    });
    if (found.view === undefined) return { view: undefined, data: new Cells(0) };
    return found.data === undefined ? undefined : { view: found.view, data: found.data };
  }

  #build(db: Database, scope: Scope, id: string, length: number): Promise<Read<Cells>> {
    return read(db, scope, id, new Cells(0), async (tx, { key, hash }) => {
      const cells = new Cells(Math.max(length, keptCells));
      for await (const list of listPieces(tx, key)) addList(cells, list);
      if (cells.length === keptCells) this.#keep(key, { hash, cells });
      return cells;
    });
  }

  #keep(key: SliceKey, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#most) break;
      this.#entries.delete(oldest);
    }
  }
}
