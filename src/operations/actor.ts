/**
 * What somebody wants done, once, whoever asks: the command line, REST, and what comes after them. They parse what they were given, call one
 * function of this room, and show what it returns.
 *
 * A function goes here when it holds a rule that its callers would otherwise repeat, or joins several stores. It takes the App, the {@link Actor}
 * where it matters who asks, and its input. It checks for itself on which kind of server it works (role.ts), looks up what is named (find.ts), and
 * relies on no check of its caller's. What is asked for late, such as a password or a confirmation, is a function among its input: it is called when
 * all else is right. Whoever only reads, or changes what no rule is about, calls the store.
 */
import { roles } from "../companies/company.ts";
import { everything, type Scope } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import type { CompanyId } from "../ids.ts";

/** On whose behalf something is done: the operator of this machine, or somebody who has logged in. */
export type Actor = "operator" | { readonly companyId: CompanyId; readonly role: number };

/** Whether somebody may do everything on this server. */
export const isAdmin = (actor: Actor): boolean =>
  actor === "operator" || actor.role === roles.admin || actor.role === roles["super-admin"];

/** What somebody may see: administrators everything, all others what concerns their own company. */
export const scopeOf = (actor: Actor): Scope =>
  actor === "operator" || isAdmin(actor) ? everything : { company: actor.companyId };

export const forbidden = (message = "your role does not permit this") =>
  new SandpiperError("forbidden", message, { hint: "Ask an administrator of this server." });
