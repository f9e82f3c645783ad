/**
 * Hot path: what a balancer needs to know of one peer: facts and opinions, which its owner sets, and what its calls showed.
 *
 * The cost is a peak EWMA (Finagle `PeakEwma.scala`): a latency above the cost replaces it at once, one below draws it down over 10 s,
 * and without calls it fades. To that comes the age of the oldest call that waits for a sign of an answer: a peer that went silent is
 * expensive before any of its calls has ended. What counts is the time to the first sign, never a stream's whole life. Calls that ended
 * sooner than they are said to cost, for they failed or were given up, are counted as if they were in flight.
 *
 * Invariants: the list of outstanding calls is in order of start; `inFlight` counts the attempts that began and have not ended,
 * whether or not they still stand in the list.
 */
import type { Outstanding } from "../../call/outstanding.ts";
import { decayOver } from "./decay.ts";
import { type FleetCost, usualAfter } from "./fleet-cost.ts";

/** No peer costs less: below, the number of calls in flight decides, not noise. */
const COST_MIN_MS = 0.05;
/** No failure costs more: 5 s is linkerd's penalty, which fades to a usual 150 ms in 35 s. */
const FAILURE_MAX_MS = 5_000;
/** The first failure costs so many times what an answer does, so that it is forgiven in ln 2 x 10 s = 7 s; the next one that again. */
const FAILURE_FACTOR = 2;
/** An attempt lost by far if it has waited so many times longer than the winner took. */
const OVERTAKEN_FACTOR = 1.5;
/** What losing by far twice in a row does to the cost: from 167 ms to above 2 s in two steps. */
const SILENCE_FACTOR = 4;
const NEVER = Number.POSITIVE_INFINITY;

/** One peer as a balancer sees it; the client's peer extends it. It belongs to one balancer at a time. */
export class Candidate {
  // What a pick reads stands first, so that it lies in one or two lines of the cache. Fields have their first values here and not in
  // the constructor: a field that was undefined for a moment never becomes a bare double, and each write to it would allocate.

  /** A fact: connected, not draining, serving. False until its owner says so. */
  isReady = false;
  /** Attempts that began and have not ended. */
  inFlight = 0;
  /** Its share against the others', a number > 0; 1 unless told. */
  weight = 1;
  /** The outstanding call that began first. */
  oldest: Outstanding | undefined = undefined;
  /** The cost when it was last observed, in ms. What it is now, {@link costNowMs} says. */
  costMs = 0;
  /** When it was last observed; -Infinity if never. */
  costAtMs = Number.NEGATIVE_INFINITY;
  /** The outstanding call that began last. */
  newest: Outstanding | undefined = undefined;
  /** Since when it is ready, for slow start; -Infinity for long ago. */
  readySinceMs = Number.NEGATIVE_INFINITY;
  /** An opinion: not ejected, not suspect, not forecast to fail. True until its owner says otherwise. */
  isHealthy = true;
  /** Priority: 0 is the most wanted, higher ones are for when lower ones do not suffice. */
  tier = 0;
  /** Where it stands; undefined if unknown. */
  zone: string | undefined = undefined;
  /** The balancer's own: the costs of all its peers. */
  fleet: FleetCost | undefined = undefined;
  /** The balancer's own: this one's cost is in the mean of them. */
  isCounted = false;
  /**
   * Calls that would be in flight if failures took as long as they are said to; fades like the cost. Without it a peer that fails in
   * 1 ms has nothing in flight, and under many calls a product with one factor of nearly nothing wins whatever the cost.
   */
  private missing = 0;
  /** Latency that an answer of this peer usually has; 0 before the first. */
  private usualMs = 0;
  /** Failures since the last answer, and when the last of them was seen. */
  private failuresInRow = 0;
  private failedAtMs = Number.NEGATIVE_INFINITY;
  /** Before the first refusal since the last answer, when that was: the cost and the missing calls that the next answer restores. */
  private refusedAtMs = NEVER;
  private costBeforeMs = 0;
  private missingBefore = 0;
  /** When it lost by far last, if it has not answered since. */
  private silentSinceMs = NEVER;

  constructor(facts?: {
    readonly weight?: number | undefined;
    readonly tier?: number | undefined;
    readonly zone?: string | undefined;
  }) {
    this.weight = facts?.weight ?? 1;
    this.tier = facts?.tier ?? 0;
    this.zone = facts?.zone;
    checkWeight(this.weight);
    checkTier(this.tier);
  }

