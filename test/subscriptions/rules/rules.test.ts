import fc from "fast-check";
import t from "tap";
import type { Subscription } from "../../../src/companies/company.ts";
import type { CompanyId, SliceKey } from "../../../src/ids.ts";
import { maxNameLength, nameKey, nameProblem } from "../../../src/names.ts";
import {
  type KnownSlice,
  type Offer,
  planSubscriptions,
  type SubscriptionPlan,
} from "../../../src/subscriptions/rules/rules.ts";

const primary = "aaaaaaaa-0000-0000-0000-000000000000" as CompanyId;
const uuid = (n: number, kind = 0) => `${String(n).padStart(8, "0")}-000${kind}-4000-8000-000000000000`;

/** What is on file for one primary, and the folded names of everybody else. */
interface File {
  subscriptions: Subscription[];
  slices: KnownSlice[];
  otherSubscriptions: string[];
  otherSlices: string[];
}

const empty: File = { subscriptions: [], slices: [], otherSubscriptions: [], otherSlices: [] };

function plan(file: File, offers: Offer[], allowDrops?: boolean): SubscriptionPlan {
  const taken = {
    subscriptions: new Set([...file.subscriptions.map((row) => row.name), ...file.otherSubscriptions].map(nameKey)),
    slices: new Set([...file.slices.map((slice) => slice.name), ...file.otherSlices].map(nameKey)),
  };
  return planSubscriptions(file.subscriptions, offers, file.slices, taken, allowDrops);
}

/** What plan-store.ts does with a plan, in memory. */
function apply(file: File, result: SubscriptionPlan): File {
  const slices = file.slices.map((slice) => result.changeSlices.find(({ id }) => id === slice.id) ?? slice);
  slices.push(...result.addSlices);
  const sliceOf = (id: string) => slices.find((slice) => slice.id === id)!;
  const pointTo = (sliceId: string) => ({
    sliceId,
    sliceName: sliceOf(sliceId).name,
    sliceType: sliceOf(sliceId).type,
  });
  const kept = file.subscriptions.filter((row) => !result.replace.includes(row));
  const subscriptions = kept.map((row) => {
    const change = result.change.find(({ id }) => id === row.id);
    if (change !== undefined) {
      const { name, description, active, offered } = change;
      return { ...row, name, description, active, offered, withdrawnAt: null, ...pointTo(change.sliceId) };
    }
    return result.withdraw.some(({ id }) => id === row.id) ? { ...row, withdrawnAt: new Date(0) } : row;
  });
  for (const { id, sliceId, name, description, active, offered } of result.add) {
    subscriptions.push(row({ id, name, description, active, offered, ...pointTo(sliceId) }));
  }
  return { ...file, slices, subscriptions };
}

const row = (given: Partial<Subscription>): Subscription => ({
  key: 1,
  companyId: primary,
  companyName: "ABC Brakes",
  id: uuid(1),
  sliceKey: 1 as SliceKey,
  sliceId: uuid(1, 1),
  sliceName: "slice 1",
  sliceType: "aces-file",
  name: "sub 1",
  description: "",
  active: true,
  offered: true,
  withdrawnAt: null,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  ...given,
});

const offer = (n: number, given: Partial<Offer> = {}): Offer => ({
  id: uuid(n),
  name: `sub ${n}`,
  description: "",
  active: true,
  slice: { id: uuid(n, 1), name: `slice ${n}`, type: "aces-file" },
  ...given,
});

const nothing = {
  addSlices: [],
  changeSlices: [],
  replace: [],
  add: [],
  change: [],
  withdraw: [],
  notices: [],
  lost: 0,
};
/** On file after a first sync of these offers. */
const synced = (...offers: Offer[]) => apply(empty, plan(empty, offers));

t.test("a new subscription and its slice are added", async (t) => {
  const result = plan(empty, [offer(1, { description: "brakes" })]);
  t.match(result, {
    addSlices: [{ id: uuid(1, 1), name: "slice 1", type: "aces-file" }],
    add: [{ id: uuid(1), sliceId: uuid(1, 1), name: "sub 1", description: "brakes", active: true }],
    lost: 0,
    notices: ["new subscription sub 1"],
  });
  t.equal(result.massWithdrawal, undefined);
  t.same(plan(synced(offer(1)), [offer(1)]), nothing, "and that is all");
});

t.test("one that comes switched off is added switched off", async (t) => {
  const result = plan(empty, [offer(1, { active: false })]);
  t.match(result, { add: [{ active: false }], notices: [/switched off at the primary/], lost: 0 });
});

