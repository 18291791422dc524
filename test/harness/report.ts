/** What a person reads about a test file that has run. */
import { inspect } from "node:util";

/** A failed assertion, as tap's parser gives it; what is inside `diag` depends on the assertion. */
export interface Failure {
  fullname?: string;
  name?: string;
  diag?: unknown;
}

export interface FileResult {
  /** Assertions, as tap counts them. */
  passed: number;
  failed: number;
  skipped: number;
  failures: readonly object[];
  /** Why the file as a whole failed, when no assertion of it did. */
  problem?: string | undefined;
  /** What it wrote to standard error. */
  output: string;
  ms: number;
}

/** One line for a file that passed; for one that failed also every failure and what it printed. */
export function report(name: string, result: FileResult): string {
  const counts = `${result.passed} passed${result.failed > 0 ? `, ${result.failed} FAILED` : ""}`;
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : "";
  const line = `${result.failed > 0 ? "not ok" : "ok    "} ${name.padEnd(48)} ${counts}${skipped} (${(result.ms / 1000).toFixed(1)} s)`;
  if (result.failed === 0) return line;
  const parts = [line];
  if (result.problem !== undefined) parts.push(indent(result.problem));
  for (const failure of result.failures) parts.push(indent(describe(failure as Failure)));
  if (result.output.trim() !== "")
    parts.push(indent(`standard error:\n${indent(result.output.trimEnd().slice(-8000))}`));
  return parts.join("\n");
}

function describe(failure: Failure): string {
  const title = `- ${failure.fullname?.replace(/^\S+\.test\.js > /, "") ?? failure.name ?? "failed"}`;
  if (typeof failure.diag !== "object" || failure.diag === null) return title;
  const lines = Object.entries(failure.diag).map(([key, value]) => {
    const text = typeof value === "string" ? value.trimEnd() : inspect(value, { depth: 6, breakLength: 110 });
    return text.includes("\n") ? `${key}:\n${indent(text)}` : `${key}: ${text}`;
  });
  return [title, ...lines.map((text) => indent(text))].join("\n");
}

const indent = (text: string): string => text.replace(/^(?=.)/gm, "    ");
