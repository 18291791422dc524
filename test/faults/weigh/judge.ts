/** Which rows are too heavy: those that are so even alone. */
import { isTooHeavy, Scales, type Weighed, type Weight } from "./scales.ts";

/** A machine that is busy may be in the way once. */
const tries = 2;

/**
 * Weighs the rows that are too heavy again, each alone.
 *
 * @param weigh does that for one of them.
 * @returns those that stay too heavy, in words.
 */
export async function judge(all: readonly Weighed[], weigh: (suspect: Weighed) => Promise<Weight>): Promise<string[]> {
  const found: string[] = [];
  for (const suspect of all.filter(isTooHeavy)) {
    let alone: Weight = suspect;
    for (let n = 0; n < tries && isTooHeavy(alone); n++) alone = await weigh(suspect);
    if (isTooHeavy(alone)) found.push(`${suspect.row}: ${inWords(alone)} at the ${suspect.at}`);
  }
  return found;
}

const inWords = ({ lateMs, grownMb }: Weight): string =>
  `${lateMs === Number.MAX_VALUE ? "no answer" : `${Math.round(lateMs)} ms without an answer`}, ${Math.round(grownMb)} MB more`;

/** What work costs one server, where nothing else is done. */
export async function weighAlone(server: { url: string; pid: number }, work: () => Promise<unknown>): Promise<Weight> {
  const scales = await Scales.set({ name: "it", ...server });
  try {
    await scales.rowAfterAll("alone", work);
    return (await scales.weights())[0]!;
  } finally {
    await scales.end();
  }
}
