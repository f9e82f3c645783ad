/** What the chaos of once calls is made with: an effect in a file beside the journal (`unary`), and one in the journal (`missing`). */
import { annotate } from "holdfast";
import { Probe } from "../peers/gen/holdfast/interop/v1/probe_pb.js";

export const Once = annotate(Probe, { unary: { effect: "once" }, missing: { effect: "once" } });

/** What a server process is told. */
export interface ServerPlan {
  /** 0: any. */
  readonly port: number;
  /** The journal; undefined: memory. */
  readonly journal: string | undefined;
  /** Where `unary` has its effect. */
  readonly effects: string;
  /** Which process it is. */
  readonly life: string;
  /** The handlers wait up to so long before their effect, and after it. */
  readonly waitMs: number;
}

/** What a client process is told. */
export interface ClientPlan {
  readonly targets: readonly string[];
  /** A line for each call: its key and its method. */
  readonly plan: string;
  /** A line for each end of a call: key, outcome, whether a handler was reached, reply or text. */
  readonly results: string;
  readonly inFlight: number;
  /** How often a call that may have been done is made with its key before it is given up. */
  readonly triesMax: number;
}

export type Method = "unary" | "missing";
