/** API keys come from a file, from standard input or from the environment; never from an argument, which others can read. */
import { createReadStream } from "node:fs";
import { parseApiKey } from "../companies/api-key.ts";
import { apiKeyFromEnvironment } from "../config/environment.ts";
import { SandpiperError } from "../errors.ts";
import type { Cli } from "./command.ts";

/** Reads and checks an API key. @param file as given to --api-key-file; `-` is standard input. */
export async function readApiKey(cli: Cli, file: string | undefined): Promise<string> {
  const text = file === undefined ? apiKeyFromEnvironment() : await readKeyText(cli, file);
  if (text === undefined) {
    throw new SandpiperError("usage", "the API key that the primary gave you is missing", {
      hint: "Give --api-key-file FILE (- for standard input), or set SANDPIPER_API_KEY.",
    });
  }
  const apiKey = text.trim();
  if (parseApiKey(apiKey) === undefined) {
    const where = file === undefined ? "SANDPIPER_API_KEY" : file === "-" ? "standard input" : file;
    throw new SandpiperError("usage", `${where} does not hold an API key`, {
      hint: "It is the line of 66 characters that `sandpiper company add` printed at the primary.",
    });
  }
  return apiKey;
}

const maxFileBytes = 4096;

async function readKeyText(cli: Cli, file: string): Promise<string> {
  if (file === "-") return cli.prompt.secret("API key: ", "the API key");
  try {
    const pieces: Buffer[] = [];
    // A pipe is welcome (`<(pass show key)`), and a device need not have an end.
    for await (const piece of createReadStream(file, { end: maxFileBytes })) pieces.push(piece);
    return Buffer.concat(pieces).toString("utf8");
  } catch (cause) {
    throw new SandpiperError("usage", `cannot read ${file}: ${(cause as Error).message}`, {
      cause,
      hint: "Name the file that holds the API key.",
    });
  }
}
