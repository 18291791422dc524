-- What a partner may see is looked up by index, for the rows that a statement is about: before, every statement went through all
-- subscriptions of everybody, so that a sync of many slices grew with their square.

-- A partner names a slice by its id alone.
CREATE INDEX slices_id ON slices (id);
-- A slice has as many subscriptions as partners, and the question is about one of them.
DROP INDEX subscriptions_slice;
CREATE INDEX subscriptions_slice ON subscriptions (slice_key, company_id);

-- The company that the session is for; NULL for everybody else's.
CREATE FUNCTION partner() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT CASE WHEN length(current_setting('sandpiper.scope', true)) = 36 THEN current_setting('sandpiper.scope', true)::uuid END $$;
-- The slice that is being served, if the transaction has said so: what is permitted is then worked out for that one alone.
CREATE FUNCTION serving() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT nullif(current_setting('sandpiper.serving', true), '')::uuid $$;

ALTER POLICY own ON companies USING (id = (SELECT partner()));
ALTER POLICY own ON api_keys USING (company_id = (SELECT partner()));
ALTER POLICY own ON users USING (company_id = (SELECT partner()));
ALTER POLICY own ON subscriptions USING (company_id = (SELECT partner()));
ALTER POLICY own ON holdings USING (company_id = (SELECT partner()));
ALTER POLICY own ON activity USING (company_id = (SELECT partner()));

-- OFFSET 0 keeps the question one about a single row: without it, the planner may answer it for all rows beforehand.
ALTER POLICY own ON slices USING (EXISTS (SELECT 1 FROM subscriptions u
  WHERE u.slice_key = slices.slice_key AND u.company_id = (SELECT partner()) OFFSET 0));

-- As its owner, for whom there are no policies within policies. It shows a partner nothing but its own.
CREATE OR REPLACE VIEW permitted WITH (security_invoker = false) AS
  SELECT s.slice_key, s.content_key FROM slices s JOIN subscriptions u USING (slice_key) JOIN companies c ON c.id = u.company_id
  WHERE s.id = (SELECT serving()) AND u.company_id = (SELECT partner()) AND u.active AND c.active
UNION ALL
  SELECT s.slice_key, s.content_key FROM slices s JOIN subscriptions u USING (slice_key) JOIN companies c ON c.id = u.company_id
  WHERE (SELECT serving()) IS NULL AND u.company_id = (SELECT partner()) AND u.active AND c.active;

-- Of a slice there are few pairs of metadata, and few chunks in one read: each is asked about. Grains are many.
ALTER POLICY own ON slice_metadata USING (EXISTS (SELECT 1 FROM permitted p WHERE p.slice_key = slice_metadata.slice_key OFFSET 0));
ALTER POLICY own ON grain_chunks USING (EXISTS (SELECT 1 FROM permitted p WHERE p.content_key = grain_chunks.content_key OFFSET 0));

-- No statistics are made of whose a row is. They are out of date whenever it matters (a slice of a million grains arrives among slices of
-- one), and then the planner takes any index that begins with that column for as good as the right one. Without them it takes the one
-- that has most of what is asked for. What there is of them is taken away, where the server can do so.
DO $$
DECLARE
  place record;
BEGIN
  FOR place IN SELECT * FROM (VALUES ('grains', 'content_key'), ('grain_rows', 'content_key'), ('grain_chunks', 'content_key'),
    ('subscriptions', 'company_id'), ('subscriptions', 'slice_key')) AS p (tab, col) LOOP
    IF current_setting('server_version_num')::int >= 180000 THEN
      EXECUTE format('SELECT pg_clear_attribute_stats(%L, %L, %L, inherited) FROM (VALUES (true), (false)) v (inherited)',
        current_schema(), place.tab, place.col);
    ELSIF EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema() AND tablename = place.tab AND attname = place.col) THEN
      EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET (n_distinct = 200)', place.tab, place.col);
      CONTINUE;
    END IF;
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STATISTICS 0', place.tab, place.col);
  END LOOP;
END $$;
