import t from "tap";
import { checkSyncAddress } from "../../src/companies/sync-address.ts";
import { SandpiperError } from "../../src/errors.ts";

t.test("accepted, in one written form", async (t) => {
  for (const [given, stored] of [
    ["https://sandpiper.example.com", "https://sandpiper.example.com"],
    ["https://Sandpiper.Example.com/", "https://sandpiper.example.com"],
    ["HTTPS://example.com:443/a/b//", "https://example.com/a/b"],
    ["https://203.0.113.7:8443", "https://203.0.113.7:8443"],
    ["https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"],
    ["https://example.com/@home", "https://example.com/@home"],
    ["https://example.com/v1", "https://example.com"],
    ["https://example.com/v1/", "https://example.com"],
    ["https://example.com/a/v1//", "https://example.com/a"],
    ["https://example.com//v1", "https://example.com"],
    ["https://example.com/v1/login", "https://example.com"],
    ["https://example.com/a/v1/sync", "https://example.com/a"],
    ["https://example.com/v1/sync/subs", "https://example.com"],
    ["https://example.com/healthz", "https://example.com"],
    ["https://example.com/sync", "https://example.com/sync"],
    ["https://example.com/v10", "https://example.com/v10"],
    ["https://example.com/v1/other", "https://example.com/v1/other"],
    ["http://localhost:8080", "http://localhost:8080"],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
    ["http://[::1]:8080", "http://[::1]:8080"],
    ["http://10.1.2.3", "http://10.1.2.3"],
    ["http://172.31.0.1", "http://172.31.0.1"],
    ["http://192.168.1.1", "http://192.168.1.1"],
    ["http://[fd00::1]", "http://[fd00::1]"],
    ["http://primary:8080", "http://primary:8080"],
    ["http://db.corp.internal", "http://db.corp.internal"],
  ] as const) {
    t.equal(checkSyncAddress(given), stored, given);
  }
});

t.test("refused", async (t) => {
  for (const [given, why] of [
    ["", /must begin with https/],
    ["example.com", /must begin with https/],
    ["ftp://example.com", /must begin with https/],
    ["file:///etc/passwd", /must begin with https/],
    ["ws://example.com", /must begin with https/],
    ["https:example.com", /must begin with https/],
    [" https://example.com", /must begin with https/],
    ["https://", /is not a URL/],
    ["https://exa mple.com", /spaces/],
    ["https://exam\nple.com", /spaces/],
    ["https:\\\\example.com", /must begin with https/],
    ["https://example.com\\@evil", /backslashes/],
    ["https://example.com:99999", /is not a URL/],
    ["https://example.com:0", /port 0/],
    ["https://me:secret@example.com", /user name or password/],
    ["https://@example.com", /user name or password/],
    ["https://example.com?x=1", /query or a fragment/],
    ["https://example.com/#top", /query or a fragment/],
    ["https://example.com/?", /query or a fragment/],
    ["http://example.com", /plain http to a public host/],
    ["http://203.0.113.7", /plain http to a public host/],
    ["http://172.32.0.1", /plain http to a public host/],
    ["http://[2001:db8::1]", /plain http to a public host/],
    ["http://localhost.example.com", /plain http to a public host/],
    ["http://notlocal", undefined],
    ["https://169.254.169.254", /no primary can be/],
    ["http://0.0.0.0:8080", /no primary can be/],
    ["http://0/", /no primary can be/],
    ["https://[fe80::1]", /no primary can be/],
    ["https://[::]", /no primary can be/],
    ["https://239.1.1.1", /no primary can be/],
    ["http://[::ffff:169.254.169.254]", /no primary can be/],
    ["http://[::ffff:8.8.8.8]", /plain http to a public host/],
  ] as const) {
    if (why === undefined) continue;
    const error = t.throws(() => checkSyncAddress(given), SandpiperError) as SandpiperError;
    t.match(error, { code: "usage", message: why }, given);
    t.ok(error.hint, "says what to do");
    t.notMatch(error.message + error.hint, /secret/, "does not repeat a password");
  }
  t.equal(checkSyncAddress("http://[::ffff:10.0.0.1]"), "http://[::ffff:a00:1]", "an IPv4 address in IPv6 form");
});
