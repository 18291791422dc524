/** The configuration flags of a command line. */
import { SandpiperError } from "../errors.ts";
import { configKeys, neverFlags } from "./config.ts";
import { environmentName } from "./environment.ts";

/**
 * Splits dotted configuration flags (`--server.port 8081`, `--server.port=8081`) from the rest of
 * a command line, which commander reads.
 *
 * @throws SandpiperError `usage` for an unknown dotted flag, a secret, a missing value or a repeat.
 */
export function splitFlags(argv: readonly string[]): { flags: string[]; rest: string[] } {
  const flags: string[] = [];
  const rest: string[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === "--") {
      rest.push(...argv.slice(i));
      break;
    }
    const match = /^--([a-z_]+\.[A-Za-z_.]+)(=.*)?$/s.exec(word);
    if (!match) {
      rest.push(word);
      continue;
    }
    const key = match[1]!;
    if (!configKeys.includes(key)) {
      throw new SandpiperError("usage", `unknown flag --${key}`, {
        hint: `Configuration keys are: ${configKeys.filter((k) => !neverFlags.has(k)).join(", ")}.`,
      });
    }
    if (neverFlags.has(key)) {
      throw new SandpiperError("usage", `--${key} is not taken from the command line, where others could read it`, {
        hint: `Put it into the configuration file or into ${environmentName(key)}.`,
      });
    }
    if (seen.has(key)) throw new SandpiperError("usage", `--${key} is given twice`, { hint: "Give it once." });
    seen.add(key);
    const value = match[2] === undefined ? argv[++i] : match[2].slice(1);
    if (value === undefined || (match[2] === undefined && value.startsWith("--"))) {
      throw new SandpiperError("usage", `--${key} needs a value`, { hint: `For example --${key}=VALUE.` });
    }
    flags.push(`--${key}=${value}`);
  }
  return { flags, rest };
}
