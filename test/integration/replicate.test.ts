/** Catalogues cross from a primary to a secondary, byte for byte, by the real commands. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { type AcesOptions, writeAces } from "../harness/aces.ts";
import { addLines, events, introduce, makePair, offer, Party, withIds } from "./parties.ts";

t.setTimeout(120_000);

const realFiles = fileURLToPath(new URL("../../../../shared/data/aces/", import.meta.url));

t.test("files arrive byte for byte", async (t) => {
  const { primary, secondary } = await makePair(t);
  const files = new Map<string, string>();
  const variants: Record<string, Partial<AcesOptions>> = {
    plain: {},
    latin: { variant: "latin1" },
    utf8: { variant: "utf8" },
    cp1252: { variant: "cp1252" },
  };
  for (const [name, options] of Object.entries(variants)) {
    const path = join(primary.directory, `${name}.xml`);
    await writeAces(path, { applications: 400, seed: 7, ...options });
    files.set(name, path);
  }
  if (existsSync(realFiles))
    for (const name of readdirSync(realFiles)) files.set(name.toLowerCase(), join(realFiles, name));
  else t.comment("shared/data is not here: generated files only");
  for (const [name, path] of files) {
    await offer(primary, name, "aces-file", secondary);
    await primary.ok(["add", "--slice", name, path]);
  }
  await secondary.ok(["sync"]);
  t.same(await secondary.content(), await primary.content());
  await secondary.ok(["pull", "out"]);
  for (const [name, path] of files) {
    const [pulled] = readdirSync(join(secondary.directory, "out", name));
    t.ok(readFileSync(join(secondary.directory, "out", name, pulled!)).equals(readFileSync(path)), name);
  }
  const again = await secondary.run(["sync", "--json"]);
  t.match(events(again.stdout).at(-1), { unchanged: files.size, updated: 0, exit_code: 0 });
});

t.test("of 10,000 level-2 grains only the 100 that changed move", async (t) => {
  const { primary, secondary } = await makePair(t);
  await primary.ok(["user", "add", "root", "--role", "super-admin"], { input: "a long password\n" });
  await offer(primary, "parts", "aces-items", secondary);
  const db = await primary.db();
  const slice = await db.one<{ id: string }>("SELECT id FROM slices");
  const post = async (path: string, body: string, type: string, token?: string) => {
    const headers: Record<string, string> = { "content-type": type };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(`${primary.server!.url}/v1${path}`, { method: "POST", headers, body });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const { body } = await post(
    "/login",
    JSON.stringify({ username: "root", password: "a long password" }),
    "application/json",
  );
  const batch = (lines: object[]) =>
    post(
      `/slices/${slice!.id}/batch`,
      lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
      "application/x-ndjson",
      body.token as string,
    );

  const first = await batch([...addLines(0, 10_000, 1000), { metadata: { vcdb: "2026-01-30" } }]);
  t.match(first, { status: 200, body: { grains_added: 10_000, content_count: 10_000 } });
  const copy = await secondary.run(["sync", "--json"]);
  t.match(events(copy.stdout).at(-1), { updated: 1, grains_added: 10_000, grains_removed: 0, exit_code: 0 });
  t.same(await secondary.content(), await primary.content());
  const kept = await (await secondary.db()).query(
    "SELECT id, ctid FROM grains WHERE grain_key > 'part 1' AND octet_length(grain_key) = 9 ORDER BY id",
  );

  const changes = addLines(0, 100, 1000).flatMap((line, i) => [
    { delete_key: `part ${i}` },
    { add: { ...line.add, payload: `changed ${i} ${"y".repeat(980)}` } },
  ]);
  const second = await batch(changes);
  t.match(second, { status: 200, body: { grains_added: 100, grains_removed: 100 } });
  const delta = await secondary.run(["sync", "--json"]);
  const [sliceEvent] = events(delta.stdout);
  const [before, after] = [events(copy.stdout).at(-1), events(delta.stdout).at(-1)];
  t.match(sliceEvent, { event: "slice", grains_added: 100, grains_removed: 100 });
  t.ok(sliceEvent.payload_bytes > 90_000 && sliceEvent.payload_bytes < 110_000, `payload ${sliceEvent.payload_bytes}`);
  // Coded symbols, the names of 100 grains, and the grains, compressed.
  t.ok(after.bytes_received < 40_000, `${after.bytes_received} bytes received`);
  t.ok(before.bytes_received > 200_000, `${before.bytes_received} bytes the first time`);
  t.same(await secondary.content(), await primary.content());
  t.same(
    await (await secondary.db()).query(
      "SELECT id, ctid FROM grains WHERE grain_key > 'part 1' AND octet_length(grain_key) = 9 ORDER BY id",
    ),
    kept,
    "the others were not touched",
  );
});

t.test("large grains, empty slices, metadata alone, and two slices with the same content", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["large", "empty", "twin-a", "twin-b"]) await offer(primary, name, "binary-blob", secondary);
  const noise = Buffer.alloc(5 * 1024 * 1024 + 17);
  for (let i = 0, x = 1; i < noise.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    noise[i] = x >>> 24;
  }
  await primary.batch("large", [
    { add: { grain_key: "level-1", source: "noise.bin", encoding: "b64", payload: noise.toString("base64") } },
  ]);
  const twins = withIds(addLines(1, 20));
  await primary.batch("twin-a", twins);
  await primary.batch("twin-b", twins);
  await secondary.ok(["sync"]);
  t.same(await secondary.content(), await primary.content());
  await secondary.ok(["pull", "--slice", "large", "out"]);
  t.ok(readFileSync(join(secondary.directory, "out/large/noise.bin")).equals(noise));

  await primary.ok(["slice", "meta", "empty", "format=4.1"]);
  const run = await secondary.run(["sync", "--json"]);
  t.match(events(run.stdout), [
    { event: "slice", outcome: "updated", grains_added: 0 },
    {},
    { unchanged: 3, updated: 1 },
  ]);
  t.same(await secondary.content(), await primary.content());
});

t.test("a secondary keeps what two primaries deliver apart, even under the same ids", async (t) => {
  const secondary = await Party.make(t, "secondary", "Epicor");
  const primaries: Party[] = [];
  for (const [n, company] of ["ABC Brakes", "XYZ Wipers"].entries()) {
    const primary = await Party.make(t, "primary", company);
    await primary.serve();
    await introduce(primary, secondary);
    await offer(primary, "catalogue", "aces-items", secondary);
    await primary.batch("catalogue", addLines(n, 5));
    primaries.push(primary);
  }
  // The second primary takes the ids of the first: slice, subscription and grains.
  const [one, two] = await Promise.all(primaries.map((primary) => primary.db()));
  const ids = (await one!.one<{ slice: string; sub: string }>(
    "SELECT s.id AS slice, u.id AS sub FROM slices s JOIN subscriptions u USING (slice_key)",
  ))!;
  await two!.run("UPDATE slices SET id = $1", [ids.slice]);
  await two!.run("UPDATE subscriptions SET id = $1", [ids.sub]);
  await primaries[1]!.batch("catalogue", [{ delete_all: true }, ...withIds(addLines(50, 5))]);
  await primaries[0]!.batch("catalogue", [{ delete_all: true }, ...withIds(addLines(90, 5))]);
  const run = await secondary.run(["sync", "--json"]);
  t.equal(run.code, 0, run.stderr);
  const rows = await (await secondary.db()).query(
    "SELECT c.name AS company, s.name, s.hash FROM slices s JOIN companies c ON c.id = s.company_id ORDER BY 1",
  );
  const hashes = await Promise.all(
    [one!, two!].map(async (db) => (await db.one<{ hash: string }>("SELECT hash FROM slices"))!.hash),
  );
  t.match(rows, [
    { company: "ABC Brakes", hash: hashes[0] },
    { company: "XYZ Wipers", hash: hashes[1] },
  ]);
  t.not(hashes[0], hashes[1]);
  const names = (rows as { name: string }[]).map((row) => row.name).sort();
  t.same(names, ["catalogue", `catalogue-${ids.slice}`], "a name that is taken gets the id appended");
});
