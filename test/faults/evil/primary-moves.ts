/** What an evil primary does with answers and messages: those of HTTP, and those of the websocket. */

import type { Message } from "./evil-primary.ts";
import { altered, instead, inventedGrain, longerList, messages, ofNobody, type PrimaryMove } from "./primary-script.ts";
import { limits } from "./world.ts";

const otherHash = "0123456789abcdef";

/** What the comparison says of the one slice that has changed. */
const answered = (change: (slice: Message) => Message) =>
  altered("compared", ({ slices }) => ({ slices: slices.map((slice: Message) => ({ ...slice, ...change(slice) })) }));

type Answers = Parameters<typeof messages>[0];

/** The slice has one grain more than it has, wherever that is said; the grain is there when it is asked for. */
const oneMoreAnswers: Answers = {
  content: (message) => [{ ...message, count: message.count + 1, bytes: message.bytes + 100 }],
  list: (_message, { frame }) => [longerList(frame, ofNobody)],
  refused: ({ id }, { next }) => [inventedGrain(next, ofNobody), { type: "end", id, grains: next + 1, bytes: 8 }],
};
const oneMore = messages({
  ...oneMoreAnswers,
  compared: ({ slices, ...rest }) => [{ ...rest, slices: slices.map((s: Message) => ({ ...s, count: s.count + 1 })) }],
});

/** A slice that is the same on both sides is said to have the very hash, and one grain more. */
function sameHash(answers: Answers): Pick<PrimaryMove, "prepare" | "session"> {
  const said: Message = {};
  return {
    prepare: async (world) => {
      await world.sync();
      const id = world.ids.get("few")!;
      const { hash, n } = (await world.there())[id] as { hash: string; n: number };
      Object.assign(said, { id, state: "differs", hash, count: n + 1, bytes: 1 });
    },
    ...messages({ ...answers, compared: (message) => [{ ...message, slices: [said] }] }),
  };
}

/** So many subscriptions, each as it may be. */
const rowsMade = ([row]: Message[], n: number) =>
  Array.from({ length: n }, (_, i) => ({ ...row, id: idOf(2 * i), slice: { ...row!.slice, id: idOf(2 * i + 1) } }));
const idOf = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

/** The list of subscriptions, byte by byte. */
const listed = (body: string): Pick<PrimaryMove, "http"> => ({
  http: (request, response) => {
    if (request.url !== "/v1/sync/subs") return false;
    response.writeHead(200, { "content-type": "application/json" }).end(body);
    return true;
  },
});

const overHttp: PrimaryMove[] = [
  {
    name: "the address of a server without TLS begins with https",
    slice: "few",
    exit: 4,
    address: (url) => url.replace("http:", "https:"),
  },
  {
    name: "a redirect in place of a login",
    slice: "few",
    exit: 4,
    http: (_request, response) => {
      response.writeHead(302, { location: "http://127.0.0.1:9/" }).end("{}");
      return true;
    },
  },
  {
    name: "the page of a portal in place of a login",
    slice: "few",
    exit: 4,
    http: (_request, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<html>");
      return true;
    },
  },
  {
    name: "a portal in place of the websocket",
    slice: "few",
    exit: 4,
    takeOver: (_socket, wire) => wire.write("HTTP/1.1 200 OK\r\n\r\n"),
  },
  { name: "a login without a token", slice: "few", exit: 4, login: ({ token: _token, ...rest }) => rest },
  { name: "a login as another server", slice: "few", exit: 4, login: (body) => ({ ...body, server_id: ofNobody }) },
  { name: "subscriptions that are no list", slice: "few", exit: 4, subs: () => ({}) },
  { name: "too many subscriptions", slice: "few", exit: 11, subs: (rows) => rowsMade(rows, limits.subscriptions + 1) },
  { name: "100,000 subscriptions", slice: "few", exit: 11, subs: (rows) => rowsMade(rows, 100_000) },
  {
    name: "a subscription to a type that cannot be",
    slice: "few",
    exit: 4,
    subs: ([row, ...rest]) => [{ ...row, slice: { ...row!.slice, slice_type: "X Y" } }, ...rest],
  },
  {
    name: "a subscription of another company",
    slice: "few",
    exit: 4,
    subs: ([row, ...rest]) => [{ ...row, company_id: ofNobody }, ...rest],
  },
  { name: "a subscription twice", slice: "few", exit: 4, subs: (rows) => [...rows, rows[0]] },
  {
    name: "two subscriptions to one slice",
    slice: "few",
    exit: 4,
    subs: (rows) => [...rows, { ...rows[0], id: ofNobody, name: "again" }],
  },
  { name: "no subscriptions any more", slice: "few", exit: 11, subs: () => [] },
  { name: "a list of subscriptions that is not JSON", slice: "few", exit: 4, ...listed('[{"id" 1}]') },
  { name: "a subscription of 1 MiB", slice: "few", exit: 4, ...listed(`[{"id": "${"x".repeat(2 ** 20)}"}]`) },
];

