/** A server in this process on a database of its own, and a client for it. */
import { randomBytes } from "node:crypto";
import net from "node:net";
import { Writable } from "node:stream";
import type { App } from "../../src/app.ts";
import { roles, type ServerRole } from "../../src/companies/company.ts";
import { addCompany, initServer, issueApiKey } from "../../src/companies/company-store.ts";
import { addUser } from "../../src/companies/user-store.ts";
import { parseConfig } from "../../src/config/config.ts";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import type { Service } from "../../src/daemon/service.ts";
import { openDatabase } from "../../src/database/database.ts";
import type { CompanyId } from "../../src/ids.ts";
import { createLogger } from "../../src/log.ts";
import { type Request, requestInit } from "../harness/request.ts";
import { createTestDatabase } from "../harness/test-database.ts";

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects
  json: any;
}

export interface TestServer extends Daemon {
  app: App;
  /** What its configuration was made of: the same for a process of its own. */
  environment: Record<string, string>;
  /** What was logged so far. */
  log(): string;
  call(method: string, path: string, request?: Request): Promise<Answer>;
  get(path: string, token?: string): Promise<Answer>;
  post(path: string, token: string | undefined, body: unknown): Promise<Answer>;
  batch(sliceId: string, token: string, lines: readonly unknown[]): Promise<Answer>;
  loginAs(name: string): Promise<string>;
}

export const password = "correct horse battery staple";

interface Test {
  teardown(work: () => Promise<void>): unknown;
}

/** Starts one; it goes with the test. */
export async function serverOf(
  t: Test,
  role: ServerRole,
  { more, settings = {} }: { more?: readonly Service[]; settings?: Record<string, string> } = {},
): Promise<TestServer> {
  const database = await createTestDatabase(`server_${role}`);
  const environment = { ...environmentFor(database.url), ...settings };
  const config = parseConfig({ flags: [], file: "test.yaml", environment });
  const owner = await openDatabase(config, { as: "owner", name: "test owner" });
  const server = await initServer(owner, role, role === "primary" ? "ABC Brakes" : "Retailer");
  await owner.close();
  const db = await openDatabase(config, { name: "test server" });
  let logged = "";
  const sink = new Writable({
    write(chunk, _encoding, done) {
      logged += chunk;
      done();
    },
  });
  const app: App = { config, db, server, log: createLogger("info", sink) };
  const running = await startDaemon(app, more);
  t.teardown(async () => {
    await running.stop();
    await db.close();
    await database.drop();
  });
  const call = (method: string, path: string, request: Request = {}) => send(running.url + path, method, request);
  const post = (path: string, token: string | undefined, body: unknown) => call("POST", path, { token, body });
  return {
    ...running,
    app,
    environment,
    log: () => logged,
    call,
    post,
    get: (path, token) => call("GET", path, { token }),
    batch: (sliceId, token, lines) =>
      call("POST", `/slices/${sliceId}/batch`, {
        token,
        raw: lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
        headers: { "content-type": "application/x-ndjson" },
      }),
    loginAs: async (name) => (await post("/login", undefined, { username: name, password })).json.token,
  };
}

function environmentFor(url: string): Record<string, string> {
  const secret = () => randomBytes(32).toString("base64url");
  return {
    SANDPIPER_DATABASE_URL: url,
    SANDPIPER_SERVER_PORT: "0",
    SANDPIPER_SERVER_SHUTDOWN_SECONDS: "2",
    SANDPIPER_SECRETS_TOKEN_KEY: secret(),
    SANDPIPER_SECRETS_API_KEY_HMAC: secret(),
    SANDPIPER_SECRETS_PARTNER_KEY: secret(),
  };
}

async function send(url: string, method: string, request: Request): Promise<Answer> {
  const response = await fetch(url, requestInit(method, request));
  const text = await response.text();
  const isJson = text !== "" && /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

/** Sends bytes as they are, and reads until the server closes. */
export function sendRaw(server: Pick<Daemon, "port">, bytes: string | Uint8Array, timeoutMs = 5000): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(server.port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on("data", (piece) => {
      text += piece;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => (error.code === "ECONNRESET" ? undefined : reject(error)));
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}

export const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);

export interface Cast {
  /** Tokens. */
  admin: string;
  superAdmin: string;
  /** A company-admin of Epicor. */
  companyAdmin: string;
  epicor: string;
  other: string;
  /** Ids. */
  epicorId: string;
  otherId: string;
  epicorKey: string;
}

/** On a primary: an administrator, a super-administrator, and two partners, one with a user. */
export async function cast(server: TestServer): Promise<Cast> {
  const { db, server: self } = server.app;
  const user = (name: string, role: number, companyId: CompanyId) => addUser(db, { name, role, companyId, password });
  await user("admin", roles.admin, self.serverId);
  await user("root", roles["super-admin"], self.serverId);
  const partner = async (name: string) => {
    const { id } = await addCompany(db, { name });
    return { id, key: await issueApiKey(db, id, server.context.apiKeyHmac) };
  };
  const epicor = await partner("Epicor");
  const other = await partner("Other");
  await user("carol", roles["company-admin"], epicor.id);
  return {
    admin: await server.loginAs("admin"),
    superAdmin: await server.loginAs("root"),
    companyAdmin: await server.loginAs("carol"),
    epicor: await keyLogin(server, epicor.key),
    other: await keyLogin(server, other.key),
    epicorId: epicor.id,
    otherId: other.id,
    epicorKey: epicor.key,
  };
}

export const keyLogin = async (server: TestServer, key: string): Promise<string> =>
  (await server.post("/login", undefined, { "sync-api-key": key })).json.token;

/** A slice with three grains. */
export async function sliceWithGrains(server: TestServer, admin: string, name: string): Promise<string> {
  const { id } = (await server.post("/slices", admin, { name, slice_type: "aces-items" })).json;
  const lines = ["a", "b", "c"].map((key) => ({ add: { grain_key: key, encoding: "raw", payload: `payload ${key}` } }));
  await server.batch(id, admin, lines);
  return id;
}
