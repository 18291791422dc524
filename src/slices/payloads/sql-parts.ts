/** Parts of statements about other things that have to do with payloads too: behind the port, each would be a statement more. */

/** The payload that comes with the row `g` of a grain; NULL when it is kept elsewhere, and must be asked for. */
export const payloadInRow = "g.payload";

/**
 * A query for the bytes under the content key `content`, an expression, each row of a grain `b` counting `ofRow` besides: chunks by
 * themselves, since not all of a grain need be there. Many contents are measured by one statement (space-store.ts).
 */
export const bytesUnder = (
  content: string,
  ofRow: number | string,
): string => `SELECT (SELECT coalesce(sum(coalesce(octet_length(b.payload), 0) + ${ofRow}), 0) FROM grains b WHERE b.content_key = ${content})
  + (SELECT coalesce(sum(octet_length(c.data)), 0) FROM grain_chunks c WHERE c.content_key = ${content}) AS bytes`;

/** The bytes of the files that grains are in. */
export const fileBytes = "pg_total_relation_size('grain_rows') + pg_total_relation_size('grain_chunks')";
