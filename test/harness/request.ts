/** A request as `fetch` takes it. */
export interface Request {
  token?: string | undefined;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is. */
  raw?: string | Uint8Array | undefined;
  headers?: Record<string, string> | undefined;
}

export const requestInit = (method: string, { token, body, raw, headers }: Request): RequestInit => ({
  method,
  headers: {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...headers,
  },
  body: raw ?? (body === undefined ? null : JSON.stringify(body)),
});
