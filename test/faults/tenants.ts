/**
 * `npm run test:tenants`: the matrix of tenant-matrix.ts as the program is, and again from copies of it, each with the filter of one query
 * removed: row-level security must then hold alone. `-- --quick` removes three of them.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { patchedCopy } from "../harness/patched-copy.ts";
import { projectRoot as root } from "../harness/project-root.ts";

/** What a run of the matrix found. */
export interface Matrix {
  /** Requests and messages. */
  cells: number;
  foreignBytes: number;
  /** Rows that a partner wrote about what is not its own. */
  wrongRows: number;
  leaks: string[];
  /** Where what is another's was not answered as what there is not. */
  different: string[];
  /** Routes and messages that the matrix does not know. */
  missing: string[];
}

/** Runs the matrix of the program in `directory`. @throws when it does not come to its end. */
export function runMatrix(directory = root, environment: Record<string, string> = {}): Promise<Matrix> {
  return new Promise((resolve, reject) => {
    const program = join(directory, "dist/test/faults/tenant-matrix.js");
    const options = { cwd: directory, timeout: 120_000, maxBuffer: 2 ** 26, env: { ...process.env, ...environment } };
    execFile(process.execPath, [program], options, (error, out, err) => {
      const line = /^RESULT (.*)$/m.exec(out);
      if (line === null) reject(error ?? new Error(`the matrix ended without a result\n${out}\n${err}`));
      else resolve(JSON.parse(line[1]!) as Matrix);
    });
  });
}

/** A filter as it stands in a compiled query. */
const filter = /\$\{(?:slicesInScope|sliceInScope|companyInScope)\(scope, "\$1"(?:, "\w+")?\)\}/g;

interface Place {
  file: string;
  /** Which of the file's filters. */
  n: number;
}

/** Every query's filter, in the compiled program. */
export function filters(): Place[] {
  const files = readdirSync(join(root, "dist/src"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".js"),
  );
  return files.sort().flatMap((file) => {
    const text = readFileSync(join(root, "dist/src", file), "utf8");
    return [...text.matchAll(filter)].map((_match, n) => ({ file, n }));
  });
}

/** Runs the matrix of a copy of the program without that filter. */
export async function runWithout({ file, n }: Place, environment: Record<string, string> = {}): Promise<Matrix> {
  let seen = 0;
  const copy = patchedCopy({
    [`src/${file}`]: (text) => text.replace(filter, (found) => (seen++ === n ? "($1::uuid IS NULL OR TRUE)" : found)),
  });
  try {
    return await runMatrix(copy.directory, environment);
  } finally {
    copy.remove();
  }
}

async function main(): Promise<void> {
  const whole = await runMatrix();
  const all = filters();
  const removed = process.argv.includes("--quick") ? all.slice(0, 3) : all;
  let leaked = 0;
  for (const place of removed) {
    const matrix = await runWithout(place);
    leaked += matrix.foreignBytes + matrix.wrongRows;
    for (const leak of matrix.leaks) console.log(`without filter ${place.n} of ${place.file}: ${leak}`);
  }
  for (const line of [...whole.leaks, ...whole.different, ...whole.missing.map((what) => `not in the matrix: ${what}`)])
    console.log(line);
  console.log(
    `${whole.cells} cells, ${whole.foreignBytes} foreign bytes, ${removed.length} filters removed, ${leaked} foreign bytes`,
  );
  const wrong = whole.foreignBytes + whole.wrongRows + whole.different.length + whole.missing.length + leaked;
  process.exitCode = wrong === 0 && whole.cells > 500 && removed.length > 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
