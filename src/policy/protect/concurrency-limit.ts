/**
 * Hot path: how many handlers may run at once, learned from how long they take. With a bottleneck behind the handlers (a pool of
 * connections, a lock, the loop itself) more of them at once take longer and no more of them end; without one the limit must not be felt.
 *
 * Per window the time that handlers took is divided by what they take when not held up (`x`). From Little's law inflight * (1 - 1/x)
 * of them wait behind the handlers: the queue estimate of TCP Vegas, as in Netflix's VegasLimit and failsafe-go's AdaptiveLimiter. Both
 * sums weigh each method by its own time, so a slow method that joins a fast one changes x by nothing. Few of them waiting: the limit
 * grows, if it was felt. Many: it falls towards throughput * base, the bandwidth-delay product of BBR and of bRPC's auto limiter.
 *
 * Correlation guard (failsafe-go's, as a regression): handlers may take longer for a reason of their own, a slow database or another mix. Then fewer
 * of them at once take as long as before. From windows in which the limit was felt, so that it and nothing else set how many ran, the
 * slope of ln(x) over ln(inflight) is kept: about 1 behind a bottleneck, about 0 without. A slope near 0 makes the new time
 * the normal one (`scale`), and the limit grows again. To have a slope at all, a limit that is felt for long steps down for one window now and then.
 *
 * Growth. Until a bottleneck was met, as TCP's slow start: twofold per window, and, when demand is sudden, so that the limit is felt and no window has ended
 * yet, twofold each 1 to 16 ms for as long as calls are held back: the limit must not be what a sudden demand waits for. Above what was once found too
 * much, by steps that grow while nothing gets slower. After a fall or a rise only calls that began under the new limit are samples, so each step is seen before the next.
 */

/** The limit of a server that knows nothing yet. */
export const LIMIT_START = 8;
/** Handlers that take less than this are never slow: the loop's own turns are of that size. */
const NOISE_MS = 5;
/** A window has from 24 to 96 samples, about three for each permit, and lasts 1 ms at least; after a second a few will do. */
const SAMPLES_MIN = 24;
const SAMPLES_MAX = 96;
const SAMPLES_PER_PERMIT = 3;
/** A window that looks slow goes on until the standard error of its mean is this small, for so many times its samples, or so long. */
const ERROR_MAX = 0.1;
const LONGER = 4;
const LONGER_MS = 250;
const SAMPLES_FEW = 4;
const WINDOW_MIN_MS = 1;
const WINDOW_LONG_MS = 1_000;
/** Below the first x the limit grows, above the second it falls, if that many standard errors below x are above it too. */
const CALM = 1.3;
const SLOW = 1.7;
/** Where the limit was not felt, calls wait behind the handlers by chance too. */
const SLOW_UNFELT = 2;
const ERRORS = 1.5;
/** So many waiting behind the handlers are nothing, and so few no reason to fall. */
const WAITING_CALM = 1;
const WAITING_SLOW = 2;
/** What is left above throughput * base. */
const HEADROOM = 1.5;
/** The least that one window leaves of the limit, and where it is this much slower than normal. */
const FALL_MIN = 0.7;
const FALL_MIN_FAR = 0.25;
const FAR = 2.5;
/** How often it grows blindly: a little later than answers need that nothing holds up, within these. */
const BLIND_MIN_MS = 1;
const BLIND_MAX_MS = 16;
const BLIND_FACTOR = 1.2;
/** Where no answer is known yet. */
const BLIND_FIRST_MS = 4;
/**
 * The most before so many calls have ended: what they take when not held up is being learned. A server that starts into an overload would learn the
 * time that they take in one.
 */
