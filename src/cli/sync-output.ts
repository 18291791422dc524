/**
 * What a sync says. For people: a line per slice that is not simply in sync, a line per primary, a total; for programs
 * (--json) one object a line. Progress goes to a terminal only, and only when a slice takes longer than two seconds.
 */

import type { SandpiperError } from "../errors.ts";
import type { SliceResult } from "../sync/protocol/secondary-port.ts";
import { type PartnerReport, type SyncReport, summary } from "../sync/run/report.ts";
import type { SyncEvent } from "../sync/run/sync-event.ts";
import { oneLine, printableJson } from "./printable.ts";
import { type Printer, processPrinter } from "./printer.ts";

const progressAfterMs = 2000;
const progressEveryMs = 200;

/** An event of this type. */
type Of<T> = Extract<SyncEvent, { type: T }>;

export class SyncOutput {
  readonly #options: { json: boolean; quiet: boolean; rehearsal: boolean };
  readonly #startedMs = performance.now();
  #drawnMs = 0;
  #drawn = false;
  /** Primaries that let us wait: that is said once. */
  readonly #queued = new Set<string>();

  constructor(
    options: { json: boolean; quiet: boolean; rehearsal: boolean },
    private readonly printer: Printer = processPrinter(),
  ) {
    this.#options = options;
  }

  /** Says what has happened. */
  tell(event: SyncEvent): void {
    switch (event.type) {
      case "progress":
        this.#progress(event);
        break;
      case "slice":
        this.#slice(event);
        break;
      case "retry":
        this.#retry(event);
        break;
      case "queued":
        this.#wait(event);
        break;
      case "partner":
        this.#partner(event.report);
        break;
    }
  }

