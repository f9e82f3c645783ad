/**
 * Hot path: admission in the world: what it decides by its own clock of turns and times is carried out here.
 */
import { ADMITTED, type Admission, type AdmissionCall, RUNNING } from "../policy/protect/admission.ts";
import type { RefusalWhy } from "../policy/protect/refusal.ts";
import type { Runtime } from "../wire/transport/runtime.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { Refusal } from "./refusal.ts";

const HOUR_MS = 3_600_000;

export class AdmissionGate extends WheelEntry {
  readonly admission: Admission;
  readonly #runtime: Runtime;
  readonly #drain: () => void;
  #isDrainDue: boolean;

  constructor(admission: Admission, runtime: Runtime) {
    super();
    this.admission = admission;
    this.#runtime = runtime;
    this.#isDrainDue = false;
    this.#drain = () => {
      this.#isDrainDue = false;
      this.#turn(runtime.world.clock.monotonicMs());
    };
  }

  /** True: the call may go on now. `readAtMs`: when its bytes were read. */
  offer(call: AdmissionCall, readAtMs: number): boolean {
    const { admission } = this;
    // As long as handlers take no time the turn has one: else it is not the time at which it began.
    const nowMs = admission.isTurnDue ? this.#runtime.world.clock.monotonicMs() : readAtMs;
    const offer = admission.offer(call, nowMs);
    if (offer !== ADMITTED) this.#look();
    return offer === ADMITTED;
  }

  /** Its handler kept the loop for so long. */
  timed(call: AdmissionCall, costMs: number): void {
    this.admission.timed(call, costMs);
    if (this.admission.isTurnDue) this.#drainLater();
  }

  /** It needs its permit or its place in the queue no more. `isSample`: it took the time of its handler. */
  leave(call: AdmissionCall, isSample: boolean): void {
    const { admission } = this;
    if (call.admissionState === RUNNING) admission.ended(call, this.#runtime.world.clock.monotonicMs(), isSample);
    else admission.withdraw(call);
    this.#look();
  }

  expired(nowMs: number): void {
    this.#turn(nowMs);
  }

  /** Nothing waits any more. */
  stop(): void {
    this.#runtime.wheel.cancel(this);
  }

  #turn(nowMs: number): void {
    this.admission.hour = Math.floor(this.#runtime.world.clock.wallMs() / HOUR_MS);
    this.admission.drainTurn(nowMs);
    this.#look();
  }

  /** What it waits for: the next turn, or a time. */
  #look(): void {
    const { admission } = this;
    if (admission.isTurnDue) this.#drainLater();
    const { nextDueMs } = admission;
    if (nextDueMs === Number.POSITIVE_INFINITY) return;
    if (!this.isArmed || nextDueMs < this.dueMs) this.#runtime.wheel.arm(this, nextDueMs);
  }

  #drainLater(): void {
    if (this.#isDrainDue) return;
    this.#isDrainDue = true;
    this.#runtime.world.timers.afterTurn(this.#drain);
  }
}

/** What a caller is told of each reason. */
const TEXTS: Readonly<Record<RefusalWhy, string>> = Object.freeze({
  "queue-full": "the server is over its capacity: as many calls wait as may",
  displaced: "the server is over its capacity: a call that is more urgent took the place",
  "too-old": "the server is over its capacity: the call waited too long to be worth an answer",
  expired: "the deadline passed before the handler could begin",
  doomed: "less time was left than the method takes at its best",
  shed: "the server is over its capacity: calls of this priority are refused",
  share: "the server is over its capacity: its caller has more than its share already",
  rate: "its caller makes more calls than it may",
});

/** A refusal, as its caller hears of it: overload, unless time is what there was too little of. */
export function refusalFor(why: RefusalWhy, retryAfterMs: number): Refusal {
  const text = TEXTS[why];
  if (why === "expired") {
    return { code: "DEADLINE_EXCEEDED", text, reason: "DEADLINE", retryAfterMs: undefined, isNotRun: true };
  }
  if (why === "doomed") {
    return { code: "DEADLINE_EXCEEDED", text, reason: "DOOMED", retryAfterMs: undefined, isNotRun: true };
  }
  return { code: "RESOURCE_EXHAUSTED", text, reason: "ADMISSION_REFUSED", retryAfterMs, isNotRun: true };
}
