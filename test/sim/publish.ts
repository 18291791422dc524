/** An operator of a primary changes a slice, by the program's own way of publishing. */

import { changeSlice } from "../../src/slices/change-slice.ts";
import { sortMetadata } from "../../src/slices/rules/hash.ts";
import type { Slice } from "../../src/slices/rules/slice.ts";
import { chunkBytes } from "../../src/slices/rules/slice.ts";
import { replaceMetadata } from "../../src/slices/slice-store.ts";
import { Random } from "../harness/random.ts";
import { idOf, tagOf } from "./names.ts";
import type { PrimaryNode } from "./primary-node.ts";
import type { SliceRow } from "./tables.ts";
import type { World } from "./world.ts";

/** Grains are given out as key and version: a change is another grain with the same key. */
export async function publish(
  world: World,
  { primary, slice }: { primary: PrimaryNode; slice: SliceRow | undefined },
  n: number,
  what: "some" | "all" | "none" | "first",
): Promise<void> {
  if (slice === undefined) return;
  const number = world.numberOf(primary);
  const ids = world.plan.sameIds ? 0 : number + 1;
  const place = Number(/slice (\d+)$/.exec(slice.nameKey)![1]);
  const random = new Random(world.plan.seed + n * 1000 + place);
  const tag = tagOf(number, place);
  const make = (key: number) => {
    const size = random.chance(0.1) ? random.int(1, 3 * chunkBytes) : random.int(0, 60);
    return {
      id: idOf(5, ids, place, key, world.nextVersion(number)),
      key: `${tag} part ${key}`,
      source: random.chance(0.5) ? "" : tag,
      encoding: "raw" as const,
      payload: Buffer.from(`${tag}${String(random.int(0, 9)).repeat(size)}`),
    };
  };
  const content = { key: slice.key, contentKey: slice.content, name: slice.name } as Slice;
  const db = world.operator(primary.db);
  await changeSlice(db, content, async (edit) => {
    const old = world.grainsOf(primary, slice.key);
    if (what === "all" || what === "none") await edit.clear();
    let gone = what === "some" ? old.filter(() => random.chance(0.3)) : old;
    // Often only a little is changed.
    const little = what === "some" && random.chance(0.5);
    if (little) gone = old.slice(0, 1);
    if (what === "some") await edit.delete(gone.map((grain) => grain.id));
    const kept = new Set(what === "some" ? old.filter((grain) => !gone.includes(grain)).map((grain) => grain.key) : []);
    const most = what === "none" ? 0 : what === "first" ? n : little ? 1 : random.int(0, 14);
    for (let key = 0; key < most; key++) {
      const grain = make(key);
      if (kept.has(grain.key)) continue;
      const { payload, ...rest } = grain;
      if (payload.length <= chunkBytes) await edit.put([grain]);
      else await edit.putStream(rest, pieces(payload), 1_000_000);
    }
    const pairs = random.chance(0.3) ? [["note", `${tag} ${random.int(0, 9)}`] as const] : [];
    if (what !== "first" || pairs.length > 0) await replaceMetadata(edit.tx, content.key, sortMetadata(pairs));
  }).catch(world.refused); // another operator has it, or the database is away
}

async function* pieces(payload: Buffer): AsyncGenerator<Buffer> {
  yield payload;
}
