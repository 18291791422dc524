/** What a secondary asks a primary before the websocket: a login, and the list of its subscriptions. */

import * as z from "zod";
import type { SyncTarget } from "../../companies/sync-address.ts";
import type { Offer } from "../../subscriptions/rules/rules.ts";
import { refuse } from "../protocol/guards.ts";
import { maxLoginBytes } from "../protocol/limits.ts";
import { violation } from "../protocol/messages.ts";
import { listBytes, OfferList } from "../protocol/offer-list.ts";
import { requestJson, wholeJson } from "./http-client.ts";

/** Bytes that crossed the network. */
export interface Traffic {
  in: number;
  out: number;
}

export interface Login {
  token: string;
  /** The primary's own company id, and ours as it knows us. */
  serverId: string;
  companyId: string;
}

const id = z.guid().toLowerCase();
const loginAnswer = z.object({ token: z.string().min(1).max(8192), server_id: id, company_id: id });

/** `path` below a sync address, which may itself have a path. */
export function primaryUrl(syncAddr: string, path: string): URL {
  const base = new URL(syncAddr);
  base.pathname = base.pathname.replace(/\/+$/, "") + path;
  return base;
}

/** Logs in. @throws `auth` for a key that is not valid, `network` or `protocol` as {@link requestJson}. */
export async function login(
  target: SyncTarget,
  apiKey: string,
  traffic: Traffic,
  signal?: AbortSignal,
): Promise<Login> {
  const answer = await requestJson(primaryUrl(target.url, "/v1/login"), wholeJson(maxLoginBytes), {
    mayBePrivate: target.mayBePrivate,
    method: "POST",
    body: { username: "", password: "", "sync-api-key": apiKey },
    signal,
  });
  count(traffic, answer);
  const parsed = loginAnswer.safeParse(answer.body);
  if (!parsed.success) refuse("login.valid", violation("the primary's answer to the login is not as it must be"));
  return { token: parsed.data.token, serverId: parsed.data.server_id, companyId: parsed.data.company_id };
}

/** Checks an API key with the primary at an address. @returns who the primary is, and who we are to it. */
export async function checkPrimary(
  target: SyncTarget,
  apiKey: string,
): Promise<{ serverId: string; companyId: string }> {
  const { serverId, companyId } = await login(target, apiKey, { in: 0, out: 0 });
  return { serverId, companyId };
}

/** A primary's list of subscriptions; `rows` null when it is the one that was applied last. */
export interface Offers {
  rows: Offer[] | null;
  /** Names this list, for the next time; null when the primary gives none. */
  etag: string | null;
}

/**
 * The subscriptions that the primary lists for us.
 *
 * @param identity.companyId who we are to it: a row for anybody else is refused.
 * @param etag of the list that was applied last, if nothing was changed here since.
 * @throws `protocol` when the list is not as it must be, `limit` when it is longer than `most`.
 */
export async function fetchOffers(
  target: SyncTarget,
  identity: Login,
  etag: string | null,
  most: number,
  traffic: Traffic,
  signal?: AbortSignal,
): Promise<Offers> {
  const list = new OfferList(identity.companyId, most);
  const reader = { maxBytes: listBytes(most), take: (piece: Buffer) => list.take(piece), end: () => list.end() };
  const answer = await requestJson(primaryUrl(target.url, "/v1/sync/subs"), reader, {
    mayBePrivate: target.mayBePrivate,
    token: identity.token,
    etag,
    signal,
  });
  count(traffic, answer);
  if (answer.body === undefined) return { rows: null, etag };
  const given = answer.headers.etag;
  return { rows: answer.body, etag: given !== undefined && /^"[\x21\x23-\x7e]{1,100}"$/.test(given) ? given : null };
}

function count(traffic: Traffic, answer: { bytesIn: number; bytesOut: number }): void {
  traffic.in += answer.bytesIn;
  traffic.out += answer.bytesOut;
}
