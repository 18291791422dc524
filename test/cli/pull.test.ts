import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t from "tap";
import { everything } from "../../src/database/scope.ts";
import { applyBatch, type BatchLine } from "../../src/slices/batch.ts";
import { levelOneKey } from "../../src/slices/rules/slice.ts";
import { findSlice } from "../../src/slices/slice-store.ts";
import { type Sandbox, sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

interface Entry {
  slice: string;
  file: string;
  bytes: number;
  sha256: string;
}

/** Makes a slice whose single grain has this source, as a peer may send it. */
async function addGrain({ json, withDatabase }: Sandbox, name: string, source: string, payload: string | Buffer) {
  await json(["slice", "add", name, "--type", "xml-file"]);
  await change(withDatabase, name, source, payload);
}

async function change(withDatabase: Sandbox["withDatabase"], name: string, source: string, payload: string | Buffer) {
  const add = {
    grain_key: levelOneKey,
    source,
    encoding: "b64" as const,
    payload: Buffer.from(payload).toString("base64"),
  };
  const lines: BatchLine[] = [{ delete_all: true }, { add }];
  await withDatabase(async (db) => applyBatch(db, (await findSlice(db, everything, name))!, lines, 1e6));
}

const files = async (directory: string) =>
  (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
const manifest = async (directory: string): Promise<Entry[]> =>
  JSON.parse(await readFile(join(directory, "sandpiper-manifest.json"), "utf8"));

t.test("files come out as they went in", async (t) => {
  const box = await sandbox(t, "primary");
  const { run, json, refuses, directory, withDatabase } = box;
  const out = join(directory, "a/b/out");
  const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x93, 0xff, 0x00, 0x0d, 0x0a]);
  await writeFile(join(directory, "one.xml"), bytes);
  await json(["slice", "add", "Pads", "--type", "aces-file", "--meta", "vcdb=2026"]);
  await json(["add", "--slice", "pads", "one.xml"]);
  await addGrain(box, "Rotors", "rotors.xml", "rotors");
  await json(["slice", "add", "Empty", "--type", "aces-file"]);

  const first = await run(["pull", "a/b/out"]);
  t.match(first, {
    code: 0,
    stdout: "Pads\twritten\t8\tPads/one.xml\nRotors\twritten\t6\tRotors/rotors.xml\n",
    stderr: /^$/,
  });
  t.ok((await readFile(join(out, "Pads/one.xml"))).equals(bytes));
  t.same(await files(out), ["Pads/one.xml", "Rotors/rotors.xml", "sandpiper-manifest.json"]);
  const entries = await manifest(out);
  t.match(entries[0], {
    slice: "Pads",
    slice_id: /^[0-9a-f-]{36}$/,
    file: "Pads/one.xml",
    bytes: 8,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    hash: /^[0-9a-f]{16}$/,
    content_date: /^\d{4}-/,
    metadata: { vcdb: "2026" },
  });

  t.test("what is there already is left alone", async (t) => {
    await utimes(join(out, "Pads/one.xml"), 1, 1);
    await utimes(join(out, "sandpiper-manifest.json"), 1, 1);
    t.match(await json(["pull", "a/b/out"]), [
      { slice: "Empty", outcome: "skipped", file: null },
      { slice: "Pads", outcome: "unchanged", file: "Pads/one.xml" },
      { slice: "Rotors", outcome: "unchanged" },
    ]);
    t.equal((await stat(join(out, "Pads/one.xml"))).mtimeMs, 1000);
    t.equal((await stat(join(out, "sandpiper-manifest.json"))).mtimeMs, 1000);
  });

  t.test("one slice, and the others' entries stay", async (t) => {
    await writeFile(join(out, "Pads/one.xml"), "damaged!");
    await change(withDatabase, "rotors", "rotors.xml", "rotors 2");
    t.match(await run(["pull", "--slice", "ROTORS", "a/b/out"]), { code: 0, stdout: /^Rotors\twritten\t8\t[^\n]*\n$/ });
    t.match(await manifest(out), [
      { slice: "Pads", bytes: 8 },
      { slice: "Rotors", bytes: 8 },
    ]);
    t.equal(await readFile(join(out, "Pads/one.xml"), "utf8"), "damaged!");
    t.match(await run(["pull", "a/b/out"]), { stdout: "Pads\twritten\t8", code: 0 }, "same size, other bytes");
    t.ok((await readFile(join(out, "Pads/one.xml"))).equals(bytes));
    const skipped = await run(["pull", "--slice", "empty", "a/b/out"]);
    t.match(skipped, { code: 0, stdout: /^$/, stderr: "Slice Empty holds no level-1 file" });
    t.equal((await manifest(out)).length, 2);
  });

  t.test("what cannot be", async (t) => {
    await writeFile(join(directory, "a-file"), "");
    await mkdir(join(directory, "odd"));
    await writeFile(join(directory, "odd/sandpiper-manifest.json"), "{}");
    await refuses(t, [
      [["pull", "--slice", "nil"], 2, "there is no slice"],
      [["pull", join(directory, "a-file")], 9, "cannot write to"],
      [["pull", "/proc/none/such"], 9, "cannot write to /proc/none/such"],
      [["pull", join(directory, "odd")], 9, "is not a manifest that sandpiper wrote"],
      [["pull", "a", "b"], 2, "too many arguments"],
    ]);
    t.same(await readdir(join(directory, "odd")), ["sandpiper-manifest.json"]);
    const limited = await run(["pull", "--limits.max_grain_bytes", "7", "new"]);
    t.match(limited, { code: 11, stderr: "2 of 3 slices failed" });
    t.match(limited.stdout, "Pads\tfailed");
    t.same(await files(join(directory, "new")), ["sandpiper-manifest.json"], "no half a file");
  });
});

