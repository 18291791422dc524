/** What the demo tells: numbered steps, the commands as a person would type them, figures. Colours on a terminal alone. */
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

const coloured = process.stdout.isTTY === true && process.stdout.hasColors();
const styled = (style: Style, text: string) => (coloured ? styleText(style, text) : text);

let steps = 0;

export const say = (text: string): void => void process.stdout.write(`${text}\n`);
export const step = (title: string): void => say(`\n${styled("bold", `${++steps}. ${title}`)}`);
/** A command line, at whose prompt; {@link took} ends it. */
export const typed = (who: string, command: string): void =>
  void process.stdout.write(`   ${styled("dim", `${who}$`)} ${styled("cyan", command)}`);
export const took = (ms: number): void => say(styled("dim", `   # ${seconds(ms)}`));
export const detail = (text: string): void => say(`     ${text}`);
export const good = (text: string): void => say(styled("green", text));
export const bad = (text: string): void => void process.stderr.write(`${text}\n`);

export const number = (value: number): string => value.toLocaleString("en-US");
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** A small table; every column but the first is set to the right. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)));
    say(`   ${cells.join("   ")}`);
  }
}
