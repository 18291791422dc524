/** Takes the clock, chance, files and sockets away from the process, so that whatever of the program reaches for them fails. */
import childProcess from "node:child_process";
import crypto from "node:crypto";
import dns from "node:dns";
import fs from "node:fs";
import fsPromises from "node:fs/promises";
import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import timers from "node:timers";
import timersPromises from "node:timers/promises";

/** What the program must do without, by where it is found. */
const forbidden: readonly [name: string, where: object, functions: readonly string[]][] = [
  ["Math", Math, ["random"]],
  ["Date", Date, ["now"]],
  ["performance", performance, ["now"]],
  ["process", process, ["hrtime", "uptime"]],
  ["globalThis", globalThis, ["setTimeout", "setInterval", "fetch"]],
  ["timers", timers, ["setTimeout", "setInterval"]],
  ["timers/promises", timersPromises, ["setTimeout", "setInterval"]],
  ["crypto", crypto, ["randomUUID", "randomBytes", "randomInt", "randomFillSync"]],
  ["fs", fs, ["openSync", "readFileSync", "writeFileSync", "createReadStream", "createWriteStream", "statfs"]],
  ["fs/promises", fsPromises, ["open", "readFile", "writeFile", "statfs", "stat"]],
  ["net", net, ["connect", "createConnection", "createServer"]],
  ["http", http, ["request", "get", "createServer"]],
  ["dns", dns, ["lookup"]],
  ["child_process", childProcess, ["spawn", "execFile"]],
];

/** From here on every use of them throws. @returns the real clock, for whoever measures. */
export function seal(): () => number {
  const now = performance.now.bind(performance);
  for (const [name, where, functions] of forbidden) {
    for (const one of functions) {
      Object.defineProperty(where, one, {
        configurable: true,
        value: () => {
          throw new Error(`${name}.${one} is not to be had in the simulation`);
        },
      });
    }
  }
  globalThis.Date = class extends Date {
    constructor(...args: number[]) {
      if (args.length === 0) throw new Error("new Date() is not to be had in the simulation");
      super(...(args as [number]));
    }
  } as never;
  // To let others go first takes no time here.
  Object.defineProperty(timersPromises, "setImmediate", { configurable: true, value: async () => {} });
  syncBuiltinESMExports();
  return now;
}

/** Tries all that is forbidden, and two names by which a program imports it. @returns what can be had after all. */
export async function findOpen(): Promise<{ tried: number; open: string[] }> {
  const open: string[] = [];
  const uses: [string, () => unknown][] = forbidden.flatMap(([name, where, functions]) =>
    functions.map((one): [string, () => unknown] => [
      `${name}.${one}`,
      () => (where as Record<string, () => unknown>)[one]!(),
    ]),
  );
  const { randomUUID } = await import("node:crypto");
  const { connect } = await import("node:net");
  uses.push(
    ["import of randomUUID", () => randomUUID()],
    ["import of connect", () => connect(1)],
    ["new Date()", () => new Date()],
  );
  for (const [name, use] of uses) {
    try {
      use();
      open.push(name);
    } catch (error) {
      if (!/is not to be had in the simulation/.test((error as Error).message)) open.push(name);
    }
  }
  return { tried: uses.length, open };
}
