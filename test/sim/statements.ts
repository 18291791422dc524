/** The statements that the program sends, known by their names (each begins with it, in a comment): what is not here is refused loudly. */
import { SandpiperError } from "../../src/errors.ts";
import { uuidText } from "../../src/ids.ts";
import { tupleEnd, tupleFields } from "../../src/slices/rules/tuples.ts";
import { encodeTuple } from "../harness/tuples.ts";
import { catalogue } from "./catalogue.ts";
import { contents } from "./contents.ts";
import { argument, checkDisk, type Handler, nameOf, type Result, readable, type Settings } from "./handler.ts";
import { addGrains, Grain, pgError, type Tx } from "./tables.ts";

const handlers: Record<string, Handler> = { ...contents, ...catalogue };

function find<T>(known: Record<string, T>, text: string): T {
  const name = nameOf(text);
  if (name !== undefined && Object.hasOwn(known, name)) return known[name]!;
  throw new SandpiperError("internal", `the simulated database does not know ${name ?? `(it has no name): ${text}`}`, {
    hint: "Let it begin with the name of its function, as in `/* itsFunction */ SELECT`. What it does stands under that name in test/sim/contents.ts or catalogue.ts; and a trace of conformance.test.ts must have it.",
  });
}

export const run = (session: Settings, tx: Tx, text: string, values: readonly unknown[]): Result =>
  find(handlers, text)(tx, values as never, session, text);

/** Whether the session may read what is filed under a content key. */
const mayRead = (tx: Tx, content: number) =>
  readable(
    tx,
    tx.rows("slices").find((row) => row.content === content),
  );

const contentOf = (text: string) => Number(argument(text, "content_key = (\\d+)"));

/** The grains that the statement names and the session may read, in order. */
function chosen(tx: Tx, text: string): readonly Grain[] {
  if (!mayRead(tx, contentOf(text))) return [];
  const [after, ids] = [argument(text, "\\bid > '([^']+)'"), argument(text, "\\bid IN \\(([^)]*)\\)")];
  const named = ids && new Set(ids.split(",").map((id) => id.slice(1, -1)));
  const limit = argument(text, "LIMIT (\\d+)");
  return tx
    .grains(contentOf(text))
    .filter(({ id }) => (after === undefined || id > after) && (!named || named.has(id)))
    .slice(0, limit === undefined ? undefined : Number(limit));
}

/** The tuples of each `COPY ... TO STDOUT`. */
const copies: Record<string, (tx: Tx, text: string) => readonly Buffer[]> = {
  markPieces: (tx, text) => chosen(tx, text).map((grain) => grain.counted),
  idPieces: (tx, text) => chosen(tx, text).map((grain) => grain.named),
  listPieces: (tx, text) => chosen(tx, text).map((grain) => grain.unit),
  page: (tx, text) => {
    const [each, most] = ["sum\\((\\d+)", "total <= (\\d+)"].map((where) => Number(argument(text, where)));
    let total = 0;
    const fits = ({ key, source, payload }: Grain) => {
      total += each! + Buffer.byteLength(key) + Buffer.byteLength(source) + (payload?.length ?? 0);
      return total <= most!;
    };
    return chosen(tx, text)
      .filter(fits)
      .map((grain) => grain.record);
  },
  piece: (tx, text) => {
    const piece = `${argument(text, "grain_id = '([^']+)'")}/${argument(text, "seq = (\\d+)")}`;
    const data = mayRead(tx, contentOf(text)) && tx.get("chunks", contentOf(text))?.get(piece);
    return data ? [encodeTuple([data])] : [];
  },
};

export const copyOut = (tx: Tx, text: string): Buffer => Buffer.concat(find(copies, text)(tx, text));

/** A `COPY ... FROM STDIN`. */
export const copyIn = (tx: Tx, text: string, body: Buffer): Result => find(copiesIn, text)(tx, body);

const copiesIn = { putRecords };

function putRecords(tx: Tx, body: Buffer): Result {
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

/** Of those that are sent unless a fault is planted (mutants.ts). */
export const statementNames = Object.keys({ ...handlers, ...copies, ...copiesIn }).filter(
  (name) => !name.endsWith("Faulty"),
);
