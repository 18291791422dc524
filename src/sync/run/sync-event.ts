/** What happens in a sync, told as it happens to one sink: the command's output, or whoever else wants to follow it. */
import type { SandpiperError } from "../../errors.ts";
import type { SliceResult } from "../protocol/secondary-port.ts";
import type { TransferEvent } from "../secondary/secondary-adapter.ts";
import type { PartnerReport } from "./report.ts";

/** What happens in a run with one primary. */
export type PartnerEvent =
  | TransferEvent
  /** A slice is done with. */
  | { type: "slice"; result: SliceResult }
  /** A try has failed, and another follows after this time. */
  | { type: "retry"; error: SandpiperError; waitMs: number }
  /** The run is over. */
  | { type: "partner"; report: PartnerReport };

/** The same, with the primary that it is about. */
export type SyncEvent = Pick<PartnerReport, "company"> & PartnerEvent;

/** Whoever is told. It must neither throw nor take long. */
export type SyncSink = (event: SyncEvent) => void;
