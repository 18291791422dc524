/**
 * The environment of this process, which is read here alone. Every command loads this file, and no library with it: a command starts
 * in the time that these take.
 */

/** All of it, for the configuration. */
export const environment = (): NodeJS.ProcessEnv => process.env;

/** The environment variable of a key: `server.port` is SANDPIPER_SERVER_PORT. */
export const environmentName = (key: string) => `SANDPIPER_${key.replace(".", "_").toUpperCase()}`;

/** Where the configuration is, unless it is said. */
export const defaultConfigFile = "./sandpiper.yaml";

/**
 * Takes PGHOST, PGOPTIONS, PGSSLMODE and the like out of the environment of this process, where `pg` would read them (as would its
 * next version): where a database is, and how it is reached, the configuration alone says.
 */
export function forgetPostgresVariables(): void {
  for (const name of Object.keys(process.env)) if (/^PG[A-Z]/.test(name)) delete process.env[name];
}

/** An API key from SANDPIPER_API_KEY, if it is set. */
export const apiKeyFromEnvironment = (): string | undefined => process.env.SANDPIPER_API_KEY || undefined;

/** The first of these variables of the environment that says something; in lower case they win, as elsewhere. */
export function firstVariable(names: readonly string[]): { name: string; value: string } | undefined {
  for (const name of names.flatMap((given) => [given.toLowerCase(), given])) {
    const value = process.env[name];
    if (value) return { name, value };
  }
  return undefined;
}

let tlsUnverifiedAsked = false;

/** Takes NODE_TLS_REJECT_UNAUTHORIZED out of this process: certificates are verified whatever it says, and Node need not warn of it. */
export function ignoreTlsVariable(): void {
  tlsUnverifiedAsked = process.env.NODE_TLS_REJECT_UNAUTHORIZED === "0";
  delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
}

/** Whether it asked for connections that are not verified. */
export const tlsVariableIgnored = (): boolean => tlsUnverifiedAsked;
