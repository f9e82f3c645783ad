/**
 * The presets: four rows of numbers, and the defaults that hold where no level says anything (DESIGN section 4).
 */
import type { Code } from "../../call/code.ts";
import { codeNumber } from "../../call/code.ts";
import type { Priority } from "../../call/method.ts";
import type { BackoffRule } from "../../policy/recover/backoff.ts";
import type { Preset, RepeatableCode } from "./policy.ts";
import { type HedgeMoment, type ModeSetting, type Settings, state, type Statement } from "./resolved-policy.ts";

/** One row of the table in docs/policies.md. */
export interface PresetRow {
  readonly timeoutMs: number;
  readonly attemptsMax: number;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly hedge: boolean;
  /** undefined: the caller's, else the contract's. */
  readonly priority: Priority | undefined;
  readonly throttle: boolean;
  readonly gate: boolean;
  readonly integrity: boolean;
}

const on = { hedge: true, priority: undefined, throttle: true, gate: true, integrity: true } as const;
const off = { hedge: false, priority: undefined, throttle: false, gate: false, integrity: false } as const;

export const presetRows: Readonly<Record<Preset, PresetRow>> = Object.freeze({
  standard: Object.freeze({ ...on, timeoutMs: 30_000, attemptsMax: 3, baseMs: 50, maxMs: 1_000 }),
  interactive: Object.freeze({ ...on, timeoutMs: 3_000, attemptsMax: 3, baseMs: 25, maxMs: 250 }),
  background: Object.freeze({
    ...on,
    timeoutMs: 300_000,
    attemptsMax: 5,
    baseMs: 1_000,
    maxMs: 30_000,
    hedge: false,
    priority: "sheddable",
  }),
  none: Object.freeze({ ...off, timeoutMs: 30_000, attemptsMax: 1, baseMs: 50, maxMs: 1_000 }),
});

export const presetNames: readonly Preset[] = Object.freeze(["standard", "interactive", "background", "none"]);

/** The failures after which a request that may have reached a handler is repeated, in the order of their numbers. */
export const repeatableCodes: readonly RepeatableCode[] = Object.freeze([
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
]);

const OVERDUE: HedgeMoment = Object.freeze({ kind: "overdue" });
export const FAILOVER: ModeSetting = Object.freeze({ kind: "failover", copies: 1 });
export const FAILFAST: ModeSetting = Object.freeze({ kind: "failfast", copies: 1 });

/** A bit per code. */
export function codeBits(codes: readonly Code[]): number {
  return codes.reduce((bits, code) => bits | (1 << codeNumber(code)), 0);
}

/** Every setting where nobody says anything: the standard row, with the deadline left to the method's kind. */
export const defaultSettings: Settings = Object.freeze({
  ...settingsOf("standard"),
  timeoutMs: undefined,
  codes: codeBits(repeatableCodes),
  waitForReady: true,
  fallback: undefined,
});

/** What naming a preset at `place` states: all but codes and waiting; "none", which is plain gRPC, takes a fallback back too. */
export function presetStatements(preset: Preset, place: string): readonly Statement[] {
  const settings = { ...settingsOf(preset), ...(preset === "none" ? { fallback: undefined } : {}) };
  return (Object.keys(settings) as (keyof typeof settings)[]).map((key) => state(key, settings[key], place, true));
}

function settingsOf(preset: Preset): Omit<Settings, "codes" | "fallback" | "waitForReady"> {
  const row = presetRows[preset];
  const backoff = rowBackoff(row);
  return {
    preset,
    timeoutMs: row.timeoutMs,
    attemptTimeoutMs: Infinity,
    mode: FAILOVER,
    retry: true,
    attemptsMax: row.attemptsMax,
    failureBackoff: backoff,
    timeoutBackoff: backoff,
    hedge: row.hedge,
    hedgeAfter: OVERDUE,
    copiesMax: 1,
    priority: row.priority,
    throttle: row.throttle,
    gate: row.gate,
    integrity: row.integrity,
  };
}

function rowBackoff({ baseMs, maxMs }: PresetRow): BackoffRule {
  return Object.freeze({ kind: "exponential", baseMs, factor: 2, stepMs: 0, maxMs, jitter: "full" });
}
