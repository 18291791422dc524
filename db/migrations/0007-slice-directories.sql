-- The directory that `pull` writes a slice's file to is the slice's for good, wherever it is pulled to, and also when the slice and its
-- company are gone: no company's file may come to stand where another's was looked for.
CREATE TABLE slice_directories (
  name_key   text COLLATE "C" PRIMARY KEY,   -- what a file system may take the name for (file-name.ts)
  name       text COLLATE "C" NOT NULL,
  company_id uuid NOT NULL,                  -- no foreign keys: it outlives both
  slice_id   uuid NOT NULL,
  UNIQUE (company_id, slice_id)
);
ALTER TABLE slice_directories ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON slice_directories USING ((SELECT current_setting('sandpiper.scope', true)) = 'all');
GRANT SELECT, INSERT, UPDATE ON slice_directories TO sandpiper_app;
