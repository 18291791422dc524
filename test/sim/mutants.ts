/** Faults of one line that are planted in the program, to see that the simulation finds them; and the guards that stand beside them. */
import type { Edits } from "./small-limits.ts";

export interface Mutant {
  name: string;
  edits: Edits;
  /** Guards beside it, which might hide it: it is planted a second time with these switched off. */
  neighbours: Guard;
}

const apply = "src/sync/secondary/apply.js";
const stage = "src/sync/secondary/stage.js";
const edit = (file: string, from: string, to: string): Edits => ({ [file]: [[from, to]] });

const noProof = edit(
  apply,
  "if (stored.hash !== change.content.hash || stored.count !== change.content.count)",
  "if (false)",
);

/** Guards that can be switched off. */
export const guards = {
  "the proof before the commit": {
    ...noProof,
    // What a hostile primary lies is not looked at then, or every fault beside it would count as caught.
    "test/sim/world.js": [
      ["this.owners.push(owner);", "this.owners.push(owner);\nif (hostile) this.oracle[owner.id] = true;"],
    ],
    "test/sim/oracle.js": [
      ["if (state < 0)", "if (state < 0 && this[slice.company]) return;\nif (state < 0)"],
      [
        "const content = contentOf(local, slice);",
        "if (this[owner.id]) return true;\nconst content = contentOf(local, slice);",
      ],
    ],
  },
  "row-level security": { "test/sim/world.js": [["plan.dbMs, true);", "plan.dbMs, false);"]] },
  "the order of grains": {
    "src/sync/protocol/receive-grains.js": [
      ["if (lastId !== null && body.compare(lastId", "if (false && body.compare(lastId"],
    ],
  },
  "the sequence of frames": { "src/sync/protocol/frames.js": [["if (frame.sequence !== expected)", "if (false)"]] },
  "the look at the slice before it is changed": {
    "src/sync/secondary/apply.js": [
      ["if (now?.hash !== slice.hash || now.count !== slice.count)", "if (now === undefined)"],
    ],
  },
} as const satisfies Record<string, Record<string, readonly (readonly [string, string])[]>>;

export type Guard = keyof typeof guards;

