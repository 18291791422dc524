/** Ids in a path. */
import { SandpiperError } from "../../errors.ts";
import { isUuid } from "../../ids.ts";
import { noSuchAddress } from "../http/problem.ts";

/** The id at this place of the path, in lower case. @throws `usage` when it is not the form of an id. */
export function pathUuid(text: string | undefined): string {
  const id = text ?? "";
  if (isUuid(id)) return id.toLowerCase();
  // An attempt to leave the tree names no address at all.
  if (/[/\\%]|\.\./.test(id)) throw noSuchAddress();
  throw new SandpiperError("usage", "the id in the address is not a UUID");
}

/** The number at this place of the path. @throws `usage` when it is none. */
export function pathNumber(text: string | undefined): number {
  if (/^\d{1,15}$/.test(text ?? "")) return Number(text);
  throw new SandpiperError("usage", "the id in the address is not a number");
}
