/**
 * One run of a handler: what stands before it, and what is given back after it. A call whose answer is kept already, or that runs
 * elsewhere in this process, takes no permit; what is refused leaves no record. Why the record is made before the request is decoded:
 * docs/decisions/dedup-order.md.
 *
 * A repeat looks for its answer before it asks for a permit: refusing it would say that the answer is not there. So does an interceptor that
 * calls `next` again. A first attempt has nothing to look for, so it asks for the permit first, and overload costs the store no write.
 */
import type { DedupClaim, DedupEntry } from "../durable/dedup-store.ts";
import { type AdmissionCall, OUTSIDE, WAITING } from "../policy/protect/admission.ts";
import type { HandlerFigures } from "../policy/protect/handler-figures.ts";
import type { Principal as AdmittedPrincipal } from "../policy/protect/principal.ts";
import { NOT_AGAIN, type PriorityRank, rankOf, type RefusalWhy } from "../policy/protect/refusal.ts";
import { refusalFor } from "./admission-gate.ts";
import { refusalOf, storeFailed } from "./once.ts";
import type { Refusal } from "./refusal.ts";
import type { ServerCall } from "./server-call.ts";

/** Who waits for it. */
export interface ExecutionOwner {
  /** The handler may run now. */
  passed(): void;
  /** It has run before: this is its answer, as `kept-answer.ts` encodes it. */
  answered(kept: Uint8Array): void;
  refused(refusal: Refusal): void;
}

const LOOK_UP = 0;
const PERMIT = 1;
const RECORD = 2;
const RUN = 3;
const OVER = 4;

export class Execution implements AdmissionCall {
  call: ServerCall;
  #owner: ExecutionOwner;
  #step: number;
  /** Its handler was called; told behind interceptors only. */
  hasRun: boolean;
  /** How long its handler keeps the loop is to be measured. */
  isTimed: boolean;
  // Admission's own.
  admissionState: AdmissionCall["admissionState"];
  queuePrevious: AdmissionCall | undefined;
  queueNext: AdmissionCall | undefined;
  queuedAtMs: number;
  admittedAtMs: number;
  runningThen: number;
  /** The record of a call that is kept, while it runs; undefined for all others. */
  entry: DedupEntry | undefined;

  constructor(call: ServerCall, owner: ExecutionOwner) {
    this.call = call;
    this.#owner = owner;
    this.#step = LOOK_UP;
    this.hasRun = false;
    this.isTimed = false;
    this.admissionState = OUTSIDE;
    this.queuePrevious = undefined;
    this.queueNext = undefined;
    this.queuedAtMs = Number.NaN;
    this.admittedAtMs = Number.NaN;
    this.runningThen = 0;
    this.entry = undefined;
  }

  /** For another call, when nobody holds it any more: its memory is worth more than a look at it. */
  reuse(call: ServerCall, owner: ExecutionOwner): this {
    this.call = call;
    this.#owner = owner;
    this.#step = LOOK_UP;
    this.isTimed = false;
    this.admissionState = OUTSIDE;
    this.entry = undefined;
    return this;
  }

  get priorityRank(): PriorityRank {
    return rankOf(this.call.priority);
  }
  get principal(): AdmittedPrincipal {
    return this.call.core.admittedPrincipalOf(this.call);
  }
  get isRepeat(): boolean {
    return this.call.isRepeat;
  }
  get deadlineMs(): number {
    return this.call.deadlineMs;
  }
  /** It waits to begin, for admission. */
  get isQueued(): boolean {
    return this.admissionState === WAITING;
  }
  get handlerFigures(): HandlerFigures {
    return this.call.route.handlerFigures;
  }

