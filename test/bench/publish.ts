/** What it costs to change a little of a slice over REST. */
import { randomUUID } from "node:crypto";
import type { Party } from "../integration/parties.ts";
import { median, round, type Scenario } from "./scenario.ts";
import { makeParts, makeWorld, type Parts } from "./world.ts";

const password = "a password of the benchmark";

/** Replaces the `count` oldest grains of a slice by a batch over REST. @returns how long it took, in milliseconds. */
async function publisher(primary: Party): Promise<(parts: Parts, count: number) => Promise<number>> {
  await primary.run(["user", "add", "publisher", "--role", "admin"], { input: `${password}\n` }); // it may be there already
  const url = `${primary.server!.url}/v1`;
  const login = await fetch(`${url}/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "publisher", password }),
  });
  const { token } = (await login.json()) as { token: string };
  return async (parts, count) => {
    const lines: object[] = [];
    for (let n = parts.from; n < parts.from + count; n++) lines.push({ delete_key: `part ${n}` });
    for (let n = parts.to; n < parts.to + count; n++)
      lines.push({
        add: { id: randomUUID(), grain_key: `part ${n}`, source: "bench", encoding: "raw", payload: "x".repeat(200) },
      });
    parts.from += count;
    parts.to += count;
    const startedMs = performance.now();
    const answer = await fetch(`${url}/slices/${parts.slice.id}/batch`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
    });
    const text = await answer.text();
    const ms = performance.now() - startedMs;
    if (answer.status !== 200) throw new Error(`the batch was answered with ${answer.status}: ${text}`);
    return ms;
  };
}

/** A batch of ten replaced: in a large slice, and in turn with it in a small one. */
export const publish: Scenario = async (quick) => {
  const world = await makeWorld();
  const send = await publisher(world.primary);
  const all: { parts: Parts; ms: number[] }[] = [];
  for (const size of quick ? [1_000, 30_000] : [10_000, 1_000_000])
    all.push({ parts: await makeParts(world.primary, [], `parts-${size}`, size, 200, "xml"), ms: [] });
  for (let i = 0; i < (quick ? 3 : 15); i++) for (const { parts, ms } of all) ms.push(await send(parts, 10));
  const [few, many] = all.map(({ ms }) => median(ms)) as [number, number];
  return {
    figures: { ms: round(many, 1), ms_few: round(few, 1), ratio: round(many / few) },
    must: "<= 60 ms, <= 1.5 x the same in 10,000",
    pass: many <= 60 && many <= 1.5 * few,
  };
};
