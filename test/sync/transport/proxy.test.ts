import t from "tap";
import { proxyFor } from "../../../src/sync/transport/proxy.ts";

const settings = { https: "http://secure.example:3128", http: "plain.example:8080", no: "", all: "" };

function way(url: string, given: Partial<typeof settings> = {}): string | undefined {
  for (const name of Object.keys(process.env)) if (/^(https?|no|all)_proxy$/i.test(name)) delete process.env[name];
  for (const [name, value] of Object.entries({ ...settings, ...given }))
    process.env[`${name.toUpperCase()}_PROXY`] = value;
  return proxyFor(new URL(url))?.host;
}

t.test("each scheme has its own, websockets included", async (t) => {
  t.equal(way("https://acme.example/sync"), "secure.example:3128");
  t.equal(way("wss://acme.example"), "secure.example:3128");
  t.equal(way("http://acme.example"), "plain.example:8080", "without a scheme of its own");
  t.equal(way("ws://127.0.0.1:8080"), "plain.example:8080", "loopback too, unless it is named");
  t.equal(way("http://acme.example", { http: "" }), undefined);
  t.equal(way("http://acme.example", { http: "", all: "http://any.example:1" }), "any.example:1");
  t.equal(way("https://acme.example", { all: "socks5://any.example:1" }), "secure.example:3128");
});

t.test("NO_PROXY", async (t) => {
  const exempt = (url: string, no: string) => way(url, { no }) === undefined;
  for (const [url, no] of [
    ["https://acme.example", "*"],
    ["https://acme.example", "other, *"],
    ["https://acme.example", ".acme.example"],
    ["https://[2001:db8::ab]", "2001:db8::ab"],
    ["https://acme.example", "other, acme.example"],
    ["https://acme.example", "other acme.example"],
    ["https://ACME.example.", "Acme.Example"],
    ["https://sync.acme.example", "acme.example"],
    ["https://sync.acme.example", ".acme.example"],
    ["https://sync.acme.example", "*.acme.example"],
    ["https://acme.example", "acme.example:443"],
    ["http://acme.example", "acme.example:80"],
    ["wss://acme.example:8443", "acme.example:8443"],
    ["http://127.0.0.1:8080", "127.0.0.1"],
    ["http://[::1]:8080", "::1"],
    ["http://[::1]:8080", "[::1]:8080"],
    ["http://[::1]:8080", "[::1]"],
  ] as const)
    t.ok(exempt(url, no), `${no} names ${url}`);
  for (const [url, no] of [
    ["https://acme.example", ""],
    ["https://acme.example", ",, "],
    ["https://notacme.example", "acme.example"],
    ["https://acme.example", "sync.acme.example"],
    ["https://acme.example", "acme.example:8443"],
    ["https://acme.example.org", "acme.example"],
    ["http://127.0.0.1:8080", "localhost"],
    ["http://127.0.0.1:8080", "0.0.1"],
    ["http://[::1]:8080", "[::1]:8081"],
  ] as const)
    t.notOk(exempt(url, no), `${no} does not name ${url}`);
});

t.test("what is no HTTP proxy is refused, and not repeated", async (t) => {
  for (const https of [
    "socks5://user:hunter2@localhost:1080",
    "http://",
    "http://user:hunter2@host:99999",
    "http://user:hunter2#@host:1",
    "user:hunter2/@host:1",
  ]) {
    t.throws(() => way("https://acme.example", { https }), {
      code: "config",
      message: "HTTPS_PROXY is not the address of an HTTP proxy",
    });
  }
  t.throws(() => way("https://acme.example", { https: "", all: "socks5://localhost:1080" }), {
    code: "config",
    message: "ALL_PROXY is not the address of an HTTP proxy",
  });
});