  /** Goes as far as it can. The owner hears of the end, now or later. */
  go(): void {
    const isKept = this.call.isKept;
    for (;;) {
      switch (this.#step) {
        case LOOK_UP:
          this.#step = PERMIT;
          if (isKept && (this.call.isRepeat || this.call.hasRun) && !this.#claim()) return;
          break;
        case PERMIT:
          this.#step = RECORD;
          if (!this.#admit()) return;
          break;
        case RECORD:
          this.#step = RUN;
          if (isKept && this.entry === undefined && !this.#claim()) return;
          break;
        case RUN:
          this.#step = OVER;
          if (this.isTimed) this.#runTimed();
          else this.#owner.passed();
          return;
        default:
          return;
      }
    }
  }

  /** Nobody waits any more, or the handler is not to run: what was taken is given back. */
  abandon(): void {
    this.#step = OVER;
    this.givePermitBack();
    this.#forget();
  }

  /** The permit goes back, and says nothing of load: the handler of a stream has begun, or none is to run. */
  givePermitBack(): void {
    this.ended(false, Number.NaN);
  }

  /** The handler has ended: at `endedMs`, if the caller knows, else now. */
  ended(isSample: boolean, endedMs: number): void {
    if (this.admissionState !== OUTSIDE) this.call.core.gate?.leave(this, isSample, endedMs);
  }

  /** It waited, and may go on. */
  admitted(): void {
    this.call.isLater = true;
    this.go();
  }

  refused(why: RefusalWhy, retryAfterMs: number): void {
    this.call.core.admissionRefused(this.call.route.plan.info, this.call.priority, why);
    this.#refuse(refusalFor(why, retryAfterMs));
  }

  /** True: go on now. False: it waits, or was refused. */
  #admit(): boolean {
    const { gate } = this.call.core;
    if (gate === undefined || this.call.route.isBuiltIn) return true;
    const overRateMs = this.call.core.overRateMs(this.principal);
    if (overRateMs > 0) {
      this.refused("rate", this.isRepeat ? NOT_AGAIN : Math.ceil(overRateMs));
      return false;
    }
    this.isTimed = this.call.route.handlerFigures.isTimed;
    if (this.call.isNested) {
      gate.enter(this);
      return true;
    }
    const { exchange, isLater, core } = this.call;
    return gate.offer(this, isLater ? core.runtime.world.clock.monotonicMs() : exchange.connection.receivedAtMs);
  }

  #runTimed(): void {
    const { gate, runtime } = this.call.core;
    const { clock } = runtime.world;
    const startMs = clock.monotonicMs();
    this.#owner.passed();
    gate?.timed(this, clock.monotonicMs() - startMs);
  }

  /** True: recorded, go on. False: the owner was told, or hears later. */
  #claim(): boolean {
    let claim: DedupClaim | Promise<DedupClaim> | undefined;
    try {
      claim = this.call.core.once?.claim(this.call);
    } catch (error) {
      this.#storeFailed(error);
      return false;
    }
    if (claim === undefined) {
      this.abandon();
      return false;
    }
    if (!(claim instanceof Promise)) return this.#claimed(claim);
    this.call.isLater = true;
    claim.then(
      (late) => {
        if (this.#step === OVER) {
          // Nobody waits any more, and nothing has run.
          if (late.kind === "run") this.#takeBack(late.entry);
        } else if (this.#claimed(late)) {
          this.go();
        }
      },
      (error: unknown) => this.#storeFailed(error),
    );
    return false;
  }

  #claimed(claim: DedupClaim): boolean {
    switch (claim.kind) {
      case "run":
        this.entry = claim.entry;
        return true;
      case "answer":
        this.#answer(claim.answer);
        return false;
      case "running":
        this.#attach(claim.answer);
        return false;
      default:
        this.#refuse(refusalOf(claim.kind));
        return false;
    }
  }

  /** It runs for another attempt: its answer is this one's too. */
  #attach(answer: Promise<Uint8Array | undefined>): void {
    this.givePermitBack();
    answer.then(
      (kept) => {
        if (this.#step === OVER) return;
        if (kept !== undefined) {
          this.#answer(kept);
          return;
        }
        // It ended without one: from the beginning.
        this.call.isLater = true;
        this.#step = LOOK_UP;
        this.go();
      },
      (error: unknown) => this.#storeFailed(error),
    );
  }

  #answer(kept: Uint8Array): void {
    if (this.#step === OVER) return;
    this.#step = OVER;
    this.givePermitBack();
    this.#owner.answered(kept);
  }

  #storeFailed(error: unknown): void {
    const { core, id } = this.call;
    core.once?.refused();
    this.#refuse(storeFailed(error, id));
  }

  #refuse(refusal: Refusal): void {
    if (this.#step === OVER) return;
    this.abandon();
    this.#owner.refused(refusal);
  }

  #forget(): void {
    const { entry } = this;
    this.entry = undefined;
    if (entry !== undefined) this.#takeBack(entry);
  }

  #takeBack(entry: DedupEntry): void {
    void this.call.core.once?.forget(entry);
  }
}
