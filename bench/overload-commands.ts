/** What the main process of `overload` asks of its children (see commands.ts for the pipe). */
import type { Server } from "holdfast";

/**
 * `timer`: 10 ms on a timer, behind a pool of 10 places, first in, first out, as before a pool of connections. `cpu`: 1 ms in which the event loop is
 * kept.
 */
export type HandlerKind = "timer" | "cpu";

export interface OverloadServerCommands {
  /** Starts one server; resolves to its port. */
  listen(options: { readonly kind: HandlerKind; readonly hasAdmission: boolean }): Promise<number>;
  sample(): Promise<ServerSample>;
  /** What admission did since the start, of the server on that port. */
  admission(port: number): Promise<ReturnType<Server["status"]>["admission"]>;
}

export interface ServerSample {
  readonly atMs: number;
  /** User and system time of all threads so far. */
  readonly cpuMs: number;
  /** Of the same, what handlers took. */
  readonly handlerCpuMs: number;
}

/** One stretch of an open loop. */
export interface Phase {
  readonly ms: number;
  readonly perSecond: number;
}

/** Calls of one priority, phase after phase, at exponential distances drawn from `seed`. */
export interface Lane {
  readonly priority: "critical" | "normal" | "sheddable";
  readonly phases: readonly Phase[];
  readonly seed: number;
}

/** What became of the calls that were due in one phase. */
export interface PhaseFigures {
  readonly offered: number;
  /** Answered OK, and of those the ones that took at most `goodMs` from when they were due. */
  readonly answered: number;
  readonly good: number;
  /** Refused by the server's admission, and failed in another way. */
  readonly refused: number;
  readonly failed: number;
  readonly firstFailure: string | undefined;
  /** Of those that were answered, from when they were due. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface LaneFigures {
  readonly phases: readonly PhaseFigures[];
  /** Good answers by the 10 ms since the begin in which they came. */
  readonly goodBins: readonly number[];
}

export interface RunFigures {
  readonly lanes: readonly LaneFigures[];
  /** By how much calls were started later than they were due, by the client's own loop: with more than the figures, it measures itself. */
  readonly ownDelayP99Ms: number;
  readonly ownDelayMsMax: number;
}

export interface ClosedFigures {
  readonly perSecond: number;
  readonly calls: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface OverloadClientCommands {
  /** Opens so many connections to the port, in place of those there were. `preset` undefined: the whole default stack on one channel. */
  connect(options: { readonly port: number; readonly connections: number; readonly isPlain: boolean }): Promise<void>;
  run(options: { readonly lanes: readonly Lane[]; readonly goodMs: number }): Promise<RunFigures>;
  /** So many workers that call one call after the other. */
  closed(options: { readonly inFlight: number; readonly ms: number }): Promise<ClosedFigures>;
}
