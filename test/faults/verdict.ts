/** What must hold after every fault, whatever it was; counts where it does not. */
import type { Subject } from "./subject.ts";

export class Verdict {
  /** Faults that were made. */
  made = 0;
  readonly wrong = { mixed: 0, stuck: 0, "not converged": 0, "wrong exit codes": 0, "not reached": 0 };

  /** @param tell is told of each that is wrong. */
  constructor(
    private readonly subject: Subject,
    private readonly tell: (fault: string) => void,
  ) {}

  note(name: keyof Verdict["wrong"], what: string): void {
    this.wrong[name]++;
    this.tell(`${name}: ${what}`);
  }

  /**
   * A new state at the primary, `fault` while it crosses, and what must hold then.
   *
   * @param fault returns an exit code, or null for a process that is gone.
   * @param truthful exit codes that say what happened; 0 is one when everything has arrived.
   */
  async during(what: string, fault: () => Promise<number | null>, truthful: readonly number[]): Promise<void> {
    const { subject } = this;
    await subject.change();
    const [before, after] = [await subject.secondary.content(), await subject.primary.content()];
    const code = await fault();
    this.made++;
    const mixed = await subject.mixed(before, after);
    if (mixed.length > 0) this.note("mixed", `${what}: ${mixed.join(", ")}`);
    if ((await subject.locks()) > 0) this.note("stuck", what);
    const wrong = code === 0 ? !(await subject.equal()) : code !== null && !truthful.includes(code);
    if (wrong) this.note("wrong exit codes", `${what}: ${code}`);
    const next = await subject.sync();
    if (next !== 0 || !(await subject.equal())) this.note("not converged", `${what}: exit ${next}`);
  }
}