const COLD_MAX = 32;
const COLD_SAMPLES = 128;
/** Handlers that take so long give few answers: so long after that most was felt, a few of them will do. */
const COLD_MS = 500;
const COLD_SAMPLES_FEW = 8;
/** Beside those of an unknown method so many times as many may run as did. */
const UNKNOWN_FACTOR = 2;
/** Nothing grows blindly that has eyes: not while the last few answers were slower than this. */
const LATELY_CALM = 1.35;
const LATELY_SHARE = 0.2;
/** How far and how often the limit steps down to see whether anything changes. */
const PROBE = 0.75;
const PROBE_EVERY = 24;
/** Memory of the slope per window, the spread of ln(inflight) squared that it needs, and where it says "no bottleneck". */
const SLOPE_KEPT = 0.3;
const SPREAD_MIN = 0.02;
const SLOPE_NONE = 0.5;
/** Where it says that what was taken for normal is a queue, and what is left of that in a window. */
const SLOPE_FULL = 0.75;
const SCALE_KEPT = 0.9;
/** A smaller step of ln(inflight) says nothing; and ln(x) changes by no more than that: what does, changes for another reason. */
const STEP_MIN = 0.05;
const STEEP = 1;
/** What was found too much is forgotten after so long. */
const CEILING_MS = 30_000;
/** The first step above it, as a share of the limit. */
const STEP_FIRST = 0.125;
/** A limit that is not used comes down to so many times what is. */
const UNUSED_FACTOR = 4;
const UNUSED_KEPT = 0.9;

/** Told of each call that ended, it says how many may run. */
export class ConcurrencyLimit {
  /** How many may run at once: whole, at least 1. */
  permits: number;
  private readonly max: number;
  readonly isAdaptive: boolean;
  private limit: number;
  /** Calls that have yet to end before it may go beyond {@link COLD_MAX}. */
  private cold: number;
  /** From then on a few calls that have ended will do. */
  private coldUntilMs: number;
  private coldMax: number;
  /** Where a bottleneck was met, and when. */
  private ceiling: number;
  private ceilingAtMs: number;
  /** The limit before it fell for the slowness that is looked into; 0: none. */
  private fellFrom: number;
  private growthStep: number;
  private grownAtMs: number;
  /** No window has ended since the limit is felt. */
  private isBlind: boolean;
  /** By how much handlers have become slower for reasons of their own. */
  private scale: number;
  /** How slow the last few answers were, whenever they began. */
  private lately: number;
  /** And how long they took. */
  private latelyMs: number;
  /** The window. */
  private sinceMs: number;
  /** Calls that began before this did so under another limit. */
  private changedAtMs: number;
  private wanted: number;
  private ends: number;
  private samples: number;
  private tookSum: number;
  private tookSquares: number;
  private baseSum: number;
  private runningSum: number;
  private heldBack: number;
  private peak: number;
  /** The last window, and the regression. */
  private lastRunning: number;
  private lastX: number;
  private slopeOver: number;
  private slopeUnder: number;
  /** The limit before it stepped down to probe; 0: it does not. */
  private probedFrom: number;
  private windowsToProbe: number;

  /** @param max the most that may run, and, if not adaptive, the limit itself. */
  constructor(max: number, isAdaptive: boolean) {
    this.max = max;
    this.isAdaptive = isAdaptive;
    // The fields below hold fractions sooner or later: -0 and fractions make them doubles from the start.
    this.limit = -0;
    this.permits = isAdaptive ? Math.min(LIMIT_START, max) : max;
    this.limit += this.permits;
    this.cold = COLD_SAMPLES;
    this.coldUntilMs = Number.POSITIVE_INFINITY;
    this.coldMax = COLD_MAX;
    this.ceiling = Number.POSITIVE_INFINITY;
    this.ceilingAtMs = Number.NEGATIVE_INFINITY;
    this.fellFrom = -0;
    this.growthStep = -0;
    this.grownAtMs = Number.NEGATIVE_INFINITY;
    this.isBlind = true;
    this.scale = -0;
    this.scale += 1;
    this.lately = -0;
    this.lately += 1;
    this.latelyMs = -0;
    this.sinceMs = Number.NEGATIVE_INFINITY;
    this.changedAtMs = Number.NEGATIVE_INFINITY;
    this.wanted = SAMPLES_MIN;
    this.ends = 0;
    this.samples = 0;
    this.tookSum = -0;
    this.tookSquares = -0;
    this.baseSum = -0;
    this.runningSum = 0;
    this.heldBack = 0;
    this.peak = 0;
    this.lastRunning = -0;
    this.lastX = -0;
    this.slopeOver = -0;
    this.slopeUnder = -0;
    this.probedFrom = -0;
    this.windowsToProbe = PROBE_EVERY;
  }

