-- The first schema. Text is COLLATE "C" throughout: names are compared by a folded key computed
-- by the program, everything else byte by byte, whatever the database's locale.

CREATE TABLE server (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  role       text COLLATE "C" NOT NULL CHECK (role IN ('primary', 'secondary')),
  server_id  uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Trading partners, and ourselves (id = server.server_id).
CREATE TABLE companies (
  id           uuid PRIMARY KEY,
  name         text COLLATE "C" NOT NULL,
  name_key     text COLLATE "C" NOT NULL UNIQUE,
  active       boolean NOT NULL DEFAULT true,
  sync_addr    text COLLATE "C",           -- where a primary listens (on a secondary)
  sync_api_key bytea,                      -- what we show it, encrypted (on a secondary)
  subs_etag    text COLLATE "C",           -- of the list of subscriptions that was applied last (on a secondary); NULL after a change here
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now()
);

-- Credentials that partners show us (on a primary). The secret is stored as an HMAC only.
CREATE TABLE api_keys (
  id            uuid PRIMARY KEY,
  company_id    uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  secret_hmac   bytea NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  first_used_at timestamptz,
  last_used_at  timestamptz
);
CREATE INDEX api_keys_company ON api_keys (company_id);

CREATE TABLE users (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id    uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  name          text COLLATE "C" NOT NULL,
  name_key      text COLLATE "C" NOT NULL UNIQUE,
  email         text COLLATE "C" NOT NULL DEFAULT '',
  role          integer NOT NULL CHECK (role IN (100, 110, 120)),
  password_hash text COLLATE "C" NOT NULL,
  active        boolean NOT NULL DEFAULT true,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);

-- company_id is the owner of the data: ourselves on a primary, the primary on a secondary. A peer
-- chooses its ids, so they are unique within its own company only; slice_key is ours.
CREATE TABLE slices (
  slice_key     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id    uuid NOT NULL REFERENCES companies,
  id            uuid NOT NULL,
  name          text COLLATE "C" NOT NULL,
  name_key      text COLLATE "C" NOT NULL UNIQUE,
  slice_type    text COLLATE "C" NOT NULL,
  allow_sync    boolean NOT NULL DEFAULT true,
  hash          text COLLATE "C" NOT NULL DEFAULT '',   -- XXH64, 16 hex digits (PROTOCOL.md, "Hash of a slice"); '' before the first refresh
  content_hash  text COLLATE "C" NOT NULL DEFAULT '',   -- SHA-1 of the Go reference, for REST
  content_count bigint NOT NULL DEFAULT 0,
  content_bytes bigint NOT NULL DEFAULT 0,
  content_date  timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, id)
);

CREATE TABLE slice_metadata (
  slice_key bigint NOT NULL REFERENCES slices ON DELETE CASCADE,
  key       text COLLATE "C" NOT NULL,
  value     text COLLATE "C" NOT NULL,
  PRIMARY KEY (slice_key, key)
);

-- No foreign key to slices: its check per row would double the cost of a first copy. Every writer
-- holds the slice's row lock instead, and removing a slice removes its grains (slice-store.ts).
CREATE TABLE grains (
  slice_key     bigint NOT NULL,
  id            uuid NOT NULL,
  grain_key     text COLLATE "C" NOT NULL,
  source        text COLLATE "C" NOT NULL,
  encoding      text COLLATE "C" NOT NULL CHECK (encoding IN ('raw', 'b64', 'z64', 'a85', 'z85')),
  payload_bytes bigint NOT NULL,
  payload       bytea,                     -- NULL when over 1 MiB: then it is in grain_chunks
  digest        bytea NOT NULL,            -- SHA-256 (PROTOCOL.md, "Digest of a grain")
  CHECK (octet_length(grain_key) BETWEEN 1 AND 1024 AND octet_length(source) <= 1024),
  CHECK (octet_length(payload) = payload_bytes OR (payload IS NULL AND payload_bytes > 1048576)),
  PRIMARY KEY (slice_key, id)
);
CREATE UNIQUE INDEX grains_key ON grains (slice_key, grain_key);

CREATE TABLE grain_chunks (
  slice_key bigint NOT NULL,
  grain_id  uuid NOT NULL,
  seq       integer NOT NULL,
  data      bytea NOT NULL,
  PRIMARY KEY (slice_key, grain_id, seq)
);

