/** A primary that serves TLS itself, and a secondary that trusts its authority: real commands. */
import t from "tap";
import { makeCertificate } from "../harness/certificate.ts";
import { addLines, makePair, offer } from "./parties.ts";

t.setTimeout(120_000);

t.test("a sync over TLS without a proxy", async (t) => {
  const certificate = await makeCertificate(t, "localhost");
  if (certificate === undefined) return t.skip("there is no openssl", () => {});
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 300, 2000));
  await primary.server!.stop();
  const env = { SANDPIPER_SERVER_TLS_CERT: certificate.cert, SANDPIPER_SERVER_TLS_KEY: certificate.key };
  const { url } = await primary.serve({ env });
  t.match(url, /^https:/);
  const address = url.replace("127.0.0.1", "localhost");
  await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [address]);

  t.equal((await secondary.run(["sync", "--retry-for", "0"])).code, 3, "not trusted");
  const run = await secondary.run(["sync"], { env: { NODE_EXTRA_CA_CERTS: certificate.cert } });
  t.equal(run.code, 0, run.stderr);
  t.same(await secondary.content(), await primary.content());
});
