/** What a request costs the database, and what its answer says besides. */
import t, { type Test } from "tap";
import { statementsOf } from "../../harness/statements.ts";
import { cast, sendRaw, serverOf, sliceWithGrains } from "../support.ts";

const server = await serverOf(t, "primary", { settings: { SANDPIPER_DATABASE_POOL_SIZE: "3" } });
const who = await cast(server);
const slice = await sliceWithGrains(server, who.admin, "Own");
for (const company_id of [who.epicorId, who.otherId])
  await server.post("/subs", who.admin, { slice_id: slice, company_id, name: company_id.slice(1) });
const sub = (await server.get("/subs", who.epicor)).json.data[0].id as string;
const grain = (await server.get(`/grains/slice/${slice}`, who.admin)).json.data[0].id as string;
const tokens = [who.epicor, who.admin, who.other, who.companyAdmin];

/** The most that any of these senders costs, each coming after another, so that no connection is in its scope already. */
async function cost(t: Test, path: string): Promise<number> {
  let most = 0;
  for (let round = 0; round < 3; round++) {
    for (const token of tokens) {
      const sent = await statementsOf(async () => t.equal((await server.get(path, token)).status, 200, path));
      most = Math.max(most, sent.length);
    }
  }
  return most;
}

t.test("one statement to know the sender, one to read", async (t) => {
  await server.get(`/slices/${slice}`, who.epicor); // its content_hash is computed once, whoever asks
  for (const path of [
    `/grains/${grain}`,
    `/grains/${slice}/a`,
    `/grains/${slice}/a?payload=yes`,
    `/slices/${slice}`,
    "/slices/name/own",
    `/subs/${sub}`,
  ]) {
    if (path.startsWith("/subs")) t.equal((await statementsOf(() => server.get(path, who.epicor))).length, 2, path);
    else t.equal(await cost(t, path), 2, path);
  }
  for (const path of ["/me", "/server"]) t.equal(await cost(t, path), 1, path);
  for (const token of tokens) await server.get("/activity", token); // how many there were long ago is counted once an hour
  for (const path of [
    "/slices",
    "/companies",
    "/subs",
    "/activity",
    `/grains/slice/${slice}`,
    `/slices/metadata/${slice}`,
  ])
    t.ok((await cost(t, path)) <= 3, path);
});

t.test("many senders at once on few connections see what is theirs", async (t) => {
  const names = new Map([
    [who.epicor, "Epicor"],
    [who.other, "Other"],
    [who.companyAdmin, "Epicor"],
  ]);
  const answers = await Promise.all(
    Array.from({ length: 60 }, async (_, n) => {
      const token = [...names.keys()][n % 3]!;
      const { data } = (await server.get("/companies", token)).json;
      return data.length === 1 && data[0].name === names.get(token);
    }),
  );
  t.ok(answers.every((own) => own));
});

t.test("an answer has the headers that somebody can use", async (t) => {
  const request = `GET /grains/${grain} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${who.epicor}\r\n\r\n`;
  const answer = await sendRaw(server, request, 500);
  const head = answer.slice(0, answer.indexOf("\r\n\r\n") + 4);
  t.match(head, /^HTTP\/1.1 200 /);
  t.ok(head.length < 300, `${head.length} bytes`);
  t.match(head, /\r\nx-content-type-options: nosniff\r\n/i);
  t.match(head, /\r\ncache-control: no-store\r\n/i);
  t.notMatch(head, /security-policy|cross-origin|frame-options/i);
});
