/**
 * When an attempt in flight is to have a copy beside it, and which failure ends a race of copies. Pure; the client and `protect` carry it out.
 */
import { type CodeOrOk, codeNumber } from "../../call/code.ts";
import type { Overdue } from "./overdue.ts";

/** A timer that comes so late found this process busy: the answer may be here already, and not looked at. */
export const LATE_MS = 2;
/** An attempt of whose kind too little is known is looked at again after this: by then more may be known. */
export const UNKNOWN_LOOK_MS = 100;
/** A call that could not be copied asks for it again after this at the latest. */
const ASK_AGAIN_MS_MAX = 1_000;

/** When a policy has an attempt copied: after a fixed time, when it is overdue, or later than a share of those before it. */
export type CopyMoment =
  | { readonly kind: "fixed"; readonly afterMs: number }
  | { readonly kind: "overdue" }
  | { readonly kind: "quantile"; readonly quantile: number };

/** After how long an attempt is overdue; Infinity until its kind has shown how long it takes. */
export function copyDelayMs(moment: CopyMoment, overdue: Overdue | undefined, nowMs: number): number {
  if (moment.kind === "fixed") return moment.afterMs;
  if (overdue === undefined) return Infinity;
  return moment.kind === "overdue" ? overdue.delayMs(nowMs) : overdue.quantileMs(nowMs, moment.quantile);
}

/** When an attempt that could not be copied is looked at again: when it has waited twice as long as now, or in a second. */
export function askAgainMs(ageMs: number, nowMs: number): number {
  return nowMs + Math.min(ASK_AGAIN_MS_MAX, Math.max(LATE_MS, ageMs));
}

/** Attempts of a call that may be copied: one without repeats still has its copies. */
export function attemptsMaxWithCopies(attemptsMax: number, copiesMax: number): number {
  return Math.max(attemptsMax, 1 + copiesMax);
}

/**
 * Whether a failure is an answer that another attempt would get too, and not one of those that it may mend: then whatever else is in flight
 * is not awaited. `isFromHandler`: it is the status of a handler. `codes`: those that are repeated, as bits.
 */
export function isAnswer(code: CodeOrOk, isFromHandler: boolean, codes: number): boolean {
  return isFromHandler && code !== "RESOURCE_EXHAUSTED" && (codes & (1 << codeNumber(code))) === 0;
}
