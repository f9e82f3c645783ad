/**
 * A policy as given, checked and taken apart into statements: one for each key that says something. Ranges stand here once.
 */
import { type Code, isCode } from "../../call/code.ts";
import type { RpcError } from "../../call/error.ts";
import type { Priority } from "../../call/method.ts";
import {
  anyOption,
  describeValue,
  functionOption,
  numberOption,
  objectOption,
  orFalse,
  type Resolved,
  resolveOptions,
  wordOption,
} from "../../call/options.ts";
import type { BackoffRule } from "../../policy/recover/backoff.ts";
import type { Hedge, Preset, RepeatableCode } from "./policy.ts";
import { codeBits, FAILFAST, FAILOVER, presetNames, presetStatements, repeatableCodes } from "./presets.ts";
import { type HedgeMoment, type ModeSetting, state, type Statement } from "./resolved-policy.ts";

/** Where a policy stands: what it may hold differs. */
export type PolicyLevel = "client" | "method" | "call";

export const TIMEOUT_MAX_MS = 86_400_000;
export const BACKOFF_MAX_MS = 3_600_000;
const BACKOFF_BASE_MAX_MS = 600_000;
/** Without `maxMs`, waits grow to this many times the first: 50 ms to 1 s, as in the default. */
const BACKOFF_GROWTH = 20;

const milliseconds = numberOption({ default: undefined, min: 1, max: TIMEOUT_MAX_MS });

const policyShape = {
  preset: wordOption<Preset>(presetNames),
  timeoutMs: numberOption({ default: undefined, min: 1, max: TIMEOUT_MAX_MS, infinity: true }),
  attemptTimeoutMs: orFalse(milliseconds),
  priority: wordOption<Priority>(["critical", "normal", "sheddable"]),
  mode: anyOption<unknown>(),
  retry: orFalse(
    objectOption({
      attemptsMax: numberOption({ default: undefined, min: 1, max: 10, integer: true, infinity: true }),
      backoff: anyOption<unknown>(),
      codes: anyOption<unknown>(),
    }),
  ),
  hedge: orFalse(
    objectOption({
      after: wordOption<NonNullable<Hedge["after"]>>(["overdue", "p90", "p95", "p98", "p99"]),
      afterMs: milliseconds,
      copiesMax: numberOption({ default: undefined, min: 1, max: 3, integer: true }),
    }),
  ),
  throttle: anyOption<unknown>(),
  gate: anyOption<unknown>(),
  integrity: anyOption<unknown>(),
};
const methodShape = { ...policyShape, fallback: functionOption<(error: RpcError, request: unknown) => unknown>() };
const { timeoutMs: _timeoutMs, priority: _priority, ...callShape } = policyShape;

/** Every key that a policy may have at some level; docs/policies.md has a row for each. */
export const policyKeys: readonly string[] = Object.freeze(
  Object.entries(methodShape).flatMap(([key, { rule }]) => {
    const inner = rule.kind === "off" ? rule.inner.rule : rule;
    return inner.kind === "object" ? [key, ...Object.keys(inner.shape).map((name) => `${key}.${name}`)] : [key];
  }),
);

type GivenPolicy = Resolved<typeof policyShape>;

/**
 * What a policy at `path` states, its preset first. TypeError for a wrong type, an unknown key and a key that belongs elsewhere, RangeError for
 * a value outside its range or words.
 */
export function policyStatements(path: string, given: unknown, level: PolicyLevel): readonly Statement[] {
  if (given === undefined) return [];
  if (typeof given === "string" && level !== "method") {
    const named = resolveOptions("", { [path]: given }, { [path]: wordOption<Preset>(presetNames) })[path];
    return named === undefined ? [] : presetStatements(named, `${path} ${JSON.stringify(named)}`);
  }
  refuseMisplaced(path, given, level);
  const shape = level === "method" ? methodShape : level === "call" ? callShape : policyShape;
  const policy = resolveOptions(path, given, shape as typeof methodShape);
  const has = (key: string): boolean => ownValue(given, key) !== undefined;
  const statements = [...presetPart(path, policy.preset), ...plainParts(path, policy)];
  if (policy.mode !== undefined) statements.push(state("mode", modeOf(`${path}.mode`, policy.mode), `${path}.mode`));
  if (has("retry")) statements.push(...retryPart(`${path}.retry`, policy.retry));
  if (has("hedge")) statements.push(...hedgePart(`${path}.hedge`, policy.hedge));
  if (policy.fallback !== undefined) statements.push(state("fallback", policy.fallback, `${path}.fallback`));
  refuseContradiction(path, statements);
  return statements;
}

/** The keys of `methods`, each a method of the contract. TypeError with a suggestion for one that is not. */
export function checkMethodNames(given: unknown, names: readonly string[]): Readonly<Record<string, unknown>> {
  const shape = Object.fromEntries(names.map((name) => [name, anyOption<unknown>()]));
  return resolveOptions("methods", given ?? {}, shape);
}

