/**
 * Every advisory lock that is taken in our database, as an SQL expression of its number. (The embedded PostgreSQL counts its users by one
 * more, in the database `postgres`.)
 */

/** Migrations run one after another. */
export const migrateLock = "hashtextextended('sandpiper:migrate', 0)";

/** Whoever chooses directories for `pull` chooses alone. */
export const directoriesLock = "hashtextextended('sandpiper:directories', 0)";

/** Primaries are synced side by side, and their names must not clash: one list of subscriptions is applied at a time. */
export const namesLock = "hashtextextended('sandpiper:names', 0)";

/** One sync with a primary at a time; $1 is its id. */
export const pairLock = "hashtextextended('sandpiper:sync:' || $1::text, 0)";

/** One pull into a directory at a time; $1 is its inode. */
export const pullLock = "hashtextextended('sandpiper:pull:' || $1::text, 0)";

/** Held while grains are staged under a content key, which is the SQL expression `content`. */
export const stageLock = (content: string): string =>
  `hashtextextended('sandpiper:stage:' || ${content}::bigint::text, 0)`;
