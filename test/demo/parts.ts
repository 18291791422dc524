/** Parts for a slice of level 2, a grain each: the applications of a part, as they stand in an ACES file. */
import { generateAces } from "../harness/aces.ts";

export interface Part {
  number: string;
  xml: string;
}

/** That many parts of a generated catalogue. */
export function generateParts(count: number): Part[] {
  const parts = new Map<string, string>();
  let text = "";
  for (const piece of generateAces({ applications: Number.POSITIVE_INFINITY, seed: 2, variant: "utf8" })) {
    text += piece;
    const end = text.lastIndexOf("</App>") + "</App>".length;
    for (const [app, number] of text.slice(0, end).matchAll(/<App .*?<Part>(.*?)<\/Part>.*?<\/App>/gs)) {
      // Parts come alone or in pairs: those before the last two are complete when another one begins.
      if (!parts.has(number!) && parts.size === count + 1) {
        return [...parts].slice(0, count).map(([number, xml]) => ({ number, xml }));
      }
      parts.set(number!, `${parts.get(number!) ?? ""}${app}\n`);
    }
    text = text.slice(end);
  }
  throw new Error("the generator has an end");
}

/** The part with one thing changed, as a correction by the maker would. */
export const corrected = (part: Part): Part => ({ ...part, xml: part.xml.replaceAll("<Qty>1</Qty>", "<Qty>2</Qty>") });

/** The lines of a batch that adds the parts; with `replace`, it first deletes those with the same numbers. */
export function batchLines(parts: readonly Part[], options: { replace?: boolean } = {}): string {
  const deletes = options.replace ? parts.map(({ number }) => ({ delete_key: number })) : [];
  const adds = parts.map(({ number, xml }) => ({ add: { grain_key: number, encoding: "raw", payload: xml } }));
  return [...deletes, ...adds].map((line) => `${JSON.stringify(line)}\n`).join("");
}
