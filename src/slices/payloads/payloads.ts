/** Where payloads are. */
import type { PayloadStore } from "./payload-store.ts";
import { postgresPayloads } from "./postgres-payloads.ts";

export const payloads: PayloadStore = postgresPayloads;