  /**
   * A call ended.
   *
   * @param admittedAtMs when it began. @param baseMs what its method takes when not held up, NaN if that is not known. @param runningThen how many
   * ran when it had begun, it included: those are the ones that it waited for. @param running how many ran until now. @param isHeldBack whether a call waits because of this limit.
   */
  sample(
    nowMs: number,
    admittedAtMs: number,
    baseMs: number,
    runningThen: number,
    running: number,
    isHeldBack: boolean,
  ): void {
    this.ends += 1;
    if (this.cold > 0) this.warm(nowMs);
    if (running > this.peak) this.peak = running;
    const age = nowMs - admittedAtMs;
    const tookMs = age > NOISE_MS ? age : NOISE_MS;
    // Of a method nobody knows yet, what it takes is what it takes.
    const normalMs = baseMs > NOISE_MS ? baseMs : baseMs <= NOISE_MS ? NOISE_MS : tookMs;
    this.latelyMs += (age - this.latelyMs) * LATELY_SHARE;
    this.lately += (tookMs / normalMs - this.lately) * LATELY_SHARE;
    if (admittedAtMs < this.changedAtMs) return;
    if (this.sinceMs === Number.NEGATIVE_INFINITY) this.sinceMs = admittedAtMs;
    this.samples += 1;
    this.tookSum += tookMs;
    this.tookSquares += tookMs * tookMs;
    this.baseSum += normalMs;
    this.runningSum += runningThen;
    if (isHeldBack) this.heldBack += 1;
    const elapsedMs = nowMs - this.sinceMs;
    if (this.samples < this.wanted && (elapsedMs < WINDOW_LONG_MS || this.samples < SAMPLES_FEW)) return;
    if (elapsedMs < WINDOW_MIN_MS || this.wantsMore(elapsedMs)) return;
    const limit = this.limit;
    if (this.isAdaptive) this.endWindow(nowMs, elapsedMs);
    if (this.limit !== limit) this.changedAtMs = nowMs;
    this.beginWindow(nowMs);
  }

  /**
   * The first call of a method came while so many ran: how long it takes is to be learned with few of it, as at the start. What others needed
   * is no measure for it.
   */
  metUnknown(running: number): void {
    if (!this.isAdaptive) return;
    this.cold = COLD_SAMPLES;
    this.coldUntilMs = Number.POSITIVE_INFINITY;
    this.coldMax = Math.max(COLD_MAX, UNKNOWN_FACTOR * running);
    this.setLimit(Math.min(this.limit, Math.max(LIMIT_START, UNKNOWN_FACTOR * running)));
  }

  /**
   * The limit holds a call back: where no bottleneck was met, it may grow before there is an answer. True: one more may begin. At the most of the
   * cold time it does not grow, and one more begins each time all the same: what nobody knows yet is not held back for ever.
   */
  growsBlind(nowMs: number): boolean {
    if (this.cold > 0 && this.limit >= this.coldMax && this.coldUntilMs === Number.POSITIVE_INFINITY) {
      this.coldUntilMs = nowMs + COLD_MS;
    }
    if (nowMs < this.blindDueMs) return false;
    const isFirst = this.grownAtMs === Number.NEGATIVE_INFINITY;
    this.grownAtMs = nowMs;
    this.forgetCeiling(nowMs);
    // The clock of the blind starts when the limit is first felt.
    if (isFirst || this.lately > LATELY_CALM * this.scale) return false;
    this.setLimit(Math.min(this.limit * 2, this.ceiling));
    return true;
  }

