-- VACUUM, which gives a full disk room again, needs some pages of its own first (its maps of a table are files that grow). They are kept here,
-- and given up when nothing else is left (vacuum-store.ts). Short rows, and no long values, so that emptying it needs no page.
CREATE TABLE spare_room (filler uuid NOT NULL);
INSERT INTO spare_room SELECT gen_random_uuid() FROM generate_series(1, 12000);
REVOKE ALL ON spare_room FROM sandpiper_app;
GRANT INSERT, TRUNCATE ON spare_room TO sandpiper_app;
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    GRANT MAINTAIN ON spare_room TO sandpiper_app;
  END IF;
END $$;
