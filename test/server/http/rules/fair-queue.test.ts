import fc from "fast-check";
import t from "tap";
import { FairQueue } from "../../../../src/server/http/rules/fair-queue.ts";

interface Session {
  who: string;
  name: string;
}

const session = (name: string): Session => ({ who: name[0]!, name });
const names = (sessions: Session[]) => sessions.map(({ name }) => name).join(" ");

/** A queue with these sessions, come in this order. */
function queueOf(places: number, ...come: Session[]) {
  const queue = new FairQueue<Session>({ places });
  const served = come.flatMap((one) => {
    queue.enter(one);
    return queue.admit();
  });
  return { queue, served };
}

t.test("first come, first served", async (t) => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map(session) as [Session, Session, Session, Session];
  const { queue, served } = queueOf(2, a, b, c, d);
  t.equal(names(served), "a b");
  t.same([queue.ahead(c), queue.ahead(d)], [0, 1]);
  queue.leave(b);
  t.equal(names(queue.admit()), "c");
  t.equal(names(queue.admit()), "", "once");
  t.equal(queue.ahead(d), 0);
});

t.test("a session that hangs up while it waits leaves the line", async (t) => {
  const [a, b, c] = ["a", "b", "c"].map(session) as [Session, Session, Session];
  const { queue } = queueOf(1, a, b, c);
  queue.leave(b);
  t.equal(names(queue.admit()), "");
  queue.leave(a);
  t.equal(names(queue.admit()), "c");
});

t.test("the place goes to the partner that holds the fewest", async (t) => {
  const come = ["a1", "a2", "b1", "a3", "a4", "b2", "c1"].map(session);
  const { queue, served } = queueOf(3, ...come);
  t.equal(names(served), "a1 a2 b1");
  t.equal(queue.ahead(come[6]!), 0, "c holds nothing");
  queue.leave(come[0]!);
  t.equal(names(queue.admit()), "c1");
  queue.leave(come[1]!);
  t.equal(names(queue.admit()), "a3", "a has none any more, and came before b2");
});

t.test("no partner holds more than half of the places, or of the line", async (t) => {
  const many = Array.from({ length: 12 }, (_, i) => session(`a${i}`));
  const { queue, served } = queueOf(4, ...many.slice(0, 10));
  t.equal(served.length, 2);
  t.equal(queue.refusal("a"), "share");
  t.equal(queue.refusal("b"), undefined);
  const b = session("b");
  queue.enter(b);
  t.equal(names(queue.admit()), "b", "there is a place for another");
  for (let i = 0; i < 5; i++) queue.enter(session(`${"cdefg"[i]}`));
  queue.admit();
  t.equal(queue.refusal("z"), undefined);
  const alone = queueOf(1, session("a1"), session("a2"));
  t.equal(names(alone.served), "a1", "one place is one place");
  t.equal(alone.queue.refusal("b"), undefined);
});

t.test("the line has an end", async (t) => {
  const { queue } = queueOf(2, ...[..."abcdefghi"].map(session));
  t.equal(queue.refusal("z"), undefined, "7 wait");
  queue.enter(session("j"));
  t.equal(queue.refusal("z"), "full", "4 times the places wait");
});

t.test("places, line and shares can be set", async (t) => {
  const queue = new FairQueue<Session>({ places: 3, share: 1, line: 5, lineShare: 2 });
  const come = (name: string) => {
    const one = session(name);
    if (queue.refusal(one.who) === undefined) queue.enter(one);
    return names(queue.admit());
  };
  t.same(["a1", "a2", "a3", "a4", "b1", "c1", "d1"].map(come), ["a1", "", "", "", "b1", "c1", ""]);
  t.equal(queue.refusal("a"), "share", "one of its served, two wait");
  for (const name of ["d2", "e1", "e2"]) come(name);
  t.equal(queue.refusal("z"), "full");
});

t.test("whatever happens: no place is lost, none is given twice, and nobody starves", async () => {
  const action = fc.oneof(
    fc.constantFrom(..."abcde").map((come) => ({ come })),
    fc.nat(50).map((go) => ({ go })),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(action, { maxLength: 80 }), (places, actions) => {
      const queue = new FairQueue<Session>({ places });
      let serving: Session[] = [];
      let waiting: Session[] = [];
      const admit = () => {
        for (const one of queue.admit()) {
          if (serving.includes(one) || !waiting.includes(one)) throw new Error("given twice");
          serving.push(one);
          waiting = waiting.filter((other) => other !== one);
        }
        const held = (who: string) => serving.filter((one) => one.who === who).length;
        if (serving.length > places) throw new Error("too many");
        if (serving.length < places && waiting.some((one) => held(one.who) < Math.ceil(places / 2)))
          throw new Error("a place is lost");
      };
      actions.forEach((what, n) => {
        if ("come" in what) {
          const one = { who: what.come, name: `${what.come}${n}` };
          if (queue.refusal(one.who) !== undefined) return;
          waiting.push(one);
          queue.enter(one);
        } else {
          const all = [...serving, ...waiting];
          const one = all[what.go % Math.max(1, all.length)];
          if (one === undefined) return;
          queue.leave(one);
          serving = serving.filter((other) => other !== one);
          waiting = waiting.filter((other) => other !== one);
        }
        admit();
      });
      while (serving.length > 0) {
        queue.leave(serving.shift()!);
        admit();
      }
      return waiting.length === 0;
    }),
  );
});
