/**
 * Hot path: admission in the world: what it decides by its own clock of turns and times is carried out here.
 */
import {
  ADMITTED,
  Admission,
  type AdmissionCall,
  type AdmissionOptions,
  RUNNING,
} from "../policy/protect/admission.ts";
import { LoopDelay } from "../policy/protect/loop-delay.ts";
import type { RateLimitOptions } from "../policy/protect/rate-limit.ts";
import type { PriorityRank, RefusalWhy } from "../policy/protect/refusal.ts";
import type { Runtime } from "../wire/transport/runtime.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { Refusal } from "./refusal.ts";

const HOUR_MS = 3_600_000;
/** How often the loop's delay is looked at while there are calls, and for how long after the last one came. */
const BEAT_MS = 25;
const LINGER_MS = 1_000;
/** When a call may come again that a late loop refused. */
export const COARSE_RETRY_MS = 500;

/** What a server takes on. */
export interface GateOptions {
  readonly admission: AdmissionOptions;
  readonly loopDelayMsMax: number | undefined;
  readonly rate: RateLimitOptions | undefined;
}

export class AdmissionGate extends WheelEntry {
  readonly admission: Admission;
  readonly #loop: LoopDelay;
  readonly #beat: Beat;
  readonly #runtime: Runtime;
  readonly #drain: () => void;
  #isDrainDue: boolean;
  /** The loop may be late: worth asking. */
  isLate: boolean;

  constructor(options: GateOptions, runtime: Runtime) {
    super();
    this.admission = new Admission(options.admission, runtime.world.random);
    this.#loop = new LoopDelay({ loopDelayMsMax: options.loopDelayMsMax });
    this.#beat = new Beat(this, runtime);
    this.#runtime = runtime;
    this.#isDrainDue = false;
    this.isLate = false;
    this.#drain = () => {
      // After all that this turn was to write: what begins now may keep the loop. Node calls what waits for a turn's end in one go; where each comes alone
      // (in the simulation) this may be before others, and costs them no time.
      queueMicrotask(() => {
        this.#isDrainDue = false;
        this.#turn(runtime.world.clock.monotonicMs());
      });
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

  /** There are calls: how late the loop comes to them is looked at for a while. */
  wanted(): void {
    this.#beat.wanted();
  }

  /** A beat of the loop came so late. */
  beat(lateMs: number, nowMs: number): void {
    this.#loop.sample(lateMs, nowMs);
    this.isLate = this.#loop.standingMs(nowMs) > 0;
  }

  /** By how much the loop is late, and stays so, in milliseconds. */
  loopDelayMs(): number {
    return this.#loop.standingMs(this.#runtime.world.clock.monotonicMs());
  }

  /** Why a call is refused before anything of it is looked at; undefined: it is not. */
  sheds(rank: PriorityRank, openHere: number, openAll: number, connections: number): RefusalWhy | undefined {
    return this.#loop.refuses(rank, this.#runtime.world.clock.monotonicMs(), openHere, openAll, connections);
  }

  /** It begins whatever else runs: who waits for it may hold the permit that it would wait for. */
  enter(call: AdmissionCall): void {
    this.admission.enter(call, this.#runtime.world.clock.monotonicMs());
  }

  /** Its handler kept the loop for so long. */
  timed(call: AdmissionCall, costMs: number): void {
    this.admission.timed(call, costMs);
    if (this.admission.isTurnDue) this.#drainLater();
  }

  /** It needs its permit or its place in the queue no more. `isSample`: it took the time of its handler, until `endedMs` (NaN: now). */
  leave(call: AdmissionCall, isSample: boolean, endedMs: number): void {
    const { admission } = this;
    try {
      if (call.admissionState !== RUNNING) admission.withdraw(call);
      else admission.ended(call, endedMs >= 0 ? endedMs : this.#runtime.world.clock.monotonicMs(), isSample);
    } finally {
      this.#look();
    }
  }

  expired(nowMs: number): void {
    this.#setHour();
    try {
      this.admission.timeCame(nowMs);
    } finally {
      this.#look();
    }
  }

  /** Nothing waits any more. */
  stop(): void {
    this.#runtime.wheel.cancel(this);
    this.#runtime.wheel.cancel(this.#beat);
  }

  #turn(nowMs: number): void {
    this.#setHour();
    // Those that wait behind a call whose begin throws are looked at again all the same.
    try {
      this.admission.drainTurn(nowMs);
    } finally {
      this.#look();
    }
  }

  #setHour(): void {
    this.admission.hour = Math.floor(this.#runtime.world.clock.wallMs() / HOUR_MS);
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

/** Comes so often while calls come, and says how late it came. */
class Beat extends WheelEntry {
  readonly #gate: AdmissionGate;
  readonly #runtime: Runtime;
  #wantedAtMs: number;

  constructor(gate: AdmissionGate, runtime: Runtime) {
    super();
    this.#gate = gate;
    this.#runtime = runtime;
    this.#wantedAtMs = -Infinity;
  }

  /** A call came; when, is only looked at by the next beat. */
  wanted(): void {
    this.#wantedAtMs = Infinity;
    if (this.isArmed) return;
    this.#runtime.wheel.arm(this, this.#runtime.world.clock.monotonicMs() + BEAT_MS);
  }

  expired(nowMs: number): void {
    this.#gate.beat(nowMs - this.dueMs, nowMs);
    // Calls came since the last beat: they are what the time counts from.
    if (this.#wantedAtMs === Infinity) this.#wantedAtMs = nowMs;
    if (nowMs - this.#wantedAtMs < LINGER_MS) this.#runtime.wheel.arm(this, nowMs + BEAT_MS);
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
  overdue: "too many handlers have outlived their deadlines",
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
