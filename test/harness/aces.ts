/**
 * ACES files that look like a real one (a cabin filter catalogue, measured: 151 bytes per App in the median, 16 applications
 * per part in the median and 25 in the mean, 40 % with a Note, some with two, 4 % with a SubModel, gzip about 20:1).
 */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Random } from "./random.ts";

export interface AcesOptions {
  /** How many App elements. */
  applications: number;
  /** The same seed gives the same bytes. */
  seed: number;
  /**
   * - `latin1`: what the real file is: declared ISO-8859-1, CRLF, tabs.
   * - `cp1252`: the same, but with bytes 0x80 to 0x9F, which are Windows-1252 and not what it declares.
   * - `utf8`: LF, two blanks, with a byte order mark.
   */
  variant?: "latin1" | "cp1252" | "utf8";
}

const notes = [
  "carbon version",
  "particulate version",
  "with air conditioning",
  "May not be standard equipment",
  "dealer installed option",
  "hardware - cowl grille retainer",
  "hardware - push type cowl grille retainer",
  "Particulate filters located behind glove box",
  "Carbon filters located under the glove box",
  "this is the cabin filter located under dash",
  "for vehicles with Automatic Air Conditioning ",
  "caution or service label will be on glove box door if vehicle is equipped with cabin filter",
  "Not every model is equipped with a housing that can accept a cabin filter. Please verify before purchase",
];
/** Notes whose bytes differ between the encodings. */
const accented = ["for Citroën and Škoda up to 25 °C", "Qualität wie ab Werk"];
const typographic = ["driver’s side – see “Fitment”", "Brand™ filters only …"];

/** The file as text, in pieces of some dozens of kilobytes; writeAces and acesBytes make bytes of them. */
export function* generateAces(options: AcesOptions): Generator<string> {
  const random = new Random(options.seed);
  const variant = options.variant ?? "latin1";
  const [end, tab] = variant === "utf8" ? ["\n", "  "] : ["\r\n", "\t"];
  const special = variant === "cp1252" ? [...accented, ...typographic] : accented;
  const allNotes = [...notes, ...special];
  const line = (depth: number, text: string) => tab.repeat(depth) + text + end;

  let piece = header(line, variant);
  let written = 0;
  for (const { part, vehicle, partType, noteChoices } of applications(random, allNotes)) {
    if (written === options.applications) break;
    written++;
    piece += line(1, `<App action="A" id="${written}">`) + line(2, `<BaseVehicle id="${vehicle}"/>`);
    if (random.chance(0.04)) piece += line(2, `<SubModel id="${random.int(1, 900)}"/>`);
    if (random.chance(0.4)) {
      piece += line(2, `<Note>${random.pick(noteChoices)}</Note>`);
      if (random.chance(0.07)) piece += line(2, `<Note>${random.pick(allNotes)}</Note>`);
    }
    piece += line(2, "<Qty>1</Qty>") + line(2, `<PartType id="${partType}"/>`) + line(2, `<Position id="1"/>`);
    piece += line(2, `<Part>${part}</Part>`) + line(1, "</App>");
    if (piece.length > 60_000) {
      yield piece;
      piece = "";
    }
  }
  yield piece +
    line(1, "<Footer>") +
    line(2, `<RecordCount>${written}</RecordCount>`) +
    line(1, "</Footer>") +
    line(0, "</ACES>");
}

function header(line: (depth: number, text: string) => string, variant: string): string {
  const encoding = variant === "utf8" ? "UTF-8" : "ISO-8859-1";
  const fields = {
    Company: "Example Filters",
    SenderName: "Pat Example",
    SenderPhone: "555-0100",
    TransferDate: "2026-01-12",
    BrandAAIAID: "XXXX",
    DocumentTitle: "Cabin filters",
    EffectiveDate: "2026-01-12",
    SubmissionType: "Full", // as real files have it, where the schema wants FULL
    VcdbVersionDate: "2025-12-26",
    QdbVersionDate: "2025-12-26",
    PcdbVersionDate: "2025-12-26",
  };
  const inner = Object.entries(fields).map(([name, value]) => line(2, `<${name}>${value}</${name}>`));
  const bom = variant === "utf8" ? "\uFEFF" : "";
  const opening = [line(0, `${bom}<?xml version="1.0" encoding="${encoding}"?>`), line(0, '<ACES version="3.1">')];
  return [...opening, line(1, "<Header>"), ...inner, line(1, "</Header>")].join("");
}

interface Application {
  part: string;
  vehicle: number;
  partType: number;
  noteChoices: string[];
}

/** Without end: parts, each with its vehicles; half of the parts have a twin for the same vehicles, as carbon filters do. */
function* applications(random: Random, allNotes: string[]): Generator<Application> {
  for (let number = 1001; ; number += random.int(1, 4)) {
    const names = random.chance(0.5) ? [`AQ${number}`, `AQ${number}C`] : [`AQ${number}`];
    const partType = random.chance(0.93) ? 6832 : random.pick([11292, 14335, 12819]);
    const noteChoices = [random.pick(allNotes), random.pick(allNotes), random.pick(notes)];
    const vehicles = Math.min(281, Math.max(1, Math.round(random.logNormal(16, 53))));
    let vehicle = random.int(1_000, 140_000);
    for (let i = 0; i < vehicles; i++) {
      // A model's years have neighbouring ids; another model begins somewhere else.
      vehicle = random.chance(0.75) ? vehicle + 1 : random.int(1_000, 140_000);
      for (const part of names) yield { part, vehicle, partType, noteChoices };
    }
  }
}

/** Where Windows-1252 has what ISO-8859-1 lacks. */
const cp1252: Record<string, number> = { "’": 0x92, "–": 0x96, "“": 0x93, "”": 0x94, "™": 0x99, "…": 0x85, Š: 0x8a };

/** The bytes of a piece. */
function encodeAces(text: string, variant: AcesOptions["variant"] = "latin1"): Buffer {
  if (variant === "utf8") return Buffer.from(text);
  const plain = variant === "latin1" ? text.replaceAll("Š", "S") : text;
  return Buffer.from(
    plain.replace(/[^\0-\xff]/gu, (c) => String.fromCharCode(cp1252[c] ?? 0x3f)),
    "latin1",
  );
}

function* encoded(options: AcesOptions): Generator<Buffer> {
  for (const piece of generateAces(options)) yield encodeAces(piece, options.variant);
}

/** The whole file in memory. */
export const acesBytes = (options: AcesOptions): Buffer => Buffer.concat([...encoded(options)]);

/** Writes the file, however large. */
export async function writeAces(path: string, options: AcesOptions): Promise<void> {
  await pipeline(Readable.from(encoded(options)), createWriteStream(path));
}
