-- Grains belong to a content, and a slice shows one content. A copy that arrives is put together under a
-- content of its own, next to the one that is shown; a first copy then takes its place by one number, and
-- no grain is written twice. Digests are computed by the database wherever a grain is written, COPY included.

CREATE SEQUENCE content_keys;

ALTER TABLE slices ADD COLUMN content_key bigint;
UPDATE slices SET content_key = slice_key;
SELECT setval('content_keys', coalesce(max(slice_key), 0) + 1, false) FROM slices;
ALTER TABLE slices ALTER COLUMN content_key SET DEFAULT nextval('content_keys'), ALTER COLUMN content_key SET NOT NULL,
  ADD UNIQUE (content_key);

-- What was staged before is fetched again.
DROP TABLE staged_grains, staged_chunks;
DELETE FROM staging;
ALTER TABLE staging ADD COLUMN content_key bigint NOT NULL UNIQUE DEFAULT nextval('content_keys');

-- SHA-256 (PROTOCOL.md, "Digest of a grain"). A cast of text to bytea is immutable, as a generated column must be,
-- and gives the bytes of the text once its backslashes are doubled. `chunk_digests` are the SHA-256 of
-- the chunks of a payload over 1 MiB, in order; until they are there, the digest is NULL.
ALTER TABLE grains DROP COLUMN digest;
ALTER TABLE grains RENAME COLUMN slice_key TO content_key;
ALTER TABLE grain_chunks RENAME COLUMN slice_key TO content_key;
ALTER TABLE grains ADD COLUMN chunk_digests bytea;
UPDATE grains g SET chunk_digests = (SELECT string_agg(sha256(c.data), ''::bytea ORDER BY c.seq) FROM grain_chunks c
  WHERE c.content_key = g.content_key AND c.grain_id = g.id) WHERE payload IS NULL;
ALTER TABLE grains ADD COLUMN digest bytea GENERATED ALWAYS AS (sha256(
  int4send(octet_length(grain_key)) || replace(grain_key, '\', '\\')::bytea ||
  int4send(octet_length(source)) || replace(source, '\', '\\')::bytea ||
  int4send(octet_length(encoding)) || encoding::bytea ||
  int8send(payload_bytes) || coalesce(payload, chunk_digests))) STORED;
CREATE INDEX grains_undigested ON grains (content_key) WHERE digest IS NULL;

-- Records are staged as they came: the content that they belong to is a setting of the transaction, and nothing in them.
ALTER TABLE grains ALTER COLUMN content_key SET DEFAULT current_setting('sandpiper.content_key')::bigint;

GRANT USAGE ON SEQUENCE content_keys TO sandpiper_app;
