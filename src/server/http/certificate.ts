/** What partners will stumble over in a certificate that the server itself can use. */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";

const dayMs = 86_400_000;
const soonDays = 14;

/**
 * @param pem the certificate with its chain, as `server.tls_cert` holds them.
 * @param syncUrl the address that partners are told, if there is one.
 * @returns a sentence for each; none when all is well.
 */
export function certificateWarnings(pem: string, syncUrl: string | undefined, now: Date): string[] {
  const chain = (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );
  const [own] = chain;
  if (own === undefined) return [];
  return [...chainWarnings(chain), ...dateWarnings(chain, now), ...nameWarnings(own, syncUrl)];
}

function chainWarnings(chain: readonly X509Certificate[]): string[] {
  const [own, ...rest] = chain as [X509Certificate, ...X509Certificate[]];
  if (rest.length === 0) {
    if (own.checkIssued(own)) return [];
    return [
      `the file holds one certificate, issued by ${oneLine(own.issuer)}: if that is an intermediate authority, partners cannot verify it; put the intermediate certificate behind it (certbot calls that file fullchain.pem)`,
    ];
  }
  const broken = rest.findIndex((issuer, i) => !chain[i]!.checkIssued(issuer));
  if (broken < 0) return [];
  return [
    `certificate ${broken + 2} of the file did not issue certificate ${broken + 1}: partners may not be able to verify it; put them in order, the server's own first`,
  ];
}

function dateWarnings(chain: readonly X509Certificate[], now: Date): string[] {
  return chain.flatMap((certificate, i) => {
    const which = i === 0 ? "the certificate" : `certificate ${i + 1} of the file`;
    const left = Date.parse(certificate.validTo) - now.getTime();
    if (Date.parse(certificate.validFrom) > now.getTime())
      return [`${which} is not valid before ${certificate.validFrom}; is the clock of this machine right?`];
    if (left <= 0) return [`${which} has expired (${certificate.validTo}): renew it`];
    if (left > soonDays * dayMs) return [];
    return [`${which} expires on ${certificate.validTo}: renew it`];
  });
}

function nameWarnings(own: X509Certificate, syncUrl: string | undefined): string[] {
  if (syncUrl === undefined || !URL.canParse(syncUrl)) return [];
  const host = new URL(syncUrl).hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  const fits = isIP(host) ? own.checkIP(host) : own.checkHost(host);
  if (fits !== undefined) return [];
  return [
    `the certificate is not for ${host}, the name in server.sync_url, but for ${own.subjectAltName ?? oneLine(own.subject)}`,
  ];
}

const oneLine = (name: string): string => name.replaceAll("\n", ", ");
