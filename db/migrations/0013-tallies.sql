-- The digest of a grain says which grain it is, besides what is in it; what describes a slice is carried forward with each of its grains
-- (slices/rules/tally.ts): the sum of their digests, and the sketch of their ids. The program counts all slices once, in the transaction of
-- this migration.
ALTER TABLE grains DROP COLUMN digest;
ALTER TABLE grains ADD COLUMN digest bytea GENERATED ALWAYS AS (sha256(uuid_send(id) ||
  int4send(octet_length(grain_key)) || replace(grain_key, '\', '\\')::bytea ||
  int4send(octet_length(source)) || replace(source, '\', '\\')::bytea ||
  int4send(octet_length(encoding)) || encoding::bytea ||
  int8send(payload_bytes) || coalesce(payload, chunk_digests))) STORED;
CREATE INDEX grains_undigested ON grain_rows (content_key) WHERE digest IS NULL;

ALTER TABLE slices
  ADD COLUMN content_sum bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
  ADD COLUMN sketch bytea NOT NULL DEFAULT '',
  -- The Go reference's hash, which is computed when somebody asks for it, and the hash of the content that it was computed for.
  ADD COLUMN reference_hash text COLLATE "C",
  ADD COLUMN reference_hash_of text COLLATE "C",
  DROP COLUMN content_hash;
-- It does not become shorter, and is written often.
ALTER TABLE slices ALTER COLUMN sketch SET STORAGE EXTERNAL;
-- They belong to digests of before.
UPDATE slices SET file_digest = NULL, file_sha256 = NULL;
-- What was staged has another hash.
DELETE FROM grain_chunks WHERE content_key IN (SELECT content_key FROM staging);
DELETE FROM grains WHERE content_key IN (SELECT content_key FROM staging);
DELETE FROM staging;
