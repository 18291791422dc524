/** Companies, subscriptions and their keys as types. Pure. */
import type { CompanyId, SliceKey } from "../ids.ts";

export type ServerRole = "primary" | "secondary";

/** What this database is: set once, by `init`. */
export interface Server {
  role: ServerRole;
  /** Our own company's id. */
  serverId: CompanyId;
  /** Our own company's name. */
  companyName: string;
}

/** A trading partner, or ourselves. */
export interface Company {
  id: CompanyId;
  name: string;
  active: boolean;
  /** Where a primary listens; on a secondary only. */
  syncAddr: string | null;
  /** Whether that may lead to a loopback or private network. */
  syncPrivate: boolean;
  createdAt: Date;
  updatedAt: Date;
}

/** A subscription as it is stored. `companyId` is relative to the server that holds it. */
export interface Subscription {
  key: number;
  companyId: CompanyId;
  companyName: string;
  id: string;
  sliceKey: SliceKey;
  sliceId: string;
  sliceName: string;
  sliceType: string;
  name: string;
  description: string;
  /** This side's own switch. */
  active: boolean;
  /** On a secondary: whether the primary had it switched on when last seen. */
  offered: boolean;
  /** On a secondary: since when the primary no longer lists it. */
  withdrawnAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

/** Roles of people and partners, with the numbers of the Go reference. */
export const roles = { "super-admin": 100, admin: 110, "company-admin": 120, sync: 200 } as const;
