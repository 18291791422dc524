/** Whoever reaches the port and has no account keeps nobody from logging in. */
import t from "tap";
import { cast, keyLogin, password, serverOf } from "../server/support.ts";

t.setTimeout(180_000);

const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.1" } });
const login = (from: string, body: unknown) =>
  server.call("POST", "/login", { body, headers: { "x-forwarded-for": from } });

/** 24 connections from these addresses try names that nobody has while `work` is done. @returns the statuses that they got. */
async function hammer(addresses: readonly string[], work: () => Promise<void>): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  let done = false;
  const guess = async (address: string) => {
    while (!done) {
      const { status } = await login(address, { username: `guess ${Math.random()}`, password: "wrong password" });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const all = Array.from({ length: 24 }, (_, n) => guess(addresses[n % addresses.length]!));
  await new Promise((resolve) => setTimeout(resolve, 300));
  await work().finally(() => {
    done = true;
  });
  await Promise.all(all);
  return statuses;
}

/** How many of 20 logins succeed. */
async function successes(from: string, username: string): Promise<number> {
  let right = 0;
  for (let n = 0; n < 20; n++) if ((await login(from, { username, password })).status === 200) right++;
  return right;
}

t.test("24 connections without an account", async (t) => {
  const who = await cast(server);
  const statuses = await hammer(["203.0.113.1"], async () => {
    t.equal(await successes("198.51.100.1", "root"), 20, "the right person logs in elsewhere");
    t.ok(await keyLogin(server, who.epicorKey), "and so does a partner");
  });
  const checked = statuses.get(401) ?? 0;
  t.ok(
    checked >= 30 && checked <= 45,
    `${checked} guesses were looked at: thirty a minute, and those that were in line`,
  );
  t.ok((statuses.get(429) ?? 0) > checked, "all others were not");
  t.same([...statuses.keys()].sort(), [401, 429]);
});

t.test("behind the address of one who guesses", async (t) => {
  const office = "203.0.113.9";
  t.equal((await login(office, { username: "carol", password })).status, 200, "before");
  await hammer([office], async () => {
    t.equal(await successes(office, "carol"), 20, "who has logged in there before is not in its line");
    const first = await login(office, { username: "root", password });
    t.equal(first.status, 429, "who comes for the first time waits");
    t.ok(Number(first.headers.get("retry-after")) <= 60);
    const [known, unknown] = [
      await login(office, { username: "carol", password: "wrong password" }),
      await login(office, { username: "nobody", password: "wrong password" }),
    ];
    t.same([known.status, unknown.status], [429, 429], "and the answers do not tell which names are known");
    const without = ({ text }: typeof known) => text.replace(/\d+ seconds/, "");
    t.equal(without(known), without(unknown));
  });
});

t.test("from eight addresses at once", async (t) => {
  const addresses = Array.from({ length: 8 }, (_, n) => `203.0.113.${100 + n}`);
  await hammer(addresses, async () => {
    t.equal(await successes("198.51.100.2", "root"), 20);
  });
});
