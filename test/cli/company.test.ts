import { chmod, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import { openApiKey, parseApiKey, secretMatches } from "../../src/companies/api-key.ts";
import { findApiKey, findCompany, readSealedKey } from "../../src/companies/company-store.ts";
import { loadConfig } from "../../src/config/config.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

const epicor = "2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77";
const abc = "00000000-0000-4000-8000-00000000000a";
const apiKey = `${"A".repeat(22)}.${"k".repeat(43)}`;
const otherKey = `${"B".repeat(22)}.${"k".repeat(43)}`;

t.test("on a primary: a partner and its key", async (t) => {
  const { run, json, refuses, withDatabase, directory, onTerminal } = await sandbox(t, "primary");
  const added = await run(["company", "add", "Epicor & Co", "--id", epicor.toUpperCase()]);
  t.equal(added.code, 0);
  const key = added.stdout.trim();
  const parsed = parseApiKey(key);
  t.ok(parsed, "the key alone on standard output, fit for a file");
  t.match(added.stderr, `sandpiper init --role secondary --company 'Epicor & Co' --server-id ${epicor}\n`);
  t.match(
    added.stderr,
    "sandpiper company add 'ABC Brakes' --sync-addr http://127.0.0.1:8080 --api-key-file -\n",
    "what the partner runs",
  );
  t.notMatch(added.stderr, key);
  const hmac = requireSecret(loadConfig([], join(directory, "sandpiper.yaml")), "api_key_hmac");
  const stored = await withDatabase((db) => findApiKey(db, parsed!.keyId));
  t.equal(stored?.companyId, epicor);
  t.ok(secretMatches(parsed!.secret, stored!.secretHmac, hmac));

  const second = (await json(["company", "add", "Bob", "--server.sync_url", "https://s.example"])) as Record<
    string,
    unknown
  >;
  t.match(second, { name: "Bob", api_key: /^[\w-]{22}\.[\w-]{43}$/ });
  t.match((second.commands as string[])[1], "--sync-addr https://s.example ");

  const carl = await json(["company", "add", "Carl", "--server.host", "0.0.0.0"]);
  t.match((carl as { commands: string[] }).commands[1], "--sync-addr https://ADDRESS-OF-THIS-SERVER ");

  const list = (await run(["company", "list"])).stdout;
  t.match(list, /^ABC Brakes\t[^\t]+\tourselves\tyes\t$/m);
  t.match(list, `Epicor & Co\t${epicor}\tpartner\tyes\t\n`);
  t.notMatch(list + JSON.stringify(await json(["company", "list"])), parsed!.secret.toString("base64url"));
  t.match(await onTerminal(["company", "list"]), { code: 0, screen: /NAME.*ID.*KIND.*ACTIVE.*SYNC ADDR/ });

  t.match(await run(["company", "deactivate", "epicor & CO"]), { code: 0, stdout: "Epicor & Co is not active." });
  t.equal((await withDatabase((db) => findCompany(db, epicor)))?.active, false);
  t.match(await run(["company", "activate", epicor]), { code: 0, stdout: "Epicor & Co is active." });
  const fresh = (await run(["company", "rekey", "epicor & co"])).stdout.trim();
  t.ok(parseApiKey(fresh));
  t.not(fresh, key);
  t.ok(await withDatabase((db) => findApiKey(db, parsed!.keyId)), "the old key works until the new one is used");

  const before = await run(["company", "list"]);
  await refuses(t, [
    [["company", "add", "EPICOR & co"], 2, 'there is a company named "EPICOR & co" already'],
    [["company", "add", "Other", "--id", epicor], 2, "with the id"],
    [["company", "add", "Other", "--id", "1234"], 2, "is not a UUID"],
    [["company", "add", "Other", "--api-key-file", "x"], 2, "--api-key-file goes with --sync-addr"],
    [
      ["company", "add", "Other", "--sync-addr", "https://x.example", "--api-key-file", "x"],
      2,
      "is only possible on a secondary",
    ],
    [["company", "activate", "Nobody"], 2, 'there is no company "Nobody"'],
    [["company", "deactivate", "abc brakes"], 2, "is this server's own company"],
    [["company", "rekey", "abc brakes"], 2, "is this server's own company"],
    [["company", "rekey", "bob", "--api-key-file", "x"], 2, "are for a secondary"],
  ]);
  t.equal((await run(["company", "list"])).stdout, before.stdout);
});

/** Answers logins as a primary does, and notes the keys. */
async function fakePrimary(
  t: { teardown(work: () => unknown): unknown },
  answer: { status?: number; serverId?: string },
) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const status = answer.status ?? 200;
      response.writeHead(status, { "content-type": "application/json" });
      const good = { token: "t", server_id: answer.serverId ?? abc, company_id: epicor };
      response.end(JSON.stringify(status === 200 ? good : { message: "no" }));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.teardown(() => new Promise((done) => server.close(done)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

t.test("on a secondary: a primary, after its key was checked", async (t) => {
  const { run, json, refuses, withDatabase, directory, onTerminal } = await sandbox(t, "secondary", "Epicor");
  const answer: { status?: number; serverId?: string } = {};
  const address = await fakePrimary(t, answer);
  const keyFile = join(directory, "abc.key");
  await writeFile(keyFile, `${apiKey}\n`);
  await chmod(keyFile, 0o600);
  const add = ["company", "add", "ABC Brakes", "--sync-addr"];
  await writeFile(join(directory, "bad.key"), "not a key\n");

  const file = ["--api-key-file", keyFile];
  await refuses(t, [
    [["company", "add", "ABC Brakes"], 2, "is only possible on a primary"],
    [[...add, address], 2, "the API key that the primary gave you is missing"],
    [[...add, address, "--api-key-file", join(directory, "none.key")], 2, "cannot read "],
    [[...add, address, "--api-key-file", directory], 2, "cannot read "],
    [[...add, address, "--api-key-file", join(directory, "bad.key")], 2, "bad.key does not hold an API key"],
    [[...add, address, "--api-key-file", "/dev/zero"], 2, "/dev/zero does not hold an API key"],
    [[...add, address, "--id", epicor, ...file], 2, "--id does not go with --sync-addr"],
    [[...add, "abc.example", ...file], 2, "must begin with https"],
    [[...add, "http://abc.example", ...file], 2, "plain http to a public host"],
    [[...add, "http://127.0.0.1:1", ...file], 3, /./],
  ]);
  for (const input of ["", "\n", "not a key\n", `${apiKey}x`]) {
    const outcome = await run([...add, address, "--api-key-file", "-"], { input });
    t.match(outcome, { code: 2, stderr: "standard input does not hold an API key", stdout: /^$/ });
    t.notMatch(outcome.stderr, apiKey);
  }
  answer.status = 401;
  await refuses(t, [[[...add, address, ...file], 5, /./]]);
  answer.status = 200;
  answer.serverId = ((await json(["company", "list"])) as { id: string }[])[0]!.id;
  t.match(await run([...add, address, "--api-key-file", keyFile]), { code: 2, stderr: "id of this server itself" });
  delete answer.serverId;
  t.equal((await run(["company", "list"])).stdout.split("\n").length, 2, "nothing was stored so far");

  t.test("the key comes from a file, from standard input or from the environment", async (t) => {
    const added = await run([...add, `${address}/`, "--api-key-file", "-"], { input: `${apiKey}\r\n` });
    t.match(added, { code: 0, stdout: `The primary ABC Brakes (id ${abc}) is registered` });
    t.match(added.stderr, "our own id is", "whose key it is, is questioned");
    t.notMatch(added.stdout + added.stderr, apiKey);
    const config = loadConfig([], join(directory, "sandpiper.yaml"));
    const stored = async () => {
      const sealed = await withDatabase((db) => readSealedKey(db, abc as never));
      return openApiKey(sealed!, abc, requireSecret(config, "partner_key"));
    };
    t.equal(await stored(), apiKey, "encrypted");
    t.match(await run(["company", "list"]), { stdout: `ABC Brakes\t${abc}\tprimary\tyes\t${address}\n` });

    const rekey = ["company", "rekey", "abc brakes"];
    t.match(await run(rekey, { env: { SANDPIPER_API_KEY: otherKey } }), { code: 0, stdout: "is stored" });
    t.equal(await stored(), otherKey);
    answer.serverId = epicor;
    t.match(await run([...rekey, "--api-key-file", keyFile]), { code: 2, stderr: `is the server ${epicor}, not ABC` });
    answer.status = 401;
    t.match(await run([...rekey, "--api-key-file", keyFile]), { code: 5 });
    t.match(await run(rekey), { code: 2, stderr: "is missing" });
    t.match(await run([...rekey, "--sync-addr", "ftp://x", "--api-key-file", keyFile]), { code: 2 });
    t.equal(await stored(), otherKey, "a key that was refused is not stored");
    delete answer.status;
    delete answer.serverId;
    const onScreen = await onTerminal([...rekey, "--api-key-file", "-"], [["API key: ", `${apiKey}\r`]]);
    t.match(onScreen, { code: 0, screen: "is stored" });
    t.notMatch(onScreen.screen, apiKey, "what is typed is not shown");
    t.equal(await stored(), apiKey);
    t.match(await run([...add, address, "--api-key-file", keyFile]), { code: 2, stderr: "already" });
  });
});
