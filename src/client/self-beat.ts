/**
 * Is it me? A beat while calls wait: one that comes late says that this process was stalled, and that silence meanwhile says nothing
 * about peers. One for each world.
 */
import { SelfWatch } from "../policy/detect/self.ts";
import type { Runtime } from "../wire/transport/runtime.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";

/** So often, in milliseconds. */
export const BEAT_MS = 100;
/** So long after the last call was sent the beat goes on. */
const LINGER_MS = 2_000;
/** What is called a stall (as in `patient-timers.ts`). */
const STALL_MS = 100;

const beats = new WeakMap<Runtime, SelfBeat>();

export function selfBeatOf(runtime: Runtime): SelfBeat {
  let beat = beats.get(runtime);
  if (beat === undefined) {
    beat = new SelfBeat(runtime);
    beats.set(runtime, beat);
  }
  return beat;
}

export class SelfBeat extends WheelEntry {
  readonly watch: SelfWatch;
  readonly #runtime: Runtime;
  readonly #listeners: Set<(stallMs: number) => void>;
  #wantedAtMs: number;

  constructor(runtime: Runtime) {
    super();
    this.watch = new SelfWatch();
    this.#runtime = runtime;
    this.#listeners = new Set();
    this.#wantedAtMs = -Infinity;
  }

  /** Calls wait: the beat goes on for a while. */
  wanted(nowMs: number): void {
    this.#wantedAtMs = nowMs;
    if (!this.isArmed) this.#runtime.wheel.arm(this, nowMs + BEAT_MS);
  }

  /** Tells of each stall; gives back what ends that. */
  onStall(listener: (stallMs: number) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      // The last channel of its world is closed.
      if (this.#listeners.size === 0) this.#runtime.wheel.cancel(this);
    };
  }

  /** Some timer that was due then came now. */
  late(dueMs: number, nowMs: number): void {
    // All timers of one stall are late; it is told of once.
    const isNews = dueMs > this.watch.stalledUntilMs;
    this.watch.beat(dueMs, nowMs);
    if (isNews && nowMs - dueMs > STALL_MS) for (const listener of [...this.#listeners]) listener(nowMs - dueMs);
  }

  expired(nowMs: number): void {
    this.late(this.dueMs, nowMs);
    if (nowMs - this.#wantedAtMs < LINGER_MS) this.#runtime.wheel.arm(this, nowMs + BEAT_MS);
  }
}
