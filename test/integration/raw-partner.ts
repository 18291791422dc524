/** A partner that speaks the protocol by hand, over a websocket of its own. */
import { WebSocket } from "ws";
import { issueApiKey, requireCompany } from "../../src/companies/company-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import type { Party } from "./parties.ts";

/** A token that `primary` gives to this company, with a new API key. */
export async function partnerToken(primary: Party, company: string): Promise<string> {
  const db = await primary.db();
  const { id } = await requireCompany(db, company);
  const key = await issueApiKey(db, id, requireSecret(primary.config(), "api_key_hmac"));
  const answer = await fetch(`${primary.server!.url}/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "", password: "", "sync-api-key": key }),
  });
  return ((await answer.json()) as { token: string }).token;
}

export class RawPartner {
  /** Text messages that came, parsed, and the number of frames. */
  readonly messages: Record<string, unknown>[] = [];
  frames = 0;
  /** Resolves with the close code. */
  readonly closed: Promise<number>;

  private constructor(readonly socket: WebSocket) {
    socket.on("error", () => {});
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.frames++;
      else this.messages.push(JSON.parse(data.toString()));
    });
    this.closed = new Promise((resolve) => socket.once("close", resolve));
  }

  /** Connects. @returns the partner, or the status and Retry-After of the refusal. */
  static async connect(primary: Party, token: string): Promise<RawPartner> {
    const made = await RawPartner.attempt(primary, token);
    if (made instanceof RawPartner) return made;
    throw new Error(`refused with ${made.status}`);
  }

  static attempt(
    primary: Party,
    token: string,
  ): Promise<RawPartner | { status: number; retryAfter: string | undefined; body: string }> {
    const url = `${primary.server!.url.replace("http", "ws")}/v1/sync`;
    const socket = new WebSocket(url, ["sandpiper.sync.2"], { headers: { authorization: `Bearer ${token}` } });
    const partner = new RawPartner(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(partner));
      socket.once("unexpected-response", (_request, response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () =>
          resolve({
            status: response.statusCode!,
            retryAfter: response.headers["retry-after"],
            body: Buffer.concat(parts).toString(),
          }),
        );
      });
      socket.once("error", reject);
    });
  }

  /** The first message of this type, when it comes. */
  async message(type: string, withinMs = 20_000): Promise<Record<string, unknown>> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const found = this.messages.find((message) => message.type === type);
      if (found !== undefined) return found;
      if (Date.now() > deadline || this.socket.readyState === WebSocket.CLOSED)
        throw new Error(`no ${type} came, but ${JSON.stringify(this.messages)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** Asks for all grains of a slice. */
  async fetchAll(id: string): Promise<void> {
    await this.message("begin");
    const run = "00000000-0000-4000-8000-0000000000aa";
    this.send({ type: "compare", run_id: run, test: false, program: "raw", ids: [id], hashes: [""], counts: [0] });
    const compared = await this.message("compared");
    const [slice] = compared.slices as { hash: string; count: number }[];
    const { hash, count } = slice!;
    this.send({ type: "reconcile", id, hash, want: "content" });
    await this.message("content");
    this.send({ type: "fetch", id, hash, by: "all", count, after: null });
  }
}