-- Grains that have arrived but are not applied. Logged, so that what has arrived survives a crash;
-- without row-level security, so that COPY FROM is allowed. `staging` says what they belong to.
CREATE TABLE staging (
  slice_key  bigint PRIMARY KEY REFERENCES slices ON DELETE CASCADE,
  hash       text COLLATE "C" NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE staged_grains (
  slice_key     bigint NOT NULL,
  id            uuid NOT NULL,
  grain_key     text COLLATE "C" NOT NULL,
  source        text COLLATE "C" NOT NULL,
  encoding      text COLLATE "C" NOT NULL,
  payload_bytes bigint NOT NULL,
  payload       bytea
);
CREATE TABLE staged_chunks (
  slice_key bigint NOT NULL,
  grain_id  uuid NOT NULL,
  seq       integer NOT NULL,
  data      bytea NOT NULL,
  PRIMARY KEY (slice_key, grain_id, seq)
);
-- Rows arrive slice after slice and are read the same way: a block range index costs next to nothing to keep.
CREATE INDEX staged_grains_slice ON staged_grains USING brin (slice_key) WITH (pages_per_range = 16);
-- Payloads are compressed already or too small to gain: keep them as they are, out of line when large.
ALTER TABLE grains ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE grain_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE staged_grains ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE staged_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- company_id is relative to the server that holds the row: the partner on a primary, the primary on a
-- secondary. The id is the primary's.
CREATE TABLE subscriptions (
  subscription_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id       uuid NOT NULL REFERENCES companies,
  id               uuid NOT NULL,
  slice_key        bigint NOT NULL REFERENCES slices,
  name             text COLLATE "C" NOT NULL,
  name_key         text COLLATE "C" NOT NULL UNIQUE,
  description      text COLLATE "C" NOT NULL DEFAULT '',
  active           boolean NOT NULL DEFAULT true,
  offered          boolean NOT NULL DEFAULT true,       -- on a secondary: the primary's own flag when last seen
  withdrawn_at     timestamptz,                         -- on a secondary: the primary no longer lists it
  created_at       timestamptz NOT NULL DEFAULT now(),
  updated_at       timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, id),
  UNIQUE (company_id, slice_key) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX subscriptions_slice ON subscriptions (slice_key);

-- On a primary: what each partner reports to hold.
CREATE TABLE holdings (
  company_id    uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  slice_key     bigint NOT NULL REFERENCES slices ON DELETE CASCADE,
  hash          text COLLATE "C" NOT NULL,
  content_count bigint NOT NULL,
  confirmed_at  timestamptz NOT NULL,
  PRIMARY KEY (company_id, slice_key)
);

CREATE TABLE activity (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id     uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  run_id         uuid,
  slice_id       uuid,
  slice_name     text COLLATE "C" NOT NULL DEFAULT '',
  sub_id         uuid,
  test           boolean NOT NULL DEFAULT false,
  outcome        text COLLATE "C" NOT NULL,
  message        text COLLATE "C" NOT NULL DEFAULT '',
  grains_added   bigint NOT NULL DEFAULT 0,
  grains_removed bigint NOT NULL DEFAULT 0,
  bytes          bigint NOT NULL DEFAULT 0,
  duration_ms    bigint NOT NULL DEFAULT 0,
  created_at     timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, run_id, slice_id)
);
CREATE INDEX activity_recent ON activity (created_at DESC);

-- On a secondary: confirmations that the primary has not acknowledged yet, written with the slice.
CREATE TABLE outbox (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  run_id     uuid NOT NULL,
  slice_id   uuid NOT NULL,
  body       jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, run_id, slice_id)
);

-- On a secondary: real runs, whether from the command or from POST /sync.
CREATE TABLE sync_runs (
  id          uuid PRIMARY KEY,
  company_id  uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
  started_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  exit_code   integer,
  summary     jsonb
);
CREATE INDEX sync_runs_recent ON sync_runs (started_at DESC);

-- The program works as this role, which owns nothing. migrate.ts creates it and grants it to the login.
GRANT SELECT ON server, schema_migrations TO sandpiper_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON companies, api_keys, users, slices, slice_metadata, grains, grain_chunks,
  staging, staged_grains, staged_chunks, subscriptions, holdings, activity, outbox, sync_runs TO sandpiper_app;
-- What does not fit the disk must give its space back at once.
GRANT TRUNCATE ON staged_grains, staged_chunks TO sandpiper_app;
