/** How an error is shown: a sentence and what to do next, or one JSON object. */
import { escapeUnseen } from "../characters.ts";
import type { SandpiperError } from "../errors.ts";
import { oneLine, printableJson } from "./printable.ts";

/** The text for standard error. @param debug also shows where in the program it happened, and what caused it. */
export function describeError(error: SandpiperError, options: { json: boolean; debug: boolean }): string {
  const { code, hint } = error;
  const stack = options.debug ? `${stackOf(error)}\n` : "";
  if (options.json) {
    return `${printableJson({ error: { code, message: oneLine(error.message), hint: hint === undefined ? null : oneLine(hint) } })}\n${stack}`;
  }
  const next = hint === undefined ? "" : `${oneLine(hint)}\n`;
  return `sandpiper: ${oneLine(error.message)}\n${next}${stack}`;
}

function stackOf(error: Error): string {
  const own = (error.stack ?? String(error)).split("\n").map(escapeUnseen).join("\n");
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}
