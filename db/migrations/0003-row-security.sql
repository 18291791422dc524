-- A second lock under the conditions in src/scope.ts: whatever a query forgets, a session sees and changes only what its
-- scope may. The setting sandpiper.scope is 'all' (this machine's operator, an admin) or the id of a partner; without it
-- there is nothing to see.

-- COPY FROM is refused on a table with row-level security, so that grains are written into the one partition of theirs, where the program
-- may insert and nothing else. Everything else goes through `grains`.
ALTER TABLE grains RENAME TO grain_rows;
CREATE TABLE grains (LIKE grain_rows INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING STORAGE)
  PARTITION BY RANGE (content_key);
ALTER TABLE grains ADD PRIMARY KEY (content_key, id);
CREATE UNIQUE INDEX ON grains (content_key, grain_key);
ALTER TABLE grains ATTACH PARTITION grain_rows DEFAULT;
REVOKE ALL ON grain_rows FROM sandpiper_app;
GRANT INSERT ON grain_rows TO sandpiper_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON grains TO sandpiper_app;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['companies', 'api_keys', 'users', 'slices', 'slice_metadata', 'grains', 'grain_chunks', 'subscriptions',
    'holdings', 'activity', 'outbox', 'sync_runs'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY everything ON %I USING ((SELECT current_setting(''sandpiper.scope'', true)) = ''all'')', name);
  END LOOP;
END $$;

-- What a partner may see: itself, its people (whom it manages), what is offered to it, and what it told us.
CREATE POLICY own ON companies FOR SELECT USING (id::text = (SELECT current_setting('sandpiper.scope', true)));
CREATE POLICY own ON api_keys FOR SELECT USING (company_id::text = (SELECT current_setting('sandpiper.scope', true)));
CREATE POLICY own ON users USING (company_id::text = (SELECT current_setting('sandpiper.scope', true)));
CREATE POLICY own ON subscriptions FOR SELECT USING (company_id::text = (SELECT current_setting('sandpiper.scope', true)));
-- A subscription that is switched off is listed with its slice's name, and its content is not to be had.
CREATE POLICY own ON slices FOR SELECT USING (slice_key IN (SELECT u.slice_key FROM subscriptions u
  WHERE u.company_id::text = (SELECT current_setting('sandpiper.scope', true))));
CREATE VIEW permitted WITH (security_invoker) AS
  SELECT s.slice_key, s.content_key FROM slices s JOIN subscriptions u USING (slice_key) JOIN companies c ON c.id = u.company_id
  WHERE u.company_id::text = (SELECT current_setting('sandpiper.scope', true)) AND u.active AND c.active;
GRANT SELECT ON permitted TO sandpiper_app;
CREATE POLICY own ON slice_metadata FOR SELECT USING (slice_key IN (SELECT slice_key FROM permitted));
CREATE POLICY own ON grains FOR SELECT USING (content_key IN (SELECT content_key FROM permitted));
CREATE POLICY own ON grain_chunks FOR SELECT USING (content_key IN (SELECT content_key FROM permitted));
-- And what it may say: what it holds, and how its runs went.
CREATE POLICY own ON holdings USING (company_id::text = (SELECT current_setting('sandpiper.scope', true)));
CREATE POLICY own ON activity USING (company_id::text = (SELECT current_setting('sandpiper.scope', true)));
