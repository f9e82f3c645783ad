/**
 * Hot path: what admission knows of one method's handler: how long it takes from its begin to its end when nothing holds it up (the base that the
 * concurrency limit measures against), how long it keeps the event loop to itself when it begins, and the best it has done of late, by
 * which work is doomed. The route keeps one; numbers only.
 *
 * The base is the mean of a batch of calls, not of the fastest one as in TCP Vegas: service times that vary (an exponential one comes near 0)
 * would make every mean look like a queue. It falls fast and rises slowly, and while the limit holds calls back it does not rise at all: else a
 * standing queue becomes what is normal. A batch that is faster by chance does not lower it: its standard error is counted in.
 * failsafe-go's AdaptiveLimiter ages its baseline for the same reason.
 */

/** A batch has so many samples, or fewer if it took so long. */
const BATCH = 32;
const BATCH_MS = 2_000;
const BATCH_MIN = 4;
/** The first base is the mean of so many batches: of calls that began together, those that end first are the short ones. */
const BATCHES_FIRST = 4;
/** The time in which slower batches take the base up to 1 - 1/e of their own. */
const RISE_MS = 20_000;
/** A batch is faster than the base if its mean and so many standard errors are: of some hundred batches one is two and a half of them too fast by chance. */
const ERRORS = 3;
/** A method is known once so many of its calls have ended; one that says nothing of what the handler takes counts as a sixteenth. */
const KNOWN_ENDS = 8;
const KNOWN_BY_SAMPLE = 1;
const KNOWN_BY_END = 1 / 16;
/** The best of late is the tenth percentile of at most so many samples, none older than this. */
const RECENT = 32;
export const FRESH_MS = 10_000;
const BEST_SHARE = 0.1;
/** Fewer fresh samples say nothing of the best. */
const RECENT_MIN = 8;
/** The percentile is computed again after so many samples. */
const BEST_EVERY = 8;
const TRY_EVERY_MS = 100;
/**
 * A handler that takes no longer needs no permit: some of them are always running, so that a limit would be learned from them alone, and a slow
 * method beside them would never be seen.
 */
export const SHORT_MS = 5;
/** It is one no more once every batch has taken longer for so long, and for so long after the last that did or was held back. */
const LONG_AFTER_MS = 50;
const LONG_FOR_MS = 10_000;
/** A handler that keeps the loop for less than this is light: to run it costs about as much as to refuse it. */
export const HEAVY_MS = 0.1;
/** A light handler's begin is timed once in so many calls. */
const TIMED_EVERY = 16;
/** The share of a new timing in the cost; a longer one counts at once by half, so that a burst of slow ones is seen. */
const COST_SHARE = 0.2;
const COST_RISE = 0.5;
/**
 * But no more than so many times the cost known, or so much: where other processes want the processor, one in the midst of a handler can take it
 * for 20 ms, and the first call of a process is compiled. Two or three that are slow in truth are enough to be believed.
 */
const COST_RISE_MAX = 4;
const COST_RISE_MIN_MS = 0.2;

const SCRATCH = new Float64Array(RECENT);

/** Samples of one method's handler. Durations in milliseconds. */
export class HandlerFigures {
  /** Mean time from begin to end when not held up; NaN until the first batch. */
  baseMs: number;
  /** Time for which the handler's first synchronous part keeps the loop. */
  costMs: number;
  /** Calls of this method that run now. */
  running: number;
  /** Whether its calls need a permit. Of a method that nobody knows yet they do. */
  isShort: boolean;
  /** A call of it has come. */
  isMet: boolean;
  /** What its calls take is not known: too few have ended since the first came. */
  isUnknown: boolean;
  /** While it is: calls that run with a permit. */
  unknown: number;
  private knownEnds: number;
  private slowSinceMs: number;
  private longUntilMs: number;
  private beganAtMs: number;
  private untimed: number;
  private batchSum: number;
  private batchSquares: number;
  private batchCount: number;
  private batchStartMs: number;
  private batches: number;
  private readonly tookMs: Float64Array;
  private readonly endedMs: Float64Array;
  private at: number;
  private bestMs: number;
  private bestDue: number;
  private bestUntilMs: number;

