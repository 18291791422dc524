/** What must have happened in a batch of schedules, or it has proved too little. */
import type { SandpiperError } from "../../src/errors.ts";
import { compressedFlag, frameTypes } from "../../src/sync/protocol/frames.ts";

/** How a run's or a slice's error is called. */
const errors: readonly [name: string, code: string, message: RegExp, hostile?: boolean][] = [
  ["a slice is locked", "deferred", /is being updated at the primary/],
  ["a slice kept changing", "deferred", /kept changing/],
  ["a slice was changed here meanwhile", "deferred", /was changed here while/],
  ["a slice was removed here meanwhile", "deferred", /was removed here while/],
  ["a slice is not permitted any more", "denied", /does not let us have/],
  ["a subscription is gone", "denied", /withdrawn or switched off/],
  ["a primary could not serve", "unavailable", /could not serve/],
  ["a key or token is refused", "auth", /is not valid/],
  ["a token runs out in a session", "auth", /expired/],
  ["another run is going on", "busy", /./],
  ["a slice would lose too much", "limit", /would go from/],
  ["too many subscriptions disappeared", "limit", /disappeared/],
  ["a database failed", "storage", /./],
  ["it is not known whether a slice was committed", "storage", /not known whether the commit succeeded/],
  ["a connection was lost", "network", /./],
  ["a peer said nothing", "timeout", /./],
  ["a hostile primary breaks the protocol", "protocol", /./, true],
  ["a hostile primary is found out by the hash", "verification", /would not be what/, true],
  ["a grain comes that was not asked for", "protocol", /sent a grain that was not asked for/, true],
  ["grains come in the wrong order", "protocol", /in ascending order of id/, true],
  ["a frame is out of sequence", "protocol", /where frame/, true],
  ["a frame is not whole", "protocol", /shorter than|as long as its header|hold the entries/, true],
  ["a compressed frame does not inflate", "protocol", /does not inflate/, true],
  [
    "a list of subscriptions is not as it must be",
    "protocol",
    /list of subscriptions|lists (a|two) subscription/,
    true,
  ],
  ["a record is not whole", "protocol", /record|payload is not|six fields|16 bytes|not 1 to/, true],
  ["more grains come than were declared", "protocol", /more grains/, true],
  ["more bytes come than were declared", "protocol", /more bytes/, true],
  ["a slice ends early", "protocol", /ended a slice after/, true],
  ["another hash or count than agreed", "protocol", /another hash or count/, true],
  ["an answer for another slice", "protocol", /answered for another slice/, true],
  ["a slice that was not asked about", "protocol", /not asked about/, true],
  ["a confirmation of what was not sent", "protocol", /what was not sent/, true],
  ["a slice is too large to accept", "limit", /grains, more than the/, true],
  ["a primary would have more than it may", "limit", /MB that it may take/, true],
];

/** What is seen on the wire, by name. */
export function namesOf(data: string | Buffer): string[] {
  if (typeof data === "string") {
    if (!/"type":"fetch".*"after":"/.test(data)) return [];
    return [`a ${data.includes('"chunk":') ? "grain" : "transfer"} goes on where it stopped`];
  }
  if (data[0] !== frameTypes.grains) return [];
  const compressed = (data[1]! & compressedFlag) !== 0 ? ["a frame is compressed"] : [];
  return data.readUInt32BE(8) > 1 ? [...compressed, "several grains are in a frame"] : compressed;
}

export const rareEvents = {
  /** The names of an error. */
  of(error: SandpiperError, hostile: boolean): string[] {
    return errors
      .filter(
        ([, code, message, only]) => code === error.code && message.test(error.message) && (only !== true || hostile),
      )
      .map(([name]) => name);
  },

  /** All that a batch must reach. */
  names: [
    ...errors.map(([name]) => name),
    "a lock is waited for in vain",
    "a commit is lost with its answer",
    "a commit goes on without its client",
    "a frame is compressed",
    "several grains are in a frame",
    "a transfer goes on where it stopped",
    "a grain goes on where it stopped",
    "the answer to a commit is lost",
    "a staged batch is lost with the database",
    "the disk is full",
    "a primary notes why it could not serve",
    "an answer is waited for in vain",
    "a sender waits for its peer",
    "a dead connection is noticed",
    "a secondary dies in the middle of a run",
    "a partner that lost its right is cut off",
    "the list of subscriptions is the same",
    "a stranger asks for a slice",
    "a stranger is sent away",
  ],
};
