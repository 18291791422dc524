/** Structured logs: one JSON line an event, on standard error, with nothing secret in it. */
import { pino } from "pino";

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

/** A logger that writes synchronously (an early exit loses nothing) to standard error. */
export function createLogger(level: string, destination: pino.DestinationStream = pino.destination(2)): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: secretPaths }, destination);
}