  constructor() {
    this.baseMs = Number.NaN;
    // -0 and not 0, so that the fields are doubles from the start.
    this.costMs = -0;
    this.running = 0;
    this.isShort = false;
    this.isMet = false;
    this.isUnknown = true;
    this.unknown = 0;
    this.knownEnds = -0;
    this.slowSinceMs = Number.POSITIVE_INFINITY;
    this.longUntilMs = Number.NEGATIVE_INFINITY;
    this.beganAtMs = Number.NEGATIVE_INFINITY;
    this.untimed = 0;
    this.batchSum = -0;
    this.batchSquares = -0;
    this.batchCount = 0;
    this.batchStartMs = Number.NEGATIVE_INFINITY;
    this.batches = 0;
    this.tookMs = new Float64Array(RECENT);
    this.endedMs = new Float64Array(RECENT).fill(Number.NEGATIVE_INFINITY);
    this.at = 0;
    this.bestMs = -0;
    this.bestDue = 0;
    this.bestUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** Whether the handler keeps the loop so long that not all that were read together may begin in one turn. */
  get isHeavy(): boolean {
    return this.costMs >= HEAVY_MS;
  }

  /** Whether the begin of the next call is to be timed: the first one, each of a heavy handler, and one in sixteen of a light one. */
  get isTimed(): boolean {
    return this.untimed === 0;
  }

  /** A call of this method begins. */
  began(nowMs: number): void {
    this.running += 1;
    this.beganAtMs = nowMs;
    this.untimed = this.costMs >= HEAVY_MS / 2 || this.untimed >= TIMED_EVERY - 1 ? 0 : this.untimed + 1;
  }

  /**
   * Whether a call of it may begin that nobody measures: it needs no permit, keeps the loop for next to nothing, and is not the one in sixteen
   * that is timed.
   */
  get isWellKnown(): boolean {
    return this.isShort && this.untimed !== 0 && this.costMs < HEAVY_MS / 2;
  }

  /** Such a call begins. */
  passed(nowMs: number): void {
    this.beganAtMs = nowMs;
    this.untimed = this.untimed >= TIMED_EVERY - 1 ? 0 : this.untimed + 1;
  }

  /** Whether one may be tried that seems to have too little time: none runs, and none has begun for 100 ms. */
  mayTry(nowMs: number): boolean {
    return this.running === 0 && nowMs - this.beganAtMs >= TRY_EVERY_MS;
  }

  /** A call ended that had a permit: one is known by what it took, or, streams and calls that nobody waits for, after very many. True: it is known from now on. */
  learns(isSample: boolean): boolean {
    if (!this.isUnknown) return false;
    this.knownEnds += isSample ? KNOWN_BY_SAMPLE : KNOWN_BY_END;
    this.isUnknown = this.knownEnds < KNOWN_ENDS;
    return !this.isUnknown;
  }

  /** A call of it waits for a permit. One that was found long stays so for a while: that it takes little now is the permits' doing. */
  heldBack(nowMs: number): void {
    if (nowMs < this.longUntilMs) this.longUntilMs = nowMs + LONG_FOR_MS;
  }

  /** The synchronous part of a begin took so long. */
  timed(costMs: number): void {
    const delta = Math.min(costMs, Math.max(COST_RISE_MIN_MS, COST_RISE_MAX * this.costMs)) - this.costMs;
    this.costMs += delta * (delta > 0 ? COST_RISE : COST_SHARE);
  }

  /** A call ended after `tookMs`. `mayRise`: the limit held nothing back. */
  sample(tookMs: number, nowMs: number, mayRise: boolean): void {
    const at = this.at;
    this.tookMs[at] = tookMs;
    this.endedMs[at] = nowMs;
    this.at = (at + 1) & (RECENT - 1);
    if (this.bestDue > 0) this.bestDue -= 1;
    this.batchSum += tookMs;
    this.batchSquares += tookMs * tookMs;
    this.batchCount += 1;
    if (this.batchCount >= BATCH || nowMs - this.batchStartMs >= BATCH_MS) this.endBatch(nowMs, mayRise);
  }

  /**
   * The tenth percentile of the samples that are at most 10 s old; 0 when there are fewer than eight, for then nobody knows.
   */
  best(nowMs: number): number {
    if (this.bestDue > 0 && nowMs < this.bestUntilMs) return this.bestMs;
    let count = 0;
    let oldestMs = nowMs;
    for (let i = 0; i < RECENT; i++) {
      const endedMs = this.endedMs[i] as number;
      if (nowMs - endedMs > FRESH_MS) continue;
      if (endedMs < oldestMs) oldestMs = endedMs;
      SCRATCH[count++] = this.tookMs[i] as number;
    }
    this.bestDue = BEST_EVERY;
    this.bestUntilMs = oldestMs + FRESH_MS;
    this.bestMs =
      count < RECENT_MIN ? 0 : (SCRATCH.subarray(0, count).sort()[Math.floor(count * BEST_SHARE)] as number);
    return this.bestMs;
  }

  /** Whether it is short, by a batch that took so long: one moment in which the process stood still says nothing. */
  private judge(meanMs: number, nowMs: number): void {
    if (meanMs <= SHORT_MS) this.slowSinceMs = Number.POSITIVE_INFINITY;
    else if (this.slowSinceMs === Number.POSITIVE_INFINITY) this.slowSinceMs = nowMs;
    if (nowMs - this.slowSinceMs >= LONG_AFTER_MS) this.longUntilMs = nowMs + LONG_FOR_MS;
    this.isShort = this.baseMs <= SHORT_MS && nowMs >= this.longUntilMs;
  }

  private endBatch(nowMs: number, mayRise: boolean): void {
    if (this.batchCount >= BATCH_MIN) {
      const mean = this.batchSum / this.batchCount;
      const elapsedMs = nowMs - this.batchStartMs;
      const variance = Math.max(0, this.batchSquares / this.batchCount - mean * mean);
      const likelyMax = mean + ERRORS * Math.sqrt(variance / this.batchCount);
      this.batches += 1;
      if (this.batches === 1) this.baseMs = mean;
      else if (this.batches <= BATCHES_FIRST) this.baseMs += (mean - this.baseMs) / this.batches;
      else if (likelyMax < this.baseMs) this.baseMs = likelyMax;
      else if (mayRise && mean > this.baseMs && elapsedMs > 0)
        this.baseMs += (mean - this.baseMs) * Math.min(1, elapsedMs / RISE_MS);
      this.judge(mean, nowMs);
    }
    this.batchSum = 0;
    this.batchSquares = 0;
    this.batchCount = 0;
    this.batchStartMs = nowMs;
  }
}
