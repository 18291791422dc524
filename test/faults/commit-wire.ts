/** A proxy before PostgreSQL that cuts the connection at a COMMIT: before it arrives, or between it and its answer. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The message of the simple query "COMMIT", as pg sends it. */
const commit = Buffer.concat([Buffer.from("Q"), Buffer.from([0, 0, 0, 11]), Buffer.from("COMMIT\0")]);

export class CommitWire {
  /** COMMITs that were seen since {@link begin}. */
  seen = 0;
  readonly #server: Server;
  readonly #url: URL;
  #cut: { n: number; committed: boolean } | undefined;

  private constructor(databaseUrl: string) {
    this.#url = new URL(databaseUrl);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async to(databaseUrl: string): Promise<CommitWire> {
    const wire = new CommitWire(databaseUrl);
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    return wire;
  }

  /** For `database.url`. */
  get url(): string {
    const url = new URL(this.#url);
    url.search = "";
    url.hostname = "127.0.0.1";
    url.port = String((this.#server.address() as AddressInfo).port);
    return url.toString();
  }

  /** Counts anew; the `n`-th COMMIT is the last thing on its connection, and is `committed` or not. */
  begin(cut?: { n: number; committed: boolean }): void {
    this.seen = 0;
    this.#cut = cut;
  }

  async close(): Promise<void> {
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    const directory = this.#url.searchParams.get("host");
    const port = this.#url.searchParams.get("port") ?? (this.#url.port || "5432");
    const server = directory?.startsWith("/")
      ? connect(`${directory}/.s.PGSQL.${port}`)
      : connect(Number(port), this.#url.hostname);
    let cutting = false;
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    client.on("data", (piece) => {
      if (piece.includes(commit)) {
        this.seen++;
        cutting = this.#cut?.n === this.seen;
      }
      if (cutting && !this.#cut!.committed) end();
      else server.write(piece);
    });
    // Whatever comes after that COMMIT is its answer.
    server.on("data", (piece) => (cutting ? end() : client.write(piece)));
  }
}