t.test("what became of an earlier file is told", async (t) => {
  const { run, json, directory } = await sandbox(t, "primary");
  const publish = async (name: string, text: string) => {
    await writeFile(join(directory, name), text);
    return run(["add", "--slice", "pads", name]);
  };
  await json(["slice", "add", "pads", "--type", "xml-file"]);
  await publish("prices-30.xml", "prices");
  await run(["pull", "out"]);
  t.match(await publish("prices-31.xml", "prices"), {
    code: 0,
    stdout: /^Published prices-31.xml in slice pads, in place of prices-30.xml \(6 bytes, \d+ compressed\)\.\n$/,
  });
  t.same(await run(["pull", "out"]), {
    code: 0,
    signal: null,
    stdout: "pads\twritten\t6\tpads/prices-31.xml\npads\tremoved\t\tpads/prices-30.xml\n",
    stderr: "",
  });
  await publish("prices-01.xml", "new prices");
  t.match(await json(["pull", "out"]), [
    { slice: "pads", outcome: "written", file: "pads/prices-01.xml", removed: ["pads/prices-31.xml"], altered: [] },
  ]);
  await writeFile(join(directory, "out/pads/prices-01.xml"), "notes");
  await publish("prices-02.xml", "newer prices");
  t.match(await run(["pull", "out"]), {
    code: 0,
    stdout: "pads\twritten\t12\tpads/prices-02.xml\npads\taltered\t\tpads/prices-01.xml\n",
    stderr: /^out\/pads\/prices-01.xml is superseded, but has been altered since it was written, so it stays\. .*\n$/,
  });
  t.same(await files(join(directory, "out")), ["pads/prices-01.xml", "pads/prices-02.xml", "sandpiper-manifest.json"]);
});

