/** Upgrading `GET /sync` at a primary to a channel. */
import type { IncomingHttpHeaders } from "node:http";
import { WebSocket } from "ws";
import type { SyncTarget } from "../../companies/sync-address.ts";
import { SandpiperError } from "../../errors.ts";
import { comparedSize, contentSize, handshakeMs } from "../protocol/limits.ts";
import { subprotocol } from "../protocol/messages.ts";
import { Channel, socketOptions } from "./channel.ts";
import { busyOrFailing, connectError, noWebsocket } from "./connect-error.ts";
import { dialling } from "./dialling.ts";
import { primaryUrl, type Traffic } from "./primary-client.ts";

/**
 * @param mostSlices that we may ask about.
 * @throws `auth` when the token is refused, as {@link connectError} and {@link busyOrFailing} when the primary cannot be reached
 * or is full, `protocol` when something in between does not let a websocket through.
 */
export async function connectChannel(
  target: SyncTarget,
  token: string,
  mostSlices: number,
  idleMs: number,
  traffic: Traffic,
  signal?: AbortSignal,
): Promise<Channel> {
  const url = primaryUrl(target.url, "/v1/sync");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, subprotocol, {
    ...socketOptions(Math.max(comparedSize(mostSlices).bytes, contentSize.bytes)),
    headers: { authorization: `Bearer ${token}` },
    followRedirects: false,
    handshakeTimeout: handshakeMs,
    ...dialling(url, target.mayBePrivate, signal),
  });
  // Created before the handshake ends, so that no early message is missed.
  const channel = new Channel(socket, { idleMs, peer: "the primary" });
  const stop = () => socket.terminate();
  signal?.addEventListener("abort", stop, { once: true });
  const opened = new Promise<Channel>((resolve, reject) => {
    socket.once("upgrade", (response) => {
      const { socket: wire } = response;
      wire.once("close", () => {
        traffic.in += wire.bytesRead;
        traffic.out += wire.bytesWritten;
      });
    });
    socket.once("open", () => resolve(channel));
    socket.once("unexpected-response", (request, response) => {
      response.resume();
      request.destroy();
      reject(refusal(url.origin, response.statusCode ?? 0, response.headers));
    });
    socket.once("error", (error) =>
      reject(
        !(error instanceof SandpiperError) &&
          /Unexpected server response|Invalid|subprotocol|Parse Error/i.test(error.message)
          ? noWebsocket(url.origin, error.message)
          : connectError(url.origin, error),
      ),
    );
  });
  return opened.finally(() => signal?.removeEventListener("abort", stop));
}

function refusal(where: string, status: number, headers: IncomingHttpHeaders): SandpiperError {
  if (status === 401) {
    return new SandpiperError("auth", `${where} refuses our token`, {
      hint: "Run again; if that does not help, ask the partner whether the API key is still valid.",
    });
  }
  if (status === 403) {
    return new SandpiperError("forbidden", `${where} does not let us open a websocket`, {
      hint: "Ask the partner, and whoever runs a proxy or firewall in between, to permit it.",
    });
  }
  return busyOrFailing(where, status, headers) ?? noWebsocket(where, `it answers with HTTP ${status}`);
}
