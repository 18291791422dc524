/** Certificates for tests of TLS. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
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

export interface Authority {
  /** The root's certificate, to be named in NODE_EXTRA_CA_CERTS. */
  root: string;
  intermediate: string;
  /** A certificate from the intermediate authority. @param validity as openssl takes it: YYMMDDHHMMSSZ. */
  issue(name: string, validity?: { from: string; to: string }): Promise<{ key: string; cert: string }>;
}

/** A private authority with an intermediate one below it. @returns undefined without an openssl. */
export async function makeAuthority(t: {
  teardown(work: () => Promise<void>): unknown;
}): Promise<Authority | undefined> {
  const directory = await scratch(t);
  const at = (name: string) => join(directory, name);
  const openssl = (args: string[]) => promisify(execFile)("openssl", args, { cwd: directory });
  await writeFile(at("ca.cnf"), authorityConfig);
  await writeFile(at("index"), "");
  let issued = 0;
  const issue = async (
    name: string,
    options: { by?: string; extensions: string; from?: string; to?: string },
  ): Promise<{ key: string; cert: string }> => {
    const base = `${++issued}`;
    const [key, request, cert] = [at(`${base}.key`), at(`${base}.csr`), at(`${base}.crt`)];
    const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    await openssl(["req", "-new", ...newKey, "-subj", `/CN=${name}`, "-keyout", key, "-out", request]);
    await writeFile(at("extensions"), options.extensions);
    const signer =
      options.by === undefined
        ? ["-selfsign", "-keyfile", key]
        : ["-cert", `${options.by}.crt`, "-keyfile", `${options.by}.key`];
    const dates = options.from === undefined ? ["-days", "30"] : ["-startdate", options.from, "-enddate", options.to!];
    const what = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-extfile", "extensions", ...signer];
    await openssl([...what, ...dates, "-in", request, "-out", cert]);
    return { key, cert };
  };
  try {
    const root = await issue("Root", { extensions: "basicConstraints=critical,CA:TRUE" });
    const intermediate = await issue("Intermediate", {
      by: root.cert.slice(0, -4),
      extensions: "basicConstraints=critical,CA:TRUE",
    });
    return {
      root: root.cert,
      intermediate: intermediate.cert,
      issue: (name, validity) =>
        issue(name, {
          by: intermediate.cert.slice(0, -4),
          extensions: `subjectAltName=DNS:${name}`,
          ...validity,
        }),
    };
  } catch {
    return undefined;
  }
}

const authorityConfig = `[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
`;
