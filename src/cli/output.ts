/** Decides how a command shows what it has: a table on a terminal, plain lines in a pipe, one JSON document with --json. */
import { styleText } from "node:util";
import { escapeUnseen } from "../characters.ts";
import { printableJson } from "./printable.ts";
import { type Printer, processPrinter } from "./printer.ts";

export type Cell = string | number | boolean | Date | null;

/** One column of a list; its key is the name of the JSON member, and the title of the table. */
export interface Column<Row> {
  key: string;
  value: (row: Row) => Cell;
}

export class Output {
  readonly form: "table" | "lines" | "json";
  readonly #printer: Printer;

  constructor(json: boolean, printer: Printer = processPrinter()) {
    this.form = json ? "json" : printer.out.isTTY ? "table" : "lines";
    this.#printer = printer;
  }

  /** True when more is for nobody: whoever read our output has gone (`| head`), or its disk is full. */
  get closed(): boolean {
    return this.#printer.outClosed;
  }

  /** A list: a table, tab-separated lines without a header, or one JSON array. */
  async list<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (this.form === "json") await this.json(rows.map((row) => record(columns, row)));
    else await this.rows(columns, rows);
  }

  /** Rows as a table or as lines; a long list may come in several calls. */
  async rows<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (this.form === "table") return this.#table(columns, rows);
    await this.write(rows.map((row) => `${columns.map(({ value }) => plain(value(row))).join("\t")}\n`).join(""));
  }

  /** The result of an action: a sentence, or a JSON document. */
  async result(sentence: string, document: unknown): Promise<void> {
    await this.write(this.#resultText(sentence, document));
  }

  /** As {@link result}, for what is shown this once. @throws `storage` unless it was taken for good. */
  async resultForGood(sentence: string, document: unknown, what: string): Promise<void> {
    await this.#printer.printForGood(this.#resultText(sentence, document), what);
  }

  #resultText(sentence: string, document: unknown): string {
    return this.form === "json" ? `${printableJson(document)}\n` : `${lines(sentence)}\n`;
  }

  /** A JSON document on a line of its own. */
  async json(document: unknown): Promise<void> {
    await this.write(`${printableJson(document)}\n`);
  }

  /** What only a person needs to know, apart from the output proper. */
  note(text: string): void {
    if (this.form !== "json") this.#printer.tell(`${lines(text)}\n`);
  }

  /** Writes text that is safe already, and waits until it is gone. */
  async write(text: string): Promise<void> {
    if (!this.closed && text !== "") await this.#printer.print(text);
  }

  async #table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return this.write("(none)\n");
    // A tenth of the start of the program, and seldom needed.
    const { default: Table } = await import("cli-table3");
    const bold = this.#printer.out.hasColors?.()
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

const lines = (text: string): string => text.split("\n").map(escapeUnseen).join("\n");

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
  return escapeUnseen(cell instanceof Date ? cell.toISOString() : String(cell));
}

const shown = (cell: Cell): string =>
  cell === null || cell === ""
    ? "-"
    : typeof cell === "number"
      ? cell.toLocaleString("en-US")
      : plain(cell).replace(/\.\d{3}Z$/, "Z");
