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

/** Names of everything that is taken away. */
export const sealedNames = forbidden.flatMap(([name, , functions]) => functions.map((one) => `${name}.${one}`));

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