  /** An attempt is sent to it. */
  began(entry: Outstanding, nowMs: number): void {
    if (entry.isOutstanding) throw new Error("the attempt is outstanding already");
    this.inFlight += 1;
    entry.startedMs = nowMs;
    entry.isOutstanding = true;
    entry.outstandingPrevious = this.newest;
    if (this.newest === undefined) this.oldest = entry;
    else this.newest.outstandingNext = entry;
    this.newest = entry;
  }

  /** The first sign of an answer: headers, first message or reply. What comes after it changes nothing. */
  answered(entry: Outstanding, nowMs: number): void {
    if (!entry.isOutstanding) return;
    this.unlink(entry);
    this.silentSinceMs = NEVER;
    const latencyMs = Math.max(0, nowMs - entry.startedMs);
    this.fleet?.answered(latencyMs);
    this.failuresInRow = 0;
    if (this.refusedAtMs !== NEVER) this.forgiveRefusals(nowMs);
    this.usualMs = usualAfter(this.usualMs, latencyMs);
    this.observe(latencyMs, nowMs);
  }

  /**
   * The attempt failed, also after a first sign, in a way that counts against the peer. It is observed as a computed latency (linkerd's
   * load biaser; without it the peer that fails fastest looks best, linkerd2#11669): twice what an answer usually takes, and twice
   * that for each failure since the last answer, or its own latency if that is more; at most 5 s. Failures among answers do not add up,
   * so that where all peers fail a little the slow one is still told apart. Attempts that were under way when the peer last failed
   * count as the same failure: a lost connection is one event, however many calls were on it.
   */
  failed(entry: Outstanding, nowMs: number): void {
    if (entry.isOutstanding) this.unlink(entry);
    const tookMs = Math.max(0, nowMs - entry.startedMs);
    const isNews = entry.startedMs >= this.failedAtMs;
    if (isNews) {
      this.failedAtMs = nowMs;
      this.failuresInRow += 1;
    }
    const usualMs = Math.max(this.usualMs, this.fleet?.usualMs ?? 0);
    // Where nobody has answered yet, nothing is usual: then a failure is as long as it was, or failing at once would cost nothing.
    const answerMs = usualMs > 0 ? usualMs : tookMs;
    const costMs = Math.min(FAILURE_MAX_MS, Math.max(tookMs, answerMs * FAILURE_FACTOR ** this.failuresInRow));
    if (isNews) this.observeComputed(costMs, tookMs, nowMs);
    else this.observe(costMs, nowMs);
  }

  /**
   * The peer refused the attempt for want of capacity. It costs as {@link failed} does, but only until the peer answers again: an answer shows that it has
   * room, and what was refused before was the load of then. If refusals faded as failures do, in tens of seconds, a peer that has been over its capacity would
   * be avoided long after, the others would get its calls, be over theirs, and be avoided in their turn (docs/decisions/refusal-cost.md).
   */
  refused(entry: Outstanding, nowMs: number): void {
    if (this.refusedAtMs === NEVER) {
      this.refusedAtMs = nowMs;
      this.costBeforeMs = this.observedMs(nowMs);
      this.missingBefore = this.isObserved ? this.missing * decayOver(nowMs - this.costAtMs) : 0;
    }
    this.failed(entry, nowMs);
  }

  /**
   * The attempt is given up because another one, which took `winnerMs`, was faster. Its age is a lower bound of its latency: it can
   * raise the cost and never lowers it. That alone is not enough, as a peer that takes 2 s and always loses to copies after 0.2 s would
   * look like one that takes 0.2 s. So what a peer loses by far, twice in a row, the second time with an attempt that was sent after the
   * first was lost, and without any answer between, quadruples its cost. A slow call in a hundred does not do that, nor one pause.
   */
  overtaken(entry: Outstanding, nowMs: number, winnerMs?: number): void {
    if (!entry.isOutstanding) return;
    this.unlink(entry);
    const ageMs = Math.max(0, nowMs - entry.startedMs);
    const ownMs = this.costNowMs(nowMs);
    const isByFar = winnerMs !== undefined && ageMs > OVERTAKEN_FACTOR * winnerMs;
    const isAgain = isByFar && entry.startedMs >= this.silentSinceMs;
    if (isAgain) this.observeComputed(Math.max(ageMs, Math.min(FAILURE_MAX_MS, SILENCE_FACTOR * ownMs)), ageMs, nowMs);
    else if (ageMs > ownMs) this.observe(ageMs, nowMs);
    if (isAgain || (isByFar && this.silentSinceMs === NEVER)) this.silentSinceMs = nowMs;
  }

