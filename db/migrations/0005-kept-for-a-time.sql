-- The logs are kept for a time (retention.days), and looked up by index however long they are.

DROP INDEX activity_recent;
CREATE INDEX activity_recent ON activity (created_at DESC, id) INCLUDE (company_id);
CREATE INDEX activity_company ON activity (company_id, created_at DESC, id);
CREATE INDEX activity_good ON activity (company_id, created_at DESC) WHERE NOT test AND outcome = 'updated';
CREATE INDEX activity_bad ON activity (company_id, created_at DESC) WHERE NOT test AND outcome <> 'updated';
CREATE INDEX activity_bad_slice ON activity (company_id, slice_id, created_at DESC) WHERE NOT test AND outcome <> 'updated';
-- Compared as an id: as a text it was written out anew for each row.
ALTER POLICY own ON activity USING (company_id = (SELECT nullif(nullif(current_setting('sandpiper.scope', true), 'all'), '')::uuid));

CREATE INDEX sync_runs_company ON sync_runs (company_id, started_at DESC);
CREATE INDEX sync_runs_good ON sync_runs (company_id, finished_at DESC) WHERE exit_code = 0;
CREATE INDEX sync_runs_unfinished ON sync_runs (company_id) WHERE finished_at IS NULL;
