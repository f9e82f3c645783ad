/**
 * Hot path: which priorities and levels a server that is over its capacity takes on. As failsafe-go's prioritizer: every interval the share that
 * cannot be served is known from what was offered and what was begun, and the threshold is the level at that quantile of the levels
 * that were offered. What lies beyond is refused when it arrives rather than after it has waited.
 *
 * The level at the threshold is taken whole: the rest of the choice is the queue's. So with one principal alone this refuses nothing.
 */
import type { PriorityRank } from "./refusal.ts";
import { LEVELS } from "./principal.ts";

const KEYS = 3 * LEVELS;
const CALIBRATE_MS = 50;
/** So much more than what can be begun is taken on: a queue that runs dry costs capacity, one that is short costs little. */
const HEADROOM = 5;
/** Of the counts of earlier intervals, what still counts. */
const KEPT = 0.5;

/** Counts what is offered, and says what is taken on. */
export class PriorityThreshold {
  /** The last rank and level that is taken on, as rank * 128 + level. */
  key: number;
  private readonly offered: Float64Array;
  private total: number;
  private begun: number;
  private dueMs: number;

  constructor() {
    this.key = KEYS - 1;
    this.offered = new Float64Array(KEYS);
    this.total = -0;
    this.begun = -0;
    this.dueMs = Number.POSITIVE_INFINITY;
  }

  /** Everything is taken on, until it is known better. */
  reset(nowMs: number): void {
    this.key = KEYS - 1;
    this.offered.fill(0);
    this.total = 0;
    this.begun = 0;
    this.dueMs = nowMs + CALIBRATE_MS;
  }

  /** A call was offered; whether it may wait. */
  admits(rank: PriorityRank, level: number, nowMs: number): boolean {
    const key = rank * LEVELS + level;
    this.offered[key] = (this.offered[key] as number) + 1;
    this.total += 1;
    if (nowMs >= this.dueMs) this.calibrate(nowMs);
    return key <= this.key;
  }

  /** A call was begun. */
  countBegun(): void {
    this.begun += 1;
  }

  private calibrate(nowMs: number): void {
    const wanted = this.begun * HEADROOM;
    let key = 0;
    let sum = 0;
    for (; key < KEYS - 1; key++) {
      sum += this.offered[key] as number;
      if (sum >= wanted) break;
    }
    this.key = this.begun === 0 ? KEYS - 1 : key;
    for (let i = 0; i < KEYS; i++) this.offered[i] = (this.offered[i] as number) * KEPT;
    this.total *= KEPT;
    this.begun *= KEPT;
    this.dueMs = nowMs + CALIBRATE_MS;
  }
}
