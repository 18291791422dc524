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

/** Connects from an address of its own and says nothing: few of them are held, none for long. */
export async function sayNothing({ primary }: BadInputWorld, count: number): Promise<Crowd> {
  const { port, hostname: host } = new URL(primary.server!.url);
  const sockets: Socket[] = [];
  let told = 0;
  const come = async () => {
    const socket = connect({ port: Number(port), host, localAddress: "127.0.0.2" });
    socket.on("error", () => {}).once("data", () => told++);
    sockets.push(socket);
    await once(socket, "connect");
  };
  while (sockets.length < count) await Promise.all(Array.from({ length: 100 }, come));
  const open = () => sockets.filter((socket) => !socket.closed).length;
  /** Waits until no more than these are open. @returns how many are. */
  const fewer = async (most: number, withinMs: number): Promise<number> => {
    for (let waited = 0; open() > most && waited < withinMs; waited += 100) await sleep(100);
    return open();
  };
  const held = await fewer(256, 8000);
  const left = await fewer(0, 14_000);
  for (const socket of sockets) socket.destroy();
  const wrong = held <= 256 && left === 0 ? [] : [`${count} silent connections: ${held} after 8 s, ${left} after 22 s`];
  // Who was told (408) was logged; who had to go for being one too many was not.
  return { wrong, logged: told };
}
