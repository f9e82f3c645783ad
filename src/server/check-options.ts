/**
 * A server's dependency checks: what may be given, defaults, limits.
 */
import {
  anyOption,
  booleanOption,
  describeValue,
  numberOption,
  recordOption,
  resolveOptions,
} from "../call/options.ts";

/** One thing that the server depends on, and how to see whether it is there. */
export interface DependencyCheck {
  /**
   * Passes unless it throws, rejects, gives `false`, or takes longer than `timeoutMs`; then its signal is aborted, and it must stop. It never
   * runs twice at a time: one that ignores its signal is failing until it has ended.
   */
  readonly check: (signal: AbortSignal) => unknown;
  /** true: not serving while it fails. Default false: degraded, so that one lost database does not take every replica away. */
  readonly isEssential?: boolean | undefined;
  /**
   * Between the beginnings of two runs, in milliseconds, give or take a tenth. Default 10000, 100..86400000: what fails is found within
   * two of them, and a hundred replicas ask a database ten times a second.
   */
  readonly intervalMs?: number | undefined;
  /** How long a run may take, in milliseconds. Default 2000, 1..600000, and at most `intervalMs`. */
  readonly timeoutMs?: number | undefined;
}

/** By a name for people: `{ database: () => pool.query("select 1") }`. */
export type ChecksOptions = Readonly<Record<string, DependencyCheck | DependencyCheck["check"]>>;

/** A check that is ready to run. */
export interface ResolvedCheck {
  readonly name: string;
  readonly check: (signal: AbortSignal) => unknown;
  readonly isEssential: boolean;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** Checks of one server; each is a timer and a line of its status. */
const CHECKS_MAX = 100;
const NAME_LENGTH_MAX = 100;

const checkShape = {
  check: anyOption<unknown>(),
  isEssential: booleanOption({ default: false }),
  intervalMs: numberOption({ default: 10_000, min: 100, max: 86_400_000 }),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 600_000 }),
};
const TIMEOUT_MS = 2_000;

/** The checks in the order in which they were given; none if nothing was. TypeError and RangeError for what is no check. */
export function resolveChecks(given: ChecksOptions | undefined): readonly ResolvedCheck[] {
  const { checks } = resolveOptions("", { checks: given }, { checks: recordOption(anyOption<unknown>()) });
  const entries = Object.entries(checks);
  if (entries.length > CHECKS_MAX) throw new RangeError(`checks must be at most ${CHECKS_MAX}, got ${entries.length}`);
  return Object.freeze(entries.map(([name, one]) => resolveCheck(name, one)));
}

function resolveCheck(name: string, given: unknown): ResolvedCheck {
  const path = `checks.${name}`;
  if (name === "" || name.length > NAME_LENGTH_MAX) {
    throw new RangeError(`a check's name must have 1..${NAME_LENGTH_MAX} characters, got ${describeValue(name)}`);
  }
  if (typeof given !== "function" && (typeof given !== "object" || given === null)) {
    throw new TypeError(`${path} must be a function or an object with one as check, got ${describeValue(given)}`);
  }
  const options = resolveOptions(path, typeof given === "function" ? { check: given } : given, checkShape);
  const { check, isEssential, intervalMs } = options;
  if (typeof check !== "function") throw new TypeError(`${path}.check must be a function, got ${describeValue(check)}`);
  const timeoutMs = options.timeoutMs ?? Math.min(TIMEOUT_MS, intervalMs);
  if (timeoutMs > intervalMs) {
    throw new RangeError(`${path}.timeoutMs must be at most intervalMs (${intervalMs}), got ${timeoutMs}`);
  }
  return Object.freeze({ name, check: check as ResolvedCheck["check"], isEssential, intervalMs, timeoutMs });
}
