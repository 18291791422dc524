import { PassThrough } from "node:stream";
import t from "tap";
import { type Column, Output } from "../../src/cli/output.ts";
import { oneLine, printableJson, shellWord } from "../../src/cli/printable.ts";
import { Printer } from "../../src/cli/printer.ts";

interface Row {
  name: string;
  bytes: number;
  date: Date | null;
  locked: boolean;
}

const columns: Column<Row>[] = [
  { key: "name", value: (r) => r.name },
  { key: "bytes", value: (r) => r.bytes },
  { key: "sync_date", value: (r) => r.date },
  { key: "locked", value: (r) => r.locked },
];
const rows: Row[] = [
  { name: "pads", bytes: 1234567, date: new Date("2026-01-30T12:00:00.123Z"), locked: true },
  { name: "evil\u001b[2J\t\n\u009b\u202e", bytes: 1, date: null, locked: false },
];

function streams(options: { terminal?: boolean; colours?: boolean } = {}) {
  const out = Object.assign(new PassThrough(), { isTTY: options.terminal, hasColors: () => options.colours === true });
  const err = new PassThrough();
  const text = (stream: PassThrough) => String(stream.read() ?? "");
  return { out, err, printed: () => text(out), noted: () => text(err) };
}

t.test("in a pipe: lines without a header", async (t) => {
  const { out, err, printed } = streams();
  await new Output(false, new Printer(out, err)).list(columns, rows);
  t.equal(
    printed(),
    "pads\t1234567\t2026-01-30T12:00:00.123Z\tyes\nevil\\u001b[2J\\u0009\\u000a\\u009b\\u202e\t1\t\tno\n",
  );
  await new Output(false, new Printer(out, err)).list(columns, []);
  t.equal(printed(), "", "nothing for nothing");
});

t.test("on a terminal: a table", async (t) => {
  const { out, err, printed } = streams({ terminal: true });
  await new Output(false, new Printer(out, err)).list(columns, rows);
  t.equal(
    printed(),
    [
      "NAME                                       BYTES  SYNC DATE             LOCKED",
      "pads                                   1,234,567  2026-01-30T12:00:00Z  yes",
      "evil\\u001b[2J\\u0009\\u000a\\u009b\\u202e          1  -                     no",
      "",
    ].join("\n"),
    "no colour codes, whatever the environment says",
  );
  await new Output(false, new Printer(out, err)).list(columns, []);
  t.equal(printed(), "(none)\n");
});

t.test("colours only where the terminal has them", async (t) => {
  const { out, err, printed } = streams({ terminal: true, colours: true });
  await new Output(false, new Printer(out, err)).list(columns, rows.slice(0, 1));
  const lines = printed().split("\n");
  t.match(lines[0], "\u001b[1mNAME\u001b[22m");
  t.notMatch(lines[1], "\u001b");
});

t.test("with --json: one document, also on a terminal", async (t) => {
  const { out, err, printed, noted } = streams({ terminal: true });
  const output = new Output(true, new Printer(out, err));
  await output.list(columns, rows);
  output.note("for people");
  const text = printed();
  t.same(JSON.parse(text), [
    { name: "pads", bytes: 1234567, sync_date: "2026-01-30T12:00:00.123Z", locked: true },
    { name: rows[1]!.name, bytes: 1, sync_date: null, locked: false },
  ]);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
  t.notMatch(text.trimEnd(), /[\u0000-\u001f\u007f-\u009f\u202e]/);
  t.equal(noted(), "");
});

t.test("a reader that goes away is no error", async (t) => {
  const { out, err } = streams();
  const output = new Output(false, new Printer(out, err));
  out.destroy();
  await output.result("hello", {});
  t.equal(output.closed, true);
});

t.test("text that is safe to show", async (t) => {
  t.equal(oneLine("a\rb\u0085c\u2028d\ud800"), "a\\u000db\\u0085c\\u2028d\\ud800");
  t.equal(oneLine("  one\n   two\u0007 "), "one two\\u0007");
  t.equal(printableJson({ "\u009b": "\u001b" }), '{"\\u009b":"\\u001b"}');
  t.equal(shellWord("plain-word.1"), "plain-word.1");
  t.equal(shellWord("it's $HOME"), "'it'\\''s $HOME'");
  t.equal(shellWord(""), "''");
});
