-- A user's name is unique within its company: whoever adds one must not learn who there is at other companies. Nor from
-- the ids, which the program draws at random from now on.
ALTER TABLE users DROP CONSTRAINT users_name_key_key, ADD CONSTRAINT users_company_name UNIQUE (company_id, name_key),
  ALTER COLUMN id DROP IDENTITY;
CREATE INDEX users_name ON users (name_key);

-- A token holds the stamp that its user had at the login. A new password, or switching the user off, changes it, and so ends
-- all tokens from before, also those of the same second.
ALTER TABLE users ADD COLUMN token_stamp uuid NOT NULL DEFAULT gen_random_uuid();
