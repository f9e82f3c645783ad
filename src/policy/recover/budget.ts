/**
 * Hot path: the retry budget, one for repeats and copies, per client and service. What may be sent beyond the calls
 * themselves is a share of the calls of the last 10 s and a small reserve, so that a retry storm cannot feed itself
 * (Google SRE, "Handling overload": 10 % of the requests; the leaky window is that of Finagle's RetryBudget.scala) and a
 * client of one call a minute can still repeat it.
 *
 * Invariant: whenever something is taken, what was taken in the `windowMs` up to then, it included, is at most the reserve plus the
 * share of the calls that began in that same time. So calls are counted over ten slots, the youngest of them unfinished, and what was
 * taken over eleven: in the steady state that gives about nine tenths of the share.
 * A budget that has run out refuses the next repeat or copy and touches nothing that is in flight (failsafe-go#141).
 */
import type { Options } from "../../call/options.ts";
import { numberOption, resolveOptions } from "../../call/options.ts";

/** How much may be sent beyond the calls themselves. */
export type RetryBudgetOptions = Options<{
  /** Repeats and copies per call. Default 0.1: load grows by a tenth at most, three layers of it by a third. 0..1. */
  share: number;
  /** Repeats a second that are there without any call, saved up over the window. Default 1, 0..10 000. */
  perSecondMin: number;
  /** How long a call counts, in whole milliseconds. Default 10 000 (Finagle's ttl), 1 000..60 000. */
  windowMs: number;
  /** Copies per call, within `share`; under 1 / copyShareMax calls one copy a window. Default 0.02, 0..1; 0: no copies. */
  copyShareMax: number;
}>;

const SHAPE = {
  share: numberOption({ default: 0.1, min: 0, max: 1 }),
  perSecondMin: numberOption({ default: 1, min: 0, max: 10_000 }),
  windowMs: numberOption({ default: 10_000, min: 1_000, max: 60_000, integer: true }),
  copyShareMax: numberOption({ default: 0.02, min: 0, max: 1 }),
};

/** Slots in which calls count; what was taken counts in one more. */
const SLOTS = 10;
const RING = SLOTS + 1;
/** A tenth of a million calls is not quite a whole number of repeats in floating point. */
const ROUNDING = 1e-6;

/** A plain array: a typed one of eleven numbers is twice as large. */
function zeros(): number[] {
  return new Array<number>(RING).fill(0);
}

/** What budgets hold of which nothing was taken yet; only zeros are written here. */
const NONE: number[] = zeros();

/** Calls pay in, repeats and copies take out. Throws for options that are out of range or unknown. */
export class RetryBudget {
  private readonly share: number;
  private readonly reserve: number;
  private readonly copyShareMax: number;
  private readonly slotMs: number;
  /** Number of the current slot since time 0, its place in the rings, and when it ends. */
  private slot: number;
  private at: number;
  private slotEndMs: number;
  /** Per slot, and their sums: calls that began, repeats and copies taken, copies taken. */
  private readonly calls: number[];
  private taken: number[];
  private copies: number[];
  private callsSum: number;
  private takenSum: number;
  private copiesSum: number;

  constructor(options?: RetryBudgetOptions) {
    const { share, perSecondMin, windowMs, copyShareMax } = resolveOptions("budget", options, SHAPE);
    this.share = share;
    this.reserve = (perSecondMin * windowMs) / 1_000;
    this.copyShareMax = copyShareMax;
    this.slotMs = Math.ceil(windowMs / SLOTS);
    this.slot = Number.NEGATIVE_INFINITY;
    this.at = 0;
    this.slotEndMs = Number.NEGATIVE_INFINITY;
    this.calls = zeros();
    this.taken = NONE;
    this.copies = NONE;
    this.callsSum = 0;
    this.takenSum = 0;
    this.copiesSum = 0;
  }

  /** A call began: its first attempt is free and pays in for all. */
  deposit(nowMs: number): void {
    if (nowMs >= this.slotEndMs) this.roll(nowMs);
    this.calls[this.at] = (this.calls[this.at] as number) + 1;
    this.callsSum += 1;
  }

