/** A hostile secondary: somebody with a partner's key asks a primary for everything there is. The oracle watches what comes back. */
import { Random } from "../harness/random.ts";
import { idOf } from "./names.ts";
import { Connection } from "./network.ts";
import type { PrimaryNode } from "./primary-node.ts";
import type { SecondaryNode } from "./secondary-node.ts";
import type { World } from "./world.ts";

export async function probe(world: World, primary: PrimaryNode, secondary: SecondaryNode, n: number): Promise<void> {
  const random = new Random(world.plan.seed * 7 + n);
  const { clock } = world;
  try {
    const { token } = await primary.login(primary.tables.companies.get(world.companyOf(secondary))!.apiKey);
    const connection = new Connection(
      clock,
      random,
      world.plan.netMs,
      { event: () => {}, sent: () => {}, buffered: () => {} },
      () => {},
    );
    primary.accept(token, connection);
    const { secondary: end } = connection;
    // It knows what it should not: ids and hashes of slices that are not its own.
    const slices = [...primary.tables.slices.values()];
    const ids = slices.map((slice) => slice.id);
    const say = async (message: object) => {
      await end.send(JSON.stringify(message));
      if (random.chance(0.9)) await drain();
    };
    const drain = async () => {
      for (let quiet = false; !quiet; ) {
        const answer = end.receive(15_000).then(() => false);
        answer.catch(() => {});
        quiet = await Promise.race([answer, clock.wait(20 + random.int(0, 60)).then(() => true)]);
      }
    };
    const run_id = idOf(9, n);
    const hashes = ids.map(() => "");
    const counts = ids.map(() => 0);
    await say({ type: "compare", run_id, test: false, program: "probe", accept: [], ids, hashes, counts });
    for (let i = 0; i < 4; i++) {
      const { id, hash, count } = random.pick(slices);
      const message = random.pick([
        { type: "reconcile", id, hash, want: random.pick(["content", "list", "cells"]) },
        { type: "fetch", id, hash, by: "all", count, after: null },
        { type: "cells", id, hash, first: 0, end: random.int(1, 12) },
        { type: "fetch", id, hash, by: "all", count, after: idOf(5, 0, 0, 0, 1), chunk: random.int(0, 2) },
        {
          type: "confirm",
          run_id,
          id,
          test: false,
          outcome: "updated",
          hash,
          count,
          added: 0,
          removed: 0,
          bytes: 0,
          duration_ms: 0,
          message: "",
        },
      ]);
      world.event("a stranger asks for a slice");
      await say(message);
    }
    await end.close(1000);
  } catch {
    world.event("a stranger is sent away");
  }
}
