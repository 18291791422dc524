/**
 * Configuration: one pure, validated, frozen function of flags, environment and file, in that
 * order of precedence, over the defaults of the schema below. Secrets and `database.url` come
 * from the file or the environment and are refused as flags, since other users of the machine
 * can read a command line.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import yargsParser from "yargs-parser";
import * as z from "zod";
import { SandpiperError } from "../errors.ts";
import { hostNames, networks, secret, wholeNumber, yesOrNo } from "./config-fields.ts";
import { requirePrivate } from "./config-privacy.ts";
import { environment, environmentName } from "./environment.ts";

const schema = z.strictObject({
  /** Directory of the embedded database, relative to the configuration file. */
  data: z.string().min(1).default("./sandpiper-data"),
  database: z
    .strictObject({
      /** postgres:// URL of a PostgreSQL 15 or newer; without one the embedded PostgreSQL in `data` is used. */
      url: z.string().min(1).optional(),
      pool_size: wholeNumber(2, 500).default(20),
    })
    .prefault({}),
  server: z
    .strictObject({
      host: z.string().min(1, "must not be empty").default("127.0.0.1"),
      port: wholeNumber(0, 65535).default(8080),
      /** The address that partners connect to; printed by `company add`. */
      sync_url: z.string().url("must be a URL such as https://sandpiper.example.com").optional(),
      /** Certificate (with its chain) and key, PEM, relative to the configuration file; without them, plain HTTP. */
      tls_cert: z.string().min(1).optional(),
      tls_key: z.string().min(1).optional(),
      /** Proxies whose X-Forwarded-For is believed. */
      trusted_proxies: networks.default([]),
      /** Host names of this server; a request for any other name is refused. */
      names: hostNames.default([]),
      shutdown_seconds: wholeNumber(0, 3600).default(25),
      /** Memory for answers that many partners ask for. */
      /** Partners that are served at once; more wait in line. */
      max_syncs: wholeNumber(1, 10_000).default(64),
      /** Whether a primary's address that is given over REST may be loopback or private. */
      allow_private_addresses: yesOrNo.default(false),
    })
    .prefault({}),
  sync: z
    .strictObject({
      jobs: wholeNumber(1, 64).default(4),
      /** A peer that neither sends nor accepts anything for this long is given up. */
      idle_seconds: wholeNumber(1, 3600).default(30),
    })
    .prefault({}),
  limits: z
    .strictObject({
      max_grain_bytes: wholeNumber(1, 2 ** 40).default(4 * 2 ** 30),
      max_subscriptions: wholeNumber(1, 100_000).default(20_000),
      max_grains: wholeNumber(1, 1_000_000_000).default(50_000_000),
      /** Most bytes that one primary may take here, stored and staged; without it, a share of the space for grains. */
      primary_bytes: wholeNumber(1, 2 ** 50).optional(),
      /** Bytes of the embedded database's disk that are never given out; without it, a part of the disk. */
      disk_reserve: wholeNumber(0, 2 ** 50).optional(),
    })
    .prefault({}),
  retention: z
    .strictObject({
      /** How long the logs of syncs are kept. */
      days: wholeNumber(1, 36_500).default(400),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(["silent", "error", "warn", "info", "debug", "trace"]).default("info") })
    .prefault({}),
  secrets: z
    .strictObject({
      /** Signs the tokens that this server gives out. */
      token_key: secret.optional(),
      /** Keys the HMAC under which partners' API keys are stored. */
      api_key_hmac: secret.optional(),
      /** Encrypts the API keys that this secondary must replay to its primaries. */
      partner_key: secret.optional(),
    })
    .prefault({}),
});

type Values = z.infer<typeof schema>;

export interface Config extends Values {
  /** Path of the configuration file, whether or not it exists. */
  file: string;
}

/** Every key of the schema, dotted, as a flag or a file spells it. */
export const configKeys: readonly string[] = Object.entries(schema.shape).flatMap(([name, field]) => {
  const inner = (field as { unwrap?: () => unknown }).unwrap?.();
  return inner instanceof z.ZodObject ? Object.keys(inner.shape).map((key) => `${name}.${key}`) : [name];
});

/** Keys that are not taken from the command line. */
export const neverFlags = new Set(["database.url", ...configKeys.filter((key) => key.startsWith("secrets."))]);

/**
 * The configuration from its three sources.
 *
 * @param sources `file` is the path (for messages and relative paths), `text` its content if it exists.
 * @throws SandpiperError `config` naming the field and the value that is wrong.
 */