t.test("a new subscription to a slice that is on file does not add it again", async (t) => {
  const file = synced(offer(1));
  const known = { ...file, subscriptions: [] };
  t.match(plan(known, [offer(2, { slice: offer(1).slice })]), {
    addSlices: [],
    changeSlices: [],
    add: [{ sliceId: uuid(1, 1) }],
  });
});

t.test("switched off at the primary, it is switched off here, once", async (t) => {
  const file = synced(offer(1), offer(2));
  const off = [offer(1, { active: false }), offer(2)];
  const result = plan(file, off);
  t.match(result, { change: [{ id: uuid(1), active: false, offered: false, restored: false }], lost: 1 });
  t.match(result.notices, ["subscription sub 1 was switched off by the primary"]);
  t.equal(result.change.length, 1);
  t.same(plan(apply(file, result), off), nothing, "and the next run has nothing to say");
});

t.test("switched on at the primary, it does not change our own switch", async (t) => {
  const off = [offer(1, { active: false }), offer(2)];
  const file = apply(synced(offer(1), offer(2)), plan(synced(offer(1), offer(2)), off));
  const on = plan(file, [offer(1), offer(2)]);
  t.match(on, { change: [{ id: uuid(1), active: false, offered: true }], lost: 0 }, "it is only noted that we could");
  t.same(plan(apply(file, on), [offer(1), offer(2)]), nothing);
});

t.test("our own switch is ours", async (t) => {
  const file = synced(offer(1), offer(2));
  file.subscriptions[0]!.active = false;
  t.same(plan(file, [offer(1), offer(2)]), nothing, "off here and on there: stays off");
  const both = plan(file, [offer(1, { active: false }), offer(2)]);
  t.match(both, { change: [{ active: false, offered: false }], lost: 0 }, "off already: nothing was lost");
  t.notMatch(both.notices.join(), "switched off by the primary");
});

t.test(
  "a slice that is offered under another id has one subscription: the new one, on or off as the old one was",
  async (t) => {
    const file = synced(offer(1), offer(2), offer(3));
    const moved = { ...offer(1), id: uuid(4) };
    const result = plan(file, [offer(2), offer(3), moved]);
    t.match(result, {
      replace: [{ id: uuid(1) }],
      add: [{ id: uuid(4), name: "sub 1", active: true, offered: true }],
      withdraw: [],
      lost: 0,
      notices: ["new subscription sub 1 in place of sub 1"],
    });
    const next = apply(file, result);
    t.same(plan(next, [offer(2), offer(3), moved]), nothing);
    file.subscriptions[0]!.active = false;
    t.match(plan(file, [offer(2), offer(3), moved]), { add: [{ active: false, offered: true }] }, "off here stays off");
    const without = apply(file, plan(file, [offer(2), offer(3)]));
    t.match(plan(without, [offer(2), offer(3), moved]), { replace: [{ id: uuid(1) }] }, "also later");
    const all = [1, 2, 3].map((n) => ({ ...offer(n), id: uuid(n + 3) }));
    t.match(plan(file, all), { massWithdrawal: undefined, replace: { length: 3 } }, "nothing has disappeared");
  },
);

t.test("one that disappeared is withdrawn, its data kept, and comes back as it was", async (t) => {
  const file = synced(offer(1), offer(2));
  const result = plan(file, [offer(2)]);
  t.match(result, {
    withdraw: [{ id: uuid(1) }],
    lost: 1,
    change: [],
    notices: [/withdrawn by the primary; its data is kept/],
  });
  const without = apply(file, result);
  t.same(plan(without, [offer(2)]), nothing, "reported once");
  t.equal(without.subscriptions[0]!.active, true, "the operator's own switch is not touched");
  const back = plan(without, [offer(1), offer(2)]);
  t.match(back, {
    change: [{ id: uuid(1), active: true, restored: true }],
    notices: ["subscription sub 1 is back"],
    lost: 0,
  });
  t.same(plan(apply(without, back), [offer(1), offer(2)]), nothing);
});

t.test("when more than half disappear at once, nothing is marked", async (t) => {
  const offers = [1, 2, 3, 4].map((n) => offer(n));
  const file = synced(...offers);
  const empties = plan(file, []);
  t.same(empties, { ...nothing, massWithdrawal: { gone: 4, of: 4 } });
  t.match(plan(file, [offers[0]!]), { massWithdrawal: { gone: 3, of: 4 }, withdraw: [] });
  t.match(plan(file, [offers[0]!, offer(9)]), { massWithdrawal: { gone: 3, of: 4 }, add: [] }, "nor is anything added");
  const half = plan(file, offers.slice(0, 2));
  t.equal(half.massWithdrawal, undefined, "half is not more than half");
  t.equal(half.withdraw.length, 2);
  t.match(
    plan(file, [], true),
    { withdraw: { length: 4 }, lost: 4, massWithdrawal: undefined },
    "unless it is allowed",
  );
  t.match(plan(synced(offer(1)), []), { massWithdrawal: { gone: 1, of: 1 } }, "the only one too");
  t.same(plan(empty, []), nothing, "of nothing, nothing can disappear");
  const gone = apply(file, half);
  t.match(plan(gone, [offers[0]!]), { withdraw: { length: 1 } }, "what is withdrawn already does not count");
});

