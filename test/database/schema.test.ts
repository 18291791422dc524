/** db/schema.sql is what the migrations come to. After a new migration: SANDPIPER_WRITE_SCHEMA=1 npm test -- test/database/schema.test.ts */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { projectRoot } from "../harness/project-root.ts";
import { dumpSchema } from "../harness/schema.ts";
import { createTestDatabase } from "../harness/test-database.ts";

const file = join(projectRoot, "db/schema.sql");
const heading =
  "-- The schema that all migrations together make. Written by test/database/schema.test.ts, and compared by it: not to be edited.\n\n";

t.test("db/schema.sql is what the migrations come to", async (t) => {
  const { url } = await createTestDatabase("schema");
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "test.yaml" });
  const owner = await openDatabase(config, { as: "owner" });
  t.teardown(() => owner.close());
  const schema = heading + (await dumpSchema(owner));
  if (process.env.SANDPIPER_WRITE_SCHEMA === "1") writeFileSync(file, schema);
  t.equal(readFileSync(file, "utf8"), schema);
});