export const mutants: readonly Mutant[] = [
  {
    name: "a slice is applied without a transaction",
    edits: edit(apply, "await session.transaction(async (tx) => {", "await ((work) => work(session))(async (tx) => {"),
    neighbours: "the proof before the commit",
  },
  {
    name: "rights are looked at once a session",
    edits: edit(
      "src/sync/primary/primary-adapter.js",
      "return viewSlices(this.#db, this.#scope, ids);",
      "return (this.seen ??= viewSlices(this.#db, this.#scope, ids));",
    ),
    neighbours: "row-level security",
  },
  {
    name: "rights are not looked at before a frame",
    edits: edit(
      "src/sync/protocol/primary-port.js",
      "const refusal = judge(view, hash);\n    if (refusal !== undefined)\n        return refusal;\n    yield* ask.sendFrame",
      "yield* ask.sendFrame",
    ),
    neighbours: "row-level security",
  },
  {
    name: "the filter of a query is forgotten",
    edits: edit("src/sync/primary/primary-store.js", `\${slicesInScope(scope, "$1")}`, "($1::uuid IS NULL OR TRUE)"),
    neighbours: "row-level security",
  },
  {
    name: "nothing is proved before the commit",
    edits: noProof,
    neighbours: "the order of grains",
  },
  {
    name: "slices of any primary are taken for this one's",
    edits: edit(
      "src/sync/run/update-subscriptions.js",
      "FROM slices WHERE company_id = $1', [company.id]",
      "FROM slices WHERE $1 IS NOT NULL', [company.id]",
    ),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the count of a slice is not stored",
    edits: edit("src/slices/refresh.js", "content.contentHash,\n    content.count,", "content.contentHash,\n    0,"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a commit whose answer is lost is taken for a failure",
    edits: edit(
      "src/sync/secondary/secondary-adapter.js",
      'if (error.code !== "storage" || !(await this.#committedAfterAll(confirm)))',
      "if (true)",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "a commit whose answer is lost is taken for a success",
    edits: edit(
      "src/sync/secondary/secondary-adapter.js",
      'if (error.code !== "storage" || !(await this.#committedAfterAll(confirm)))',
      'if (error.code !== "storage")',
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "the lock of the pair is kept",
    edits: edit("src/database/session-lock.js", "SELECT pg_advisory_unlock(", "SELECT pg_advisory_unlock_all("),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the lock of a stage is kept",
    edits: edit(
      stage,
      "await this.#session.run(`SELECT pg_advisory_unlock_shared(",
      "void (`SELECT pg_advisory_unlock_shared(",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "frames are taken in any sequence",
    edits: guards["the sequence of frames"] as unknown as Edits,
    neighbours: "the order of grains",
  },
  {
    name: "grains are taken that were not asked for",
    edits: edit("src/sync/protocol/receive-grains.js", "if (wanted !== null &&", "if (false &&"),
    neighbours: "the proof before the commit",
  },
  {
    name: "grains are taken in any order",
    edits: guards["the order of grains"] as unknown as Edits,
    neighbours: "the proof before the commit",
  },
  {
    name: "more grains are taken than were declared",
    edits: edit("src/sync/protocol/receive-grains.js", "if (progress.grains === progress.due)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "more bytes are taken than were declared",
    edits: edit("src/sync/protocol/receive-grains.js", "if (progress.bytes > content.bytes)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "the answer may be for another slice",
    edits: edit("src/sync/protocol/find-difference.js", "if (content.id !== slice.id)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what is acknowledged need not have been sent",
    edits: edit("src/sync/protocol/secondary-port.js", "if (facts.unconfirmed === 0)", "if (false)"),
    neighbours: "the sequence of frames",
  },
  {
    name: "what was staged for another state is gone on with",
    edits: edit(stage, "old.hash !== hash", "false"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "what is staged for a slice that is gone is kept",
    edits: edit(stage, "if (there === undefined)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what the primary dropped stays",
    edits: edit(apply, "await remove(tx, now.shown, slice.count, change.removed);", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "metadata stays as it was",
    edits: edit(apply, "if (!same)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "nothing is written down to be confirmed",
    edits: edit(
      "src/sync/secondary/outbox-store.js",
      "(company_id, run_id, slice_id, body) VALUES ($6, $7, $8, $9))",
      "(company_id, run_id, slice_id, body) SELECT NULL, NULL, NULL, NULL WHERE $9 IS NULL)",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "a token is good for ever",
    edits: edit("src/sync/primary/primary-adapter.js", "this.#expired = expired;", "this.#expired = () => false;"),
    neighbours: "row-level security",
  },
  {
    name: "the cache does not ask which state of a slice it holds",
    edits: edit("src/sync/primary/slice-cache.js", "entry.hash !== hash", "false"),
    neighbours: "the proof before the commit",
  },
  {
    name: "it is tried again for ever",
    edits: edit("src/sync/rules/retry.js", "(leftMs <= 0 && !held)", "false"),
    neighbours: "the sequence of frames",
  },
  {
    name: "a slice may lose all its grains",
    edits: edit(
      "src/sync/protocol/check-difference.js",
      "if (isDrop(slice.count, content.count) && !facts.options.allowDrops)",
      "if (false)",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "all subscriptions may disappear at once",
    edits: edit(
      "src/subscriptions/rules/rules.js",
      "if (gone.length * 2 > present.length && !allowDrops)",
      "if (false)",
    ),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a transfer that is resumed begins one chunk late",
    edits: edit(stage, "sequence: chunks.sequence }", "sequence: chunks.sequence + 1 }"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice is committed without waiting for the disk",
    edits: edit(stage, "await this.#session.run(notStaging);", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "confirmations that got lost are not sent again",
    edits: edit(
      "src/sync/protocol/secondary-session.js",
      "of yield* ask.readOutbox())",
      "of (yield* ask.readOutbox(), []))",
    ),
    neighbours: "the sequence of frames",
  },
  {
    name: "what a comparison shows is not noted",
    edits: edit("src/sync/protocol/primary-session.js", "if (!message.test)", "if (false)"),
    neighbours: "row-level security",
  },
  {
    name: "a commit that goes on is not waited for",
    edits: edit(
      "src/sync/secondary/outbox-store.js",
      'await tx.run("SELECT 1 FROM slices WHERE company_id = $1 AND id = $2 FOR UPDATE", [companyId, sliceId]);',
      "",
    ),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the chunks of a grain stay when it goes",
    edits: edit("src/slices/grain-store.js", "AND grain_id = ANY ($2::uuid[]))", "AND false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what the operator switched off is on again",
    edits: edit("src/subscriptions/rules/rules.js", "active: row.active && offer.active,", "active: offer.active,"),
    neighbours: "the look at the slice before it is changed",
  },
  // What the simulation found in the program, put back.
  {
    name: "a list goes on after its last entry",
    edits: edit("src/sync/protocol/serve-difference.js", "sent < count;)", ";)"),
    neighbours: "row-level security",
  },
  {
    name: "a list of subscriptions has the name of another",
    edits: edit(
      "src/subscriptions/subscription-store.js",
      "}, { readOnly: true, snapshot: true });",
      "}, { readOnly: true });",
    ),
    neighbours: "row-level security",
  },
  {
    name: "a list is applied while subscriptions are changed here",
    edits: edit(
      "src/sync/run/update-subscriptions.js",
      'await tx.run("SELECT 1 FROM companies WHERE id = $1 FOR NO KEY UPDATE", [company.id]);',
      "void 0;",
    ),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a stage that cannot be closed is left as it is",
    edits: edit("src/sync/secondary/secondary-adapter.js", "await stage?.keep();", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice that was removed and is back counts as done",
    edits: edit("src/sync/run/partner-run.js", "this.#removedHere ||= ", "void "),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice that was removed here is the primary's fault",
    edits: edit(
      "src/sync/secondary/secondary-adapter.js",
      "if (list.length !== slice.count * listEntryBytes)",
      "if (false)",
    ),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a slice is removed while it begins to be staged",
    edits: {
      "src/slices/slice-store.js": [
        ['const shown = await tx.query("SELECT content_key FROM slices WHERE slice_key = $1 FOR UPDATE", [key]);', ""],
        [
          "for (const { content_key } of [...shown, ...staged])",
          'const shown = await tx.query("SELECT content_key FROM slices WHERE slice_key = $1 FOR UPDATE", [key]);\n        for (const { content_key } of [...shown, ...staged])',
        ],
      ],
    },
    neighbours: "the proof before the commit",
  },
  {
    name: "what follows a fetch that fails is left on the line",
    edits: edit("src/sync/protocol/serve-grains.js", "return { failure };", "throw failure;"),
    neighbours: "the sequence of frames",
  },
];