  /** When {@link growsBlind} would be true at the earliest, for a limit that holds calls back; Infinity for never. */
  get blindDueMs(): number {
    if (!this.isAdaptive || !this.isBlind || this.limit >= this.max) return Number.POSITIVE_INFINITY;
    return this.limit < this.ceiling ? this.grownAtMs + this.blindMs() : this.ceilingAtMs + CEILING_MS;
  }

  private warm(nowMs: number): void {
    this.cold -= 1;
    if (nowMs < this.coldUntilMs || this.latelyMs < COLD_MS || COLD_SAMPLES - this.cold < COLD_SAMPLES_FEW) return;
    this.cold = 0;
    this.isBlind = true;
  }

  private blindMs(): number {
    if (this.latelyMs === 0) return BLIND_FIRST_MS;
    return Math.max(BLIND_MIN_MS, Math.min(BLIND_MAX_MS, BLIND_FACTOR * this.latelyMs));
  }

  private beginWindow(nowMs: number): void {
    this.sinceMs = nowMs;
    this.wanted = this.usualSamples();
    this.ends = 0;
    this.samples = 0;
    this.tookSum = 0;
    this.tookSquares = 0;
    this.baseSum = 0;
    this.runningSum = 0;
    this.heldBack = 0;
    this.peak = 0;
  }

  private endWindow(nowMs: number, elapsedMs: number): void {
    const x = Math.max(1, this.tookSum / this.baseSum);
    const running = this.runningSum / this.samples;
    const isFelt = this.heldBack * 2 >= this.samples;
    // By chance half of the windows are faster than normal: only one that is so beyond its error says that normal has become faster.
    const likelyMax = x * (1 + ERRORS * this.error());
    if (likelyMax < this.scale) this.scale = Math.max(1, this.scale + (likelyMax - this.scale) / 2);
    // From now on there are answers to go by.
    this.isBlind = !isFelt;
    if (isFelt) this.regress(x, running);
    // Windows at the same limit are one: the limit falls after a slow one, and chance alone would make the next one faster, as if for that.
    if (Math.abs(running - this.lastRunning) < STEP_MIN * running) this.lastX += (x - this.lastX) / 2;
    else this.lastX = x;
    this.lastRunning = running;
    const slowness = x / this.scale;
    const waiting = running * (1 - 1 / slowness);
    if (slowness < CALM) this.fellFrom = 0;
    if (this.probedFrom > 0) {
      this.setLimit(this.probedFrom);
      this.probedFrom = 0;
    } else if (slowness * (1 - ERRORS * this.error()) > (isFelt ? SLOW : SLOW_UNFELT) && waiting > WAITING_SLOW) {
      // Two views of what runs and does not wait; each has its own error.
      const working = (this.ends / elapsedMs) * (this.baseSum / this.samples) * this.scale;
      this.fall(nowMs, slowness, ((running / slowness + working) / 2) * HEADROOM + 1, running);
    } else if (isFelt && (slowness < CALM || waiting < WAITING_CALM)) {
      // What was taken for normal may be a queue: then more at once take longer in proportion.
      if (this.scale > 1 && this.isOfTheLimit()) this.scale = Math.max(1, this.scale * SCALE_KEPT);
      else this.grow(nowMs);
    } else if (!isFelt) {
      if (this.peak * UNUSED_FACTOR < this.limit) {
        this.setLimit(Math.max(LIMIT_START, this.peak * UNUSED_FACTOR, this.limit * UNUSED_KEPT));
      }
      this.growthStep = 0;
    } else if (this.isOfItsOwn()) this.accept(slowness);
    if (isFelt) this.mayProbe();
  }

  /** The standard error of the mean of this window's times, as a share of it. */
  private error(): number {
    const mean = this.tookSum / this.samples;
    const variance = Math.max(0, this.tookSquares / this.samples - mean * mean);
    return Math.sqrt(variance / this.samples) / mean;
  }

