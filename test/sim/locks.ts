/** Row locks and advisory locks of the simulated database (PostgreSQL's documentation, "Explicit Locking"). */
export type Mode = "key-share" | "share" | "no-key-update" | "update";

/** Which modes exclude each other. */
const excludes: Record<Mode, readonly Mode[]> = {
  "key-share": ["update"],
  share: ["no-key-update", "update"],
  "no-key-update": ["share", "no-key-update", "update"],
  update: ["key-share", "share", "no-key-update", "update"],
};

interface Held<Holder> {
  holder: Holder;
  mode: Mode;
  /** Until the transaction ends, or until it is let go. */
  until: "commit" | "unlock";
}

/** Thrown by a statement that has to wait for a lock; it is run again when one was let go. */
export class Blocked extends Error {}

export class Locks<Holder> {
  readonly #held = new Map<string, Held<Holder>[]>();

  /** Takes a lock. @returns whether it was free. */
  try(name: string, holder: Holder, mode: Mode, until: Held<Holder>["until"] = "commit"): boolean {
    const held = this.#held.get(name) ?? [];
    if (held.some((other) => other.holder !== holder && excludes[mode].includes(other.mode))) return false;
    if (!held.some((own) => own.holder === holder && own.mode === mode && own.until === until))
      held.push({ holder, mode, until });
    this.#held.set(name, held);
    return true;
  }

  /** @throws Blocked when somebody else has it. */
  take(name: string, holder: Holder, mode: Mode, until: Held<Holder>["until"] = "commit"): void {
    if (!this.try(name, holder, mode, until)) throw new Blocked(name);
  }

  /** Lets one go. @returns whether it was held. */
  unlock(name: string, holder: Holder): boolean {
    return this.#drop(name, (held) => held.holder === holder && held.until === "unlock");
  }

  /** The holder's transaction, or, with `all`, its connection has ended. */
  release(holder: Holder, all = false): void {
    for (const name of this.#held.keys())
      this.#drop(name, (held) => held.holder === holder && (all || held.until === "commit"));
  }

  /** Who has a lock, in whatever mode. */
  holders(name: string): Holder[] {
    return (this.#held.get(name) ?? []).map(({ holder }) => holder);
  }

  /** What is held beyond transactions, and by whom. */
  get kept(): { name: string; holder: Holder }[] {
    return [...this.#held].flatMap(([name, held]) =>
      held.filter(({ until }) => until === "unlock").map(({ holder }) => ({ name, holder })),
    );
  }

  #drop(name: string, which: (held: Held<Holder>) => boolean): boolean {
    const held = this.#held.get(name) ?? [];
    const left = held.filter((one) => !which(one));
    if (left.length === 0) this.#held.delete(name);
    else if (left.length < held.length) this.#held.set(name, left);
    return left.length < held.length;
  }
}
