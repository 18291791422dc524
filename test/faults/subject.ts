/** What faults happen to: a real primary and a real secondary with a bad wire between them, and what must hold after each. */
import type { App } from "../../src/app.ts";
import { openApp, syncOnce, syncThrough } from "../integration/in-process.ts";
import { heldLocks } from "../integration/oracle.ts";
import { addLines, makePair, offer, type Party } from "../integration/parties.ts";
import { BadWire } from "./bad-wire.ts";

export interface Teardown {
  teardown(work: () => Promise<void>): unknown;
}

type Content = Record<string, unknown>;

const text = (value: unknown) => JSON.stringify(value);
const same = (a: Content, b: Content): boolean => text(a) === text(b);

/** A silent peer is given up soon. */
const quick = { idleSeconds: 2 };

export class Subject {
  #generation = 0;
  #app: App | undefined;

  private constructor(
    private readonly test: Teardown,
    readonly primary: Party,
    readonly secondary: Party,
    readonly wire: BadWire,
  ) {}

  /** A pair that is in sync, with three slices: one is compared by cells, one by lists, one has a grain in chunks. */
  static async make(test: Teardown, databases: Parameters<typeof makePair>[1] = {}): Promise<Subject> {
    const { primary, secondary } = await makePair(test, databases);
    const wire = await BadWire.to(primary.server!.url);
    test.teardown(() => wire.close());
    await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE sync_addr IS NOT NULL", [wire.url]);
    for (const [name, type] of [
      ["many", "aces-items"],
      ["few", "pies-items"],
      ["file", "binary-blob"],
    ] as const)
      await offer(primary, name, type, secondary);
    await primary.batch("many", addLines(0, 120));
    await primary.batch("few", addLines(0, 10));
    const subject = new Subject(test, primary, secondary, wire);
    await subject.change();
    await secondary.ok(["sync"]);
    return subject;
  }

  /** A new state of every slice. */
  async change(): Promise<void> {
    const n = ++this.#generation;
    const grain = { grain_key: `generation ${n}`, source: "", encoding: "raw" as const, payload: "x".repeat(300) };
    for (const slice of ["many", "few"])
      await this.primary.batch(slice, [
        ...(n === 1 ? [] : [{ delete_key: `generation ${n - 1}` }]),
        { add: grain },
        { delete_key: "part 3" },
        ...addLines(3, 1, 200 + (n % 50)),
      ]);
    const payload = Buffer.alloc(1024 * 1024 + 1, n).toString("base64");
    await this.primary.batch("file", [
      { delete_all: true },
      { add: { grain_key: "level-1", source: "f", encoding: "b64", payload } },
    ]);
  }

  /** The sync of the command, in this process. @returns its exit code. */
  async sync(): Promise<number> {
    if (this.#app === undefined) {
      this.#app = await openApp(this.secondary, this.secondary.database.url, quick);
      const { db } = this.#app;
      this.test.teardown(() => db.close());
    }
    return syncOnce(this.#app);
  }

  /** The same on connections of its own, through another way to its database. */
  syncThrough(databaseUrl: string): Promise<number> {
    return syncThrough(this.secondary, databaseUrl, quick);
  }

  /** Slices of the secondary that are neither as in `before` nor as in `after`. */
  async mixed(before: Content, after: Content): Promise<string[]> {
    const now = await this.secondary.content();
    return Object.keys(after).filter((id) => text(now[id]) !== text(before[id]) && text(now[id]) !== text(after[id]));
  }

  /** Whether the secondary has what the primary has. */
  async equal(): Promise<boolean> {
    return same(await this.secondary.content(), await this.primary.content());
  }

  /** Locks that are still held in the secondary's database. */
  async locks(withinMs?: number): Promise<number> {
    return heldLocks(await this.secondary.db(), withinMs);
  }
}