function refuseMisplaced(path: string, given: unknown, level: PolicyLevel): void {
  if (typeof given !== "object" || given === null) return;
  if (level !== "method" && Object.hasOwn(given, "fallback")) {
    throw new TypeError(`${path}.fallback belongs under methods: a reply is one method's`);
  }
  if (level !== "call") return;
  for (const key of ["timeoutMs", "priority"]) {
    if (Object.hasOwn(given, key)) {
      throw new TypeError(`${path}.${key} belongs beside policy: it is an option of the call itself`);
    }
  }
}

/** Within one policy; between levels the later one wins without a word. */
function refuseContradiction(path: string, statements: readonly Statement[]): void {
  const stated = statements.filter(({ isPreset }) => !isPreset);
  const mode = stated.find(({ key }) => key === "mode")?.value as ModeSetting | undefined;
  if (mode === undefined || mode.kind === "failover") return;
  const hedge = stated.find(({ key, value }) => key === "hedge" && value === true);
  if (hedge !== undefined) {
    const why = mode.kind === "failfast" ? "is one attempt" : "starts its copies at once";
    throw new TypeError(`${path} has mode ${mode.kind}, which ${why}, and hedge: give one of the two`);
  }
  const attempts = stated.find(({ key }) => key === "attemptsMax")?.value as number | undefined;
  if (mode.kind === "failfast" && attempts !== undefined && attempts > 1) {
    throw new TypeError(
      `${path} has mode failfast, which is one attempt, and retry.attemptsMax ${attempts}: give one of the two`,
    );
  }
}

function presetPart(path: string, preset: Preset | undefined): Statement[] {
  return preset === undefined ? [] : [...presetStatements(preset, `${path}.preset ${JSON.stringify(preset)}`)];
}

function plainParts(path: string, policy: GivenPolicy): Statement[] {
  const { timeoutMs, attemptTimeoutMs, priority } = policy;
  const statements: Statement[] = [];
  if (timeoutMs !== undefined) statements.push(state("timeoutMs", timeoutMs, `${path}.timeoutMs`));
  if (attemptTimeoutMs !== undefined) {
    const value = attemptTimeoutMs === false ? Infinity : attemptTimeoutMs;
    statements.push(state("attemptTimeoutMs", value, `${path}.attemptTimeoutMs`));
  }
  if (priority !== undefined) statements.push(state("priority", priority, `${path}.priority`));
  for (const key of ["throttle", "gate", "integrity"] as const) {
    if (policy[key] === undefined) continue;
    if (policy[key] !== false) {
      const note = key === "integrity" ? "on is the default" : "on is the default, its numbers are the channel's";
      throw new TypeError(`${path}.${key} may only be false here, got ${describeValue(policy[key])} (${note})`);
    }
    statements.push(state(key, false, `${path}.${key}`));
  }
  return statements;
}

function modeOf(path: string, given: unknown): ModeSetting {
  if (given === "failover") return FAILOVER;
  if (given === "failfast") return FAILFAST;
  const kindGiven = ownValue(given, "kind");
  if (kindGiven !== "forking") {
    const Kind = typeof given === "string" || typeof kindGiven === "string" ? RangeError : TypeError;
    const what = typeof kindGiven === "string" ? `kind ${describeValue(kindGiven)}` : describeValue(given);
    throw new Kind(`${path} must be "failover", "failfast" or { kind: "forking", copies: 2..5 }, got ${what}`);
  }
  const { kind, copies } = resolveOptions(path, given, {
    kind: wordOption(["forking"], { default: "forking" }),
    copies: numberOption({ default: undefined, min: 2, max: 5, integer: true }),
  });
  if (copies === undefined) throw new TypeError(`${path}.copies must be 2..5, got undefined`);
  return Object.freeze({ kind, copies });
}

function retryPart(path: string, retry: GivenPolicy["retry"]): Statement[] {
  if (retry === false) return [state("retry", false, path)];
  const { attemptsMax, backoff, codes } = retry;
  const statements = [state("retry", true, path)];
  if (attemptsMax !== undefined) statements.push(state("attemptsMax", attemptsMax, `${path}.attemptsMax`));
  if (backoff !== undefined) statements.push(...backoffPart(`${path}.backoff`, backoff));
  if (codes !== undefined) statements.push(state("codes", codeBits(codesOf(`${path}.codes`, codes)), `${path}.codes`));
  return statements;
}

function backoffPart(path: string, given: unknown): Statement[] {
  const isByCause =
    typeof given === "object" &&
    given !== null &&
    (Object.hasOwn(given, "failure") || Object.hasOwn(given, "timeout") || isEmpty(given));
  if (!isByCause) {
    const rule = backoffOf(path, given);
    return [state("failureBackoff", rule, path), state("timeoutBackoff", rule, path)];
  }
  const { failure, timeout } = resolveOptions(path, given, {
    failure: anyOption<unknown>(),
    timeout: anyOption<unknown>(),
  });
  const statements: Statement[] = [];
  if (failure !== undefined) {
    statements.push(state("failureBackoff", backoffOf(`${path}.failure`, failure), `${path}.failure`));
  }
  if (timeout !== undefined) {
    statements.push(state("timeoutBackoff", backoffOf(`${path}.timeout`, timeout), `${path}.timeout`));
  }
  return statements;
}