t.test("a name that is taken gets the id appended", async (t) => {
  const file = { ...empty, otherSubscriptions: ["SUB 1"], otherSlices: ["Slice 1"] };
  const result = plan(file, [offer(1)]);
  t.equal(result.add[0]!.name, `sub 1-${uuid(1)}`);
  t.equal(result.addSlices[0]!.name, `slice 1-${uuid(1, 1)}`);
  t.same(plan(apply(file, result), [offer(1)]), nothing, "and keeps it");
  const twice = plan(empty, [offer(1, { name: "same" }), offer(2, { name: "SAME" })]);
  t.same(
    twice.add.map(({ name }) => name),
    ["same", `SAME-${uuid(2)}`],
    "also within one list",
  );
});

t.test("a name follows the primary's, and is not said to be taken by itself", async (t) => {
  const file = synced(offer(1), offer(2));
  const renamed = [
    offer(1, { name: "rotors", slice: { ...offer(1).slice, name: "rotors 2026", type: "aces-items" } }),
    offer(2),
  ];
  const result = plan(file, renamed);
  t.match(result, {
    change: [{ name: "rotors" }],
    changeSlices: [{ id: uuid(1, 1), name: "rotors 2026", type: "aces-items" }],
    notices: ["subscription sub 1 is now called rotors"],
    lost: 0,
  });
  t.same(plan(apply(file, result), renamed), nothing);
  t.match(
    plan(file, [offer(1, { name: "SUB 1" }), offer(2)]),
    { change: [{ name: "SUB 1" }] },
    "another case is another name",
  );
  t.match(plan(file, [offer(1, { description: "new" }), offer(2)]), { change: [{ description: "new" }] });
});

t.test("names may be swapped", async (t) => {
  const file = synced(offer(1), offer(2));
  const swapped = [offer(1, { name: "sub 2" }), offer(2, { name: "sub 1" })];
  const result = plan(file, swapped);
  t.match(result.change, [{ name: "sub 2" }, { name: "sub 1" }]);
  t.same(plan(apply(file, result), swapped), nothing);
  const passedOn = [offer(2, { name: "sub 1" }), offer(1, { name: "other" })];
  t.match(plan(file, passedOn).change, [{ name: "sub 1" }, { name: "other" }], "or passed on, in whatever order");
});

t.test("a number behind a name is kept only where it was put here", async (t) => {
  const name = `long enough to be taken for one with an id-${2}`;
  const renamed = name.slice(0, -2);
  t.match(plan(synced(offer(1, { name })), [offer(1, { name: renamed })]), { change: [{ name: renamed }] });
  const taken = { ...empty, otherSubscriptions: ["a", `a-${uuid(1)}`] };
  const offers = [offer(1, { name: "a" })];
  const file = apply(taken, plan(taken, offers));
  t.equal(file.subscriptions[0]!.name, `a-${uuid(1)}-2`);
  t.same(plan({ ...file, otherSubscriptions: ["a"] }, offers), nothing, "names do not wander");
});

t.test("a subscription may come to stand for another slice", async (t) => {
  const file = synced(offer(1), offer(2));
  const moved = [offer(1, { slice: offer(3).slice }), offer(2)];
  const result = plan(file, moved);
  t.match(result, { addSlices: [{ id: uuid(3, 1) }], change: [{ sliceId: uuid(3, 1) }], notices: [/another slice/] });
  t.same(plan(apply(file, result), moved), nothing);
});

t.test("names from a primary are made fit to be shown", async (t) => {
  const named = (name: string) => plan(empty, [offer(1, { name })]).add[0]!.name;
  t.equal(named("  rotors\n\x1b[31m "), "rotors__[31m");
  t.equal(named("a\u061cb\u200bc\u202ed\u00a0e"), "a_b_c_d_e", "so are what turns text around, and what nobody sees");
  t.equal(named(""), uuid(1));
  t.equal(named(" \t "), "_", "a tab is shown as a control character");
  t.equal(named("x".repeat(5000)), "x".repeat(maxNameLength));
  t.equal(nameProblem(named("\ud800")), undefined);
  const long = plan({ ...empty, otherSubscriptions: ["x".repeat(maxNameLength)] }, [
    offer(1, { name: "x".repeat(maxNameLength) }),
  ]);
  t.match(long.add[0]!.name, /^x+-00000001-/, "long and taken");
});

