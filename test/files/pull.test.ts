/** Which directory and which file `pull` writes for whom, and what it removes. */
import { mkdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Listing, prepareTarget } from "../../src/files/pull-file.ts";
import { inTurns } from "../../src/files/rules/pull-turns.ts";
import { applyBatch } from "../../src/slices/batch.ts";
import type { Slice } from "../../src/slices/rules/slice.ts";
import { removeSlice } from "../../src/slices/slice-store.ts";
import { scratch } from "../harness/scratch.ts";
import { journalName, manifest, manifestName, PullPlace, tree } from "./pull-place.ts";

t.setTimeout(120_000);

t.test("no primary gets the directory of another's slice", async (t) => {
  const place = await PullPlace.make(t);
  const evil = await place.company("Evil");
  const prim = await place.company("Prim");
  const older = await place.slice(evil, "placeholder", "file-shared.xml", "evil prices");
  const shared = await place.slice(prim, "file-shared", "file-shared.xml", "prices");
  await place.pull();
  await place.rename("placeholder", "file-shared.");
  const there = "file-shared/file-shared.xml";
  const now = await place.pull();
  t.match(now, [`file-shared: unchanged ${there}`, "file-shared.: unchanged placeholder/file-shared.xml"]);
  t.equal((await tree(place.out))[there], "prices");

  await t.test("nowhere, whatever is pulled to", async (t) => {
    const elsewhere = join(await scratch(t), "elsewhere");
    await place.pull(elsewhere);
    t.equal((await tree(elsewhere))[there], "prices", "another directory");
    await rm(join(place.out, manifestName));
    await place.pull();
    t.equal((await tree(place.out))[there], "prices", "the manifest is lost");
    await rm(place.out, { recursive: true });
    await place.pull();
    t.equal((await tree(place.out))[there], "prices", "everything is lost");
  });

  await t.test("not when the slice is renamed, removed, added again", async (t) => {
    await place.rename("file-shared", "renamed");
    await place.rename("file-shared.", "file-shared");
    await place.pull();
    t.equal((await tree(place.out))[there], "prices", "renamed");
    await removeSlice(place.db, (await place.now("renamed")).key);
    await removeSlice(place.db, older.key);
    await place.slice(evil, "FILE-SHARED", "file-shared.xml", "evil prices");
    await place.pull();
    t.equal((await tree(place.out))[there], "prices", "removed: its file stays, and nobody else's comes there");
    const again = await place.db.one<{ name: string }>(
      `INSERT INTO slices (company_id, id, name, name_key, slice_type) VALUES ($1, $2, 'back', 'back', 'xml-file') RETURNING name`,
      [prim, shared.id],
    );
    await place.file(again!.name, "file-shared.xml", "new prices");
    t.match(await place.pull(), ["back: written file-shared/file-shared.xml"]);
  });
});

t.test("a manifest that an earlier program wrote is heeded", async (t) => {
  const place = await PullPlace.make(t);
  const evil = await place.company("Evil");
  const prim = await place.company("Prim");
  await place.slice(evil, "a:b", "x.xml", "evil");
  const slice = await place.slice(prim, "a?b", "x.xml", "good");
  const about = { slice: "a?b", slice_id: slice.id, hash: "", content_date: null, metadata: {}, sha256: "", bytes: 1 };
  await mkdir(join(place.out, "a_b"), { recursive: true });
  await writeFile(join(place.out, "a_b/x.xml"), "old");
  await writeFile(join(place.out, manifestName), JSON.stringify([{ ...about, file: "a_b/x.xml" }]));
  const results = await place.pull();
  t.match(results, [/^a:b: written a_b-.*\/x\.xml$/, "a?b: written a_b/x.xml"], "though Evil's slice is the older one");
  t.match(await manifest(place.out), [{ company_id: evil }, { company_id: prim }]);
});

