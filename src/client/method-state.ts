/**
 * Hot path: what a channel has learned of one method: how long it takes, how it fares, what is refused. Shared by all clients on
 * the channel.
 */
import type { MethodInfo, Priority } from "../call/method.ts";
import { CallCounters } from "../observe/counters.ts";
import { KnownGood } from "../policy/protect/known-good.ts";
import { Throttle } from "../policy/protect/throttle.ts";
import type { RetryBudget } from "../policy/recover/budget.ts";
import { LatencySketch } from "../policy/recover/latency-sketch.ts";
import { Overdue } from "../policy/recover/overdue.ts";

/** A method that is called less often is not worth a sketch yet: a client makes one call on each of a thousand channels. */
const SKETCH_FROM = 8;
const PRIORITIES: readonly Priority[] = ["critical", "normal", "sheddable"];

export interface ThrottleSettings {
  readonly factor: number;
  readonly decayMs: number;
  readonly refusedShareMax: number;
}

export class MethodState {
  readonly info: MethodInfo;
  /** A small number of its own in the channel. */
  readonly index: number;
  /** The service's, shared by its methods. */
  readonly budget: RetryBudget;
  readonly counters: CallCounters;
  /** Requests that were answered lately. */
  readonly knownGood: KnownGood;
  overdue: Overdue | undefined;
  #sketch: LatencySketch | undefined;
  #unsketched: number;
  readonly #throttleSettings: ThrottleSettings | undefined;
  /** By priority; made at the first refusal. */
  #throttles: (Throttle | undefined)[] | undefined;

  constructor(info: MethodInfo, index: number, budget: RetryBudget, throttle: ThrottleSettings | undefined) {
    this.info = info;
    this.index = index;
    this.budget = budget;
    this.counters = new CallCounters();
    this.knownGood = new KnownGood();
    this.overdue = undefined;
    this.#sketch = undefined;
    this.#unsketched = 0;
    this.#throttleSettings = throttle;
    this.#throttles = undefined;
  }

  /** An attempt took so long; or has taken so long already when it was given up. */
  sample(nowMs: number, tookMs: number): void {
    if (this.#sketch !== undefined) {
      this.#sketch.record(nowMs, tookMs);
    } else if (++this.#unsketched >= SKETCH_FROM) {
      this.#sketch = new LatencySketch();
      this.overdue = new Overdue(this.#sketch);
    }
  }

  /** 99 of 100 attempts took no longer; NaN while unknown. */
  p99Ms(nowMs: number): number {
    return this.overdue === undefined ? Number.NaN : this.overdue.p99Ms(nowMs);
  }

  /** The throttle of a priority, if anything of that priority was refused lately. */
  throttleOf(priority: Priority): Throttle | undefined {
    return this.#throttles === undefined ? undefined : this.#throttles[PRIORITIES.indexOf(priority)];
  }

  /** A server refused an attempt of this priority for overload. */
  refused(priority: Priority, nowMs: number): void {
    const settings = this.#throttleSettings;
    if (settings === undefined) return;
    this.#throttles ??= [undefined, undefined, undefined];
    const index = PRIORITIES.indexOf(priority);
    let throttle = this.#throttles[index];
    if (throttle === undefined) {
      throttle = new Throttle(settings);
      // About the accepts of the last second: the sketch holds those of 20 to 30 s.
      throttle.assume((this.#sketch?.count(nowMs) ?? this.#unsketched) / 25, nowMs);
      this.#throttles[index] = throttle;
    }
    throttle.refused(nowMs);
  }

  /** The highest share that is refused locally, of any priority. */
  refusedShare(nowMs: number): number {
    let share = 0;
    for (const throttle of this.#throttles ?? []) share = Math.max(share, throttle?.refusedShare(nowMs) ?? 0);
    return share;
  }
}
