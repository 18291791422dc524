/**
 * What a partner, or whoever reaches the port, does to a primary all the time while others sync. Each is one entry of the list; a new one
 * needs nothing else.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { BadInputWorld } from "./bad-input-world.ts";
import { opcodes, upgradeRequest, wireFrame } from "./websocket-wire.ts";

export interface Attack {
  name: string;
  /**
   * Goes on until it is told to stop, and then lets go of everything.
   *
   * @returns how often it got at what it wants: connected, was answered, was refused. 0 proves nothing, and fails.
   */
  run(world: AttackedWorld, stop: AbortSignal): Promise<number>;
}

/** A world with a grain of 12 MB that the partner `prober` may read. */
export interface AttackedWorld extends BadInputWorld {
  largeGrain: string;
  /** A slice of 41 grains, of 40 MB in all. */
  pictures: string;
  picturesHash: string;
}

export const attacks: readonly Attack[] = [
  {
    name: "100 connections with a request for 12 MB each, which nobody reads",
    run: (world, stop) => hold(world, stop, "127.0.0.11", 100, get(world, `/v1/grains/${world.largeGrain}`)),
  },
  {
    name: "100 such requests on each of 3 connections",
    run: (world, stop) => hold(world, stop, "127.0.0.12", 3, get(world, `/v1/grains/${world.largeGrain}`).repeat(100)),
  },
  {
    name: "50 connections that ask for a whole slice, and do not read it",
    run: (world, stop) => hold(world, stop, "127.0.0.13", 50, get(world, `/v1/sync/slice/${world.pictures}`)),
  },
  {
    name: "1,500 logins whose bodies do not come",
    run: (world, stop) => hold(world, stop, "127.0.0.14", 1500, post("/v1/login", 100), true),
  },
  {
    name: "1,000 connections that say nothing",
    run: (world, stop) => hold(world, stop, "127.0.0.15", 1000, "", true),
  },
  {
    name: "1,000 connections that are kept after a request",
    run: (world, stop) => hold(world, stop, "127.0.0.16", 1000, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", true),
  },
  {
    name: "24 connections that guess passwords",
    run: (world, stop) =>
      repeat(world, stop, "127.0.0.17", 24, () =>
        whole("/v1/login", JSON.stringify({ username: `guess ${Math.random()}`, password: "wrong password" })),
      ),
  },
  {
    name: "8 connections that guess API keys",
    run: (world, stop) =>
      repeat(world, stop, "127.0.0.18", 8, () => {
        const key = world.proberKey.replace(/^[^.]+/, randomBytes(16).toString("base64url"));
        return whole("/v1/login", JSON.stringify({ "sync-api-key": key }));
      }),
  },
  {
    name: "4 connections that report an activity of 40,000 empty objects",
    run: (world, stop) =>
      repeat(world, stop, "127.0.0.19", 4, () => whole("/v1/activity", `[${"{},".repeat(40_000)}{}]`, world.prober)),
  },
  {
    name: "a websocket on which comparisons of four million wrong elements come",
    run: (world, stop) => overWebsocket(world, stop, [wireFrame(opcodes.text, wrongComparison)], false),
  },
  {
    name: "a websocket on which messages of nothing come without an end",
    run: (world, stop) => overWebsocket(world, stop, [text(comparison(world))], true),
  },
  {
    name: "2 websockets that fetch 40 MB and do not read it",
    run: async (world, stop) => {
      const { pictures: id, picturesHash: hash } = world;
      const fetched = text({ type: "fetch", id, hash, by: "all", count: 41, after: null });
      const one = () => overWebsocket(world, stop, [text(comparison(world)), fetched], false);
      return (await Promise.all([one(), one()])).reduce((sum, n) => sum + n);
    },
  },
];

/** A message of a secondary. */
const text = (message: object) => wireFrame(opcodes.text, JSON.stringify(message));
const comparison = ({ pictures }: AttackedWorld) => ({
  type: "compare",
  run_id: pictures,
  test: false,
  program: "a crowd",
  ids: [pictures],
  hashes: [""],
  counts: [0],
});
const wrongComparison = `{"type":"compare","ids":[${"0,".repeat(4_000_000)}0]}`;
/** A thousand messages of no bytes. */
const nothings = Buffer.concat(Array.from({ length: 1000 }, () => wireFrame(opcodes.text)));

/**
 * Upgrades again and again, says `first` and, if `more`, nothing a million times over; does not read after `begin`.
 *
 * @returns how often the server began a session.
 */
async function overWebsocket(
  { primary, prober }: AttackedWorld,
  stop: AbortSignal,
  first: readonly Buffer[],
  more: boolean,
): Promise<number> {
  const { port, hostname: host } = new URL(primary.server!.url);
  let begun = 0;
  while (!stop.aborted) {
    const socket = connect({ port: Number(port), host, localAddress: "127.0.0.20" });
    const closed = once(
      socket.on("error", () => {}),
      "close",
    ).catch(() => {});
    socket.write(upgradeRequest([`Authorization: Bearer ${prober}`]));
    let seen = "";
    socket.on("data", (piece) => {
      seen += piece.toString("latin1");
      if (!seen.includes('"begin"')) return;
      begun++;
      socket.removeAllListeners("data").pause();
      for (const bytes of first) socket.write(bytes);
      const pour = (): void => {
        if (!stop.aborted && socket.writable) socket.write(nothings, () => setImmediate(pour));
      };
      if (more) pour();
    });
    await Promise.race([closed, sleep(10_000, undefined, { signal: stop }).catch(() => {})]);
    socket.destroy();
    await sleep(20);
  }
  return begun;
}

const get = ({ prober }: AttackedWorld, path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${prober}\r\n\r\n`;

/** The head of a request with so many bytes to come. */
const post = (path: string, length: number, token?: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${token === undefined ? "" : `Authorization: Bearer ${token}\r\n`}\r\n`;

const whole = (path: string, body: string, token?: string) => post(path, Buffer.byteLength(body), token) + body;

/** How long who does not read goes on before it begins anew: longer than the server's clock. */
const unreadMs = 33_000;

/** Holds so many connections from an address, on each of which this was sent; one that is closed is made anew. */
async function hold(
  { primary }: AttackedWorld,
  stop: AbortSignal,
  from: string,
  count: number,
  text: string,
  read = false,
) {
  const { port, hostname: host } = new URL(primary.server!.url);
  const sockets = new Set<Socket>();
  let made = 0;
  const come = () => {
    const socket = connect({ port: Number(port), host, localAddress: from });
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    socket.once("connect", () => {
      made++;
      if (text !== "") socket.write(text);
    });
    if (read) socket.resume();
    else {
      socket.pause(); // which does not notice either that the connection was cut
      setTimeout(() => socket.destroy(), unreadMs).unref();
    }
  };
  while (!stop.aborted) {
    // At first all of them, then ten in a second: a flood is another thing, and for a firewall.
    for (let n = Math.min(made < count ? 100 : 1, count - sockets.size); n > 0; n--) come();
    await sleep(100, undefined, { signal: stop }).catch(() => {});
  }
  for (const socket of sockets) socket.destroy();
  return made;
}

/** Sends requests from an address, one after another on each of so many connections, and reads the answers. */
async function repeat(
  { primary }: AttackedWorld,
  stop: AbortSignal,
  from: string,
  count: number,
  next: () => string,
): Promise<number> {
  const { port, hostname: host } = new URL(primary.server!.url);
  let answered = 0;
  const go = async () => {
    while (!stop.aborted) {
      const socket = connect({ port: Number(port), host, localAddress: from });
      socket.on("error", () => {});
      const closed = once(socket, "close");
      while (!socket.destroyed && !stop.aborted) {
        socket.write(next());
        const answer = await Promise.race([once(socket, "data"), closed]).catch(() => []);
        if (!(answer[0] instanceof Buffer)) break; // it was closed, as after every hundredth request
        answered++;
      }
      socket.destroy();
      await sleep(20);
    }
  };
  await Promise.all(Array.from({ length: count }, go));
  return answered;
}
