/** Faults of one line that are planted in the program, to see that the simulation finds them; and the guards that stand beside them. */
import type { GuardName } from "../../src/sync/protocol/guards.ts";
import type { Edits } from "./small-limits.ts";

export interface Mutant {
  name: string;
  edits: Edits;
  /** Guards beside it, which might hide it: it is planted a second time with these switched off. */
  neighbours: Guard;
}

const edit = (from: string, to: string): Edits => ({ lines: [[from, to]] });
/** The statement with this name does what the simulated database knows under this other one. */
const faulty = (name: string): Edits => edit(`/* ${name} */`, `/* ${name}Faulty */`);
/** The statement with this name is not sent. @param how what sends it. */
const unsent = (how: string, name: string): Edits => edit(`${how}/* ${name} */`, `void (${how.at(-1)}/* ${name} */`);
const off = (...off: GuardName[]): Edits => ({ off });

const noProof = off("apply.proof");

/** Guards that can be switched off. */
export const guards = {
  "the proof before the commit": {
    ...noProof,
    // What a hostile primary lies is not looked at then, or every fault beside it would count as caught.
    lines: [
      ["this.owners.push(owner);", "this.owners.push(owner);\nif (hostile) this.oracle[owner.id] = true;"],
      ["if (state < 0)", "if (state < 0 && this[slice.company]) return;\nif (state < 0)"],
      [
        "const content = contentOf(local, slice);",
        "if (this[owner.id]) return true;\nconst content = contentOf(local, slice);",
      ],
    ],
  },
  "row-level security": edit("plan.dbMs, true);", "plan.dbMs, false);"),
  "the order of grains": off("grains.order"),
  "the sequence of frames": off("frame.sequence"),
  "the look at the slice before it is changed": edit(
    "if (now?.hash !== slice.hash || now.count !== slice.count)",
    "if (now === undefined)",
  ),
} satisfies Record<string, Edits>;

export type Guard = keyof typeof guards;