t.test("what another database has pulled is kept apart", async (t) => {
  const first = await PullPlace.make(t);
  await first.slice(await first.company("Prim"), "pads", "pads.xml", "good");
  await first.pull();

  const lost = await PullPlace.make(t);
  await lost.slice(await lost.company("Evil"), "pads", "pads.xml", "evil");
  for (const time of ["first", "second"]) t.match(await lost.pull(first.out), [/^pads: \w+ pads-.*\/pads.xml$/], time);
  t.equal((await tree(first.out))["pads/pads.xml"], "good");

  await first.pull();
  const second = await PullPlace.make(t);
  const evil = await second.company("Evil");
  await second.slice(evil, "pads", "pads.xml", "evil");
  await second.slice(evil, "rotors", "rotors.xml", "rotors");
  await second.pull();
  for (const time of ["first", "second"]) {
    const results = await second.pull(first.out);
    t.match(results[0], /^pads: failed storage .*\/pads holds a file of another company's slice pads$/, time);
    t.match(results[1], /^rotors: (written|unchanged) rotors\/rotors.xml$/);
  }
  t.equal((await tree(first.out))["pads/pads.xml"], "good");
  await rename(join(first.out, "pads"), join(first.out, "old pads"));
  t.match(await second.pull(first.out), ["pads: written pads/pads.xml", /unchanged/], "moved away, as the hint says");
});

t.test("what was superseded goes", async (t) => {
  const place = await PullPlace.make(t);
  const prim = await place.company("Prim");
  await place.slice(prim, "pads", "pads-01.xml", "january");
  await place.slice(prim, "rotors", "rotors.xml", "rotors");
  await place.pull();
  await writeFile(join(place.out, "pads/mine.xml"), "mine");

  await place.file("pads", "pads-02.xml", "february");
  t.same(await place.pull(), [
    "pads: written pads/pads-02.xml",
    "pads: removed pads/pads-01.xml",
    "rotors: unchanged rotors/rotors.xml",
  ]);
  await place.file("pads", "pads-03.xml", "february");
  await place.pull(place.out, { only: "pads" });
  t.same(await tree(place.out), {
    "pads/mine.xml": "mine",
    "pads/pads-03.xml": "february",
    "rotors/rotors.xml": "rotors",
  });

  await t.test("unless it was altered, or is something else by now", async (t) => {
    await writeFile(join(place.out, "pads/pads-03.xml"), "my notes");
    await place.file("pads", "pads-04.xml", "april");
    t.match(await place.pull(), ["pads: written pads/pads-04.xml", "pads: altered pads/pads-03.xml"]);
    t.equal((await tree(place.out))["pads/pads-03.xml"], "my notes");
    t.match(await place.pull(), ["pads: unchanged", "rotors: unchanged"], "which is said once");
    await rm(join(place.out, "pads/pads-04.xml"));
    await mkdir(join(place.out, "pads/pads-04.xml"));
    await place.file("pads", "pads-05.xml", "may");
    t.match(await place.pull(), ["pads: written pads/pads-05.xml", "pads: altered pads/pads-04.xml"]);
  });

  await t.test("also when nothing takes its place", async (t) => {
    const rotors = await place.now("rotors");
    await applyBatch(place.db, rotors, [{ delete_all: true }], 1e6);
    t.match(await place.pull(), [/^pads: unchanged/, "rotors: skipped", "rotors: removed rotors/rotors.xml"]);
    await place.file("rotors", "rotors.xml", "back");
    await place.pull();
    const add = { grain_key: "another", source: "", encoding: "raw" as const, payload: "x" };
    await applyBatch(place.db, rotors, [{ add }], 1e6);
    t.match(
      await place.pull(),
      [/^pads: unchanged/, "rotors: skipped", "rotors: removed rotors/rotors.xml"],
      "level 2",
    );
  });

  await t.test("but not when its slice is gone", async (t) => {
    await removeSlice(place.db, (await place.now("pads")).key);
    await place.pull();
    t.equal((await tree(place.out))["pads/pads-05.xml"], "may");
    t.same(await manifest(place.out), []);
  });
});

t.test("a slice that is renamed keeps its directory, and the manifest tells its name", async (t) => {
  const place = await PullPlace.make(t);
  await place.slice(await place.company("Prim"), "pads", "pads.xml");
  await place.pull();
  await place.rename("pads", "brake pads");
  t.same(await place.pull(), ["brake pads: unchanged pads/pads.xml"]);
  t.match(await manifest(place.out), [{ slice: "brake pads", file: "pads/pads.xml" }]);
});

t.test("a manifest that somebody made leads nowhere", async (t) => {
  const place = await PullPlace.make(t);
  const outside = join(place.out, "../outside.xml");
  const prim = await place.company("Prim");
  await place.slice(prim, "pads", "pads.xml", "pads");
  await place.slice(prim, "rotors", "rotors.xml", "rotors");
  await place.pull();
  const [pads, rotors] = await manifest(place.out);
  await writeFile(outside, "pads");
  const write = (...entries: object[]) => writeFile(join(place.out, manifestName), JSON.stringify(entries));
  for (const file of ["../outside.xml", "/etc/passwd", "pads/../../outside.xml", "pads", "pads/", ".x/y", "pads/.y"]) {
    await write({ ...pads, file }, rotors!);
    await t.rejects(place.pull(), { code: "storage", message: /is not a manifest that sandpiper wrote/ }, file);
  }
  t.equal(await readFile(outside, "utf8"), "pads");

  await write({ ...pads, file: rotors!.file, sha256: rotors!.sha256, bytes: rotors!.bytes }, { ...rotors });
  await place.pull();
  t.match(
    await tree(place.out),
    { "pads/pads.xml": "pads", "rotors/rotors.xml": "rotors" },
    "another slice's file stays",
  );

  await symlink(join(place.out, ".."), join(place.out, "link"));
  await write({ ...pads, file: "link/outside.xml" }, rotors!);
  await place.pull();
  t.equal(await readFile(outside, "utf8"), "pads", "nothing is removed through a link");

  await rm(join(place.out, "pads"), { recursive: true });
  await symlink(join(place.out, ".."), join(place.out, "pads"));
  await place.file("pads", "outside.xml", "evil");
  t.match(await place.pull(), [/^pads: failed storage .*\/pads is a symbolic link$/, "rotors: unchanged"]);
  t.equal(await readFile(outside, "utf8"), "pads", "nothing is written through one");
  await symlink(outside, join(place.out, journalName));
  await t.rejects(place.pull(), { code: "storage", message: /journal is a symbolic link/ });
});

t.test("what is wrong with one slice is that slice's failure", async (t) => {
  const place = await PullPlace.make(t);
  const prim = await place.company("Prim");
  for (const name of ["a", "b", "c", "z"]) await place.slice(prim, name, `${name}.xml`, name);
  await mkdir(join(place.out, "c/c.xml"), { recursive: true });
  await writeFile(join(place.out, "a"), "");
  await symlink("/nowhere", join(place.out, "b"));
  t.match(await place.pull(), [
    /^a: failed storage .*\/a is not a directory$/,
    /^b: failed storage .*\/b is a symbolic link$/,
    /^c: failed storage .*\/c\/c.xml is not a file$/,
    "z: written z/z.xml",
  ]);
  // A path has at most 4,095 bytes.
  const deep = join(place.out, "d/".repeat(1900), "d".repeat(199 - place.out.length));
  await place.file("z", `${"z".repeat(190)}.xml`, "z");
  const results = await place.pull(deep);
  t.match(results, [/^a: written/, /^b: written/, /^c: written/, /^z: failed storage cannot write to .*ENAMETOOLONG/]);
});

t.test("a file system that takes one name for another is noticed", async (t) => {
  const root = await scratch(t);
  await mkdir(join(root, "PROGRA~1"));
  await mkdir(join(root, "Caf\u00e9"));
  const listing = new Listing(root, async () => ["program files", "CAFE\u0301"]);
  t.equal(await prepareTarget(root, "Caf\u00e9", "x", listing), join(root, "Caf\u00e9/x"), "the same name");
  await t.rejects(prepareTarget(root, "PROGRA~1", "x", listing), {
    code: "storage",
    message: /takes .*PROGRA~1 to be a directory with another name/,
  });
  t.equal(await prepareTarget(root, "new", "x", listing), join(root, "new/x"));
});

t.test("companies take turns, so that none fills the disk before the others", async (t) => {
  const place = await PullPlace.make(t);
  const evil = await place.company("Evil");
  const prim = await place.company("Prim");
  const slices: Slice[] = [];
  for (const name of ["a", "b", "c", "d"]) slices.push(await place.slice(evil, name, "x"));
  for (const name of ["y", "z"]) slices.push(await place.slice(prim, name, "x"));
  const taken = new Map<string, number>();
  const order: string[] = [];
  for (const slice of inTurns(slices, (company) => taken.get(company) ?? 0)) {
    order.push(slice.name);
    taken.set(slice.companyId, (taken.get(slice.companyId) ?? 0) + (slice.companyId === evil ? 100 : 60));
  }
  t.same(order, ["a", "y", "z", "b", "c", "d"]);
  t.match(await place.pull(), ["a: ", "b: ", "c: ", "d: ", "y: ", "z: "], "the report is in order of name");
});

t.test("temporary files of killed pulls are swept, and nobody else's", async (t) => {
  const place = await PullPlace.make(t);
  await place.slice(await place.company("Prim"), "pads", "pads.xml");
  await place.pull();
  const own = place.opened.server.serverId.slice(0, 8);
  const temporary = (owner: string) => `.sandpiper-${owner}89abcdef.tmp`;
  const other = own === "00000000" ? "11111111" : "00000000";
  const put = async (name: string, hours = 0) => {
    await writeFile(join(place.out, name), "half");
    const then = Date.now() / 1000 - hours * 3600;
    await utimes(join(place.out, name), then, then);
  };
  for (const directory of ["", "pads/"]) {
    await put(directory + temporary(own));
    await put(directory + temporary(other));
    await put(`${directory}.sandpiper-0123456789abcdef.tmp`, 2);
    for (const theirs of [".sandpiper-x.tmp", "sandpiper.tmp", ".sandpiper-0123456789abcdef.tmp.bak"])
      await put(directory + theirs, 2);
  }
  await place.pull();
  const left = Object.keys(await tree(place.out)).filter((name) => name.includes("tmp"));
  const stay = [".sandpiper-0123456789abcdef.tmp.bak", temporary(other), ".sandpiper-x.tmp", "sandpiper.tmp"];
  t.same(left.sort(), [...stay, ...stay.map((name) => `pads/${name}`)].sort());
});
