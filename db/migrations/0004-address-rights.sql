-- Whether the address of a primary may lead to a loopback or private network: yes for what an operator gave on the
-- command line, as all addresses so far; for one that came over REST, where the configuration allowed it.
ALTER TABLE companies ADD COLUMN sync_private boolean NOT NULL DEFAULT true;
ALTER TABLE companies ALTER COLUMN sync_private SET DEFAULT false;
