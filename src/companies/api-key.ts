/**
 * API keys: `<key id>.<secret>`, the secret being 256 random bits. The primary stores an HMAC of the secret
 * (it is random, so nothing slower is needed) and compares in constant time; the secondary keeps the key
 * encrypted (AES-256-GCM), since it must replay it.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SandpiperError } from "../errors.ts";
import { uuidBytes, uuidText } from "../ids.ts";

/** A fresh key: what to show once, and what to store. */
export function mintApiKey(keyId: string, hmacKey: Buffer): { apiKey: string; secretHmac: Buffer } {
  const secret = randomBytes(32);
  return {
    apiKey: `${uuidBytes(keyId).toString("base64url")}.${secret.toString("base64url")}`,
    secretHmac: hmac(hmacKey, secret),
  };
}

/** The parts of a key, or undefined when it does not have the form of one. */
export function parseApiKey(text: string): { keyId: string; secret: Buffer } | undefined {
  const match = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/.exec(text);
  if (!match) return undefined;
  return { keyId: uuidText(Buffer.from(match[1]!, "base64url")), secret: Buffer.from(match[2]!, "base64url") };
}

/** Whether the secret is the stored one. Takes as long for an unknown key (`stored` undefined) as for a wrong secret. */
export function secretMatches(secret: Buffer, stored: Buffer | undefined, hmacKey: Buffer): boolean {
  const equal = timingSafeEqual(hmac(hmacKey, secret), stored ?? Buffer.alloc(32));
  return equal && stored !== undefined;
}

const hmac = (key: Buffer, secret: Buffer) => createHmac("sha256", key).update(secret).digest();

/** Encrypts an API key for storage, bound to the company that it belongs to. */
export function sealApiKey(apiKey: string, companyId: string, key: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(companyId));
  const sealed = Buffer.concat([cipher.update(apiKey, "utf8"), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]);
}

/** Undoes {@link sealApiKey}. @throws `auth` when the key of the configuration is another one. */
export function openApiKey(sealed: Buffer, companyId: string, key: Buffer): string {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12)).setAAD(Buffer.from(companyId));
    decipher.setAuthTag(sealed.subarray(12, 28));
    return Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new SandpiperError("auth", "the stored API key cannot be decrypted", {
      cause,
      hint: "Restore secrets.partner_key, or store the key again with `sandpiper company rekey NAME --api-key-file FILE`.",
    });
  }
}
