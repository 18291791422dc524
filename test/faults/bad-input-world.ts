/** Two servers that are sent what they must refuse, and those who are known to them. */
import { createHmac } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { roles } from "../../src/companies/company.ts";
import { addCompany, issueApiKey, readServer } from "../../src/companies/company-store.ts";
import { addUser, updateUser } from "../../src/companies/user-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { everything } from "../../src/database/scope.ts";
import type { CompanyId } from "../../src/ids.ts";
import { levelOneKey } from "../../src/slices/rules/slice.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { zeros } from "../harness/zeros.ts";
import { addLines, introduce, offer, Party, subscribe } from "../integration/parties.ts";
import type { Teardown } from "./subject.ts";

/** Of everybody who logs in with one. */
export const password = "a horse, a staple and a battery";

export interface BadInputWorld {
  primary: Party;
  secondary: Party;
  /** Ids. */
  own: string;
  /** A slice that nobody else changes meanwhile. */
  spare: string;
  foreign: string;
  foreignGrain: string;
  foreignSub: string;
  proberId: string;
  otherId: string;
  epicorId: string;
  /** Tokens: of the partner that misbehaves, of a user of its, of another partner, of administrators. */
  prober: string;
  proberUser: string;
  other: string;
  admin: string;
  secondaryAdmin: string;
  proberKey: string;
  /** A token of a user who has a new password since. */
  formerUser: string;
  /** A token with the primary's own signature, whatever it says. */
  forge(change: (claims: Record<string, unknown>) => unknown, header?: object): string;
  /** Whatever no answer and no log may show. */
  secrets: string[];
  /** A new process in place of a server, which has served a few requests. Tokens are good at it, too. */
  restart(side: "primary" | "secondary"): Promise<void>;
}

export async function makeWorld(test: Teardown): Promise<BadInputWorld> {
  const [primary, secondary] = [
    await Party.make(test, "primary", "ABC Brakes"),
    await Party.make(test, "secondary", "Epicor"),
  ];
  const ownNames = ["--server.names", "parts.example.com"];
  await primary.serve({ args: ownNames });
  await introduce(primary, secondary);
  await secondary.serve();
  await offer(primary, "Own", "aces-items", secondary);
  await offer(primary, "Foreign", "aces-items");
  await offer(primary, "Spare", "aces-items");
  await offer(primary, "Bomb", "binary-blob");
  const bomb = (await zeros(64)).toString("base64");
  await primary.batch("Bomb", [{ add: { grain_key: levelOneKey, source: "bomb", encoding: "z64", payload: bomb } }]);
  await mkdir(join(primary.directory, "odd"));
  await writeFile(join(primary.directory, "odd/sandpiper-manifest.json"), '[{"file": "../sandpiper.yaml"}]');
  for (const name of ["Own", "Foreign"]) await primary.batch(name, addLines(0, 20));
  const db = await primary.db();
  const hmac = requireSecret(primary.config(), "api_key_hmac");
  const partner = async (name: string) => {
    const { id } = await addCompany(db, { name });
    return { id, key: await issueApiKey(db, id, hmac) };
  };
  const prober = await partner("Prober");
  const other = await partner("Other");
  await subscribe(primary, "Own", { company: "Prober" } as Party);
  await subscribe(primary, "Foreign", { company: "Other" } as Party);
  const self = (await readServer(db)).serverId;
  const there = await secondary.db();
  const user = (name: string, role: number, companyId: CompanyId) => addUser(db, { name, role, companyId, password });
  await user("admin", roles.admin, self);
  await user("carol", roles["company-admin"], prober.id);
  const epicorId = (await readServer(there)).serverId;
  await addUser(there, { name: "admin", role: roles.admin, companyId: epicorId, password });
  const login = async (party: Party, body: object): Promise<string> => {
    const answer = await fetch(`${party.server!.url}/v1/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return ((await answer.json()) as { token: string }).token;
  };
  const proberToken = await login(primary, { "sync-api-key": prober.key });
  const otherToken = await login(primary, { "sync-api-key": other.key });
  const admin = await login(primary, { username: "admin", password });
  const secondaryAdmin = await login(secondary, { username: "admin", password });
  const former = await user("former", roles["company-admin"], prober.id);
  const formerUser = await login(primary, { username: "former", password });
  await updateUser(db, former.id, { password: `${password}, and another` });
  const tokenKey = requireSecret(primary.config(), "token_key");
  const claims = JSON.parse(Buffer.from(proberToken.split(".")[1]!, "base64url").toString());
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const foreign = await requireSlice(db, "Foreign", everything);
  const id = async (sql: string) => (await db.one<{ id: string }>(sql))!.id;
  return {
    primary,
    secondary,
    own: (await requireSlice(db, "Own", everything)).id,
    spare: (await requireSlice(db, "Spare", everything)).id,
    foreign: foreign.id,
    foreignGrain: await id(`SELECT id FROM grains WHERE content_key = ${foreign.contentKey} LIMIT 1`),
    foreignSub: await id("SELECT id FROM subscriptions WHERE name LIKE 'Foreign%'"),
    proberId: prober.id,
    otherId: other.id,
    epicorId,
    prober: proberToken,
    proberUser: await login(primary, { username: "carol", password }),
    other: otherToken,
    admin,
    secondaryAdmin,
    proberKey: prober.key,
    formerUser,
    forge: (change, header = { alg: "HS256", typ: "JWT" }) => {
      const signed = `${base64(header)}.${base64(change({ ...claims }))}`;
      return `${signed}.${createHmac("sha256", tokenKey).update(signed).digest("base64url")}`;
    },
    restart: async (side) => {
      const party = side === "primary" ? primary : secondary;
      const { port } = new URL(party.server!.url);
      await party.server!.stop();
      await party.serve({ port, args: side === "primary" ? ownNames : [] });
      for (let n = 0; n < 5; n++) await login(party, { username: `admin@${party.company}`, password });
    },
    secrets: [proberToken, otherToken, admin, secondaryAdmin, prober.key, other.key, password],
  };
}
