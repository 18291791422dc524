/** Lists: `?page=N&limit=M` and `{data, paging}`. */
import * as z from "zod";
import type { Page } from "../../slices/slice-store.ts";

const wholeNumber = (max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(1).max(max));

export const pageQuery = z
  .strictObject({ page: wholeNumber(1_000_000).default(1), limit: wholeNumber(1000).default(100) })
  .transform(({ page, limit }) => ({ number: page, limit, offset: (page - 1) * limit }));

type PageQuery = Page & { number: number };

/** The document of one page of a list. */
export const listing = (data: readonly unknown[], page: PageQuery, total: number) => ({
  data,
  paging: { page_number: page.number, page_size: page.limit, items_total: total },
});