  /** The attempt is over, and whatever it showed was said before: one that is still outstanding leaves without a trace. */
  ended(entry: Outstanding): void {
    if (this.inFlight === 0) throw new Error("the attempt had ended already");
    this.inFlight -= 1;
    if (entry.isOutstanding) this.unlink(entry);
  }

  /** How long the call that began first has waited for a sign; 0 if none waits. */
  oldestAgeMs(nowMs: number): number {
    return this.oldest === undefined ? 0 : Math.max(0, nowMs - this.oldest.startedMs);
  }

  /** The peak EWMA as of now, without a floor; 0 if nothing was ever observed. */
  observedMs(nowMs: number): number {
    return this.costMs === 0 ? 0 : this.costMs * decayOver(nowMs - this.costAtMs);
  }

  /** What a call is thought to cost now; a peer of which nothing is known costs what the ready ones cost on average. */
  costNowMs(nowMs: number): number {
    const costMs = this.isObserved ? this.observedMs(nowMs) : (this.fleet?.unknownMs(nowMs) ?? 0);
    return costMs > COST_MIN_MS ? costMs : COST_MIN_MS;
  }

  /** What one more call would meet here: cost, or age of the oldest, times the calls it would share the peer with. */
  load(nowMs: number): number {
    let costMs: number;
    let calls = this.inFlight + 1;
    if (this.isObserved) {
      const share = decayOver(nowMs - this.costAtMs);
      costMs = this.costMs * share;
      // The first one is in the cost; so a single failure is forgiven in 7 s.
      const missing = this.missing * share - 1;
      if (missing > 0) calls += missing;
    } else {
      costMs = this.fleet?.unknownMs(nowMs) ?? 0;
    }
    if (costMs < COST_MIN_MS) costMs = COST_MIN_MS;
    const ageMs = this.oldest === undefined ? 0 : nowMs - this.oldest.startedMs;
    return ((ageMs > costMs ? ageMs : costMs) * calls) / this.weight;
  }

  private get isObserved(): boolean {
    return this.costAtMs !== Number.NEGATIVE_INFINITY;
  }

  private forgiveRefusals(nowMs: number): void {
    const share = decayOver(nowMs - this.refusedAtMs);
    const costMs = this.costBeforeMs * share;
    this.refusedAtMs = NEVER;
    // Nothing was known before: then the refusals are what is known.
    if (costMs === 0) return;
    if (this.isCounted) this.fleet?.changedBy(costMs - this.observedMs(nowMs), nowMs);
    this.costMs = costMs;
    this.missing = this.missingBefore * share;
    if (nowMs > this.costAtMs) this.costAtMs = nowMs;
  }

  private observe(latencyMs: number, nowMs: number): void {
    const share = this.isObserved ? decayOver(nowMs - this.costAtMs) : 0;
    const decayedMs = this.costMs * share;
    const costMs = latencyMs >= decayedMs ? latencyMs : decayedMs + latencyMs * (1 - share);
    if (this.isCounted) this.fleet?.changedBy(costMs - decayedMs, nowMs);
    this.costMs = costMs;
    this.missing *= share;
    if (nowMs > this.costAtMs) this.costAtMs = nowMs;
  }

  /** What is said to take `costMs` and left after `tookMs` is missing among the calls in flight. */
  private observeComputed(costMs: number, tookMs: number, nowMs: number): void {
    this.observe(costMs, nowMs);
    if (costMs > tookMs) this.missing += 1 - tookMs / costMs;
  }

  private unlink(entry: Outstanding): void {
    const { outstandingPrevious: previous, outstandingNext: next } = entry;
    if (previous === undefined) this.oldest = next;
    else previous.outstandingNext = next;
    if (next === undefined) this.newest = previous;
    else next.outstandingPrevious = previous;
    // Links of the gone keep the dead alive: an old entry that points to young ones makes V8 promote garbage.
    entry.outstandingPrevious = undefined;
    entry.outstandingNext = undefined;
    entry.isOutstanding = false;
  }
}

/** A sum with NaN in it would leave a scheduler without anybody's turn. */
export function isWeight(weight: number): boolean {
  return weight > 0 && weight < Number.POSITIVE_INFINITY;
}

export function isTier(tier: number): boolean {
  return Number.isSafeInteger(tier) && tier >= 0;
}

/** Throws a RangeError for what is no weight. */
export function checkWeight(weight: number): void {
  if (!isWeight(weight)) throw new RangeError(`peer.weight must be a finite number > 0, got ${weight}`);
}

/** Throws a RangeError for what is no tier. */
export function checkTier(tier: number): void {
  if (!isTier(tier)) throw new RangeError(`peer.tier must be an integer >= 0, got ${tier}`);
}
