/** What is bad by its number alone: connections that say nothing, and ids that are guessed. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { BadInputWorld } from "./bad-input-world.ts";

/** What was found wrong, if anything, and how many requests the server is to have logged. */
export interface Crowd {
  wrong: string[];
  logged: number;
}

/** A partner guesses ids: one answer for all. */
export async function guessIds({ primary, prober }: BadInputWorld, count: number): Promise<Crowd> {
  const answers = new Set<string>();
  let left = count;
  const guess = async () => {
    while (left-- > 0) {
      const what = ["slices", "grains", "slices/metadata"][left % 3];
      const answer = await fetch(`${primary.server!.url}/v1/${what}/${randomUUID()}`, {
        headers: { authorization: `Bearer ${prober}` },
      });
      answers.add(`${answer.status} ${what}: ${await answer.text()}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, guess));
  const alike = answers.size === Math.min(3, count) && [...answers].every((answer) => answer.startsWith("404 "));
  return { wrong: alike ? [] : [`ids that are guessed: ${[...answers].slice(0, 10).join("; ")}`], logged: count };
}

/** What the server says of a crowd of silent connections when the last of them is gone, by its own clock. */
interface SilentGone {
  peer: string;
  /** One more than may be held, and any other: for how long, at most. */
  closed_ms: number;
  held_ms: number;
}

/** Connects from an address of its own and says nothing: few of them are held, none for long. */
export async function sayNothing({ primary }: BadInputWorld, count: number): Promise<Crowd> {
  const { port, hostname: host } = new URL(primary.server!.url);
  const localAddress = "127.0.0.2";
  const sockets: Socket[] = [];
  let told = 0;
  const come = async () => {
    const socket = connect({ port: Number(port), host, localAddress });
    socket.on("error", () => {}).once("data", () => told++);
    sockets.push(socket);
    await once(socket, "connect");
  };
  const before = primary.server!.stderr().length;
  while (sockets.length < count) await Promise.all(Array.from({ length: 100 }, come));
  const open = () => sockets.filter((socket) => !socket.closed).length;
  const gone = () =>
    primary
      .server!.stderr()
      .slice(before)
      .split("\n")
      .filter((line) => line.includes('"server.silent_gone"') && line.endsWith("}"))
      .map((line) => JSON.parse(line) as SilentGone)
      .filter(({ peer }) => peer === localAddress);
  // However busy the machine is that we share with it: what counts is how long it held them by its own clock.
  for (let waited = 0; (open() > 0 || gone().length === 0) && waited < 60_000; waited += 100) await sleep(100);
  const left = open();
  const slow = gone().filter((crowd) => crowd.closed_ms > 8000 || crowd.held_ms > 22_000);
  for (const socket of sockets) socket.destroy();
  const fine = left === 0 && gone().length > 0 && slow.length === 0;
  const wrong = fine ? [] : [`${count} silent connections: ${left} left after a minute, ${JSON.stringify(gone())}`];
  // Who was told (408) was logged; who had to go for being one too many was not.
  return { wrong, logged: told };
}
