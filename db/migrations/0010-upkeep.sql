-- From PostgreSQL 17 on the program may clean up behind itself (VACUUM, ANALYZE) without owning a table, also one that is made later.
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO sandpiper_app;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO sandpiper_app;
  END IF;
END $$;
