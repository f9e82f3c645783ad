/**
 * Is it me? Stalls of our own event loop, and of the whole process, read from timers that come late. Whoever blames a peer
 * stretches its times by this score first, and discounts silence from before the last stall.
 * Source: Lifeguard's local health (Dadgar, Phillips, Currey, DSN 2018): a saturating counter that multiplies every timeout.
 */

/** A timer that comes this much too late is a stall, in milliseconds. */
const STALL_MS = 100;
/** The counter saturates here, as Lifeguard's S. */
const SCORE_MAX = 8;
/** What a punctual beat takes off: ten beats a second forgive two and a half points, so a stall is still known at the next sweep. */
const FORGIVEN_PER_BEAT = 0.25;
/** What time alone takes off, for while there is no work there are no beats. */
const FORGIVEN_PER_MS = 1 / 1_000;

/** One for a process; every beat and every late timer is told to it, before what the timer is for is done. */
export class SelfWatch {
  /** When the last stall ended, on the monotonic scale; silence before it says nothing about peers. -Infinity: never. */
  stalledUntilMs: number;
  /** How long the last stall was, in milliseconds; 0: never. */
  lastStallMs: number;
  private points: number;
  private pointsAtMs: number;

  constructor() {
    this.stalledUntilMs = Number.NEGATIVE_INFINITY;
    this.lastStallMs = 0;
    this.points = 0;
    this.pointsAtMs = 0;
  }

  /**
   * A timer that was due at `dueMs` came at `nowMs`, both monotonic. Called about ten times a second while there is work,
   * and for any late timer. The timers of one stall count as one stall.
   */
  beat(dueMs: number, nowMs: number): void {
    const lateMs = nowMs - dueMs;
    this.fade(nowMs);
    if (lateMs < STALL_MS) {
      // What was due before the stall ended is part of it, however short its own wait was.
      if (dueMs > this.stalledUntilMs) this.points = Math.max(0, this.points - FORGIVEN_PER_BEAT);
      return;
    }
    const isSameStall = dueMs <= this.stalledUntilMs;
    // Of a stall that was counted already, only what this timer adds to its length is new.
    const known = isSameStall ? pointsOf(this.lastStallMs) : 0;
    const stallMs = isSameStall ? Math.max(this.lastStallMs, lateMs) : lateMs;
    this.points = Math.min(SCORE_MAX, this.points + Math.max(0, pointsOf(stallMs) - known));
    this.lastStallMs = stallMs;
    this.stalledUntilMs = nowMs;
  }

  /** 0 (healthy) .. 8. Times of detectors are multiplied by 1 + score. */
  score(nowMs: number): number {
    this.fade(nowMs);
    return Math.ceil(this.points);
  }

  private fade(nowMs: number): void {
    if (nowMs <= this.pointsAtMs) return;
    if (this.points > 0) this.points = Math.max(0, this.points - (nowMs - this.pointsAtMs) * FORGIVEN_PER_MS);
    this.pointsAtMs = nowMs;
  }
}

/** 100 ms late is one point, and each doubling one more: 1 s is four. */
function pointsOf(lateMs: number): number {
  return lateMs < STALL_MS ? 0 : Math.min(SCORE_MAX, 1 + Math.floor(Math.log2(lateMs / STALL_MS)));
}