// A few names and ids, so that they collide.
const anyName = fc.oneof(
  fc.constantFrom("a", "A", "b", "", " ", "a\n", `a-${uuid(1)}`, `A-${uuid(2)}`, `a-${uuid(1)}-2`, uuid(1), uuid(2, 1)),
  fc.string({ unit: "binary", maxLength: 4 }),
  fc.constant("n".repeat(maxNameLength + 5)),
);
const anyOffers = fc
  .uniqueArray(
    fc.record({
      n: fc.integer({ min: 1, max: 6 }),
      sliceNumber: fc.integer({ min: 1, max: 7 }),
      name: anyName,
      sliceName: anyName,
      description: fc.constantFrom("", "d"),
      active: fc.boolean(),
      type: fc.constantFrom("aces-file", "aces-items"),
    }),
    { maxLength: 6, comparator: (a, b) => a.n === b.n || a.sliceNumber === b.sliceNumber },
  )
  .map((list) =>
    list.map(({ n, sliceNumber, name, sliceName, description, active, type }) =>
      offer(n, { name, description, active, slice: { id: uuid(sliceNumber, 1), name: sliceName, type } }),
    ),
  );
const anyOthers = fc.uniqueArray(fc.constantFrom("a", "b", `a-${uuid(1)}`, `a-${uuid(1)}-2`, uuid(1), uuid(2)), {
  maxLength: 4,
});
const anyHistory = fc.record({
  lists: fc.array(anyOffers, { maxLength: 4 }),
  last: anyOffers,
  otherSubscriptions: anyOthers,
  otherSlices: anyOthers,
  switchedOff: fc.array(fc.nat(5)),
});

const isUnique = (names: string[]) => new Set(names.map(nameKey)).size === names.length;

t.test("whatever the lists: it never throws, names stay unique, and a plan applied leaves nothing to do", async (t) => {
  fc.assert(
    fc.property(anyHistory, ({ lists, last, otherSubscriptions, otherSlices, switchedOff }) => {
      let file: File = { ...empty, otherSubscriptions, otherSlices };
      for (const offers of [...lists, last]) {
        file = apply(file, plan(file, offers, true));
        for (const n of switchedOff) if (file.subscriptions[n]) file.subscriptions[n].active = false;
        const names = [...file.subscriptions.map((each) => each.name), ...otherSubscriptions];
        if (!isUnique(names)) throw new Error(`subscriptions: ${JSON.stringify(names)}`);
        if (!isUnique(file.subscriptions.map((each) => each.sliceId)))
          throw new Error("two subscriptions to one slice");
        const slices = [...file.slices.map((each) => each.name), ...otherSlices];
        if (!isUnique(slices)) throw new Error(`slices: ${JSON.stringify(slices)}`);
        for (const { name } of [...file.subscriptions, ...file.slices]) {
          const problem = nameProblem(name.slice(0, maxNameLength));
          if (problem !== undefined && problem !== "begins or ends with a space") throw new Error(`${name} ${problem}`);
        }
      }
      const again = plan(file, last, true);
      if (JSON.stringify(again) !== JSON.stringify(nothing)) throw new Error(JSON.stringify(again));
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

t.test(
  "the primary never switches anything on, and the operator's switch survives all but being switched off",
  async (t) => {
    fc.assert(
      fc.property(
        anyOffers,
        anyOffers,
        fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
        (before, after, switches) => {
          const file = apply(empty, plan(empty, before));
          for (const [i, each] of file.subscriptions.entries()) each.active = switches[i]!;
          const next = apply(file, plan(file, after, true));
          return file.subscriptions.every((was) => {
            const offered =
              after.find(({ id }) => id === was.id) ?? after.find(({ slice }) => slice.id === was.sliceId);
            const is = next.subscriptions.find(({ id }) => id === (offered?.id ?? was.id))!;
            // Of two that become one, the one that keeps its id decides.
            if (
              offered !== undefined &&
              offered.id !== was.id &&
              file.subscriptions.some(({ id }) => id === offered.id)
            )
              return true;
            return (
              is.active === (was.active && (offered?.active ?? true)) &&
              (is.withdrawnAt !== null) === (offered === undefined)
            );
          });
        },
      ),
    );
    t.pass();
  },
);
