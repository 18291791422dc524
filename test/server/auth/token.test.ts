import {
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
} from "node:crypto";
import jwt from "jsonwebtoken";
import t from "tap";
import { roles } from "../../../src/companies/company.ts";
import type { CompanyId } from "../../../src/ids.ts";
import { signToken, type TokenKey, verifyToken } from "../../../src/server/auth/token.ts";

const secret = randomBytes(32);
const tokenKey: TokenKey = { key: createSecretKey(secret), issuer: randomUUID() };
const partner = { companyId: randomUUID() as CompanyId, role: roles.sync, keyId: randomUUID(), name: "Epicor é" };
const person = { companyId: partner.companyId, role: roles.admin, userId: 7, name: "admin", email: "a@example.com" };
const { token } = signToken(tokenKey, partner);

const now = () => Math.floor(Date.now() / 1000);
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const claims = () => JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());

/** A token that is signed properly, whatever it says. */
function forge(payload: unknown, header: unknown = { alg: "HS256", typ: "JWT" }, key: Buffer = secret): string {
  const signed = `${base64(header)}.${base64(payload)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

t.test("what is signed is read back", async (t) => {
  t.match(verifyToken(tokenKey, token), partner);
  const signed = signToken(tokenKey, person);
  t.same(verifyToken(tokenKey, signed.token), { ...person, expiresAt: signed.expiresAt });
  t.ok(Math.abs(signed.expiresAt.getTime() - Date.now() - 900_000) < 2000);
  t.match(claims(), {
    c: partner.companyId,
    r: 200,
    id: 0,
    u: "Epicor é",
    k: partner.keyId,
    iss: tokenKey.issuer,
    aud: "sandpiper",
  });
  t.match(verifyToken(tokenKey, forge(claims())), partner, "the forger of the tests can sign");
});

t.test("every fault gets the same words", async (t) => {
  const good = claims();
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
  const [head, body, signature] = token.split(".") as [string, string, string];
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = createPublicKey(publicKey.export({ type: "spki", format: "pem" })).export({
    type: "spki",
    format: "pem",
  });
  const faults: Record<string, string> = {
    empty: "",
    "not a token": "x",
    "two parts": `${head}.${body}`,
    "four parts": `${token}.x`,
    "no signature": `${head}.${body}.`,
    padding: `${token}=`,
    "white space": ` ${token}`,
    "another key": forge(good, undefined, randomBytes(32)),
    "an edited claim": `${head}.${base64({ ...good, c: randomUUID() })}.${signature}`,
    "alg none": `${base64({ alg: "none", typ: "JWT" })}.${body}.`,
    "alg nOnE": `${base64({ alg: "nOnE", typ: "JWT" })}.${body}.${signature}`,
    HS512: jwt.sign(good, tokenKey.key, { algorithm: "HS512" }),
    "signed with a public key": forge(good, undefined, Buffer.from(pem)),
    crit: forge(good, { alg: "HS256", typ: "JWT", crit: ["x"], x: 1 }),
    jku: forge(good, { alg: "HS256", typ: "JWT", jku: "https://evil.example" }),
    kid: forge(good, { alg: "HS256", typ: "JWT", kid: "../../etc/passwd" }),
    "another typ": forge(good, { alg: "HS256", typ: "at+jwt" }),
    "no typ": forge(good, { alg: "HS256" }),
    expired: forge({ ...good, iat: now() - 1000, exp: now() - 100 }),
    "exp missing": forge(without("exp")),
    "exp a string": forge({ ...good, exp: String(now() + 100) }),
    "exp 1e18": forge({ ...good, exp: 1e18 }),
    "exp negative": forge({ ...good, exp: -1 }),
    "valid too long": forge({ ...good, exp: now() + 100_000 }),
    "iat in the future": forge({ ...good, iat: now() + 120, exp: now() + 900 }),
    "iat missing": forge(without("iat")),
    "nbf in the future": forge({ ...good, nbf: now() + 120 }),
    "another issuer": forge({ ...good, iss: randomUUID() }),
    "no issuer": forge(without("iss")),
    "another audience": forge({ ...good, aud: "other" }),
    "no audience": forge(without("aud")),
    "no company": forge(without("c")),
    "unknown role": forge({ ...good, r: 1 }),
    "partner without a key": forge(without("k")),
    "user with a key": forge({ ...good, r: 110, id: 7 }),
    "user without a number": forge({ ...without("k"), r: 110 }),
    "a payload that is text": jwt.sign("text", tokenKey.key),
    "a huge token": forge({ ...good, u: "x".repeat(5000) }),
  };
  for (const [name, text] of Object.entries(faults)) {
    t.throws(
      () => verifyToken(tokenKey, text),
      { code: "auth", message: "the token is not valid", hint: "Log in again." },
      name,
    );
  }
});

t.test("a token of another server is not ours, though the key were the same", async (t) => {
  t.throws(() => verifyToken({ ...tokenKey, issuer: randomUUID() }, token), { code: "auth" });
});