  /** Times that vary much need more samples before a limit falls for them. */
  private wantsMore(elapsedMs: number): boolean {
    if (this.tookSum <= this.baseSum * this.scale * CALM || elapsedMs >= LONGER_MS) return false;
    if (this.wanted >= LONGER * this.usualSamples() || this.error() <= ERROR_MAX) return false;
    this.wanted += this.usualSamples();
    return true;
  }

  private usualSamples(): number {
    return Math.max(SAMPLES_MIN, Math.min(SAMPLES_MAX, SAMPLES_PER_PERMIT * this.permits));
  }

  /** One more point of ln(x) over ln(inflight), as differences to the last one: what drifts slowly falls out. */
  private regress(x: number, running: number): void {
    if (this.lastRunning === 0) return;
    const step = Math.log(running / this.lastRunning);
    const length = Math.abs(step);
    if (length < STEP_MIN) return;
    const change = Math.max(-STEEP * length, Math.min(STEEP * length, Math.log(x / this.lastX)));
    this.slopeOver = this.slopeOver * SLOPE_KEPT + step * change;
    this.slopeUnder = this.slopeUnder * SLOPE_KEPT + step * step;
  }

  private fall(nowMs: number, slowness: number, wanted: number, running: number): void {
    this.growthStep = 0;
    if (this.isOfItsOwn()) return this.accept(slowness);
    if (this.fellFrom === 0) this.fellFrom = this.limit;
    const from = Math.min(this.limit, Math.max(running, this.peak));
    this.setLimit(Math.min(this.limit, Math.max(wanted, from * (slowness > FAR ? FALL_MIN_FAR : FALL_MIN))));
    this.ceiling = this.limit;
    this.ceilingAtMs = nowMs;
  }

  /** Whether fewer at once took as long: the limit is not what makes them slow. */
  private isOfItsOwn(): boolean {
    return this.slopeUnder > SPREAD_MIN && this.slopeOver < this.slopeUnder * SLOPE_NONE;
  }

  /** Whether more at once take longer in proportion. */
  private isOfTheLimit(): boolean {
    return this.slopeUnder > SPREAD_MIN && this.slopeOver > this.slopeUnder * SLOPE_FULL;
  }

  private accept(slowness: number): void {
    this.scale *= slowness;
    this.slopeOver = 0;
    this.slopeUnder = 0;
    if (this.fellFrom === 0) return;
    // What it fell for was nothing.
    this.ceiling = this.fellFrom;
    this.setLimit(this.fellFrom);
    this.fellFrom = 0;
  }

  private grow(nowMs: number): void {
    this.grownAtMs = nowMs;
    this.forgetCeiling(nowMs);
    if (this.limit < this.ceiling) {
      if (this.lately <= LATELY_CALM * this.scale) this.setLimit(Math.min(this.limit * 2, this.ceiling));
      return;
    }
    // Above the ceiling by an eighth, then a quarter, a half: nothing gets slower, so it was not one.
    this.growthStep = Math.min(1, this.growthStep === 0 ? STEP_FIRST : this.growthStep * 2);
    this.setLimit(this.limit + Math.max(1, this.limit * this.growthStep));
    this.ceiling = this.limit;
  }

  private forgetCeiling(nowMs: number): void {
    if (nowMs >= this.ceilingAtMs + CEILING_MS) this.ceiling = Number.POSITIVE_INFINITY;
  }

  private mayProbe(): void {
    if (this.probedFrom > 0 || --this.windowsToProbe > 0) return;
    this.windowsToProbe = PROBE_EVERY;
    this.probedFrom = this.limit;
    this.setLimit(this.limit * PROBE);
  }

  private setLimit(limit: number): void {
    this.limit = Math.max(1, Math.min(this.cold > 0 ? Math.min(this.coldMax, this.max) : this.max, limit));
    this.permits = Math.floor(this.limit);
  }
}