  #progress({ company, slice, grains, bytes: received }: Of<"progress">): void {
    const now = performance.now();
    if (
      !this.printer.err.isTTY ||
      this.#options.json ||
      now - this.#startedMs < progressAfterMs ||
      now - this.#drawnMs < progressEveryMs
    )
      return;
    this.#drawnMs = now;
    this.#drawn = true;
    this.printer.tell(
      `\r\x1b[K${oneLine(`${company.name}: ${slice.subscription}: ${plural(grains, "grain", "grains")}, ${bytes(received)}`)}`,
    );
  }

  stopProgress(): void {
    if (this.#drawn) this.printer.tell("\r\x1b[K");
    this.#drawn = false;
  }

  /** A slice is done with. Unchanged ones are counted, not listed. */
  #slice({ company, result }: Of<"slice">): void {
    if (this.#options.json) {
      if (result.outcome === "unchanged") return;
      this.#json({
        event: "slice",
        company_id: company.id,
        company: company.name,
        slice_id: result.slice.id,
        subscription: result.slice.subscription,
        outcome: result.outcome,
        grains_added: result.added,
        grains_removed: result.removed,
        payload_bytes: result.bytes,
        ...problem(result.error),
      });
      return;
    }
    this.stopProgress();
    const what = `${company.name}: ${result.slice.subscription}`;
    if (result.error !== undefined)
      this.#complain(`${what}: ${result.outcome}: ${result.error.message}`, result.error.hint);
    else if (result.outcome !== "unchanged")
      this.#say(`${what}: ${result.outcome === "would-update" ? "would be updated" : "updated"}: ${change(result)}`);
  }

  /** A try has failed, and another follows. With --quiet that is nothing to speak of, unless the last one fails. */
  #retry({ company, error, waitMs }: Of<"retry">): void {
    if (this.#options.json) {
      this.#json({
        event: "retry",
        company_id: company.id,
        company: company.name,
        wait_ms: waitMs,
        ...problem(error),
      });
    } else this.#note(`${company.name}: ${error.message}; next try in ${number(Math.ceil(waitMs / 1000))} s`);
  }

  /** The primary is busy with others. */
  #wait({ company, ahead }: Of<"queued">): void {
    if (this.#queued.has(company.id)) return;
    this.#queued.add(company.id);
    if (this.#options.json) this.#json({ event: "queued", company_id: company.id, company: company.name, ahead });
    else
      this.#note(
        `${company.name}: the primary is busy; ${ahead === 0 ? "we are next" : `${plural(ahead, "sync comes", "syncs come")} before us`}`,
      );
  }

  #partner(report: PartnerReport): void {
    const totals = summary(report);
    if (this.#options.json) {
      this.#json({
        event: "partner",
        company_id: report.company.id,
        company: report.company.name,
        run_id: report.runId,
        test: report.rehearsal,
        exit_code: report.exitCode,
        ...totals,
        notices: report.notices,
        warnings: report.warnings,
        ...problem(report.error),
      });
      return;
    }
    this.stopProgress();
    for (const notice of report.notices) {
      if (report.exitCode === 6) this.#complain(`${report.company.name}: ${notice}`);
      else this.#say(`${report.company.name}: ${notice}`);
    }
    for (const warning of report.warnings) this.#complain(`${report.company.name}: warning: ${warning}`);
    if (report.error !== undefined)
      this.#complain(`${report.company.name}: ${report.error.message}`, report.error.hint);
    const line = `${report.company.name}: ${counts(totals)}`;
    if (report.exitCode === 0) this.#say(line);
    else this.#complain(`${line} (exit ${report.exitCode})`);
  }

  total(report: SyncReport): void {
    const partners = report.partners.map(summary);
    const totals: Record<string, number> = {};
    for (const row of partners)
      for (const [key, value] of Object.entries(row)) totals[key] = (totals[key] ?? 0) + value;
    totals.duration_ms = report.durationMs;
    if (this.#options.json) {
      this.#json({
        event: "summary",
        test: this.#options.rehearsal,
        exit_code: report.exitCode,
        partners: report.partners.length,
        ...totals,
      });
      return;
    }
    const line = `${this.#options.rehearsal ? "rehearsal, nothing changed: " : ""}${plural(report.partners.length, "primary", "primaries")}: ${counts(totals)}`;
    // Differences that were asked after are an answer, not a complaint.
    if (report.exitCode === 0 || report.exitCode === 20) this.#say(line);
    else this.#complain(`${line} (exit ${report.exitCode})`);
  }

  #say(line: string): void {
    if (!this.#options.quiet) void this.printer.print(`${oneLine(line)}\n`);
  }

  /** For whoever watches: what it is waiting for. */
  #note(line: string): void {
    if (this.#options.quiet) return;
    this.stopProgress();
    this.printer.tell(`${oneLine(line)}\n`);
  }

  #complain(line: string, hint?: string): void {
    this.printer.tell(`${oneLine(line)}\n${hint === undefined ? "" : `  ${oneLine(hint)}\n`}`);
  }

  #json(value: object): void {
    void this.printer.print(`${printableJson(value)}\n`);
  }
}

const problem = (error: SandpiperError | undefined) =>
  error === undefined ? {} : { error: { code: error.code, message: error.message, hint: error.hint ?? null } };

const change = (result: SliceResult) =>
  `${plural(result.added, "grain", "grains")} added, ${number(result.removed)} removed`;

function counts(totals: Record<string, number>): string {
  const slices = ["unchanged", "updated", "deferred", "failed"]
    .map((key) => `${number(totals[key] ?? 0)} ${key}`)
    .join(", ");
  return (
    `slices ${slices}; grains +${number(totals.grains_added ?? 0)} -${number(totals.grains_removed ?? 0)}; ` +
    `${bytes(totals.bytes_received ?? 0)} received, ${bytes(totals.bytes_sent ?? 0)} sent; ${seconds(totals.duration_ms ?? 0)}`
  );
}

const number = (value: number) => value.toLocaleString("en-US");
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const plural = (n: number, one: string, many: string) => `${number(n)} ${n === 1 ? one : many}`;

function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let amount = value / 1000;
  let unit = 0;
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit++;
  }
  return `${amount.toFixed(1)} ${units[unit]}`;
}
