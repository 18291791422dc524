-- The schema that all migrations together make. Written by test/database/schema.test.ts, and compared by it: not to be edited.

CREATE SEQUENCE content_keys;

CREATE TABLE activity (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  company_id uuid NOT NULL,
  run_id uuid,
  slice_id uuid,
  slice_name text COLLATE "C" NOT NULL DEFAULT ''::text,
  sub_id uuid,
  test boolean NOT NULL DEFAULT false,
  outcome text COLLATE "C" NOT NULL,
  message text COLLATE "C" NOT NULL DEFAULT ''::text,
  grains_added bigint NOT NULL DEFAULT 0,
  grains_removed bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  duration_ms bigint NOT NULL DEFAULT 0,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT activity_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT activity_company_id_run_id_slice_id_key UNIQUE (company_id, run_id, slice_id),
  CONSTRAINT activity_pkey PRIMARY KEY (id)
);
CREATE INDEX activity_bad ON public.activity USING btree (company_id, created_at DESC) WHERE ((NOT test) AND (outcome <> 'updated'::text));
CREATE INDEX activity_bad_slice ON public.activity USING btree (company_id, slice_id, created_at DESC) WHERE ((NOT test) AND (outcome <> 'updated'::text));
CREATE INDEX activity_company ON public.activity USING btree (company_id, created_at DESC, id);
CREATE INDEX activity_good ON public.activity USING btree (company_id, created_at DESC) WHERE ((NOT test) AND (outcome = 'updated'::text));
CREATE INDEX activity_recent ON public.activity USING btree (created_at DESC, id) INCLUDE (company_id);
ALTER TABLE activity ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON activity USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON activity USING ((company_id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON activity TO sandpiper_app;

CREATE TABLE api_keys (
  id uuid NOT NULL,
  company_id uuid NOT NULL,
  secret_hmac bytea NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  first_used_at timestamp with time zone,
  last_used_at timestamp with time zone,
  CONSTRAINT api_keys_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT api_keys_pkey PRIMARY KEY (id)
);
CREATE INDEX api_keys_company ON public.api_keys USING btree (company_id);
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON api_keys USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON api_keys FOR SELECT USING ((company_id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON api_keys TO sandpiper_app;

CREATE TABLE companies (
  id uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  name_key text COLLATE "C" NOT NULL,
  active boolean NOT NULL DEFAULT true,
  sync_addr text COLLATE "C",
  sync_api_key bytea,
  subs_etag text COLLATE "C",
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  sync_private boolean NOT NULL DEFAULT false,
  CONSTRAINT companies_name_key_key UNIQUE (name_key),
  CONSTRAINT companies_pkey PRIMARY KEY (id)
);
ALTER TABLE companies ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON companies USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON companies FOR SELECT USING ((id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON companies TO sandpiper_app;

CREATE TABLE grain_chunks (
  content_key bigint NOT NULL,
  grain_id uuid NOT NULL,
  seq integer NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT grain_chunks_pkey PRIMARY KEY (content_key, grain_id, seq)
);
ALTER TABLE grain_chunks ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON grain_chunks USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON grain_chunks FOR SELECT USING ((EXISTS ( SELECT 1
   FROM permitted p
  WHERE (p.content_key = grain_chunks.content_key)
 OFFSET 0)));
GRANT DELETE, INSERT, SELECT, UPDATE ON grain_chunks TO sandpiper_app;

CREATE TABLE grain_rows (
  content_key bigint NOT NULL DEFAULT (current_setting('sandpiper.content_key'::text))::bigint,
  id uuid NOT NULL,
  grain_key text COLLATE "C" NOT NULL,
  source text COLLATE "C" NOT NULL,
  encoding text COLLATE "C" NOT NULL,
  payload_bytes bigint NOT NULL,
  payload bytea,
  chunk_digests bytea,
  digest bytea GENERATED ALWAYS AS (sha256(((((((((uuid_send(id) || int4send(octet_length(grain_key))) || (replace(grain_key, '\'::text, '\\'::text))::bytea) || int4send(octet_length(source))) || (replace(source, '\'::text, '\\'::text))::bytea) || int4send(octet_length(encoding))) || (encoding)::bytea) || int8send(payload_bytes)) || COALESCE(payload, chunk_digests)))) STORED,
  CONSTRAINT grains_check CHECK ((((octet_length(grain_key) >= 1) AND (octet_length(grain_key) <= 1024)) AND (octet_length(source) <= 1024))),
  CONSTRAINT grains_check1 CHECK (((octet_length(payload) = payload_bytes) OR ((payload IS NULL) AND (payload_bytes > 1048576)))),
  CONSTRAINT grains_encoding_check CHECK ((encoding = ANY (ARRAY['raw'::text, 'b64'::text, 'z64'::text, 'a85'::text, 'z85'::text]))),
  CONSTRAINT grains_pkey PRIMARY KEY (content_key, id)
);
CREATE UNIQUE INDEX grains_key ON public.grain_rows USING btree (content_key, grain_key);
CREATE INDEX grains_undigested ON public.grain_rows USING btree (content_key) WHERE (digest IS NULL);
GRANT INSERT ON grain_rows TO sandpiper_app;

CREATE TABLE grains (
  content_key bigint NOT NULL DEFAULT (current_setting('sandpiper.content_key'::text))::bigint,
  id uuid NOT NULL,
  grain_key text COLLATE "C" NOT NULL,
  source text COLLATE "C" NOT NULL,
  encoding text COLLATE "C" NOT NULL,
  payload_bytes bigint NOT NULL,
  payload bytea,
  chunk_digests bytea,
  digest bytea GENERATED ALWAYS AS (sha256(((((((((uuid_send(id) || int4send(octet_length(grain_key))) || (replace(grain_key, '\'::text, '\\'::text))::bytea) || int4send(octet_length(source))) || (replace(source, '\'::text, '\\'::text))::bytea) || int4send(octet_length(encoding))) || (encoding)::bytea) || int8send(payload_bytes)) || COALESCE(payload, chunk_digests)))) STORED,
  CONSTRAINT grains_check CHECK ((((octet_length(grain_key) >= 1) AND (octet_length(grain_key) <= 1024)) AND (octet_length(source) <= 1024))),
  CONSTRAINT grains_check1 CHECK (((octet_length(payload) = payload_bytes) OR ((payload IS NULL) AND (payload_bytes > 1048576)))),
  CONSTRAINT grains_encoding_check CHECK ((encoding = ANY (ARRAY['raw'::text, 'b64'::text, 'z64'::text, 'a85'::text, 'z85'::text]))),
  CONSTRAINT grains_pkey1 PRIMARY KEY (content_key, id)
);
CREATE UNIQUE INDEX grains_content_key_grain_key_idx ON ONLY public.grains USING btree (content_key, grain_key);
ALTER TABLE grains ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON grains USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON grains FOR SELECT USING ((content_key IN ( SELECT permitted.content_key
   FROM permitted)));
GRANT DELETE, INSERT, SELECT, UPDATE ON grains TO sandpiper_app;

CREATE TABLE holdings (
  company_id uuid NOT NULL,
  slice_key bigint NOT NULL,
  hash text COLLATE "C" NOT NULL,
  content_count bigint NOT NULL,
  confirmed_at timestamp with time zone NOT NULL,
  CONSTRAINT holdings_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT holdings_pkey PRIMARY KEY (company_id, slice_key),
  CONSTRAINT holdings_slice_key_fkey FOREIGN KEY (slice_key) REFERENCES slices(slice_key) ON DELETE CASCADE
);
ALTER TABLE holdings ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON holdings USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON holdings USING ((company_id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON holdings TO sandpiper_app;

CREATE TABLE outbox (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  company_id uuid NOT NULL,
  run_id uuid NOT NULL,
  slice_id uuid NOT NULL,
  body jsonb NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT outbox_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT outbox_company_id_run_id_slice_id_key UNIQUE (company_id, run_id, slice_id),
  CONSTRAINT outbox_pkey PRIMARY KEY (id)
);
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON outbox USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
GRANT DELETE, INSERT, SELECT, UPDATE ON outbox TO sandpiper_app;

CREATE TABLE schema_migrations (
  version integer NOT NULL,
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);
GRANT SELECT ON schema_migrations TO sandpiper_app;

CREATE TABLE server (
  singleton boolean NOT NULL DEFAULT true,
  role text COLLATE "C" NOT NULL,
  server_id uuid NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT server_pkey PRIMARY KEY (singleton),
  CONSTRAINT server_role_check CHECK ((role = ANY (ARRAY['primary'::text, 'secondary'::text]))),
  CONSTRAINT server_singleton_check CHECK (singleton)
);
GRANT SELECT ON server TO sandpiper_app;

CREATE TABLE slice_directories (
  name_key text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  company_id uuid NOT NULL,
  slice_id uuid NOT NULL,
  CONSTRAINT slice_directories_company_id_slice_id_key UNIQUE (company_id, slice_id),
  CONSTRAINT slice_directories_pkey PRIMARY KEY (name_key)
);
ALTER TABLE slice_directories ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON slice_directories USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
GRANT INSERT, SELECT, UPDATE ON slice_directories TO sandpiper_app;

CREATE TABLE slice_metadata (
  slice_key bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  CONSTRAINT slice_metadata_pkey PRIMARY KEY (slice_key, key),
  CONSTRAINT slice_metadata_slice_key_fkey FOREIGN KEY (slice_key) REFERENCES slices(slice_key) ON DELETE CASCADE
);
ALTER TABLE slice_metadata ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON slice_metadata USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON slice_metadata FOR SELECT USING ((EXISTS ( SELECT 1
   FROM permitted p
  WHERE (p.slice_key = slice_metadata.slice_key)
 OFFSET 0)));
GRANT DELETE, INSERT, SELECT, UPDATE ON slice_metadata TO sandpiper_app;

CREATE TABLE slices (
  slice_key bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  name_key text COLLATE "C" NOT NULL,
  slice_type text COLLATE "C" NOT NULL,
  allow_sync boolean NOT NULL DEFAULT true,
  hash text COLLATE "C" NOT NULL DEFAULT ''::text,
  content_count bigint NOT NULL DEFAULT 0,
  content_bytes bigint NOT NULL DEFAULT 0,
  content_date timestamp with time zone,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  content_key bigint NOT NULL DEFAULT nextval('content_keys'::regclass),
  file_digest bytea,
  file_sha256 bytea,
  content_sum bytea NOT NULL DEFAULT decode(repeat('00'::text, 32), 'hex'::text),
  sketch bytea NOT NULL DEFAULT '\x'::bytea,
  reference_hash text COLLATE "C",
  reference_hash_of text COLLATE "C",
  CONSTRAINT slices_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id),
  CONSTRAINT slices_company_id_id_key UNIQUE (company_id, id),
  CONSTRAINT slices_content_key_key UNIQUE (content_key),
  CONSTRAINT slices_name_key_key UNIQUE (name_key),
  CONSTRAINT slices_pkey PRIMARY KEY (slice_key)
);
CREATE INDEX slices_id ON public.slices USING btree (id);
ALTER TABLE slices ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON slices USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON slices FOR SELECT USING ((EXISTS ( SELECT 1
   FROM subscriptions u
  WHERE ((u.slice_key = slices.slice_key) AND (u.company_id = ( SELECT partner() AS partner)))
 OFFSET 0)));
GRANT DELETE, INSERT, SELECT, UPDATE ON slices TO sandpiper_app;

CREATE TABLE spare_room (
  filler uuid NOT NULL
);
GRANT INSERT, TRUNCATE ON spare_room TO sandpiper_app;

CREATE TABLE staging (
  slice_key bigint NOT NULL,
  hash text COLLATE "C" NOT NULL,
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  content_key bigint NOT NULL DEFAULT nextval('content_keys'::regclass),
  CONSTRAINT staging_content_key_key UNIQUE (content_key),
  CONSTRAINT staging_pkey PRIMARY KEY (slice_key),
  CONSTRAINT staging_slice_key_fkey FOREIGN KEY (slice_key) REFERENCES slices(slice_key) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON staging TO sandpiper_app;

CREATE TABLE subscriptions (
  subscription_key bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  slice_key bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  name_key text COLLATE "C" NOT NULL,
  description text COLLATE "C" NOT NULL DEFAULT ''::text,
  active boolean NOT NULL DEFAULT true,
  offered boolean NOT NULL DEFAULT true,
  withdrawn_at timestamp with time zone,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT subscriptions_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id),
  CONSTRAINT subscriptions_company_id_id_key UNIQUE (company_id, id),
  CONSTRAINT subscriptions_company_id_slice_key_key UNIQUE (company_id, slice_key) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT subscriptions_name_key_key UNIQUE (name_key),
  CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_key),
  CONSTRAINT subscriptions_slice_key_fkey FOREIGN KEY (slice_key) REFERENCES slices(slice_key)
);
CREATE INDEX subscriptions_slice ON public.subscriptions USING btree (slice_key, company_id);
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON subscriptions USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON subscriptions FOR SELECT USING ((company_id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON subscriptions TO sandpiper_app;

CREATE TABLE sync_runs (
  id uuid NOT NULL,
  company_id uuid NOT NULL,
  started_at timestamp with time zone NOT NULL DEFAULT now(),
  finished_at timestamp with time zone,
  exit_code integer,
  summary jsonb,
  CONSTRAINT sync_runs_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT sync_runs_pkey PRIMARY KEY (id)
);
CREATE INDEX sync_runs_company ON public.sync_runs USING btree (company_id, started_at DESC);
CREATE INDEX sync_runs_good ON public.sync_runs USING btree (company_id, finished_at DESC) WHERE (exit_code = 0);
CREATE INDEX sync_runs_recent ON public.sync_runs USING btree (started_at DESC);
CREATE INDEX sync_runs_unfinished ON public.sync_runs USING btree (company_id) WHERE (finished_at IS NULL);
ALTER TABLE sync_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON sync_runs USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
GRANT DELETE, INSERT, SELECT, UPDATE ON sync_runs TO sandpiper_app;

CREATE TABLE users (
  id bigint NOT NULL,
  company_id uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  name_key text COLLATE "C" NOT NULL,
  email text COLLATE "C" NOT NULL DEFAULT ''::text,
  role integer NOT NULL,
  password_hash text COLLATE "C" NOT NULL,
  active boolean NOT NULL DEFAULT true,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  token_stamp uuid NOT NULL DEFAULT gen_random_uuid(),
  CONSTRAINT users_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE,
  CONSTRAINT users_company_name UNIQUE (company_id, name_key),
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY[100, 110, 120])))
);
CREATE INDEX users_name ON public.users USING btree (name_key);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON users USING ((( SELECT current_setting('sandpiper.scope'::text, true) AS current_setting) = 'all'::text));
CREATE POLICY own ON users USING ((company_id = ( SELECT partner() AS partner)));
GRANT DELETE, INSERT, SELECT, UPDATE ON users TO sandpiper_app;

CREATE VIEW permitted WITH (security_invoker=false) AS
 SELECT s.slice_key,
    s.content_key
   FROM slices s
     JOIN subscriptions u USING (slice_key)
     JOIN companies c ON c.id = u.company_id
  WHERE s.id = (( SELECT serving() AS serving)) AND u.company_id = (( SELECT partner() AS partner)) AND u.active AND c.active
UNION ALL
 SELECT s.slice_key,
    s.content_key
   FROM slices s
     JOIN subscriptions u USING (slice_key)
     JOIN companies c ON c.id = u.company_id
  WHERE (( SELECT serving() AS serving)) IS NULL AND u.company_id = (( SELECT partner() AS partner)) AND u.active AND c.active;
GRANT SELECT ON permitted TO sandpiper_app;

CREATE OR REPLACE FUNCTION public.partner()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ SELECT CASE WHEN length(current_setting('sandpiper.scope', true)) = 36 THEN current_setting('sandpiper.scope', true)::uuid END $function$;

CREATE OR REPLACE FUNCTION public.serving()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ SELECT nullif(current_setting('sandpiper.serving', true), '')::uuid $function$;
