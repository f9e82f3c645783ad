/**
 * Hot path: copies stand down when most peers became slow at once. One slow peer is what copies are for; when all are slow the cause
 * is shared (overload, a slow database behind them), and copies would be the load that keeps it so (Huang et al., "Metastable Failures in
 * the Wild", OSDI 2022: extra attempts sustained more than half of the outages looked at).
 */

/** The estimate of the median moves by this share of itself with one sample: at least, at most, and per second in between. */
const STEP_MIN = 0.02;
const STEP_MAX = 0.1;
const STEP_PER_MS = 1 / 2_000;
/** A row of so many samples on one side is usual; each further one makes the step longer, up to this many times. */
const ROW_USUAL = 6;
const STRIDE_MAX = 10;
/** How fast the baseline follows: slowly when a peer becomes slower, soon when it becomes faster. */
const RISE_MS = 30_000;
const FALL_MS = 5_000;
/** The baseline moves at most this often. */
const BASELINE_EVERY_MS = 100;
/** A sample counts as this at least. */
const SAMPLE_MIN_MS = 0.01;
/** Until it has so many samples, a peer has no past to be compared with. */
const SAMPLES_MIN = 20;
/** A peer without a sample for so long has no say. */
const FRESH_MS = 10_000;
/** A peer is slow at so much over its baseline; when copies stand down, already at the second pair. */
const ENTER_FACTOR = 2;
const ENTER_FLOOR_MS = 2;
const LEAVE_FACTOR = 1.5;
const LEAVE_FLOOR_MS = 1;

/**
 * A peer's median latency of late, and its baseline, which follows it within a minute whatever the jump. A sample costs a few
 * nanoseconds: it moves the median one step up or down (Frugal streaming, Ma, Muthukrishnan and Sandler, 2013).
 */
export class PeerPace {
  private fast: number;
  private baseline: number;
  private sampledMs: number;
  private baselineMs: number;
  private samples: number;
  /** How many samples in a row lay above (below: negative) the estimate. */
  private row: number;

  constructor() {
    // NaN and not 0, so that the fields are doubles from the start.
    this.fast = Number.NaN;
    this.baseline = Number.NaN;
    this.sampledMs = Number.NaN;
    this.baselineMs = Number.NaN;
    this.samples = 0;
    this.row = 0;
  }

  /** An attempt at this peer took `ms`; NaN is no sample. */
  sample(ms: number, nowMs: number): void {
    // Steps are shares of the estimate: one of 0 would never move.
    if (ms < SAMPLE_MIN_MS) ms = SAMPLE_MIN_MS;
    else if (Number.isNaN(ms)) return;
    if (this.samples < SAMPLES_MIN) {
      this.learn(ms, nowMs);
      return;
    }
    const sinceMs = nowMs - this.sampledMs;
    this.sampledMs = nowMs;
    let step = sinceMs * STEP_PER_MS;
    if (step < STEP_MIN) step = STEP_MIN;
    else if (step > STEP_MAX) step = STEP_MAX;
    this.move(ms, step);
    if (nowMs - this.baselineMs >= BASELINE_EVERY_MS) this.follow(nowMs);
  }

  /** The median of late, in milliseconds; NaN without samples. */
  get medianMs(): number {
    return this.fast;
  }

  /** Whether there is a past, and a present, to compare. */
  hasSay(nowMs: number): boolean {
    return this.samples >= SAMPLES_MIN && nowMs - this.sampledMs <= FRESH_MS;
  }

  /** Whether the median is at least `factor` times the baseline and `floorMs` over it. */
  isOver(factor: number, floorMs: number): boolean {
    return this.fast >= factor * this.baseline && this.fast - this.baseline >= floorMs;
  }

  /** The first samples: large steps, and the baseline goes along. */
  private learn(ms: number, nowMs: number): void {
    if (this.samples === 0) this.fast = ms;
    else this.move(ms, STEP_MAX);
    this.samples += 1;
    this.baseline = this.fast;
    this.sampledMs = nowMs;
    this.baselineMs = nowMs;
  }

  /** One step towards the sample, never past it; a row of samples on one side makes steps longer. */
  private move(ms: number, step: number): void {
    if (ms > this.fast) {
      this.row = this.row > 0 ? this.row + 1 : 1;
      this.fast = Math.min(ms, this.fast * (1 + step * stride(this.row)));
    } else if (ms < this.fast) {
      this.row = this.row < 0 ? this.row - 1 : -1;
      this.fast = Math.max(ms, this.fast / (1 + step * stride(-this.row)));
    }
  }

  private follow(nowMs: number): void {
    const share = (nowMs - this.baselineMs) / (this.fast > this.baseline ? RISE_MS : FALL_MS);
    this.baselineMs = nowMs;
    // Implicit Euler: stable however long ago the last sample was.
    this.baseline += (this.fast - this.baseline) * (share / (1 + share));
  }
}

/** Half of the samples lie on either side of a median, so a long row on one side says that it is elsewhere. */
function stride(row: number): number {
  return row <= ROW_USUAL ? 1 : Math.min(row - ROW_USUAL + 1, STRIDE_MAX);
}

/** Whether copies stand down. Ask {@link look} about once a second, and {@link isDown} in between. */
export class StandDown {
  private down: boolean;

  constructor() {
    this.down = false;
  }

  /** The answer of the last look; false before the first. */
  get isDown(): boolean {
    return this.down;
  }

  /**
   * True from when more than half of the peers that have a say are at least twice, and 2 ms, over their own baseline, until no more than half are
   * 1.5 times, and 1 ms, over it. It ends by itself: a jump of any size is the new baseline within 60 s.
   */
  look(paces: readonly PeerPace[], nowMs: number): boolean {
    const factor = this.down ? LEAVE_FACTOR : ENTER_FACTOR;
    const floorMs = this.down ? LEAVE_FLOOR_MS : ENTER_FLOOR_MS;
    let asked = 0;
    let over = 0;
    for (const pace of paces) {
      if (!pace.hasSay(nowMs)) continue;
      asked += 1;
      if (pace.isOver(factor, floorMs)) over += 1;
    }
    // One peer alone, as when the first one that is ready gets a whole burst, does not show that most became slow.
    this.down = asked > 1 && over * 2 > asked;
    return this.down;
  }
}
