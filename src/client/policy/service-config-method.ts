/**
 * One entry of a service config's `methodConfig` as statements of a policy (gRFC A6). Numbers that we do not allow are clamped or left out,
 * and noted: the file may belong to another team.
 */
import { type Code, codeOf, isCode } from "../../call/code.ts";
import {
  anyOption,
  booleanOption,
  describeValue,
  listOption,
  numberOption,
  objectOption,
  type Resolved,
  resolveOptions,
  textOption,
} from "../../call/options.ts";
import type { BackoffRule } from "../../policy/recover/backoff.ts";
import { BACKOFF_MAX_MS, isRepeatableCode, TIMEOUT_MAX_MS, whyNeverRepeated } from "./policy-options.ts";
import { codeBits } from "./presets.ts";
import { type ModeSetting, state, type Statement } from "./resolved-policy.ts";

/** Attempts of one call, the first included: more is treated as this many (gRFC A6). */
const ATTEMPTS_MAX = 5;
/** Copies beside the first attempt, as everywhere in a policy. */
const COPIES_MAX = 3;
const UINT32_MAX = 4_294_967_295;

const text = textOption({ default: "", lengthMin: 0, lengthMax: 1_000 });
const bytes = numberOption({ default: undefined, min: 0, max: UINT32_MAX, integer: true });
const maxAttempts = numberOption({ default: undefined, min: 2, max: UINT32_MAX, integer: true });

/** Policies are resolved where they are given: absent and empty are not the same here. */
export const methodConfigShape = {
  name: listOption(objectOption({ service: text, method: text }), { lengthMax: 10_000 }),
  waitForReady: anyOption<unknown>(),
  timeout: anyOption<unknown>(),
  maxRequestMessageBytes: bytes,
  maxResponseMessageBytes: bytes,
  retryPolicy: anyOption<unknown>(),
  hedgingPolicy: anyOption<unknown>(),
};

export type MethodConfig = Resolved<typeof methodConfigShape>;

const retryShape = {
  maxAttempts,
  initialBackoff: anyOption<unknown>(),
  maxBackoff: anyOption<unknown>(),
  backoffMultiplier: numberOption({ default: undefined, min: 0, max: Number.MAX_VALUE }),
  retryableStatusCodes: anyOption<unknown>(),
  perAttemptRecvTimeout: anyOption<unknown>(),
};
const hedgingShape = {
  maxAttempts,
  hedgingDelay: anyOption<unknown>(),
  nonFatalStatusCodes: anyOption<unknown>(),
};

interface Said {
  readonly statements: Statement[];
  readonly notes: string[];
}

/** What an entry at `path` says. RangeError and TypeError with the JSON path. */
export function statementsOfMethodConfig(
  path: string,
  config: MethodConfig,
): { readonly statements: readonly Statement[]; readonly notes: readonly string[] } {
  const said: Said = { statements: [], notes: [] };
  const { statements, notes } = said;
  if (config.name.length === 0) notes.push(`${path} has no name and is for no method`);
  if (config.waitForReady !== undefined) {
    const { waitForReady } = resolveOptions(path, { waitForReady: config.waitForReady }, { waitForReady: isTrue });
    statements.push(state("waitForReady", waitForReady, `${path}.waitForReady`));
  }
  if (config.timeout !== undefined) {
    const timeoutMs = clamped(`${path}.timeout`, config.timeout, 1, TIMEOUT_MAX_MS, notes);
    statements.push(state("timeoutMs", timeoutMs, `${path}.timeout`));
  }
  for (const key of ["maxRequestMessageBytes", "maxResponseMessageBytes"] as const) {
    if (config[key] !== undefined) notes.push(`${path}.${key} has no effect: messageBytesMax is the channel's`);
  }
  if (config.retryPolicy !== undefined && config.hedgingPolicy !== undefined) {
    throw new RangeError(`${path} must have retryPolicy or hedgingPolicy, not both`);
  }
  if (config.retryPolicy !== undefined) sayRetry(`${path}.retryPolicy`, config.retryPolicy, said);
  if (config.hedgingPolicy !== undefined) sayHedging(`${path}.hedgingPolicy`, config.hedgingPolicy, said);
  return Object.freeze({ statements: Object.freeze(statements), notes: Object.freeze(notes) });
}

/** null stands for absent in proto3 JSON. What is deeper than a service config is left as it is. */
export function withoutNulls(given: unknown, depth = 0): unknown {
  if (typeof given !== "object" || given === null || depth > 8) return given;
  if (Array.isArray(given)) return given.map((item: unknown) => withoutNulls(item, depth + 1));
  if (Object.prototype.toString.call(given) !== "[object Object]") return given;
  return Object.fromEntries(
    Object.entries(given)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => [key, withoutNulls(value, depth + 1)]),
  );
}

const isTrue = booleanOption({ default: false });

