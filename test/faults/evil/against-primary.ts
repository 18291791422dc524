/** The moves of an evil secondary, one after another, each with ever more of the guards that it meets switched off. */

import { addCompany, issueApiKey } from "../../../src/companies/company-store.ts";
import { meanings } from "../../../src/errors.ts";
import type { BatchLine } from "../../../src/slices/batch.ts";
import { applyBatch } from "../../../src/slices/batch.ts";
import { addSlice, requireSlice } from "../../../src/slices/slice-store.ts";
import { addSubscription } from "../../../src/subscriptions/subscription-store.ts";
import { keyLogin } from "../../server/support.ts";
import { weighSecondaryMove } from "./alone.ts";
import { EvilSecondary, type Knowledge } from "./evil-secondary.ts";
import type { SecondaryMove } from "./secondary-moves.ts";
import type { Suspects } from "./suspects.ts";
import type { Switches } from "./switches.ts";
import type { Tally } from "./tally.ts";
import { sliceNames, type World } from "./world.ts";

const aliveMs = 1000;
const closeMs = 1500;

/** Words that nobody but the other partner may hear. */
const canary = "canary-of-another";
const foreignGrain = "cccccccc-cccc-4ccc-accc-cccccccccccc";

export class EvilGuest {
  private constructor(
    private readonly world: World,
    private readonly token: string,
    private readonly honestToken: string,
    private readonly knows: Knowledge,
  ) {}

  static async make(world: World): Promise<EvilGuest> {
    const { primary } = world;
    const { db, server } = primary.app;
    const join = async (name: string) => {
      const { id } = await addCompany(db, { name });
      const token = await keyLogin(primary, await issueApiKey(db, id, primary.context.apiKeyHmac));
      return { id, token };
    };
    const [mallory, honest] = [await join("Mallory"), await join("Honest")];
    const slices = {} as Knowledge["slices"];
    for (const name of sliceNames) {
      const { key, id, hash, count } = await requireSlice(db, name);
      await addSubscription(db, { companyId: mallory.id, sliceKey: key, name: `${name}-mallory` });
      slices[name] = { id, hash, count };
    }
    const foreign = await addSlice(db, { companyId: server.serverId, name: canary, type: "aces-items" });
    await addSubscription(db, { companyId: honest.id, sliceKey: foreign.key, name: "theirs" });
    const line: BatchLine = {
      add: { id: foreignGrain, grain_key: canary, source: canary, encoding: "raw", payload: canary },
    };
    await applyBatch(db, foreign, [line], 1e6);
    const grainIds = async (name: string) => {
      const { contentKey } = await requireSlice(db, name);
      return db.query<{ id: string; large: boolean }>(
        "SELECT id, payload IS NULL AS large FROM grains WHERE content_key = $1 ORDER BY id",
        [contentKey],
      );
    };
    const few = await grainIds("few");
    const large = (await grainIds("file")).find((grain) => grain.large)!;
    const knows = { slices, foreign: foreign.id, foreignGrain, largeGrain: large.id, grain: (n: number) => few[n]!.id };
    return new EvilGuest(world, mallory.token, honest.token, knows);
  }

  async attempt(switches: Switches, move: SecondaryMove, tally: Tally, suspects: Suspects): Promise<void> {
    const { primary } = this.world;
    const where = (what: string) =>
      `secondary: ${move.name}${switches.off.length === 0 ? "" : `, without ${switches.off.join(" | ")}`}: ${what}`;
    const before = await this.world.there();
    for (let round = 0; ; round++) {
      switches.take();
      const evil = new EvilSecondary(primary.url, this.token, this.knows);
      await evil.hear("begin");
      const logged = primary.log().length;
      const act = () => move.do(evil).catch((error: Error) => tally.fault("wrong close codes", where(error.message)));
      const alone = () => weighSecondaryMove(this.world, move, this.token, this.knows, move.withinMs ?? closeMs);
      await (round === 0 ? suspects.row(`secondary: ${move.name}`, act, alone) : act());
      if (!(await this.#alive())) tally.fault("not alive", where("another partner is not served"));
      const code = await this.#codeOf(evil, round === 0 && move.close !== 1000 ? (move.withinMs ?? closeMs) : 0);
      evil.hangUp();
      tally.runs++;
      const firings = switches.take();
      const outcome = `closed with ${code}, after ${firings.map(({ guard }) => guard).join(" | ") || "no guard"}`;
      if (code === undefined) tally.fault("hung", where("the connection stays"));
      if (round === 0 && code !== move.close)
        tally.fault("wrong close codes", where(`${outcome} in place of ${move.close}`));
      const [last] = firings.slice(-1);
      if (last !== undefined && code !== meanings[last.error.code].close)
        tally.fault("wrong close codes", where(outcome));
      if (last !== undefined && !(await this.#logs(JSON.stringify(last.error.message).slice(1, -1), logged)))
        tally.fault("not named", where("the log does not say why"));
      const heard = Buffer.concat(evil.heard).toString("latin1");
      if (heard.includes(canary) || heard.includes(foreignGrain))
        tally.fault("foreign", where("it heard what is another's"));
      if (JSON.stringify(await this.world.there()) !== JSON.stringify(before))
        tally.fault("mixed", where("the primary's slices have changed"));
      tally.tell?.(where(outcome));
      if (!switches.switchOff(firings)) break;
    }
    switches.allOn();
    const row = await primary.app.db.one<{ n: number }>(
      "SELECT count(*) AS n FROM holdings h WHERE NOT EXISTS (SELECT 1 FROM subscriptions u WHERE u.slice_key = h.slice_key AND u.company_id = h.company_id)",
    );
    if (row!.n > 0) tally.fault("foreign", where("it is noted to hold what is another's"));
  }

  /** How it closes: by itself for so long, and then when it is told that we leave, which it may take for something else at first. */
  async #codeOf(evil: EvilSecondary, byItselfMs: number): Promise<number | undefined> {
    const within = (ms: number) =>
      new Promise<undefined>((resolve) => {
        setTimeout(() => resolve(undefined), ms).unref();
      });
    let code = byItselfMs > 0 ? await Promise.race([evil.closed, within(byItselfMs)]) : undefined;
    for (let i = 0; i < 4 && code === undefined; i++) {
      evil.send({ type: "bye" });
      code = await Promise.race([evil.closed, within(closeMs / 4)]);
    }
    return code ?? Promise.race([evil.closed, within(closeMs)]);
  }

  /** Whether the primary's log says it, within a moment: it closes first. */
  async #logs(text: string, since: number): Promise<boolean> {
    const deadline = performance.now() + 1000;
    while (!this.world.primary.log().slice(since).includes(text)) {
      if (performance.now() > deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return true;
  }

  /** Whether another partner is greeted and answered meanwhile. */
  async #alive(): Promise<boolean> {
    const begunMs = performance.now();
    const honest = new EvilSecondary(this.world.primary.url, this.honestToken, this.knows);
    await honest.compare([this.knows.foreign]);
    const { slices } = (await honest.hear("compared", aliveMs)) as { slices?: object[] };
    honest.send({ type: "bye" });
    const code = await honest.closed;
    return slices?.length === 1 && code === 1000 && performance.now() - begunMs < aliveMs;
  }
}
