/** What a primary's list of subscriptions must be like, before anything is done with it. Pure. */
import { z } from "zod";
import { SandpiperError } from "../errors.ts";
import type { Offer } from "../subscriptions/rules.ts";
import { violation } from "./messages.ts";

const id = z.guid().toLowerCase();

const offer = z.object({
  id,
  company_id: id,
  name: z.string().max(1000),
  description: z
    .string()
    .max(10_000)
    .default("")
    .transform((text) => text.toWellFormed().replaceAll("\0", "")),
  active: z.boolean(),
  slice: z.object({ id, slice_name: z.string().max(1000), slice_type: z.string().regex(/^[a-z0-9-]{1,100}$/) }),
});

/**
 * @param list what came, as JSON.
 * @param companyId who we are to the primary: a row for anybody else is refused.
 * @throws `protocol` when the list is not as it must be, `limit` when it is longer than `most`.
 */
export function checkOffers(list: unknown, companyId: string, most: number): Offer[] {
  if (!Array.isArray(list)) throw violation("the primary's list of subscriptions is not a list");
  if (list.length > most) {
    throw new SandpiperError(
      "limit",
      `the primary lists ${list.length} subscriptions, more than the ${most} that are accepted`,
      { hint: "Raise limits.max_subscriptions if that is right." },
    );
  }
  const offers = list.map((row) => {
    const parsed = offer.safeParse(row);
    if (!parsed.success)
      throw violation(
        `the primary lists a subscription that is not as it must be: ${parsed.error.issues[0]!.path.join(".")}`,
      );
    if (parsed.data.company_id !== companyId) throw violation("the primary lists a subscription of another company");
    const { slice, ...rest } = parsed.data;
    return {
      id: rest.id,
      name: rest.name,
      description: rest.description,
      active: rest.active,
      slice: { id: slice.id, name: slice.slice_name, type: slice.slice_type },
    };
  });
  if (new Set(offers.map((row) => row.id)).size !== offers.length)
    throw violation("the primary lists a subscription twice");
  if (new Set(offers.map((row) => row.slice.id)).size !== offers.length)
    throw violation("the primary lists two subscriptions to one slice");
  return offers;
}
