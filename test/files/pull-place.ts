/** Slices of several companies in one database, and a directory that they are pulled to, in this process. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { addCompany } from "../../src/companies/company-store.ts";
import { everything } from "../../src/database/scope.ts";
import { type Pulled, pullFiles } from "../../src/files/pull.ts";
import type { CompanyId } from "../../src/ids.ts";
import { applyBatch } from "../../src/slices/batch.ts";
import { levelOneKey, type Slice } from "../../src/slices/rules/slice.ts";
import { addSlice, renameSlice, requireSlice } from "../../src/slices/slice-store.ts";
import { type Opened, openTestDatabase } from "../harness/open-database.ts";
import { scratch } from "../harness/scratch.ts";

export interface Entry {
  slice: string;
  slice_id: string;
  company_id?: string;
  file: string;
  bytes: number;
  sha256: string;
}

export const journalName = ".sandpiper-journal";
export const manifestName = "sandpiper-manifest.json";

/** Every file below `directory`, by path, with what is in it; what pull keeps for itself left out. */
export async function tree(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    if (entry.isFile() && name !== manifestName) found[name] = await readFile(path, "utf8");
  }
  return found;
}

export const manifest = async (directory: string): Promise<Entry[]> =>
  JSON.parse(await readFile(join(directory, manifestName), "utf8"));

/** As a person would tell it: `name: outcome file`, and what became of old files; or the error. */
const told = (results: readonly Pulled[]): string[] =>
  results.flatMap((one) => [
    `${one.slice.name}: ${one.outcome}${"entry" in one ? ` ${one.entry.file}` : ""}${"error" in one ? ` ${one.error.code} ${one.error.message}` : ""}`,
    ...one.superseded.map(({ file, outcome }) => `${one.slice.name}: ${outcome} ${file}`),
  ]);

export class PullPlace {
  private constructor(
    readonly opened: Opened,
    /** What is pulled to unless said otherwise. */
    readonly out: string,
  ) {}

  static async make(test: { teardown(work: () => Promise<void>): unknown }): Promise<PullPlace> {
    return new PullPlace(await openTestDatabase(test, "secondary"), join(await scratch(test), "out"));
  }

  get db() {
    return this.opened.db;
  }

  async company(name: string): Promise<CompanyId> {
    return (await addCompany(this.db, { name })).id;
  }

  /** A slice with a file. */
  async slice(companyId: CompanyId, name: string, source: string, text = `${name} of ${companyId}`): Promise<Slice> {
    const slice = await addSlice(this.db, { companyId, name, type: "xml-file" });
    await this.file(name, source, text);
    return slice;
  }

  /** What a partner's slice is from now on. */
  async file(name: string, source: string, text: string | Buffer, encoding: "b64" | "z64" = "b64"): Promise<void> {
    const add = { grain_key: levelOneKey, source, encoding, payload: Buffer.from(text).toString("base64") };
    await applyBatch(this.db, await this.now(name), [{ delete_all: true }, { add }], 2 ** 30);
  }

  now(name: string): Promise<Slice> {
    return requireSlice(this.db, name, everything);
  }

  async rename(name: string, to: string): Promise<void> {
    await renameSlice(this.db, (await this.now(name)).key, to);
  }

  async pull(out = this.out, options: { only?: string; maxFileBytes?: number } = {}): Promise<string[]> {
    const results = await pullFiles(this.db, out, {
      only: options.only === undefined ? undefined : await this.now(options.only),
      maxFileBytes: options.maxFileBytes ?? 2 ** 30,
      serverId: this.opened.server.serverId,
      onWait: () => {},
    });
    return told(results);
  }
}
