/**
 * The coarse shed: by how late the event loop comes to what is due. It looks at no identity, so it stands before any work is spent
 * on a call, and is for what nothing else sees: handlers that compute after they have waited, large messages, garbage collection without end.
 *
 * Source: Finagle's OffloadFilterAdmissionControl, which refuses while the delay of its probes stands. Standing is the word: the signal is
 * the least of the last samples, as CoDel's is the least wait of an interval. One long pause sheds nothing, for when it is over nothing is late.
 */
import type { Options } from "../../call/options.ts";
import { numberOption, resolveOptions } from "../../call/options.ts";
import type { PriorityRank, RefusalWhy } from "./refusal.ts";

/** How late the loop may be. */
export type LoopDelayOptions = Options<{
  /**
   * Above this standing delay sheddable calls are refused, above twice of it normal ones, above four times critical ones, in milliseconds. Default 100:
   * a tenth of a second is felt by a caller, and no turn of a healthy loop is so long. 1..60 000.
   */
  loopDelayMsMax: number;
}>;

const SHAPE = { loopDelayMsMax: numberOption({ default: 100, min: 1, max: 60_000 }) };

/** By rank: critical, normal, sheddable. */
const FACTORS = [4, 2, 1] as const;
/** So many samples must all be late. */
const SAMPLES = 3;
/** Without a sample for so long nothing is known, and nothing is shed: a watch that stopped must not be taken for a loop that did. */
const FRESH_MS = 2_000;
/** A connection with more calls than this times its fair share is refused as if its calls had the next lower priority. */
const SHARE_FACTOR = 1;
const OVER_SHARE = 0.5;

/** Told how late timers come, it says which calls are refused. Throws for options that are out of range or unknown. */
export class LoopDelay {
  private readonly maxMs: number;
  private readonly late: Float64Array;
  private at: number;
  private sampledAtMs: number;
  private standing: number;

  constructor(options?: LoopDelayOptions) {
    this.maxMs = resolveOptions("loopDelay", options, SHAPE).loopDelayMsMax;
    this.late = new Float64Array(SAMPLES);
    this.at = 0;
    this.sampledAtMs = Number.NEGATIVE_INFINITY;
    this.standing = 0;
  }

  /** A timer came `lateMs` after it was due. Wanted ten to fifty times a second while there are calls. NaN is no sample. */
  sample(lateMs: number, nowMs: number): void {
    if (Number.isNaN(lateMs)) return;
    // What was late before a time without samples says nothing about now.
    if (nowMs - this.sampledAtMs > FRESH_MS) this.late.fill(0);
    this.late[this.at] = Math.max(0, lateMs);
    this.at = (this.at + 1) % SAMPLES;
    this.sampledAtMs = nowMs;
    this.standing = Math.min(...this.late);
  }

  /** By how much the loop is late, and stays so, in milliseconds. */
  standingMs(nowMs: number): number {
    return nowMs - this.sampledAtMs > FRESH_MS ? 0 : this.standing;
  }

  /**
   * Why a call that arrives is refused, or undefined: "shed", or "share" if its connection's share is what decided.
   *
   * @param openOnConnection calls that are open on its connection, it not included. @param openAll on all of them, and @param connections how many
   * connections have any.
   */
  refuses(
    rank: PriorityRank,
    nowMs: number,
    openOnConnection: number,
    openAll: number,
    connections: number,
  ): RefusalWhy | undefined {
    const standingMs = this.standingMs(nowMs);
    if (standingMs <= this.maxMs * OVER_SHARE) return undefined;
    const limitMs = this.maxMs * FACTORS[rank];
    if (standingMs > limitMs) return "shed";
    const isOverShare = connections > 1 && openOnConnection * connections > SHARE_FACTOR * openAll;
    return isOverShare && standingMs > limitMs * OVER_SHARE ? "share" : undefined;
  }
}