  /** Whether {@link takeRepeat} would be true now. Takes nothing. */
  mayRepeat(nowMs: number): boolean {
    if (nowMs >= this.slotEndMs) this.roll(nowMs);
    return this.balance() >= 1;
  }

  /** Takes one repeat; false, and nothing is taken, when the budget is empty. */
  takeRepeat(nowMs: number): boolean {
    if (!this.mayRepeat(nowMs)) return false;
    this.countTaken();
    return true;
  }

  /** Takes one copy, which needs the budget and that copies stay within their own share; else false, and nothing is taken. */
  takeCopy(nowMs: number): boolean {
    if (!this.mayRepeat(nowMs)) return false;
    // The first copy of a window is free of the share, else a service of few calls would never be copied.
    const copiesMax = this.copyShareMax === 0 ? 0 : Math.max(1, this.copyShareMax * this.callsSum + ROUNDING);
    if (this.copiesSum + 1 > copiesMax) return false;
    this.countTaken();
    if (this.copies === NONE) this.copies = zeros();
    this.copies[this.at] = (this.copies[this.at] as number) + 1;
    this.copiesSum += 1;
    return true;
  }

  /**
   * A repeat that was taken at `takenMs` was not used. More than what was taken never comes back, and nothing for what counts no more, or
   * no more for a whole slot: it would be another's.
   */
  giveBack(takenMs: number, nowMs: number): void {
    if (this.isOld(takenMs, nowMs)) return;
    if (nowMs >= this.slotEndMs) this.roll(nowMs);
    if (this.takenSum > 0) this.takenSum -= this.dropOldest(this.taken);
  }

  /** As {@link giveBack}, for what {@link takeCopy} took. */
  giveBackCopy(takenMs: number, nowMs: number): void {
    if (this.isOld(takenMs, nowMs)) return;
    this.giveBack(takenMs, nowMs);
    if (this.copiesSum > 0) this.copiesSum -= this.dropOldest(this.copies);
  }

  /** Whole repeats that are left, for events and explanations. */
  left(nowMs: number): number {
    if (nowMs >= this.slotEndMs) this.roll(nowMs);
    return Math.max(0, Math.floor(this.balance()));
  }

  private countTaken(): void {
    if (this.taken === NONE) this.taken = zeros();
    this.taken[this.at] = (this.taken[this.at] as number) + 1;
    this.takenSum += 1;
  }

  private isOld(takenMs: number, nowMs: number): boolean {
    return nowMs - takenMs > (SLOTS - 1) * this.slotMs;
  }

  private balance(): number {
    return this.reserve + this.share * this.callsSum - this.takenSum + ROUNDING;
  }

  /** Gives back from the oldest slot: what stays counted then counts no shorter than what was really used. */
  private dropOldest(counts: number[]): number {
    for (let age = SLOTS; age >= 0; age--) {
      const place = (this.at + RING - age) % RING;
      const count = counts[place] as number;
      if (count === 0) continue;
      counts[place] = count - 1;
      return 1;
    }
    return 0;
  }

  /**
   * Enters the slot of `nowMs` and forgets what is too old; eleven steps at most, however long nothing was asked. Only called when the
   * current slot is over: a clock that went back stays in the slot that it has.
   */
  private roll(nowMs: number): void {
    const slot = Math.floor(nowMs / this.slotMs);
    for (let steps = Math.min(slot - this.slot, RING); steps > 0; steps--) {
      this.at = (this.at + 1) % RING;
      const { at } = this;
      this.takenSum -= this.taken[at] as number;
      this.taken[at] = 0;
      this.copiesSum -= this.copies[at] as number;
      this.copies[at] = 0;
      // Calls leave one slot earlier.
      const oldest = (at + 1) % RING;
      this.callsSum -= this.calls[oldest] as number;
      this.calls[oldest] = 0;
    }
    this.slot = slot;
    this.slotEndMs = (slot + 1) * this.slotMs;
  }
}
