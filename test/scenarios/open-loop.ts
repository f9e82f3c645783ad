/**
 * An open loop in virtual time: calls begin when they are due, however the earlier ones fare, as users do. What it counts is what
 * the callers saw.
 */
import { RpcError } from "holdfast";
import type { Cluster } from "holdfast/testing";

export interface Arrivals {
  /** Calls a second, evenly spaced. */
  readonly perSecond: number;
  readonly forMs: number;
  /** A call that succeeds after longer is late. */
  readonly lateMs: number;
}

/** What the callers saw. */
export interface Outcome {
  readonly calls: number;
  readonly failed: number;
  /** Calls that succeeded, but took longer than `lateMs`. */
  readonly late: number;
  /** The first failures and late calls, for people. */
  readonly examples: readonly string[];
  /** Failed calls count with the time until they failed. */
  quantileMs(share: number): number;
}

const EXAMPLES_MAX = 5;

/** Begins calls at that pace, and waits until the last one has ended. `call` is given the number of the call, from 0. */
export async function openLoop(
  cluster: Cluster,
  arrivals: Arrivals,
  call: (number: number) => Promise<unknown>,
): Promise<Outcome> {
  const loop = new OpenLoop(cluster, arrivals, call);
  await cluster.settle(loop.run(), { limitMs: arrivals.forMs + 120_000 });
  return loop.outcome();
}

class OpenLoop {
  private readonly cluster: Cluster;
  private readonly arrivals: Arrivals;
  private readonly call: (number: number) => Promise<unknown>;
  private readonly tookMs: Float64Array;
  private readonly beganAtMs: number;
  private readonly ended: PromiseWithResolvers<void>;
  private readonly examples: string[] = [];
  private begun = 0;
  private endedCount = 0;
  private failed = 0;
  private late = 0;

  constructor(cluster: Cluster, arrivals: Arrivals, call: (number: number) => Promise<unknown>) {
    this.cluster = cluster;
    this.arrivals = arrivals;
    this.call = call;
    this.tookMs = new Float64Array(Math.round((arrivals.perSecond * arrivals.forMs) / 1_000));
    this.beganAtMs = cluster.simulation.nowMs;
    this.ended = Promise.withResolvers();
  }

  run(): Promise<void> {
    this.begin();
    return this.ended.promise;
  }

  outcome(): Outcome {
    const sorted = this.tookMs.toSorted();
    return {
      calls: sorted.length,
      failed: this.failed,
      late: this.late,
      examples: this.examples,
      quantileMs: (share) => quantileOf(sorted, share),
    };
  }

  private begin(): void {
    void this.measure(this.begun);
    this.begun += 1;
    if (this.begun >= this.tookMs.length) return;
    const dueMs = this.beganAtMs + (this.begun * 1_000) / this.arrivals.perSecond;
    this.cluster.world.timers.schedule(dueMs - this.cluster.simulation.nowMs, () => this.begin());
  }

  private async measure(number: number): Promise<void> {
    const { simulation } = this.cluster;
    const startMs = simulation.nowMs;
    let error: unknown;
    try {
      await this.call(number);
    } catch (thrown) {
      error = thrown;
    }
    const tookMs = simulation.nowMs - startMs;
    this.tookMs[number] = tookMs;
    if (error !== undefined) this.failed += 1;
    else if (tookMs > this.arrivals.lateMs) this.late += 1;
    if ((error !== undefined || tookMs > this.arrivals.lateMs) && this.examples.length < EXAMPLES_MAX) {
      const what = error === undefined ? "late" : textOf(error);
      this.examples.push(
        `call ${number} at ${Math.round(startMs - this.beganAtMs)} ms, ${Math.round(tookMs)} ms: ${what}`,
      );
    }
    this.endedCount += 1;
    if (this.endedCount === this.tookMs.length) this.ended.resolve();
  }
}

function textOf(error: unknown): string {
  const faults = error instanceof RpcError ? error.faults.map(({ peer, text }) => ` [${peer?.address}: ${text}]`) : [];
  return `${String(error)}${faults.join("")}`;
}

/** The value below or at which so large a share of the sorted values lies (nearest rank); NaN of none. */
export function quantileOf(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
