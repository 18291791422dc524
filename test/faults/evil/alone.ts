/**
 * The moves once more against the program in a process of its own, where nothing of the evil peer's counts: what a move costs in the process of
 * this test, which is both, only makes it suspect.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { roles } from "../../../src/companies/company.ts";
import { addUser } from "../../../src/companies/user-store.ts";
import { type ServerProcess, startServer } from "../../harness/process.ts";
import { requestInit } from "../../harness/request.ts";
import { makeScratch, removeScratch } from "../../harness/scratch.ts";
import { password, type TestServer } from "../../server/support.ts";
import { weighAlone } from "../weigh/judge.ts";
import type { Weight } from "../weigh/scales.ts";
import { EvilSecondary, type Knowledge } from "./evil-secondary.ts";
import { lay, type PrimaryMove } from "./primary-script.ts";
import type { SecondaryMove } from "./secondary-moves.ts";
import type { World } from "./world.ts";

const runMs = 90_000;

/** Has a server of this one's database and secrets run in a process of its own meanwhile. */
async function withProcess<T>(server: TestServer, work: (own: ServerProcess) => Promise<T>): Promise<T> {
  const directory = await makeScratch();
  await writeFile(join(directory, "sandpiper.yaml"), "{}\n");
  const own = await startServer({ cwd: directory, env: server.environment });
  try {
    return await work(own);
  } finally {
    await own.kill9();
    await removeScratch(directory);
  }
}

/** What a secondary pays for a move of an evil primary, in a run that was ordered over REST. */
export async function weighPrimaryMove(world: World, move: PrimaryMove): Promise<Weight> {
  const { secondary, primary, evil } = world;
  const { db, server } = secondary.app;
  const username = "alone";
  if ((await db.one("SELECT 1 FROM users WHERE name = $1", [username])) === undefined)
    await addUser(db, { companyId: server.serverId, name: username, role: roles.admin, password });
  return withProcess(secondary, async (own) => {
    const post = async (path: string, token?: string, body: object = {}) => {
      const request = { ...requestInit("POST", { token, body }), signal: AbortSignal.timeout(runMs) };
      return (await (await fetch(own.url + path, request)).json()) as { token: string };
    };
    const { token } = await post("/login", undefined, { username, password });
    const sync = () => post(`/sync/${primary.app.server.serverId}?wait=yes`, token);
    try {
      await sync(); // an honest one, so that it is warm
      await lay(world, move);
      evil.script = move;
      return await weighAlone(own, sync);
    } finally {
      evil.script = {};
      await world.dial(evil.url);
    }
  }).finally(() => world.sync());
}

/** What a primary pays for a move of an evil secondary, that is done with after `withinMs`. */
export function weighSecondaryMove(
  world: World,
  move: SecondaryMove,
  token: string,
  knows: Knowledge,
  withinMs: number,
): Promise<Weight> {
  return withProcess(world.primary, async (own) => {
    const act = async (what: (evil: EvilSecondary) => Promise<void>, ms: number) => {
      const evil = new EvilSecondary(own.url, token, knows);
      await evil.hear("begin");
      await what(evil);
      await Promise.race([evil.closed, new Promise((resolve) => setTimeout(resolve, ms))]);
      evil.hangUp();
    };
    await act((evil) => evil.copy("few"), 0); // an honest one, so that it is warm
    return weighAlone(own, () => act(move.do, withinMs));
  });
}
