/** The file that a level-1 grain stands for. */
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { Session } from "../database/database.ts";
import { SandpiperError } from "../errors.ts";
import type { GrainRow } from "./grain-store.ts";
import { payloads } from "./payloads/payloads.ts";
import { isGzip, mostInflated } from "./rules/encoding.ts";

/** The bytes of the file that a level-1 grain stands for: its stored payload with gzip undone. @throws `verification` when it is not gzip, `limit` when it unfolds too far ({@link mostInflated}). */
export async function* openContent(session: Session, grain: GrainRow): AsyncGenerator<Buffer> {
  const stored = payloads.get(session, grain);
  if (!isGzip(grain.encoding)) {
    yield* stored;
    return;
  }
  const inflated = pipeline(Readable.from(stored, { objectMode: false }), createGunzip(), () => {});
  try {
    let bytes = 0;
    for await (const piece of inflated) {
      bytes += piece.length;
      if (bytes > mostInflated(grain.bytes)) {
        throw new SandpiperError(
          "limit",
          `the file of grain ${grain.id} expands to more than 200 times its stored size`,
          {
            hint: "Only a file that is made to fill disks expands that far: ask the primary.",
          },
        );
      }
      yield piece;
    }
  } catch (cause) {
    if (cause instanceof SandpiperError || !/^Z_/.test((cause as { code?: string }).code ?? "")) throw cause;
    throw new SandpiperError(
      "verification",
      `grain ${grain.id} is not gzip, although its encoding (${grain.encoding}) says so`,
      {
        cause,
        hint: "Ask the primary to publish it again.",
      },
    );
  }
}
