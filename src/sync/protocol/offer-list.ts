/** What a primary's list of subscriptions must be like, before anything is done with it. Pure. */

import * as z from "zod";
import { SandpiperError } from "../../errors.ts";
import { maxDescriptionLength } from "../../subscriptions/rules/description.ts";
import type { Offer } from "../../subscriptions/rules/rules.ts";
import { refuse } from "./guards.ts";
import { JsonRows } from "./json-rows.ts";
import { maxRowBytes } from "./limits.ts";
import { violation } from "./messages.ts";

const id = z.guid().toLowerCase();

const offer = z.object({
  id,
  company_id: id,
  name: z.string().max(1000),
  description: z
    .string()
    .max(maxDescriptionLength)
    .default("")
    .transform((text) => text.toWellFormed().replaceAll("\0", "")),
  active: z.boolean(),
  slice: z.object({ id, slice_name: z.string().max(1000), slice_type: z.string().regex(/^[a-z0-9-]{1,100}$/) }),
});

export const listBytes = (most: number): number => Math.min(64 * 1024 * 1024, 1024 * 1024 + 1024 * most);

/** The list as it comes: each row is checked when it is there, and no more are taken than may be. */
export class OfferList {
  readonly #rows = new JsonRows("the primary's list of subscriptions", maxRowBytes);
  readonly #companyId: string;
  readonly #most: number;
  readonly #offers: Offer[] = [];
  readonly #ids = new Set<string>();
  readonly #slices = new Set<string>();

  /**
   * @param companyId who we are to the primary: a row for anybody else is refused.
   * @param most how many subscriptions it may list.
   */
  constructor(companyId: string, most: number) {
    this.#companyId = companyId;
    this.#most = most;
  }

  /** @throws `protocol` when what has come is not as it must be, `limit` when there are too many. */
  take(piece: Buffer): void {
    for (const row of this.#rows.take(piece)) this.#add(row);
  }

  /** The whole list. @throws `protocol` when it is cut short. */
  end(): Offer[] {
    this.#rows.end();
    return this.#offers;
  }

  #add(row: unknown): void {
    if (this.#offers.length === this.#most) {
      refuse(
        "offers.number",
        new SandpiperError("limit", `the primary lists more than the ${this.#most} subscriptions that are accepted`, {
          hint: "Raise limits.max_subscriptions if that is right.",
        }),
      );
    }
    const parsed = offer.safeParse(row);
    if (!parsed.success)
      refuse(
        "offers.valid",
        violation(
          `the primary lists a subscription that is not as it must be: ${parsed.error.issues[0]!.path.join(".")}`,
        ),
      );
    const { slice, company_id: companyId, ...rest } = parsed.data;
    if (companyId !== this.#companyId)
      refuse("offers.company", violation("the primary lists a subscription of another company"));
    if (this.#ids.has(rest.id)) refuse("offers.twice", violation("the primary lists a subscription twice"));
    if (this.#slices.has(slice.id))
      refuse("offers.one-slice", violation("the primary lists two subscriptions to one slice"));
    this.#ids.add(rest.id);
    this.#slices.add(slice.id);
    this.#offers.push({ ...rest, slice: { id: slice.id, name: slice.slice_name, type: slice.slice_type } });
  }
}
