import { Readable } from "node:stream";
import fc from "fast-check";
import t from "tap";
import {
  copyBody,
  copyHeader,
  copyTrailer,
  fixedTuples,
  gather,
  tupleEnd,
  tupleEnds,
  tupleFields,
} from "../../../src/slices/rules/tuples.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { encodeTuple, int4, int8 } from "../../harness/tuples.ts";

type Row = (Uint8Array | null)[];

const anyRow: fc.Arbitrary<Row> = fc.array(fc.option(fc.uint8Array({ maxLength: 40 })), { maxLength: 5 });

/** The stream cut at these places. */
async function* cut(bytes: Buffer, places: number[]): AsyncGenerator<Buffer> {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let at = 0;
  for (const end of ends) {
    yield bytes.subarray(at, end);
    at = end;
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<(Buffer | null)[][]> {
  const rows: (Buffer | null)[][] = [];
  const pieces: Buffer[] = [];
  for await (const piece of copyBody(stream)) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  let start = 0;
  for (const end of tupleEnds(bytes)) {
    rows.push(tupleFields(bytes, start).map((field) => (field === null ? null : Buffer.from(field))));
    start = end;
  }
  if (start !== bytes.length - copyTrailer.length) throw new Error("more bytes than tuples");
  return rows;
}

const plain = (rows: readonly Row[]) =>
  JSON.stringify(rows.map((row) => row.map((field) => field && Buffer.from(field).toString("hex"))));
const stream = (rows: readonly Row[]) => Buffer.concat([copyHeader, ...rows.map(encodeTuple), copyTrailer]);

t.test("tuples come out as they went in, however the stream is cut", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRow, { maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      async (rows, places) => {
        const got = await collect(cut(stream(rows), places));
        return plain(got) === plain(rows);
      },
    ),
  );
  const rows: Row[] = [[Buffer.from("a"), null], [], [Buffer.alloc(0)]];
  const bytes = stream(rows);
  t.equal(plain(await collect(cut(bytes, [...bytes.keys()]))), plain(rows), "byte by byte");
});

t.test("tuples of one size come out whole, however the stream is cut; any other is refused", async (t) => {
  const row = (n: number): Row => [int8(n), int4(n)];
  const size = encodeTuple(row(0)).length;
  const all = async (bytes: Buffer, places: number[]) => {
    const pieces: Buffer[] = [];
    for await (const piece of fixedTuples(cut(bytes, places), size)) {
      if (piece.length % size !== 0) throw new Error("a piece of a tuple");
      pieces.push(Buffer.from(piece));
    }
    return Buffer.concat(pieces);
  };
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 20 }), fc.array(fc.nat(), { maxLength: 30 }), async (count, places) => {
      const rows = Array.from({ length: count }, (_, n) => row(n));
      const got = await all(stream(rows), places);
      return got.equals(Buffer.concat(rows.map(encodeTuple)));
    }),
  );
  const rows = [row(1), row(2), row(3)];
  const column = gather(await all(stream(rows), []), size, size - 4, size);
  t.equal(column.toString("hex"), "000000010000000200000003");
  const odd = stream([row(1), [int8(1), null], row(2)]);
  for (let place = 0; place < odd.length; place++)
    await t.rejects(all(odd, [place]), { code: "storage" }, `cut at ${place}`);
  const whole = stream(rows);
  for (let length = 0; length < whole.length; length++)
    await t.rejects(all(whole.subarray(0, length), []), { code: "storage" }, `${length} bytes`);
});

t.test("a stream that ends early is an error, wherever it ends", async (t) => {
  const whole = stream([[Buffer.from("abc"), null], [Buffer.from("d")]]);
  for (let length = 0; length < whole.length; length++) {
    await t.rejects(collect(cut(whole.subarray(0, length), [])), { code: "storage" }, `${length} bytes`);
  }
});

t.test("a tuple's end is known only when it is there whole", async (t) => {
  fc.assert(
    fc.property(anyRow, fc.uint8Array({ maxLength: 10 }), fc.nat(), (row, before, length) => {
      const tuple = encodeTuple(row);
      const bytes = Buffer.concat([before, tuple]);
      const part = bytes.subarray(0, before.length + (length % tuple.length));
      return tupleEnd(bytes, before.length) === bytes.length && tupleEnd(part, before.length) === -1;
    }),
  );
  t.pass();
});

t.test("PostgreSQL reads and writes the same format", async (t) => {
  const { db } = await openTestDatabase(t);
  await db.session(async (session) => {
    await session.run("CREATE TEMPORARY TABLE copied (a bigint, b integer, c bytea)");
    const rows: Row[] = [
      [int8(1), int4(-7), Buffer.from([0, 255])],
      [int8(Number.MAX_SAFE_INTEGER), null, Buffer.alloc(300_000, 0xff)],
      [int8(-1), int4(0), Buffer.alloc(0)],
    ];
    const into = session.copyIn("COPY copied FROM STDIN (FORMAT binary)");
    await new Promise<void>((resolve, reject) => {
      into.once("finish", resolve).once("error", reject);
      Readable.from([stream(rows)]).pipe(into);
    });
    t.same(await session.query("SELECT a, b, length(c) AS n FROM copied"), [
      { a: 1, b: -7, n: 2 },
      { a: Number.MAX_SAFE_INTEGER, b: null, n: 300_000 },
      { a: -1, b: 0, n: 0 },
    ]);
    const got = await collect(session.copyOut("COPY copied TO STDOUT (FORMAT binary)"));
    t.equal(plain(got), plain(rows));
  });
});