const opening: PrimaryMove[] = [
  { name: "honest: many", slice: "many", exit: 0 },
  { name: "honest: few", slice: "few", exit: 0 },
  { name: "honest: file", slice: "file", exit: 0 },
  { name: "honest: fresh", slice: "fresh", exit: 0 },
  { name: "members that are not known", slice: "few", exit: 0, ...altered("content", () => ({ mood: "good" })) },
  { name: "a newer minor version", slice: "few", exit: 0, ...altered("begin", () => ({ protocol: "2.9" })) },
  {
    name: "an end of 100 KB",
    slice: "few",
    exit: 4,
    ...instead("end", 0, ({ message }) => [{ ...message, mood: "x".repeat(100_000) }]),
  },
  {
    name: "a content of a million parts",
    slice: "few",
    exit: 4,
    ...altered("content", () => ({ moods: Array(1_000_000).fill(0) })),
  },
  {
    name: "a refusal of 100 KB",
    slice: "few",
    exit: 4,
    ...instead("content", 0, ({ message: { id } }) => [
      { type: "refused", id, reason: "locked", mood: "x".repeat(100_000) },
    ]),
  },
  { name: "another major version", slice: "few", exit: 4, ...altered("begin", () => ({ protocol: "3.0" })) },
  { name: "another server begins", slice: "few", exit: 4, ...altered("begin", () => ({ server_id: ofNobody })) },
  {
    name: "a comparison of no slice is allowed",
    slice: "few",
    exit: 11,
    ...altered("begin", (begin) => ({ limits: { ...begin.limits, slices: 0 } })),
  },
  {
    name: "what was never sent is confirmed",
    slice: "few",
    exit: 4,
    ...instead("begin", 0, ({ message }) => [message, { type: "confirmed", id: ofNobody, run_id: ofNobody }]),
  },
  {
    name: "a reply to no question",
    slice: "few",
    exit: 4,
    ...instead("begin", 0, ({ message }) => [message, message]),
  },
  { name: "a message that is not known", slice: "few", exit: 4, ...altered("compared", () => ({ type: "hello" })) },
  { name: "a message that is cut", slice: "few", exit: 4, ...instead("compared", 0, () => ['{"type":"compa']) },
  { name: "text that is not a message", slice: "few", exit: 4, ...instead("compared", 0, () => ["null"]) },
  { name: "a frame in place of a message", slice: "few", exit: 4, ...instead("compared", 0, () => [Buffer.alloc(16)]) },
  { name: "a hash in capitals", slice: "few", exit: 4, ...answered(() => ({ hash: "ABCDEF0123456789" })) },
  { name: "a count below nothing", slice: "few", exit: 4, ...answered(() => ({ count: -1 })) },
];

const compared: PrimaryMove[] = [
  {
    name: "a slice twice",
    slice: "few",
    exit: 4,
    ...altered("compared", ({ slices }) => ({ slices: [...slices, ...slices] })),
  },
  { name: "a slice that was not asked about", slice: "few", exit: 4, ...answered(() => ({ id: ofNobody })) },
  { name: "50 million grains", slice: "fresh", exit: 11, ...answered(() => ({ count: 50_000_000 })) },
  { name: "content of another slice", slice: "few", exit: 4, ...altered("content", () => ({ id: ofNobody })) },
  { name: "content with another hash", slice: "few", exit: 4, ...altered("content", () => ({ hash: otherHash })) },
  {
    name: "content with another count",
    slice: "few",
    exit: 4,
    ...altered("content", ({ count }) => ({ count: count + 1 })),
  },
  {
    name: "metadata of another slice",
    slice: "few",
    exit: 8,
    ...altered("content", () => ({ metadata: [["another", "slice"]] })),
  },
  {
    name: "metadata that cannot be stored",
    slice: "few",
    exit: 4,
    ...altered("content", () => ({ metadata: [["a\0", "b"]] })),
  },
  { name: "one grain more than there is, by lists", slice: "few", exit: 8, ...oneMore },
  { name: "one grain more than there is, by cells", slice: "many", exit: 8, ...oneMore },
  { name: "the hash that is here, with another count", slice: "few", exit: 4, ...sameHash({}) },
  {
    name: "the hash that is here, with another count, in all that follows",
    slice: "few",
    exit: 8,
    ...sameHash(oneMoreAnswers),
  },
  {
    name: "the same list where a count is other",
    slice: "few",
    exit: 4,
    ...messages({
      compared: ({ slices, ...rest }) => [
        { ...rest, slices: slices.map((s: Message) => ({ ...s, count: s.count - 1 })) },
      ],
      content: (message) => [{ ...message, count: message.count - 1 }],
    }),
  },
  {
    name: "all grains are gone",
    slice: "few",
    exit: 11,
    ...messages({
      compared: ({ slices, ...rest }) => [{ ...rest, slices: slices.map((s: Message) => ({ ...s, count: 0 })) }],
      content: (message) => [{ ...message, count: 0, bytes: 0 }],
      list: () => [],
    }),
  },
  {
    name: "it changes for ever",
    slice: "few",
    exit: 7,
    ...messages({
      content: ({ id, hash, count }) => [{ type: "refused", id, reason: "changed", hash, count }],
      list: () => [],
    }),
  },
];

export const messageMoves: readonly PrimaryMove[] = [...overHttp, ...opening, ...compared];
