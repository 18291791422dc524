/** Structured logs: one JSON line an event, on standard error, with nothing secret in it. */
import { pino } from "pino";
import { escapeUnseenInJson } from "./characters.ts";
import { LogDestination } from "./log-destination.ts";

export type Logger = pino.Logger;

const secretPaths = [
  "token",
  "api_key",
  "apiKey",
  "password",
  "authorization",
  "*.token",
  "*.api_key",
  "*.apiKey",
  "*.password",
  "*.authorization",
  '*["sync-api-key"]',
];

const standardError = new LogDestination(2);

/** A logger, to standard error unless said otherwise. */
export function createLogger(level: string, destination: pino.DestinationStream = standardError): Logger {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: secretPaths },
    { write: (line) => destination.write(`${escapeUnseenInJson(line.trimEnd())}\n`) },
  );
}
