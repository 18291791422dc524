/** What no command and no route looks after any more: rules that hold whoever calls. */
import t, { type Test } from "tap";
import type { App } from "../../src/app.ts";
import { roles, type ServerRole } from "../../src/companies/company.ts";
import { addCompany, findCompany } from "../../src/companies/company-store.ts";
import { parseConfig } from "../../src/config/config.ts";
import { createLogger } from "../../src/log.ts";
import { editCompany } from "../../src/operations/edit-company.ts";
import { publish } from "../../src/operations/publish.ts";
import { registerPartner, rekeyPartner } from "../../src/operations/register-partner.ts";
import { registerPrimary } from "../../src/operations/register-primary.ts";
import { editMetadata, setMetadata } from "../../src/operations/slice-metadata.ts";
import { createSlice, deleteSlice, editSlice, lockSlice, recountSlice } from "../../src/operations/slices.ts";
import { subscribe, unsubscribe } from "../../src/operations/subscriptions.ts";
import { createUser } from "../../src/operations/users.ts";
import { insertCopies, requireSlice } from "../../src/slices/slice-store.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import { openTestDatabase } from "../harness/open-database.ts";

t.setTimeout(120_000);

async function appOf(test: Test, role: ServerRole): Promise<App> {
  const { db, server, url } = await openTestDatabase(test, role);
  const environment = {
    SANDPIPER_DATABASE_URL: url,
    SANDPIPER_SECRETS_API_KEY_HMAC: Buffer.alloc(32, 1).toString("base64url"),
    SANDPIPER_SECRETS_PARTNER_KEY: Buffer.alloc(32, 2).toString("base64url"),
  };
  const config = parseConfig({ flags: [], environment, file: "test.yaml" });
  return { config, db, server, log: createLogger("error") };
}

const adminOf = (app: App) => ({ companyId: app.server.serverId, role: roles.admin });
const unasked = async (): Promise<string> => {
  throw new Error("nobody was to be asked");
};

t.test("on a secondary", async (t) => {
  const app = await appOf(t, "secondary");
  const admin = adminOf(app);
  const { id: companyId } = await addCompany(app.db, { name: "ABC Brakes" });
  const sliceId = "2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77";
  await insertCopies(app.db, companyId, [{ id: sliceId, name: "pads", type: "aces-file" }]);
  const { key: sliceKey } = await requireSlice(app.db, "pads");
  await addSubscription(app.db, { companyId, sliceKey, name: "our pads" });

  const work: Record<string, () => Promise<unknown>> = {
    "add a slice": () => createSlice(app, { name: "x", type: "aces-file" }),
    "rename a slice": () => editSlice(app, "operator", "pads", { name: "x" }),
    "lock a slice": () => lockSlice(app, "operator", "pads", true),
    "recount a slice": () => recountSlice(app, "operator", "pads"),
    "edit metadata": () => editMetadata(app, "operator", "pads", new Map([["a", "b"]])),
    "replace metadata": () => setMetadata(app, "operator", "pads", []),
    publish: () => publish(app, "operator", { slice: "pads", file: import.meta.filename }),
    subscribe: () => subscribe(app, "operator", { slice: "pads", company: "ABC Brakes", name: "x" }),
    "register a partner": () => registerPartner(app, { name: "x" }),
    "issue a key": () => rekeyPartner(app, "operator", "ABC Brakes"),
    "remove a slice, over the network": () => deleteSlice(app, admin, "pads"),
    "remove a subscription, over the network": () => unsubscribe(app, admin, "our pads"),
  };
  for (const [what, attempt] of Object.entries(work))
    await t.rejects(
      attempt(),
      { code: "usage", message: /is only possible on a primary; this is the secondary of Epicor$/ },
      what,
    );

  t.match(await unsubscribe(app, "operator", "our pads"), { name: "our pads" }, "the operator may remove copies");
  t.match(await deleteSlice(app, "operator", "pads"), { slice: { name: "pads" }, companies: [] });
});

t.test("on a primary", async (t) => {
  const app = await appOf(t, "primary");
  const admin = adminOf(app);
  await createSlice(app, { name: "pads", type: "aces-file" });
  const target = { name: "x", address: "https://x.example", apiKey: unasked };
  await t.rejects(registerPrimary(app, "operator", target), {
    code: "usage",
    message: /is only possible on a secondary/,
  });

  const notShown = registerPartner(app, { name: "Epicor" }, async () => {
    throw new Error("nobody has seen it");
  });
  await t.rejects(notShown, { message: "nobody has seen it" });
  t.equal(await findCompany(app.db, "Epicor"), undefined, "a key that nobody has seen, and whose it was, are not kept");

  const own = app.server.companyName;
  for (const actor of ["operator", admin] as const) {
    const attempts: (() => Promise<unknown>)[] = [
      () => subscribe(app, actor, { slice: "pads", company: own, name: "x" }),
      () => rekeyPartner(app, actor, own),
      () => editCompany(app, actor, own, { active: false }),
    ];
    for (const attempt of attempts)
      await t.rejects(attempt(), { code: "usage", message: /is this server's own company/ });
  }

  const { company } = await registerPartner(app, { name: "Epicor" });
  const theirs = { companyId: company.id, role: roles["company-admin"] };
  const user = { name: "bob", role: roles["company-admin"], password: unasked };
  for (const [actor, input, code] of [
    [theirs, { ...user, company: own }, "forbidden"],
    [theirs, { ...user, role: roles.admin }, "forbidden"],
    [admin, { ...user, role: roles["super-admin"] }, "forbidden"],
    ["operator", { ...user, company: "Epicor", role: roles.admin }, "usage"],
    ["operator", { ...user, email: "nobody" }, "usage"],
    ["operator", { ...user, company: "nobody" }, "not_found"],
  ] as const)
    await t.rejects(createUser(app, actor, input), { code }, "before a password is asked for");
  const password = async () => "correct horse battery";
  t.match(await createUser(app, theirs, { ...user, password }), { company: { name: "Epicor" }, user: { name: "bob" } });
});
