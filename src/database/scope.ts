/**
 * Which slices somebody sees is said here, and once more by row-level security (db/schema.sql). A query that serves a request takes a
 * scope and puts one of these conditions into its WHERE, as its first parameter (`npm run test:tenants` takes each of them away in turn,
 * and finds them by that), names the partner's company itself, or works on a slice that was found by one that has a condition. A partner's company comes from its token
 * alone, never from what it sends.
 */
import type { CompanyId } from "../ids.ts";

/** Everything (this machine's operator, an admin), or what one company may see. */
export type Scope = { readonly all: true } | { readonly company: CompanyId };

export const everything: Scope = { all: true };

/** The value that the conditions below expect at their parameter. */
export const scopeValue = (scope: Scope): string | null => ("all" in scope ? null : scope.company);

/** What row-level security knows the scope by. */
export const scopeName = (scope: Scope): string => ("all" in scope ? "all" : scope.company);

/** Rows of `slices s`: those with an active subscription of an active company. For lists of slices. */
export function slicesInScope(scope: Scope, parameter: string): string {
  return "all" in scope ? `${parameter}::uuid IS NULL` : `EXISTS (${ownSubscription(parameter)})`;
}

/**
 * The same, for a statement that finds its slices by itself: asked for each of them. (With OFFSET the planner cannot begin with
 * all that the company subscribes to, which it might where no statistics tell it better.)
 */
export function sliceInScope(scope: Scope, parameter: string): string {
  return "all" in scope ? `${parameter}::uuid IS NULL` : `EXISTS (${ownSubscription(parameter)} OFFSET 0)`;
}

const ownSubscription = (
  parameter: string,
) => `SELECT 1 FROM subscriptions scoped JOIN companies owner ON owner.id = scoped.company_id
         WHERE scoped.slice_key = s.slice_key AND scoped.company_id = ${parameter}::uuid AND scoped.active AND owner.active`;

/** Rows of any table under the alias `alias` that name a company in `company_id`. */
export function companyInScope(scope: Scope, parameter: string, alias: string): string {
  return "all" in scope ? `${parameter}::uuid IS NULL` : `${alias}.company_id = ${parameter}::uuid`;
}
