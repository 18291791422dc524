/** The statements that the program sends, known by their text, white space aside: what is not here is refused loudly. */
import { SandpiperError } from "../../src/errors.ts";
import { uuidText } from "../../src/ids.ts";
import { tupleEnd, tupleFields } from "../../src/slices/rules/tuples.ts";
import { encodeTuple } from "../harness/tuples.ts";
import { catalogue } from "./catalogue.ts";
import { contents } from "./contents.ts";
import { checkDisk, type Handler, plain, type Result, readable, type Settings } from "./handler.ts";
import { addGrains, Grain, pgError, type Tx } from "./tables.ts";

const handlers = new Map<string, Handler>(Object.entries({ ...contents, ...catalogue }));
/** Those that are known by how they begin. */
const beginnings = [...handlers]
  .filter(([text]) => text.endsWith(" …"))
  .map(([text, handler]) => ({ start: text.slice(0, -1), handler }));
const found = new Map<string, { handler: Handler; rest: string }>();

function find(text: string): { handler: Handler; rest: string } {
  let known = found.get(text);
  if (known !== undefined) return known;
  const wanted = plain(text);
  const begun = beginnings.find(({ start }) => `${wanted} `.startsWith(start));
  const handler = handlers.get(wanted) ?? begun?.handler;
  if (handler === undefined)
    throw new SandpiperError("internal", `the simulated database does not know: ${wanted}`, {
      hint: "Add it to test/sim/contents.ts or catalogue.ts, and to the traces of conformance.test.ts.",
    });
  known = { handler, rest: begun === undefined ? "" : wanted.slice(begun.start.length).trim() };
  found.set(text, known);
  return known;
}

export function run(session: Settings, tx: Tx, text: string, values: readonly unknown[]): Result {
  const { handler, rest } = find(text);
  return handler(tx, values as never, session, rest);
}

/** Whether the session may read what is filed under a content key. */
const mayRead = (tx: Tx, content: number) =>
  readable(
    tx,
    tx.rows("slices").find((row) => row.content === content),
  );

const readGrains =
  /^COPY \(SELECT (id, digest|id, digest, payload_bytes|id, grain_key, source, encoding, payload_bytes, payload) FROM grains WHERE content_key = (\d+)(?: AND id > '([^']+)'| AND id IN \(([^)]*)\))? ORDER BY id(?: LIMIT (\d+))? ?\) TO STDOUT \(FORMAT binary\)$/;
const readPage =
  /^COPY \(SELECT (id, grain_key, source, encoding, payload_bytes, payload) FROM \(SELECT \1, sum\((\d+) \+ octet_length\(grain_key\) \+ octet_length\(source\) \+ coalesce\(octet_length\(payload\), 0\)\) OVER \(ORDER BY id ROWS UNBOUNDED PRECEDING\) AS total FROM grains WHERE content_key = (\d+)(?: AND id > '([^']+)'| AND id IN \(([^)]*)\))? ORDER BY id LIMIT (\d+)\) page WHERE total <= (\d+) ORDER BY id\) TO STDOUT \(FORMAT binary\)$/;
const readChunk =
  /^COPY \(SELECT data FROM grain_chunks WHERE content_key = (\d+) AND grain_id = '([^']+)' AND seq = (\d+)\) TO STDOUT \(FORMAT binary\)$/;

/** The tuples of a `COPY ... TO STDOUT`. */
export function copyOut(tx: Tx, text: string): Buffer {
  const wanted = plain(text);
  const chunk = readChunk.exec(wanted);
  if (chunk !== null) {
    const data = mayRead(tx, Number(chunk[1])) && tx.get("chunks", Number(chunk[1]))?.get(`${chunk[2]}/${chunk[3]}`);
    return data ? encodeTuple([data]) : Buffer.alloc(0);
  }
  const page = readPage.exec(wanted);
  if (page !== null) {
    const [, , each, content, after, ids, limit, most] = page;
    let total = 0;
    const fits = ({ key, source, payload }: Grain) => {
      total += Number(each) + Buffer.byteLength(key) + Buffer.byteLength(source) + (payload?.length ?? 0);
      return total <= Number(most);
    };
    return Buffer.concat(
      chosen(tx, content!, after, ids, limit)
        .filter(fits)
        .map((grain) => grain.record),
    );
  }
  const match = readGrains.exec(wanted);
  if (match === null) throw new SandpiperError("internal", `the simulated database does not know: ${wanted}`);
  const [, columns, content, after, ids, limit] = match;
  const tuple =
    columns === "id, digest" ? "unit" : columns === "id, digest, payload_bytes" ? ("counted" as const) : "record";
  return Buffer.concat(chosen(tx, content!, after, ids, limit).map((grain) => grain[tuple]));
}

/** The grains of a content that the session may read, after an id or with one of several, in order. */
function chosen(tx: Tx, content: string, after?: string, ids?: string, limit?: string): readonly Grain[] {
  if (!mayRead(tx, Number(content))) return [];
  let grains = tx.grains(Number(content));
  if (after !== undefined) grains = grains.filter((grain) => grain.id > after);
  if (ids !== undefined) {
    const named = new Set(ids.split(",").map((id) => id.slice(1, -1)));
    grains = grains.filter((grain) => named.has(grain.id));
  }
  return limit === undefined ? grains : grains.slice(0, Number(limit));
}

/** `COPY grain_rows FROM STDIN`. */
export function copyGrains(tx: Tx, text: string, body: Buffer): Result {
  if (!plain(text).startsWith("COPY grain_rows (id, grain_key, source, encoding, payload_bytes, payload) FROM STDIN"))
    throw new SandpiperError("internal", `the simulated database does not know: ${text}`);
  checkDisk(tx);
  const grains: Grain[] = [];
  for (let at = 0; at + 2 <= body.length && body.readUInt16BE(at) !== 0xffff; at = tupleEnd(body, at)) {
    const [id, key, source, encoding, bytes, payload] = tupleFields(body, at) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
      Buffer,
      Buffer | null,
    ];
    grains.push(
      new Grain(
        uuidText(id),
        key.toString(),
        source.toString(),
        encoding.toString(),
        Number(bytes.readBigInt64BE()),
        payload && Buffer.from(payload),
        null,
      ),
    );
  }
  if (tx.contentKey === 0) throw pgError("42704", "sandpiper.content_key is not set");
  addGrains(tx, tx.contentKey, grains);
  return { rows: [], count: grains.length };
}

const copies = [
  "COPY grain_rows",
  "COPY id, digest",
  "COPY id, digest, payload_bytes",
  "COPY id, grain_key",
  "COPY data",
];

/** How all statements are called that are known here. */
export const statementNames: readonly string[] = [...handlers.keys(), ...copies];

/** What a statement is called. */
export function statementName(text: string): string | undefined {
  const wanted = plain(text).replace("COPY (SELECT", "COPY");
  if (wanted.startsWith("COPY"))
    return copies.findLast((name) => wanted.startsWith(`${name} `) || wanted.startsWith(`${name},`));
  const { handler } = find(text);
  return statementNames.find((name) => handlers.get(name) === handler);
}
