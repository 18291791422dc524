-- Whether `add` would publish what a slice holds already is told by the SHA-256 of the file's bytes, without unfolding the grain. It is known
-- for the grain with that digest, and for no other that may have come since. In rows from before it is NULL, and found out once.
ALTER TABLE slices ADD COLUMN file_digest bytea, ADD COLUMN file_sha256 bytea;
