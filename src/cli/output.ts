/** Decides how a command shows what it has: a table on a terminal, plain lines in a pipe, one JSON document with --json. */
import type { WriteStream } from "node:tty";
import { styleText } from "node:util";
import { printable, printableJson } from "./printable.ts";

export type Cell = string | number | boolean | Date | null;

/** One column of a list; its key is the name of the JSON member, and the title of the table. */
export interface Column<Row> {
  key: string;
  value: (row: Row) => Cell;
}

type Stream = NodeJS.WritableStream & Partial<Pick<WriteStream, "isTTY" | "hasColors">>;

export class Output {
  readonly form: "table" | "lines" | "json";
  readonly #out: Stream;
  readonly #err: Stream;
  #closed = false;

  constructor(json: boolean, out: Stream = process.stdout, err: Stream = process.stderr) {
    this.form = json ? "json" : out.isTTY ? "table" : "lines";
    this.#out = out;
    this.#err = err;
  }

  /** True when whoever read our output has gone (`| head`): more is for nobody. */
  get closed(): boolean {
    return this.#closed;
  }

  /** A list: a table, tab-separated lines without a header, or one JSON array. */
  async list<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (this.form === "json") await this.json(rows.map((row) => record(columns, row)));
    else await this.rows(columns, rows);
  }

  /** Rows as a table or as lines; a long list may come in several calls. */
  async rows<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (this.form === "table") return this.#table(columns, rows);
    const lines = rows.map((row) => `${columns.map(({ value }) => plain(value(row))).join("\t")}\n`);
    await this.write(lines.join(""));
  }

  /** The result of an action: a sentence, or a JSON document. */
  async result(sentence: string, document: unknown): Promise<void> {
    if (this.form === "json") await this.json(document);
    else await this.write(`${sentence.split("\n").map(printable).join("\n")}\n`);
  }

  /** A JSON document on a line of its own. */
  async json(document: unknown): Promise<void> {
    await this.write(`${printableJson(document)}\n`);
  }

  /** What only a person needs to know, apart from the output proper. */
  note(text: string): void {
    if (this.form !== "json") this.#err.write(`${text.split("\n").map(printable).join("\n")}\n`);
  }

  /** Writes text that is safe already, and waits until it is gone. */
  async write(text: string): Promise<void> {
    if (this.#closed || text === "") return;
    await new Promise<void>((done) => {
      this.#out.write(text, (error) => {
        if (error) this.#closed = true;
        done();
      });
    });
  }

  async #table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return this.write("(none)\n");
    // A tenth of the start of the program, and seldom needed.
    const { default: Table } = await import("cli-table3");
    const bold = this.#out.hasColors?.()
      ? (text: string) => styleText("bold", text, unchecked)
      : (text: string) => text;
    const numbers = columns.map(({ value }) => rows.every((row) => typeof value(row) === "number"));
    const table = new Table({
      head: columns.map(({ key }) => bold(key.replaceAll("_", " ").toUpperCase())),
      chars: noBorders,
      // cli-table3 colours even in a pipe unless told not to.
      style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
      colAligns: numbers.map((number) => (number ? "right" : "left")),
    });
    for (const row of rows) table.push(columns.map(({ value }) => shown(value(row))));
    await this.write(`${table.toString().replace(/ +$/gm, "")}\n`);
  }
}

// styleText looks at process.stdout itself unless told not to; hasColors() knows NO_COLOR and TERM.
const unchecked = { validateStream: false };

const edges = ["top", "bottom", "mid", "left", "right"];
const noBorders = Object.fromEntries([
  ...edges.flatMap((edge) => ["", "-mid", "-left", "-right"].map((part) => [edge + part, ""])),
  ["middle", "  "],
]);

/** A row as a JSON object. */
export const record = <Row>(columns: readonly Column<Row>[], row: Row): Record<string, Cell> =>
  Object.fromEntries(columns.map(({ key, value }) => [key, value(row)]));

function plain(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  return printable(cell instanceof Date ? cell.toISOString() : String(cell));
}

const shown = (cell: Cell): string =>
  cell === null || cell === ""
    ? "-"
    : typeof cell === "number"
      ? cell.toLocaleString("en-US")
      : plain(cell).replace(/\.\d{3}Z$/, "Z");
