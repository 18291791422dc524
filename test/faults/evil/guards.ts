/**
 * The guards of the protocol, as they stand in the compiled program: each place where it refuses what a peer sent. In a copy of
 * the program every one is counted when it fires, and can be switched off (switches.ts).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../harness/project-root.ts";

export interface Guard {
  /** The file and what is said, as far as it is always the same. */
  name: string;
  /** In dist/. */
  file: string;
}

/** A statement that refuses: its indentation, whether it throws or returns, the error. */
const refusal =
  /^( *)(throw|return) (violation\([\s\S]*?\)|new SandpiperError\("(?:verification|limit|protocol)"[\s\S]*?\));$/gm;
/** Whatever looks like one, to see that none is overlooked. */
const mention = /\bviolation\(|new SandpiperError\("(?:verification|limit|protocol)"/g;

/** What makes such an error for others, or hands it to somebody. */
const notStatements: Readonly<Record<string, number>> = {
  "src/sync/protocol/messages.js": 2, // violation() itself
  "src/sync/transport/http-client.js": 1, // handed to a request that is destroyed
  "src/sync/transport/connect-error.js": 2, // notSandpiper, noWebsocket
};

/** The last lock, which stays: the hash of what is stored, recomputed before the commit. */
const lastLock = "apply: slice ... would not be what the primary declared";
/** This one gives a name to what a unique index has refused already: without it the lock would be the same, and the error would have none. */
const index = "stage: the primary sent two grains with one key";
/** Guards that are counted, and never switched off. */
export const alwaysOn: ReadonlySet<string> = new Set([lastLock, index]);

const nameOf = (file: string, error: string, n: number): string => {
  const text =
    /["`]([^"`]{10,}?)["`]/.exec(error.replace(/"(verification|limit|protocol)",/, ""))?.[1] ?? `number ${n}`;
  const said = text.replace(/\$\{[^}]*(?:\}|$)/g, "...").replace(/ \(hash .*/, "");
  return `${file.replace(/^.*\/|\.js$/g, "")}: ${said}`;
};

/** Finds the guards of one compiled file, and plants a switch in each. */
function plant(file: string, text: string): { guards: Guard[]; planted: string } {
  const guards: Guard[] = [];
  const seen = new Map<string, number>();
  const planted = text.replace(refusal, (found, indent: string, how: string, error: string) => {
    if (file.endsWith("messages.js") && how === "return") return found;
    const plain = nameOf(file, error, guards.length);
    const n = (seen.get(plain) ?? 0) + 1;
    seen.set(plain, n);
    const name = n === 1 ? plain : `${plain} (${n})`;
    guards.push({ name, file });
    const call = `globalThis.sandpiperGuard(${JSON.stringify(name)}, ${error})`;
    return `${indent}{ const refused = ${call}; if (refused !== undefined) ${how} refused; }`;
  });
  const others = (text.match(mention) ?? []).length - guards.length;
  if (others !== (notStatements[file] ?? 0))
    throw new Error(`${file} refuses something in a way that is not understood here: ${others} places`);
  return { guards, planted };
}

/** All guards, and what plants them in a copy of the program (harness/patched-copy.ts). */
export function findGuards(): { guards: Guard[]; edits: Record<string, (text: string) => string> } {
  const directory = join(projectRoot, "dist/src/sync");
  const guards: Guard[] = [];
  const edits: Record<string, (text: string) => string> = {};
  for (const name of readdirSync(directory).sort()) {
    if (!name.endsWith(".js")) continue;
    const file = `src/sync/${name}`;
    const found = plant(file, readFileSync(join(directory, name), "utf8")).guards;
    guards.push(...found);
    if (found.length > 0) edits[file] = (text) => plant(file, text).planted;
  }
  return { guards, edits };
}