/** What resolveOptions would read: an inherited key was not given. */
function ownValue(given: unknown, key: string): unknown {
  if (typeof given !== "object" || given === null || !Object.hasOwn(given, key)) return undefined;
  return (given as Readonly<Record<string, unknown>>)[key];
}

function isEmpty(given: object): boolean {
  return !Array.isArray(given) && Object.keys(given).length === 0;
}

const backoffKind = wordOption(["exponential", "linear", "constant"]);
const backoffShape = {
  kind: backoffKind,
  baseMs: numberOption({ default: undefined, min: 1, max: BACKOFF_BASE_MAX_MS }),
  jitter: wordOption(["none", "equal", "full", "decorrelated"], { default: "full" }),
  maxMs: anyOption<number>(),
};
const factor = numberOption({ default: 2, min: 1, max: 10 });
const stepMs = numberOption({ default: undefined, min: 1, max: BACKOFF_BASE_MAX_MS });

function backoffOf(path: string, given: unknown): BackoffRule {
  const kindGiven = ownValue(given, "kind");
  // The kind decides which keys are known, so it is looked at first; of what has no kind, resolveOptions says what is wrong.
  if (kindGiven !== undefined) resolveOptions(path, { kind: kindGiven }, { kind: backoffKind });
  const shape = {
    ...backoffShape,
    ...(kindGiven === "exponential" || kindGiven === undefined ? { factor } : {}),
    ...(kindGiven === "linear" || kindGiven === undefined ? { stepMs } : {}),
  } as typeof backoffShape & { readonly factor: typeof factor; readonly stepMs: typeof stepMs };
  const rule = resolveOptions(path, given, shape);
  const { kind, jitter } = rule;
  if (kind === undefined) {
    throw new TypeError(`${path}.kind must be "exponential" or "linear" or "constant", got undefined`);
  }
  const baseMs = required(`${path}.baseMs`, rule.baseMs);
  const step = kind === "linear" ? required(`${path}.stepMs`, rule.stepMs) : 0;
  const { maxMs } = resolveOptions(
    path,
    { maxMs: rule.maxMs },
    {
      maxMs: numberOption({
        default: Math.min(BACKOFF_GROWTH * baseMs, BACKOFF_MAX_MS),
        min: baseMs,
        max: BACKOFF_MAX_MS,
      }),
    },
  );
  return Object.freeze({ kind, baseMs, factor: rule.factor ?? 1, stepMs: step, maxMs, jitter });
}

function required(path: string, value: number | undefined): number {
  if (value === undefined) throw new TypeError(`${path} must be 1..600_000, got undefined`);
  return value;
}

function codesOf(path: string, given: unknown): readonly RepeatableCode[] {
  if (!Array.isArray(given)) throw new TypeError(`${path} must be an array, got ${describeValue(given)}`);
  return given.map((code: unknown, index) => {
    if (isRepeatableCode(code)) return code;
    const known = repeatableCodes.map((word) => JSON.stringify(word)).join(" or ");
    const why = isCode(code) ? ` (${whyNeverRepeated(code)})` : "";
    const Kind = typeof code === "string" ? RangeError : TypeError;
    throw new Kind(`${path}[${index}] must be ${known}, got ${describeValue(code)}${why}`);
  });
}

export function isRepeatableCode(code: unknown): code is RepeatableCode {
  return (repeatableCodes as readonly unknown[]).includes(code);
}

/** Why a code stands outside the set, in a few words. */
export function whyNeverRepeated(code: Code): string {
  return code === "RESOURCE_EXHAUSTED"
    ? "it is repeated when the server says after how long, and only then"
    : "it is an answer: whether to ask again is its caller's to decide";
}

function hedgePart(path: string, hedge: GivenPolicy["hedge"]): Statement[] {
  if (hedge === false) return [state("hedge", false, path)];
  const { after, afterMs, copiesMax } = hedge;
  if (after !== undefined && afterMs !== undefined) {
    throw new TypeError(`give ${path}.after or ${path}.afterMs, not both`);
  }
  const statements = [state("hedge", true, path)];
  if (after !== undefined) statements.push(state("hedgeAfter", momentOf(after), `${path}.after`));
  if (afterMs !== undefined) {
    statements.push(state("hedgeAfter", Object.freeze({ kind: "fixed", afterMs }), `${path}.afterMs`));
  }
  if (copiesMax !== undefined) statements.push(state("copiesMax", copiesMax, `${path}.copiesMax`));
  return statements;
}

function momentOf(after: NonNullable<Hedge["after"]>): HedgeMoment {
  if (after === "overdue") return Object.freeze({ kind: "overdue" });
  return Object.freeze({ kind: "quantile", quantile: Number(after.slice(1)) / 100 });
}
