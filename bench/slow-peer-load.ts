/**
 * The open loop of `slow-peer`: calls start when they are due, whatever became of the earlier ones, and are timed from when they were
 * due. A timer's granularity is 1 ms; what the process slept through is made up for at once, and counts in the latencies.
 */
import { Histogram } from "./histogram.ts";
import type { SlowPeerClient } from "./slow-peer-contender.ts";

export interface SlowPeerLoad {
  readonly perSecond: number;
  readonly calls: number;
  /** A call that succeeds after longer is late. */
  readonly lateMs: number;
}

/** What the client saw. */
export interface LoadFigures {
  readonly calls: number;
  readonly late: number;
  readonly failed: number;
  readonly firstFailure: string | undefined;
  /** Failed calls count with the time until they failed. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** The longest that the client's own event loop slept through a due call. */
  readonly ownStallMsMax: number;
}

/** How many calls are due so long after the begin; the first at once. */
export function callsDue(elapsedMs: number, { perSecond, calls }: SlowPeerLoad): number {
  return Math.min(calls, Math.floor((elapsedMs * perSecond) / 1_000) + 1);
}

/** Counts outcomes. */
export class LoadTally {
  private readonly lateMs: number;
  private readonly latencies = new Histogram();
  private late = 0;
  private failed = 0;
  private firstFailure: string | undefined = undefined;
  private maxMs = 0;
  private ownStallMsMax = 0;

  constructor(lateMs: number) {
    this.lateMs = lateMs;
  }

  get ended(): number {
    return this.latencies.count;
  }

  succeeded(tookMs: number): void {
    if (tookMs > this.lateMs) this.late += 1;
    this.took(tookMs);
  }

  refused(tookMs: number, error: unknown): void {
    this.failed += 1;
    this.firstFailure ??= String(error);
    this.took(tookMs);
  }

  slept(ms: number): void {
    this.ownStallMsMax = Math.max(this.ownStallMsMax, ms);
  }

  figures(): LoadFigures {
    const { latencies, late, failed, firstFailure, maxMs, ownStallMsMax } = this;
    return {
      calls: latencies.count,
      late,
      failed,
      firstFailure,
      p50Ms: latencies.quantile(0.5),
      p99Ms: latencies.quantile(0.99),
      p999Ms: latencies.quantile(0.999),
      maxMs,
      ownStallMsMax,
    };
  }

  private took(ms: number): void {
    this.latencies.record(ms);
    this.maxMs = Math.max(this.maxMs, ms);
  }
}

/** Runs the load; resolves when the last call has ended. */
export function runSlowPeerLoad(client: SlowPeerClient, load: SlowPeerLoad): Promise<LoadFigures> {
  const tally = new LoadTally(load.lateMs);
  const { promise, resolve } = Promise.withResolvers<LoadFigures>();
  const beganAtMs = performance.now();
  let started = 0;
  const start = async (number: number, dueMs: number): Promise<void> => {
    try {
      const { result } = await client.add({ a: number, b: 1 });
      if (result !== number + 1) throw new Error(`${number} + 1 came back as ${result}`);
      tally.succeeded(performance.now() - dueMs);
    } catch (error) {
      tally.refused(performance.now() - dueMs, error);
    }
    if (tally.ended === load.calls) resolve(tally.figures());
  };
  const turn = (): void => {
    const nowMs = performance.now();
    const dueOf = (number: number): number => beganAtMs + (number * 1_000) / load.perSecond;
    const due = callsDue(nowMs - beganAtMs, load);
    if (started < due) tally.slept(nowMs - dueOf(started));
    for (; started < due; started += 1) void start(started, dueOf(started));
    if (started < load.calls) setTimeout(turn, 1);
  };
  turn();
  return promise;
}
