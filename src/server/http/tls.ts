/** The server itself, with TLS when the configuration names a certificate. */
import { readFileSync, statSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createSecureContext } from "node:tls";
import type { App } from "../../app.ts";
import type { Config } from "../../config/config.ts";
import { SandpiperError } from "../../errors.ts";
import { certificateWarnings } from "./certificate.ts";

const handshakeTimeout = 10_000;

/** Creates it; it does not listen yet. On SIGHUP it reads the certificate again, if it has one. @throws `config` as {@link readCertificate}. */
export function createServer(app: App, options: http.ServerOptions, handle: http.RequestListener): http.Server {
  const certificate = readCertificate(app.config);
  const [server, reload] =
    certificate === undefined ? plain(app, options, handle) : secure(app, options, certificate, handle);
  process.on("SIGHUP", reload);
  server.once("close", () => process.off("SIGHUP", reload));
  return server;
}

type Made = [server: http.Server, reload: () => void];

function plain(app: App, options: http.ServerOptions, handle: http.RequestListener): Made {
  const reload = () => app.log.info({ event: "server.nothing_to_reload", reason: "there is no server.tls_cert" });
  return [http.createServer(options, handle), reload];
}

function secure(app: App, options: http.ServerOptions, certificate: Certificate, handle: http.RequestListener): Made {
  const server = https.createServer({ ...options, ...certificate, handshakeTimeout }, handle);
  warn(app, certificate);
  const reload = () => {
    try {
      const next = readCertificate(app.config)!;
      server.setSecureContext(next);
      app.log.info({ event: "server.certificate_read" });
      warn(app, next);
    } catch (error) {
      // The old one goes on: better than none.
      app.log.error({ event: "server.certificate_refused", reason: (error as Error).message });
    }
  };
  return [server, reload];
}

function warn({ config, log }: App, { cert }: Certificate): void {
  for (const reason of certificateWarnings(cert.toString(), config.server.sync_url, new Date()))
    log.warn({ event: "server.certificate_warning", reason });
}

interface Certificate {
  cert: Buffer;
  key: Buffer;
  minVersion: "TLSv1.2";
}

/**
 * Certificate and key as `server.tls_cert` and `server.tls_key` name them; undefined without.
 *
 * @throws `config` for one without the other, files that cannot be read or used, and a key that others may read.
 */
function readCertificate({ server, file }: Config): Certificate | undefined {
  const { tls_cert: certFile, tls_key: keyFile } = server;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    throw new SandpiperError("config", "server.tls_cert and server.tls_key go together", {
      hint: `Set both in ${file}, or neither.`,
    });
  }
  const cert = read("server.tls_cert", certFile);
  const key = read("server.tls_key", keyFile);
  if ((statSync(keyFile).mode & 0o007) !== 0) {
    throw new SandpiperError("config", `server.tls_key: others may read ${keyFile}`, {
      hint: `chmod o= ${keyFile}, and get a new key if others are on this machine.`,
    });
  }
  const options = { cert, key, minVersion: "TLSv1.2" } as const;
  try {
    createSecureContext(options);
  } catch (cause) {
    if ((cause as { code?: string }).code === "ERR_OSSL_X509_KEY_VALUES_MISMATCH")
      throw new SandpiperError("config", `the key in ${keyFile} does not belong to the certificate in ${certFile}`, {
        cause,
        hint: "The server's own certificate comes first in its file; both files must be of the same renewal.",
      });
    throw new SandpiperError("config", `${certFile} and ${keyFile} are not a certificate and its key in PEM format`, {
      cause,
      hint: "The certificate comes first in its file, then those of its authorities; the key has no passphrase.",
    });
  }
  return options;
}

function read(setting: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new SandpiperError("config", `${setting}: cannot read ${file}: ${(cause as Error).message}`, {
      cause,
      hint: "Check the path, its owner and mode.",
    });
  }
}
