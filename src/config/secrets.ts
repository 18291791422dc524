/** The secrets of the configuration, as bytes. */
import { SandpiperError } from "../errors.ts";
import type { Config } from "./config.ts";
import { environmentName } from "./environment.ts";

/** A secret of the configuration, as bytes. */
export function requireSecret(config: Config, name: keyof Config["secrets"]): Buffer {
  const value = config.secrets[name];
  if (value === undefined) {
    throw new SandpiperError("config", `secrets.${name} is missing`, {
      hint: `Put it into ${config.file} or ${environmentName(`secrets.${name}`)}; \`sandpiper init\` writes a fresh one.`,
    });
  }
  return Buffer.from(value, "base64url");
}