t.test("hostile names and sources stay inside", async (t) => {
  const box = await sandbox(t, "primary");
  const { run, refuses, directory } = box;
  const sources: [slice: string, source: string, file: RegExp][] = [
    ["../../evil", "../../etc/cron.d/x", /^_\.\._evil\/x$/],
    ["/abs", "/etc/passwd", /^_abs\/passwd$/],
    ["a/b", "C:\\windows\\aces.xml", /^a_b\/aces\.xml$/],
    ["a:b", "nul.txt", /^a_b-[0-9a-f-]{36}\/_nul\.txt$/],
    ["A*B", "..", /^A_B-[0-9a-f-]{36}\/[0-9a-f-]{36}$/],
    ["CON", "x\n\u001b[2Jy", /^_CON\/x__\[2Jy$/],
    ["sandpiper-manifest.json", "", /^sandpiper-manifest\.json-[0-9a-f-]{36}\/[0-9a-f-]{36}$/],
    ["..", "dir/", /^[0-9a-f-]{36}\/[0-9a-f-]{36}$/],
    ["long", "é".repeat(500), /^long\/é{100}$/],
  ];
  for (const [slice, source] of sources) await addGrain(box, slice, source, slice);
  const inner = join(directory, "x/y/out");
  const { code, stderr } = await run(["pull", "x/y/out"]);
  t.equal(code, 0, stderr);
  const entries = await manifest(inner);
  for (const [slice, source, file] of sources) {
    const entry = entries.find((row) => row.slice === slice)!;
    t.match(entry.file, file, `${slice} ${source.slice(0, 20)}`);
    t.equal(await readFile(join(inner, entry.file), "utf8"), slice);
  }
  t.equal((await files(inner)).length, sources.length + 1, "nothing else in it");
  t.same(
    (await files(directory)).filter((name) => !name.startsWith("x/y/out/")),
    ["sandpiper.yaml"],
    "nor beside it",
  );

  t.test("links are not followed", async (t) => {
    const outside = join(directory, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "aces.xml"), "mine");
    const refusesLink = async (link: string, target: string) => {
      await rm(join(inner, link), { recursive: true, force: true });
      await symlink(target, join(inner, link));
      await refuses(t, [[["pull", inner], 9, "is a symbolic link"]]);
      t.ok((await lstat(join(inner, link))).isSymbolicLink());
      await rm(join(inner, link));
    };
    await refusesLink("a_b", outside);
    await refusesLink("_abs/passwd", join(outside, "aces.xml"));
    await refusesLink("_abs/passwd", join(outside, "new"));
    await refusesLink("sandpiper-manifest.json", join(outside, "new"));
    t.same(await readdir(outside), ["aces.xml"]);
    t.equal(await readFile(join(outside, "aces.xml"), "utf8"), "mine");
    await mkdir(join(inner, "_abs/passwd"), { recursive: true });
    await refuses(t, [[["pull", inner], 9, "is not a file"]]);
  });

  t.test("a payload that is not what it says fails alone", async (t) => {
    const fresh = await sandbox(t, "primary");
    await addGrain(fresh, "good", "good.xml", "good");
    await addGrain(fresh, "bomb", "bomb.xml", "soon");
    await addGrain(fresh, "cut", "cut.xml", "whole");
    await fresh.json(["pull", "out"]);
    const z64 = (name: string, payload: Buffer) =>
      fresh.withDatabase(async (db) => {
        const add = {
          grain_key: levelOneKey,
          source: `${name}.xml`,
          encoding: "z64" as const,
          payload: payload.toString("base64"),
        };
        await applyBatch(db, (await findSlice(db, everything, name))!, [{ delete_all: true }, { add }], 1e9);
      });
    await z64("bomb", gzipSync(Buffer.alloc(20_000_000)));
    await z64("cut", gzipSync("x".repeat(1000)).subarray(0, 20));
    await change(fresh.withDatabase, "good", "good.xml", "better");
    const { code, stdout, stderr } = await fresh.run(["pull", "out", "--limits.max_grain_bytes", "10000000"]);
    t.equal(code, 8, "the worst of the two");
    t.match(stderr, "2 of 3 slices failed");
    t.match(stdout, "good\twritten\t6");
    const out = join(fresh.directory, "out");
    t.equal(await readFile(join(out, "cut/cut.xml"), "utf8"), "whole", "what was there is there still");
    t.match(await manifest(out), [
      { slice: "bomb", bytes: 4 },
      { slice: "cut", bytes: 5 },
      { slice: "good", bytes: 6 },
    ]);
    t.equal((await files(out)).length, 4, "no temporary files");
  });
});
