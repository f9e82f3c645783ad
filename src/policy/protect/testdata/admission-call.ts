/** Calls for admission in tests, which remember what became of them. */
import assert from "node:assert/strict";
import { seededRandom } from "../../../world/seeded-random.ts";
import { ADMITTED, Admission, type AdmissionCall, type AdmissionOptions, type Offer, OUTSIDE } from "../admission.ts";
import { HandlerFigures } from "../handler-figures.ts";
import { Principal } from "../principal.ts";
import type { PriorityRank, RefusalWhy } from "../refusal.ts";

export const SOMEBODY = new Principal("somebody");

export class Call implements AdmissionCall {
  readonly priorityRank: PriorityRank;
  readonly principal: Principal;
  readonly isRepeat: boolean;
  readonly deadlineMs: number;
  readonly handlerFigures: HandlerFigures;
  admissionState: 0 | 1 | 2 = OUTSIDE;
  queuePrevious: AdmissionCall | undefined = undefined;
  queueNext: AdmissionCall | undefined = undefined;
  queuedAtMs = 0;
  admittedAtMs = 0;
  runningThen = 0;
  /** What became of it, in order. */
  readonly heard: (RefusalWhy | "admitted")[] = [];
  retryAfterMs = 0;
  onAdmitted: (nowMs: number) => void = () => {};

  constructor(
    figures: HandlerFigures,
    facts: { rank?: PriorityRank; principal?: Principal; isRepeat?: boolean; deadlineMs?: number } = {},
  ) {
    this.handlerFigures = figures;
    this.priorityRank = facts.rank ?? 1;
    this.principal = facts.principal ?? SOMEBODY;
    this.isRepeat = facts.isRepeat ?? false;
    this.deadlineMs = facts.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  admitted(nowMs: number): void {
    this.heard.push("admitted");
    this.onAdmitted(nowMs);
  }

  refused(why: RefusalWhy, retryAfterMs: number): void {
    this.heard.push(why);
    this.retryAfterMs = retryAfterMs;
  }
}

export function admissionOf(options?: AdmissionOptions): Admission {
  return new Admission(options, seededRandom(1));
}

/** One permit, taken by the call that comes with it. */
export function full(options: AdmissionOptions = {}): { admission: Admission; figures: HandlerFigures; first: Call } {
  const admission = admissionOf({ concurrencyMax: 1, isAdaptive: false, ...options });
  const figures = new HandlerFigures();
  const first = new Call(figures);
  assert.equal(admission.offer(first, 0), ADMITTED);
  return { admission, figures, first };
}

/** Offers calls of heavy handlers at 0, as they were read together; those that begin end at 1. Gives back what each was answered. */
export function offeredTogether(admission: Admission, calls: readonly Call[]): readonly Offer[] {
  return calls.map((call) => {
    const offer = admission.offer(call, 0);
    if (offer === ADMITTED) {
      admission.timed(call, 1);
      admission.ended(call, 1, true);
    }
    return offer;
  });
}

/** A handler that keeps the loop for 1 ms, known as such. */
export function heavyFigures(): HandlerFigures {
  const figures = new HandlerFigures();
  for (let i = 0; i < 20; i++) figures.timed(1);
  return figures;
}
