/** Lines of the log: what is in them, and what becomes of those that cannot be written. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { createLogger } from "../src/log.ts";
import { LogDestination } from "../src/log-destination.ts";

/** A descriptor that takes as much as `room` says, and fails with `code` then. */
function makeFile() {
  const file = { text: "", room: Number.POSITIVE_INFINITY, code: "ENOSPC" };
  const destination = new LogDestination(2, (_fd, bytes) => {
    const taken = Math.min(bytes.length, file.room);
    if (taken === 0) throw Object.assign(new Error(file.code), { code: file.code });
    file.text += bytes.subarray(0, taken).toString();
    file.room -= taken;
    return taken;
  });
  return { file, destination };
}

const lines = (text: string) => text.trimEnd().split("\n");

t.test("a disk that is full loses lines, which are counted, and nothing else", async (t) => {
  for (const code of ["ENOSPC", "EDQUOT", "EIO", "EPIPE", "EFBIG"]) {
    const { file, destination } = makeFile();
    file.code = code;
    destination.write("one\n");
    file.room = 0;
    for (let i = 0; i < 5; i++) destination.write(`lost ${i}\n`);
    file.room = Number.POSITIVE_INFINITY;
    destination.write("two\n");
    destination.write("three\n");
    const [one, report, ...rest] = lines(file.text);
    t.equal(one, "one");
    t.match(JSON.parse(report!), { level: 40, event: "log.dropped", lines: 5 }, code);
    t.same(rest, ["two", "three"]);
  }
});

t.test("a line of which half was written is lost, and does not run into the next", async (t) => {
  const { file, destination } = makeFile();
  file.room = 3;
  destination.write("first line\n");
  destination.write("lost\n");
  file.room = 20; // not enough for the report either
  destination.write("lost as well\n");
  file.room = Number.POSITIVE_INFINITY;
  destination.write("last\n");
  const all = lines(file.text);
  t.equal(all[0], "fir");
  t.equal(all.at(-1), "last");
  t.match(JSON.parse(all.at(-2)!), { event: "log.dropped", lines: 3 });
});

t.test("a pipe that is full is tried again; what does not fit into memory is dropped", async (t) => {
  const { file, destination } = makeFile();
  file.code = "EAGAIN";
  file.room = 0;
  const line = `${"x".repeat(1023)}\n`;
  for (let i = 0; i < 1500; i++) destination.write(line);
  t.equal(file.text, "");
  file.room = 100_000;
  await sleep(200);
  t.equal(file.text.length, 100_000, "what fits");
  file.room = Number.POSITIVE_INFINITY;
  await sleep(200);
  t.equal(file.text.length, 1024 * 1024);
  destination.write("next\n");
  const all = lines(file.text);
  t.match(JSON.parse(all.at(-2)!), { event: "log.dropped", lines: 1500 - 1024 });
  t.equal(all.at(-1), "next");
});

t.test("what nobody sees is escaped, and stays the same value", async (t) => {
  const { file, destination } = makeFile();
  const name = "a\u061cb\u200bc\u2060d\ufeffe\u202ef\u00adg\u{e0041}\u009b\u2028";
  createLogger("info", destination).info({ event: "x", name });
  t.match(file.text, String.raw`a\u061cb\u200bc\u2060d\ufeffe\u202ef\u00adg\udb40\udc41\u009b\u2028`);
  t.equal(JSON.parse(file.text).name, name);
  t.equal(lines(file.text).length, 1);
});
