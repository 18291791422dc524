import { readFileSync } from "node:fs";
import t from "tap";
import { certificateWarnings } from "../../../src/server/http/certificate.ts";
import { makeAuthority, makeCertificate } from "../../harness/certificate.ts";
import { serverOf } from "../support.ts";

const read = (...files: string[]) => files.map((file) => readFileSync(file, "utf8")).join("");
const url = "https://sync.acme.example:8443";
const now = new Date(Date.now() + 60_000); // certificates are made from now on
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000);

t.test("a certificate that the server can use, and partners cannot", async (t) => {
  const authority = await makeAuthority(t);
  const own = await makeCertificate(t, "sync.acme.example");
  if (authority === undefined || own === undefined) return t.skip("there is no openssl", () => {});
  const { intermediate, root } = authority;
  const { cert, key } = await authority.issue("sync.acme.example");
  const wild = await authority.issue("*.acme.example");
  const warnings = (pem: string, syncUrl: string | undefined = url, at = now) =>
    certificateWarnings(pem, syncUrl, at).map((text) => text.split(":")[0]!);

  t.same(warnings(read(cert, intermediate)), []);
  t.same(warnings(read(cert, intermediate, root)), []);
  t.same(warnings(read(wild.cert, intermediate)), []);
  t.match(warnings(read(own.cert), undefined), [/expires on/], "nothing about its authority: whoever trusts it has it");
  t.match(warnings(read(cert)), [/one certificate, issued by CN=Intermediate/]);
  t.match(warnings(read(cert, root, intermediate)), [/certificate 2 of the file did not issue certificate 1/]);
  t.match(certificateWarnings(read(cert, intermediate), "https://acme.example", now), [
    /not for acme.example, the name in server.sync_url, but for DNS:sync.acme.example/,
  ]);
  t.match(warnings(read(cert, intermediate), "https://203.0.113.7"), [/not for 203.0.113.7/]);
  t.same(warnings(read(cert, intermediate), url, inDays(15)), []);
  t.match(warnings(read(cert, intermediate), url, inDays(17)), [
    /the certificate expires on/,
    /certificate 2 of the file expires on/,
  ]);
  t.match(warnings(read(cert), url, inDays(31)), [/one certificate/, /has expired/]);
  t.match(warnings(read(cert, intermediate), url, inDays(-1)).at(0), /is not valid before/);

  await t.test("the log says so at the start, and when it is read again", async (t) => {
    const settings = { SANDPIPER_SERVER_TLS_CERT: cert, SANDPIPER_SERVER_TLS_KEY: key };
    const server = await serverOf(t, "primary", { settings });
    const count = () => server.log().match(/"server.certificate_warning","reason":"the file holds one/g)?.length;
    t.equal(count(), 1);
    process.emit("SIGHUP");
    t.equal(count(), 2);
    const mismatch = { ...settings, SANDPIPER_SERVER_TLS_KEY: wild.key };
    await t.rejects(serverOf(t, "primary", { settings: mismatch }), { code: "config", message: /does not belong to/ });
  });
});

t.test("without TLS there is nothing to read again, and the log says so", async (t) => {
  const server = await serverOf(t, "primary");
  process.emit("SIGHUP");
  t.match(server.log(), '"server.nothing_to_reload"');
});
