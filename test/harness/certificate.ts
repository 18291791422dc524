/** Certificates for tests of TLS. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { scratch } from "./scratch.ts";

/** A certificate for one name, signed by itself. @returns undefined without an openssl. */
export async function makeCertificate(
  t: { teardown(work: () => Promise<void>): unknown },
  name: string,
): Promise<{ key: string; cert: string } | undefined> {
  const directory = await scratch(t);
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const what = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const args = [...what, "-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`, "-keyout", key, "-out", cert];
  const made = await promisify(execFile)("openssl", args).then(
    () => true,
    () => false,
  );
  return made ? { key, cert } : undefined;
}
