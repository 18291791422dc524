import t from "tap";
import { everything } from "../../src/database/scope.ts";
import { computeContent } from "../../src/slices/refresh.ts";
import { findSlice } from "../../src/slices/slice-store.ts";
import { sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

t.test("slices and subscriptions on a primary", async (t) => {
  const { run, json, refuses, withDatabase, onTerminal } = await sandbox(t, "primary");
  const slice = (...args: string[]) => run(["slice", ...args]);
  const subscription = (...args: string[]) => run(["subscription", ...args]);
  const hashIsRight = (name: string) =>
    withDatabase(async (db) => {
      const stored = (await findSlice(db, everything, name))!;
      const content = await db.session((session) => computeContent(session, stored.key, stored.contentKey));
      return stored.hash === content.hash && stored.count === content.count;
    });
  await json(["company", "add", "Epicor"]);

  t.match(await slice("list"), { code: 0, stdout: /^$/ });
  t.match(await slice("add", "Pads", "--type", "aces-file", "--meta", "b=2=3", "--meta", "a="), { code: 0 });
  t.same(await json(["slice", "meta", "pads"]), { a: "", b: "2=3" });
  t.ok(await hashIsRight("pads"), "metadata is in the hash from the start");
  const [listed] = (await json(["slice", "list"])) as Record<string, unknown>[];
  t.match(listed, { name: "Pads", type: "aces-file", grains: 0, bytes: 0, locked: false, date: null });
  const id = listed!.id as string;

  t.match(await slice("meta", id, "c=3", "a=1", "--unset", "b"), { code: 0, stdout: /^a\t1\nc\t3\n$/ });
  t.ok(await hashIsRight("pads"));
  t.match(await onTerminal(["slice", "meta", "pads"]), { screen: /KEY.*VALUE.*\r\na +1\r\nc +3/ });
  t.match(await slice("lock", "PADS"), { code: 0, stdout: "Slice Pads is locked against syncs." });
  t.match(await slice("list"), { stdout: /\tyes\n$/ });
  t.match(await slice("unlock", id), { code: 0, stdout: "open to syncs" });

  t.match(await subscription("add", "s1", "--slice", "pads", "--company", "epicor", "--description", "x\ty"), {
    code: 0,
  });
  t.match(await subscription("list"), {
    stdout: /^s1\t[0-9a-f-]{36}\tEpicor\tPads\taces-file\tyes\tactive\tx\\u0009y\n$/,
  });
  t.match(await subscription("deactivate", "S1"), { code: 0, stdout: "not active" });
  t.match(await json(["subscription", "list"]), [{ name: "s1", active: false, status: "not active" }]);
  t.match(await subscription("activate", "s1"), { code: 0 });

  const before = (await slice("list")).stdout + (await subscription("list")).stdout;
  await refuses(t, [
    [["slice", "add", "PADS", "--type", "aces-file"], 2, "exists already"],
    [["slice", "add", "x", "--type", "acse-file"], 2, "is not a slice type"],
    [["slice", "add", "", "--type", "aces-file"], 2, "name is empty"],
    [["slice", "add", id, "--type", "aces-file"], 2, "looks like an id"],
    [["slice", "add", "x", "--type", "aces-file", "--meta", "a"], 2, "is not key=value"],
    [["slice", "add", "x", "--type", "aces-file", "--meta", `${"k".repeat(201)}=v`], 2, "1 to 200 characters"],
    [["slice", "meta", "nil"], 2, 'there is no slice "nil"'],
    [["slice", "meta", "pads", "--unset", "zzz"], 2, 'has no metadata "zzz"'],
    [["slice", "lock", "nil"], 2, "there is no slice"],
    [["slice", "remove", "nil", "--noprompt"], 2, "there is no slice"],
    [["slice", "remove", "pads"], 2, "subscribed: Epicor"],
    [["subscription", "add", "s1", "--slice", "pads", "--company", "epicor"], 2, "already"],
    [["subscription", "add", "s2", "--slice", "pads", "--company", "epicor"], 2, "has that slice already"],
    [["subscription", "add", "s2", "--slice", "nil", "--company", "epicor"], 2, "there is no slice"],
    [["subscription", "add", "s2", "--slice", "pads", "--company", "nil"], 2, "there is no company"],
    [["subscription", "add", "s2", "--slice", "pads", "--company", "abc brakes"], 2, "own company"],
    [
      ["subscription", "add", "s2", "--slice", "pads", "--company", "epicor", "--description", "d".repeat(10_001)],
      2,
      "10,000 characters",
    ],
    [["subscription", "activate", "nil"], 2, "there is no subscription"],
    [["subscription", "remove", "nil"], 2, "there is no subscription"],
  ]);
  t.equal((await slice("list")).stdout + (await subscription("list")).stdout, before, "nothing has changed");

  const question = "Remove slice Pads with 0 grains (subscribed: Epicor)? [y/N]";
  const refused = await onTerminal(["slice", "remove", "pads"], [[question, "\r"]]);
  t.match(refused, { code: 2, screen: "not confirmed" });
  t.match(await onTerminal(["slice", "remove", "pads"], [[question, "y\r"]]), {
    code: 0,
    screen: "Removed slice Pads",
  });
  t.match(await subscription("list"), { stdout: /^$/ });
  await json(["slice", "add", "free", "--type", "xml-file"]);
  t.match(
    await slice("remove", "free"),
    { code: 0, stdout: "nobody is subscribed" },
    "nobody is affected, nobody is asked",
  );
  await json(["slice", "add", "again", "--type", "xml-file"]);
  await json(["subscription", "add", "s3", "--slice", "again", "--company", "epicor"]);
  t.match(await json(["slice", "remove", "again", "--noprompt"]), { name: "again", companies: ["Epicor"] });
});

t.test("what a secondary may not do", async (t) => {
  const { refuses } = await sandbox(t, "secondary", "Epicor");
  const why = "is only possible on a primary; this is the secondary of Epicor";
  await refuses(t, [
    [["slice", "add", "x", "--type", "aces-file"], 2, why],
    [["slice", "lock", "x"], 2, why],
    [["subscription", "add", "s", "--slice", "x", "--company", "y"], 2, why],
    [["add", "--slice", "x", "file"], 2, why],
  ]);
});