function sayRetry(path: string, given: unknown, { statements, notes }: Said): void {
  const policy = resolveOptions(path, given, retryShape);
  const attempts = attemptsOf(path, policy.maxAttempts, notes);
  const initialMs = clamped(`${path}.initialBackoff`, policy.initialBackoff, 0, BACKOFF_MAX_MS, notes);
  const maxMs = clamped(`${path}.maxBackoff`, policy.maxBackoff, 0, BACKOFF_MAX_MS, notes);
  const factor = policy.backoffMultiplier;
  if (factor === undefined) throw missing(`${path}.backoffMultiplier`, "a number above 0");
  if (factor === 0) throw new RangeError(`${path}.backoffMultiplier must be a number above 0, got 0`);
  const codes = codesOf(`${path}.retryableStatusCodes`, policy.retryableStatusCodes, notes);
  if (codes.given === 0) throw missing(`${path}.retryableStatusCodes`, "a list of at least one code");
  const rule: BackoffRule = Object.freeze({
    kind: "exponential",
    baseMs: Math.min(initialMs, maxMs),
    factor,
    stepMs: 0,
    maxMs,
    jitter: "full",
  });
  statements.push(
    state("retry", true, path),
    state("attemptsMax", attempts, `${path}.maxAttempts`),
    state("failureBackoff", rule, path),
    state("timeoutBackoff", rule, path),
    state("codes", codes.bits, `${path}.retryableStatusCodes`),
  );
  if (policy.perAttemptRecvTimeout === undefined) return;
  const place = `${path}.perAttemptRecvTimeout`;
  const attemptTimeoutMs = clamped(place, policy.perAttemptRecvTimeout, 1, TIMEOUT_MAX_MS, notes);
  statements.push(state("attemptTimeoutMs", attemptTimeoutMs, place));
}

/** Without a delay all copies start at once, which is forking. */
function sayHedging(path: string, given: unknown, { statements, notes }: Said): void {
  const policy = resolveOptions(path, given, hedgingShape);
  const attempts = attemptsOf(path, policy.maxAttempts, notes);
  const delayMs = policy.hedgingDelay === undefined ? 0 : durationMs(`${path}.hedgingDelay`, policy.hedgingDelay);
  statements.push(state("retry", true, path), state("attemptsMax", attempts, `${path}.maxAttempts`));
  if (delayMs === 0) {
    const mode: ModeSetting = Object.freeze({ kind: "forking", copies: attempts });
    statements.push(state("mode", mode, path));
  } else {
    const copiesMax = Math.min(attempts - 1, COPIES_MAX);
    if (copiesMax < attempts - 1) {
      notes.push(`${path}.maxAttempts ${attempts} starts at most ${COPIES_MAX} copies beside the first attempt`);
    }
    const afterMs = clamped(`${path}.hedgingDelay`, policy.hedgingDelay, 0, TIMEOUT_MAX_MS, notes);
    statements.push(
      state("hedge", true, path),
      state("hedgeAfter", Object.freeze({ kind: "fixed", afterMs }), `${path}.hedgingDelay`),
      state("copiesMax", copiesMax, `${path}.maxAttempts`),
    );
  }
  if (policy.nonFatalStatusCodes === undefined) return;
  const { bits } = codesOf(`${path}.nonFatalStatusCodes`, policy.nonFatalStatusCodes, notes);
  statements.push(state("codes", bits, `${path}.nonFatalStatusCodes`));
}

function attemptsOf(path: string, given: number | undefined, notes: string[]): number {
  if (given === undefined) throw missing(`${path}.maxAttempts`, "2 or more");
  if (given > ATTEMPTS_MAX) notes.push(`${path}.maxAttempts ${given} is taken as ${ATTEMPTS_MAX} (gRFC A6)`);
  return Math.min(given, ATTEMPTS_MAX);
}

/** A duration above 0; what is outside min..max becomes the nearest that is inside, and is noted. */
function clamped(path: string, given: unknown, minMs: number, maxMs: number, notes: string[]): number {
  const ms = durationMs(path, given);
  if (ms === 0) throw new RangeError(`${path} must be more than "0s", got ${describeValue(given)}`);
  const allowed = Math.min(Math.max(ms, minMs), maxMs);
  if (allowed !== ms) notes.push(`${path} ${describeValue(given)} is taken as ${allowed} ms`);
  return allowed;
}

/** google.protobuf.Duration in JSON: seconds with at most nine digits after the point, and an "s". */
function durationMs(path: string, given: unknown): number {
  if (given === undefined) throw missing(path, 'a duration such as "1.5s"');
  if (typeof given !== "string") {
    throw new TypeError(`${path} must be a duration such as "1.5s", got ${describeValue(given)}`);
  }
  const [, seconds, nanos = ""] = /^(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(given) ?? [];
  if (seconds === undefined) {
    throw new RangeError(`${path} must be a duration such as "1.5s", got ${describeValue(given)}`);
  }
  // Not 1_000 times the fraction: "0.57s" would be 569.9999999999999 ms.
  return Number(seconds) * 1_000 + Number(nanos.padEnd(9, "0")) / 1_000_000;
}

/** Names in any case, or numbers (gRFC A6). What is never repeated is left out, and noted. */
function codesOf(path: string, given: unknown, notes: string[]): { readonly bits: number; readonly given: number } {
  if (given === undefined) return { bits: 0, given: 0 };
  if (!Array.isArray(given))
    throw new TypeError(`${path} must be an array of status codes, got ${describeValue(given)}`);
  const codes = given.map((item: unknown, index) => codeFrom(`${path}[${index}]`, item));
  for (const code of new Set(codes)) {
    if (!isRepeatableCode(code)) notes.push(`${path}: ${code} is left out (${whyNeverRepeated(code)})`);
  }
  return { bits: codeBits(codes.filter(isRepeatableCode)), given: codes.length };
}

function codeFrom(path: string, given: unknown): Code {
  const isNumber = typeof given === "number" && Number.isInteger(given) && given >= 1 && given <= 16;
  const code = isNumber ? codeOf(given) : typeof given === "string" ? given.toUpperCase() : undefined;
  if (isCode(code)) return code;
  const Kind = typeof given === "string" || typeof given === "number" ? RangeError : TypeError;
  throw new Kind(`${path} must be the name or number of a gRPC failure, got ${describeValue(given)}`);
}

function missing(path: string, expected: string): TypeError {
  return new TypeError(`${path} must be ${expected}, got nothing`);
}
