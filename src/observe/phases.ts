/**
 * Phases: from the moments of one call to where its time went. The phases are apart and add up to the whole.
 */
import type { CodeOrOk } from "../call/code.ts";
import type { AttemptRecord, CallPhase } from "../call/event.ts";

/**
 * When one call went from phase to phase, in milliseconds since it began. NaN is a moment that did not come, or that nobody noted: its phase
 * is left out, and the time counts for the phase before.
 */
export interface CallMoments {
  /** A peer was given the first attempt: `queue` ends. */
  readonly placedMs: number;
  /** The attempt that decided the call began: `earlier` ends. */
  readonly decidingMs: number;
  /** The first sign of that attempt's answer: `server` ends. */
  readonly answeredMs: number;
  /** The call ended, well or not: `receive` ends. */
  readonly endedMs: number;
  /** The last stall of this process's event loop. */
  readonly stalledFromMs: number;
  readonly stalledUntilMs: number;
}

/** The phases that were measured; none is negative, and their sum is `endedMs`. What of a phase this process's loop stood still goes to `stall`. */
export function phasesOf(moments: CallMoments): Partial<Record<CallPhase, number>> {
  const { placedMs, decidingMs, answeredMs, endedMs, stalledFromMs, stalledUntilMs } = moments;
  const stall = { fromMs: stalledFromMs, untilMs: stalledUntilMs };
  const begins: readonly (readonly [phase: CallPhase, fromMs: number])[] = [
    ["receive", answeredMs],
    ["server", decidingMs],
    ["earlier", placedMs],
    ["queue", 0],
  ];
  const phases: Partial<Record<CallPhase, number>> = {};
  let untilMs = endedMs;
  for (const [phase, fromMs] of begins) {
    if (Number.isNaN(fromMs)) continue;
    const beginMs = Math.min(untilMs, Math.max(0, fromMs));
    phases[phase] = untilMs - beginMs - overlapMs(beginMs, untilMs, stall);
    untilMs = beginMs;
  }
  phases.stall = overlapMs(0, endedMs, stall);
  return phases;
}

/** The attempt that decided how the call ended: the last to end of those that ended as it did, or of all; undefined if there was none. */
export function decidingAttempt(attempts: readonly AttemptRecord[], code: CodeOrOk): AttemptRecord | undefined {
  const alike = attempts.filter((attempt) => attempt.code === code);
  let last: AttemptRecord | undefined;
  for (const attempt of alike.length > 0 ? alike : attempts) {
    if (last === undefined || attempt.startMs + attempt.tookMs >= last.startMs + last.tookMs) last = attempt;
  }
  return last;
}

interface Stall {
  readonly fromMs: number;
  readonly untilMs: number;
}

function overlapMs(fromMs: number, untilMs: number, stall: Stall): number {
  const overlap = Math.min(untilMs, stall.untilMs) - Math.max(fromMs, stall.fromMs);
  // NaN for no stall: the comparison is false.
  return overlap > 0 ? overlap : 0;
}
