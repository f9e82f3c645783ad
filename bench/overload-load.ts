/**
 * The open loop of `overload`: calls start when they are due, whatever became of the earlier ones, and are timed from when they were due.
 * The pacing spins: a timer's millisecond is as much as one of the handlers takes.
 */
import { RpcError } from "holdfast";
import { seededRandom } from "../src/world/seeded-random.ts";
import { Histogram } from "./histogram.ts";
import type { ClosedFigures, Lane, LaneFigures, PhaseFigures, RunFigures } from "./overload-commands.ts";

export const binMs = 10;

/** Makes one call of that priority; rejects with what it failed with. */
export type MakeCall = (number: number, priority: Lane["priority"]) => Promise<unknown>;

/** When the calls of a lane are due, in milliseconds from the begin, and in which phase. */
export class Schedule {
  private readonly random: () => number;
  private readonly lane: Lane;
  private phaseEndMs: number;
  phase: number;
  /** Infinity: no more. */
  dueMs: number;

  constructor(lane: Lane) {
    const random = seededRandom(lane.seed);
    this.random = () => random.float();
    this.lane = lane;
    this.phase = 0;
    this.phaseEndMs = lane.phases[0]?.ms ?? 0;
    this.dueMs = 0;
    this.next();
  }

  /** Goes on to the next call. A gap that reaches beyond its phase is drawn again from there: the distances have no memory. */
  next(): void {
    for (;;) {
      const phase = this.lane.phases[this.phase];
      if (phase === undefined) {
        this.dueMs = Infinity;
        return;
      }
      // 1 - float() is never 0, of which there is no logarithm.
      const gapMs = phase.perSecond === 0 ? Infinity : (-Math.log(1 - this.random()) * 1_000) / phase.perSecond;
      if (this.dueMs + gapMs < this.phaseEndMs) {
        this.dueMs += gapMs;
        return;
      }
      this.dueMs = this.phaseEndMs;
      this.phase += 1;
      this.phaseEndMs += this.lane.phases[this.phase]?.ms ?? 0;
    }
  }
}

/** Counts what becomes of the calls of one phase. */
export class PhaseTally {
  offered = 0;
  private answered = 0;
  private good = 0;
  private refused = 0;
  private failedCount = 0;
  private firstFailure: string | undefined = undefined;
  private maxMs = 0;
  private readonly latencies = new Histogram();

  get ended(): number {
    return this.answered + this.refused + this.failedCount;
  }

  /** True if it was good. */
  succeeded(tookMs: number, goodMs: number): boolean {
    this.answered += 1;
    this.latencies.record(tookMs);
    this.maxMs = Math.max(this.maxMs, tookMs);
    const isGood = tookMs <= goodMs;
    if (isGood) this.good += 1;
    return isGood;
  }

  failed(error: unknown): void {
    if (error instanceof RpcError && error.reason === "ADMISSION_REFUSED") {
      this.refused += 1;
      return;
    }
    this.failedCount += 1;
    this.firstFailure ??= String(error);
  }

  figures(): PhaseFigures {
    const { offered, answered, good, refused, failedCount, firstFailure, maxMs, latencies } = this;
    return {
      offered,
      answered,
      good,
      refused,
      failed: failedCount,
      firstFailure,
      p50Ms: latencies.quantile(0.5),
      p99Ms: latencies.quantile(0.99),
      maxMs,
    };
  }
}

class RunningLane {
  readonly lane: Lane;
  readonly schedule: Schedule;
  readonly tallies: readonly PhaseTally[];
  readonly goodBins: number[];

  constructor(lane: Lane) {
    this.lane = lane;
    this.schedule = new Schedule(lane);
    this.tallies = lane.phases.map(() => new PhaseTally());
    const totalMs = lane.phases.reduce((sum, { ms }) => sum + ms, 0);
    this.goodBins = new Array<number>(Math.ceil(totalMs / binMs)).fill(0);
  }

  figures(): LaneFigures {
    return { phases: this.tallies.map((tally) => tally.figures()), goodBins: this.goodBins };
  }
}

/** Runs all lanes beside each other; resolves when the last call has ended. */
export async function runLanes(call: MakeCall, lanes: readonly Lane[], goodMs: number): Promise<RunFigures> {
  const running = lanes.map((lane) => new RunningLane(lane));
  const beganMs = performance.now();
  let number = 0;
  let open = 0;
  const ownDelays = new Histogram();
  let ownDelayMsMax = 0;
  const one = async (lane: RunningLane, tally: PhaseTally, dueMs: number): Promise<void> => {
    open += 1;
    tally.offered += 1;
    try {
      await call(number++, lane.lane.priority);
      const endedMs = performance.now() - beganMs;
      const bin = Math.floor(endedMs / binMs);
      const isGood = tally.succeeded(endedMs - dueMs, goodMs);
      if (isGood && bin < lane.goodBins.length) lane.goodBins[bin] = (lane.goodBins[bin] ?? 0) + 1;
    } catch (error) {
      tally.failed(error);
    }
    open -= 1;
  };
  for (;;) {
    const nowMs = performance.now() - beganMs;
    let isOver = open === 0;
    for (const lane of running) {
      const { schedule } = lane;
      for (; schedule.dueMs <= nowMs; schedule.next()) {
        const delayMs = performance.now() - beganMs - schedule.dueMs;
        ownDelays.record(delayMs);
        ownDelayMsMax = Math.max(ownDelayMsMax, delayMs);
        void one(lane, lane.tallies[schedule.phase] as PhaseTally, schedule.dueMs);
      }
      if (schedule.dueMs !== Infinity) isOver = false;
    }
    if (isOver && open === 0) break;
    await nextTurn();
  }
  return {
    lanes: running.map((lane) => lane.figures()),
    ownDelayP99Ms: ownDelays.quantile(0.99),
    ownDelayMsMax,
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Workers that call one call after the other for that long. */
export async function runClosed(call: MakeCall, inFlight: number, ms: number): Promise<ClosedFigures> {
  const latencies = new Histogram();
  let failed = 0;
  const beganMs = performance.now();
  const untilMs = beganMs + ms;
  const worker = async (): Promise<void> => {
    for (let startMs = performance.now(); startMs < untilMs; ) {
      let isGood = true;
      try {
        await call(0, "normal");
      } catch {
        isGood = false;
      }
      const nowMs = performance.now();
      if (!isGood) failed += 1;
      else if (nowMs <= untilMs) latencies.record(nowMs - startMs);
      startMs = nowMs;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return {
    perSecond: (latencies.count * 1_000) / ms,
    calls: latencies.count,
    failed,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
  };
}