export const mutants: readonly Mutant[] = [
  {
    name: "a slice is applied without a transaction",
    edits: edit("await session.transaction(async (tx) => {", "await ((work) => work(session))(async (tx) => {"),
    neighbours: "the proof before the commit",
  },
  {
    name: "rights are looked at once a session",
    edits: edit(
      "return viewSlices(this.#db, this.#scope, ids);",
      "return (this.seen ??= viewSlices(this.#db, this.#scope, ids));",
    ),
    neighbours: "row-level security",
  },
  {
    name: "rights are not read with the data of a frame",
    edits: edit(
      "const [view] = await viewSlice(tx, scope, id);",
      "const seen = (db.seen ??= new Map());\nif (!seen.has(id)) seen.set(id, (await viewSlice(tx, scope, id))[0]);\nconst view = seen.get(id);",
    ),
    neighbours: "row-level security",
  },
  {
    name: "the filter of a query is forgotten",
    edits: faulty("viewSlice"),
    neighbours: "row-level security",
  },
  {
    name: "nothing is proved before the commit",
    edits: noProof,
    neighbours: "the order of grains",
  },
  {
    name: "slices of any primary are taken for this one's",
    edits: faulty("updateSubscriptions"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the count of a slice is not stored",
    edits: edit("content.sum,\n    content.count,", "content.sum,\n    0,"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a commit whose answer is lost is taken for a failure",
    edits: edit('if (error.code !== "storage" || !(await this.#committedAfterAll(confirm)))', "if (true)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a commit whose answer is lost is taken for a success",
    edits: edit(
      'if (error.code !== "storage" || !(await this.#committedAfterAll(confirm)))',
      'if (error.code !== "storage")',
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "the lock of the pair is kept",
    edits: edit("/* withSessionLockEnd */", ""),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the lock of a stage is kept",
    edits: unsent("await this.#session.run(`", "stageEndLock"),
    neighbours: "the proof before the commit",
  },
  {
    name: "frames are taken in any sequence",
    edits: guards["the sequence of frames"],
    neighbours: "the order of grains",
  },
  {
    name: "grains are taken that were not asked for",
    edits: off("grains.wanted"),
    neighbours: "the proof before the commit",
  },
  {
    name: "grains are taken in any order",
    edits: guards["the order of grains"],
    neighbours: "the proof before the commit",
  },
  {
    name: "more grains are taken than were declared",
    edits: off("grains.number"),
    neighbours: "the proof before the commit",
  },
  {
    name: "more bytes are taken than were declared",
    edits: off("grains.bytes"),
    neighbours: "the proof before the commit",
  },
  {
    name: "the answer may be for another slice",
    edits: off("content.slice"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what is acknowledged need not have been sent",
    edits: off("confirmed.sent"),
    neighbours: "the sequence of frames",
  },
  {
    name: "what was staged for another state is gone on with",
    edits: edit("old.hash !== hash", "false"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "what is staged for a slice that is gone is kept",
    edits: edit("throw removedHere();", "void 0;"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what the primary dropped stays",
    edits: edit("await remove(edit, slice.count, change.removed);", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "metadata stays as it was",
    edits: edit("if (!same)", "if (false)"),
    neighbours: "the proof before the commit",
  },
  {
    name: "nothing is written down to be confirmed",
    edits: faulty("noteApplied"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a token is good for ever",
    edits: edit("this.#expired = expired;", "this.#expired = () => false;"),
    neighbours: "row-level security",
  },
  {
    name: "what is deleted is not subtracted",
    edits: edit("this.#tally.remove(marks);", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "what is added is added twice",
    edits: edit(
      "grains);\n        this.#tally.add(marks);",
      "grains);\n        this.#tally.add(marks);\n        this.#tally.add(marks);",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "what was staged is not added",
    edits: edit(
      "markPieces(this.tx, staged))\n            this.#tally.add(marks);",
      "markPieces(this.tx, staged))\n            ;",
    ),
    neighbours: "the proof before the commit",
  },
  {
    name: "the sketch is not stored with the rest",
    edits: faulty("storeContent"),
    neighbours: "the proof before the commit",
  },
  {
    name: "it is tried again for ever",
    edits: edit("(leftMs <= 0 && !held)", "false"),
    neighbours: "the sequence of frames",
  },
  {
    name: "a slice may lose all its grains",
    edits: off("content.drop"),
    neighbours: "the proof before the commit",
  },
  {
    name: "all subscriptions may disappear at once",
    edits: edit("if (gone.length * 2 > present.length && !allowDrops)", "if (false)"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a transfer that is resumed begins one chunk late",
    edits: edit("sequence: chunks.sequence }", "sequence: chunks.sequence + 1 }"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice is committed without waiting for the disk",
    edits: edit("await this.#session.run(notStaging);", ""),
    neighbours: "the proof before the commit",
  },
  {
    name: "confirmations that got lost are not sent again",
    edits: edit("of yield* ask.readOutbox())", "of (yield* ask.readOutbox(), []))"),
    neighbours: "the sequence of frames",
  },
  {
    name: "what a comparison shows is not noted",
    edits: edit("if (!message.test)", "if (false)"),
    neighbours: "row-level security",
  },
  {
    name: "a commit that goes on is not waited for",
    edits: unsent('await tx.run("', "wasCommittedSlice"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "the chunks of a grain stay when it goes",
    edits: faulty("remove"),
    neighbours: "the proof before the commit",
  },
  {
    name: "what the operator switched off is on again",
    edits: edit("active: row.active && offer.active,", "active: offer.active,"),
    neighbours: "the look at the slice before it is changed",
  },
  // What the simulation found in the program, put back.
  {
    name: "a list goes on after its last entry",
    edits: edit("sent < count;)", ";)"),
    neighbours: "row-level security",
  },
  {
    name: "a list of subscriptions has the name of another",
    edits: edit(
      "await listOffers(tx, companyId, limit) };\n    }, { readOnly: true, snapshot: true });",
      "await listOffers(tx, companyId, limit) };\n    }, { readOnly: true });",
    ),
    neighbours: "row-level security",
  },
  {
    name: "a list is applied while subscriptions are changed here",
    edits: unsent('await tx.run("', "updateSubscriptionsCompany"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a stage that cannot be closed is left as it is",
    edits: edit("await arrivals?.keep();\n            throw error;", "throw error;"),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice that was removed and is back counts as done",
    edits: edit("this.#removedHere ||= ", "void "),
    neighbours: "the proof before the commit",
  },
  {
    name: "a slice that was removed here is the primary's fault",
    edits: edit("if (!(await isAsIt(session, slice)))", "if (false)"),
    neighbours: "the look at the slice before it is changed",
  },
  {
    name: "a slice is removed while it begins to be staged",
    edits: {
      lines: [
        ['const shown = await tx.query("/* removeSliceRow */', 'const shown = () => tx.query("/* removeSliceRow */'],
        ["of [...shown, ...staged])", "of [...(await shown()), ...staged])"],
      ],
    },
    neighbours: "the proof before the commit",
  },
  {
    name: "what follows a fetch that fails is left on the line",
    edits: edit("return { failure };", "throw failure;"),
    neighbours: "the sequence of frames",
  },
];
