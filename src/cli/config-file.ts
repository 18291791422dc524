/** The configuration file that `init` writes: commented YAML with fresh secrets, for its owner's eyes only. */
import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { sweepTemporaries, writeAtomically } from "../atomic-file.ts";
import { SandpiperError } from "../errors.ts";

export interface FileValues {
  /** As given: relative to the file. */
  data: string;
  host: string;
  port: number;
  syncUrl: string | undefined;
  /** Whether the database's URL is in the environment; it stays there. */
  externalDatabase: boolean;
}

/** Writes the file with mode 0600. @returns false when there is one already, which is left as it is. */
export async function writeConfigFile(file: string, values: FileValues): Promise<boolean> {
  // One that was killed has left its secrets there.
  await sweepTemporaries(dirname(file));
  try {
    await writeAtomically(file, [configText(values)], { mode: 0o600, exclusive: true });
    return true;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    throw new SandpiperError("config", `cannot write ${file}: ${message}`, {
      cause,
      hint: "Choose another place with --config FILE, or make its directory one that you may write to.",
    });
  }
}

const secret = () => randomBytes(32).toString("base64url");

// JSON's strings are YAML's double-quoted ones.
const text = (value: string) => (/^[A-Za-z0-9./_][A-Za-z0-9./_:-]*$/.test(value) ? value : JSON.stringify(value));

function configText(values: FileValues): string {
  const database = values.externalDatabase
    ? "# The database's URL comes from SANDPIPER_DATABASE_URL."
    : "# Without a URL the embedded PostgreSQL in the data directory is used.";
  return `# Configuration of sandpiper, written by \`sandpiper init\`. It holds secrets: let only its owner read it (mode 0600), and back it up.
# Flags (--server.port 8081) win over the environment (SANDPIPER_SERVER_PORT), which wins over this file.

# Directory of the embedded database, relative to this file.
data: ${text(values.data)}

${database}
# database:
#   url: postgres://USER:PASSWORD@HOST:5432/DATABASE

server:
  host: ${text(values.host)}
  port: ${values.port}
  # The address that partners connect to; \`sandpiper company add\` prints it.
  ${values.syncUrl === undefined ? "# sync_url: https://sandpiper.example.com" : `sync_url: ${JSON.stringify(values.syncUrl)}`}

secrets:
  # Signs the tokens that this server gives out.
  token_key: ${JSON.stringify(secret())}
  # Key of the hash as which partners' API keys are stored. If it changes, they must all be issued anew.
  api_key_hmac: ${JSON.stringify(secret())}
  # Encrypts the API keys that this server shows to its primaries.
  partner_key: ${JSON.stringify(secret())}
`;
}
