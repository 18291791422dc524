/** How many requests are worked on at once, of one company or address and in all. The rest wait in lines; a request that finds its line full is told to come back later. */
import type { ServerResponse } from "node:http";
import { SandpiperError } from "../../errors.ts";
import { FairLine } from "./fair-line.ts";

const words = {
  full: "the server is busy, and its line of waiting requests is full",
  share: "you have too many requests under way at once",
  comeBackSeconds: 5,
};

export class RequestLines {
  /** By company. Requests that take milliseconds, and whose answers are short. */
  readonly quick: FairLine;
  /** By company. Those that last as long as their client likes, or hold a payload: it must not keep its company from the quick ones. */
  readonly lasting: FairLine;
  /** By address. */
  readonly keys: FairLine;
  /** By address, and by address for those who are known there (login-limit.ts). A password costs 20 MB and 10 ms of a core to check. */
  readonly passwords: FairLine;

  /** @param connections to the database: the lines leave some of them to syncs, and to whoever asks whether we are ready. */
  constructor(connections: number) {
    const places = (part: number) => Math.max(2, Math.floor(connections * part));
    const all = { line: 1024 };
    this.quick = new FairLine({ places: places(0.5), lineShare: 64, ...all }, words);
    this.lasting = new FairLine({ places: Math.min(8, places(0.4)), lineShare: 16, ...all }, words);
    const logins = { ...words, share: "too many logins at once", comeBackSeconds: 1 };
    this.keys = new FairLine({ places: places(0.2), lineShare: 256, ...all }, logins);
    this.passwords = new FairLine({ places: 2, line: 64, lineShare: 8 }, logins);
  }
}

/** What ends with its client: aborted when the connection is closed before the answer was sent. */
export function whileWanted(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  const end = () => {
    if (!response.writableFinished) gone.abort(new SandpiperError("network", "the client went away"));
  };
  if (response.closed) end();
  else response.once("close", end);
  return gone.signal;
}

/** Waits in a line for a place, which the request has until it is answered. @throws as {@link FairLine.check} and `enter`. */
export async function takePlace(
  line: FairLine,
  who: string,
  response: ServerResponse,
  wanted: AbortSignal,
): Promise<void> {
  line.check(who);
  const leave = await line.enter(who, wanted);
  if (response.closed) leave();
  else response.once("close", leave);
}
