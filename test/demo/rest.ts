/** The primary's REST API, as a catalogue system would use it. */
import { DemoError } from "./command.ts";

export class Rest {
  #token = "";

  constructor(
    private readonly url: string,
    private readonly signal: AbortSignal,
  ) {}

  async login(username: string, password: string): Promise<void> {
    const body = JSON.stringify({ username, password });
    this.#token = (await this.#post<{ token: string }>("/v1/login", body, "application/json")).token;
  }

  /** Sends the lines of a batch, which changes the slice in one transaction. */
  batch(sliceId: string, lines: string): Promise<{ grains_added: number; grains_removed: number }> {
    return this.#post(`/v1/slices/${sliceId}/batch`, lines, "application/x-ndjson");
  }

  async #post<T>(path: string, body: string, type: string): Promise<T> {
    const headers = { "content-type": type, ...(this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` }) };
    const response = await fetch(this.url + path, { method: "POST", headers, body, signal: this.signal });
    const text = await response.text();
    if (!response.ok) throw new DemoError(`POST ${path} was answered with ${response.status}: ${text}`);
    return JSON.parse(text) as T;
  }
}