export function parseConfig(sources: {
  flags: string[];
  environment: Record<string, string | undefined>;
  file: string;
  text?: string;
}): Config {
  const fromFile = parseFile(sources.file, sources.text);
  const fromEnvironment: Record<string, string> = {};
  for (const key of configKeys) {
    const value = sources.environment[environmentName(key)];
    if (value !== undefined && value !== "") fromEnvironment[key] = value;
  }
  const { _: _positional, ...values } = merge(sources.flags, [nest(fromEnvironment), fromFile], sources.file);
  const result = schema.safeParse(values);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    const key = [...issue.path, ...(issue.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [])].join(".");
    // A section that is no section may hold a secret as well.
    const shown = /^(secrets(\..*)?|database(\.url)?)$/.test(key)
      ? ""
      : ` (${JSON.stringify(valueAt(values, issue.path))})`;
    const problem = issue.code === "unrecognized_keys" ? "is not a known key" : `${issue.message}${shown}`;
    throw new SandpiperError("config", `configuration: ${key}: ${problem}`, {
      hint: hintFor(issue.code, key, sources.file),
    });
  }
  const place = (path: string) => resolve(dirname(resolve(sources.file)), path);
  const { tls_cert: cert, tls_key: key } = result.data.server;
  const config = {
    ...result.data,
    data: place(result.data.data),
    server: {
      ...result.data.server,
      ...(cert === undefined ? {} : { tls_cert: place(cert) }),
      ...(key === undefined ? {} : { tls_key: place(key) }),
    },
    file: resolve(sources.file),
  };
  return deepFreeze(config);
}

/** Flags over the given objects: the first that has a key wins. */
function merge(flags: string[], objects: object[], file: string) {
  try {
    return yargsParser(flags, {
      string: [...configKeys],
      configObjects: objects, // @types/yargs-parser lacks this option
      configuration: {
        "parse-numbers": false,
        "parse-positional-numbers": false,
        "camel-case-expansion": false,
        "boolean-negation": false,
      },
    } as yargsParser.Options);
  } catch (cause) {
    // It stumbles over keys with dots in them, below nothing.
    throw new SandpiperError("config", `${file} has an invalid key`, {
      cause,
      hint: "docs/configuration.md lists the keys.",
    });
  }
}

function hintFor(code: string, key: string, file: string): string {
  if (code === "unrecognized_keys") return `Remove it from ${file}; docs/configuration.md lists the keys.`;
  const places = [file, environmentName(key), ...(neverFlags.has(key) ? [] : ["the command line"])];
  return `Correct it where it is set: ${places.join(", or ")}.`;
}

function parseFile(file: string, text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = parseYaml(text, { schema: "core", uniqueKeys: true });
  } catch (cause) {
    throw new SandpiperError("config", `${file} is not valid YAML: ${(cause as Error).message.split("\n")[0]}`, {
      cause,
      hint: "Correct the line that it names.",
    });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new SandpiperError("config", `${file} must hold keys and values`, { hint: "See docs/configuration.md." });
  }
  return value as Record<string, unknown>;
}

function nest(dotted: Record<string, string>): Record<string, unknown> {
  const nested: Record<string, Record<string, string> | string> = {};
  for (const [key, value] of Object.entries(dotted)) {
    const [section, name] = key.split(".") as [string, string | undefined];
    if (name === undefined) nested[section] = value;
    else nested[section] = { ...(nested[section] as Record<string, string> | undefined), [name]: value };
  }
  return nested;
}

function valueAt(values: unknown, path: PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], values);
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) deepFreeze(inner);
  return Object.freeze(value);
}

/**
 * Reads the configuration of this process: the given flags, its environment and `file` (which must exist if `required`).
 *
 * @throws `config` as {@link parseConfig}, and as {@link requirePrivate}.
 */
export function loadConfig(flags: string[], file: string, required = true): Config {
  if (!existsSync(file)) {
    if (required) {
      throw new SandpiperError("config", `there is no configuration file ${file}`, {
        hint: "Run `sandpiper init` here, or name the file with --config FILE.",
      });
    }
    return parseConfig({ flags, environment: environment(), file });
  }
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new SandpiperError("config", `cannot read ${file}: ${(cause as Error).message}`, {
      cause,
      hint: "Check its owner and mode.",
    });
  }
  requirePrivate(file, parseFile(file, text));
  return parseConfig({ flags, environment: environment(), file, text });
}
