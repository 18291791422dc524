/** The quick form of `npm run test:tenants`, and the proof that it would see a leak. */
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { Party } from "../integration/parties.ts";
import { filters, runMatrix, runWithout } from "./tenants.ts";

t.setTimeout(240_000);

t.test("nobody gets a byte of another company", async (t) => {
  const { cells, ...wrong } = await runMatrix();
  t.ok(cells > 500, `${cells} cells`);
  t.same(wrong, { foreignBytes: 0, wrongRows: 0, leaks: [], different: [], missing: [] });
});

t.test("nor when the filter of a query is forgotten", async (t) => {
  const all = filters();
  t.ok(all.length >= 15, `${all.length} filters`);
  const views = all.find(({ file }) => file.endsWith("primary-store.js"));
  const grains = all.find(({ file }) => file.endsWith("grain-store.js"));
  for (const place of [views!, grains!]) {
    const { foreignBytes, wrongRows, leaks } = await runWithout(place);
    t.same({ foreignBytes, wrongRows, leaks }, { foreignBytes: 0, wrongRows: 0, leaks: [] }, place.file);
  }
  const both = await runWithout(views!, { TENANTS_WITHOUT_LOCK: "1" });
  t.ok(both.foreignBytes > 0, "without either lock the matrix sees the leak");
});

t.test("a server whose tables are open does not start", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  const environment = { SANDPIPER_DATABASE_URL: primary.database.url };
  const owner = await openDatabase(parseConfig({ flags: [], environment, file: "t.yaml" }), { as: "owner" });
  t.teardown(() => owner.close());
  const refused = async () => {
    const { code, stderr } = await primary.run(["serve", "--server.port", "0"]);
    t.equal(code, 2);
    t.match(stderr, /row-level security does not hold: a stranger would see rows of the table/);
  };
  await owner.run("ALTER TABLE grains DISABLE ROW LEVEL SECURITY");
  await refused();
  await owner.run("ALTER TABLE grains ENABLE ROW LEVEL SECURITY; CREATE POLICY open ON companies USING (true)");
  await refused();
  await owner.run("DROP POLICY open ON companies; CREATE TABLE later (x int); GRANT SELECT ON later TO sandpiper_app");
  await refused();
  await owner.run("ALTER TABLE later ENABLE ROW LEVEL SECURITY");
  await primary.serve();
  t.equal((await fetch(`${primary.server!.url}/readyz`)).status, 200);
});
