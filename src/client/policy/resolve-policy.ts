/**
 * The levels of a method's policy, the later winning key by key: default, contract, service config, client, method, call. What comes out is
 * frozen, and depends on nothing but what was given.
 */
import type { MethodInfo, Priority } from "../../call/method.ts";
import { isCopyable, isReplyStream, unfitFor } from "./effect-rules.ts";
import { policyStatements } from "./policy-options.ts";
import { defaultSettings } from "./presets.ts";
import { copyOfData, isSameData } from "./same-data.ts";
import {
  type Origin,
  type Resolution,
  type ResolvedHedge,
  type ResolvedPolicy,
  type Settings,
  type Settled,
  type SettledSettings,
  state,
  type Statement,
} from "./resolved-policy.ts";
import type { ServiceConfigEntry } from "./service-config.ts";

export type { Origin, Resolution, ResolvedHedge, ResolvedPolicy } from "./resolved-policy.ts";

/** What is said about one method, level by level. What is absent says nothing. */
export interface PolicyLevels {
  readonly method: MethodInfo;
  readonly contractTimeoutMs?: number | undefined;
  readonly contractPriority?: Priority | undefined;
  readonly serviceConfig?: ServiceConfigEntry | undefined;
  /** The client's `policy`, a preset or an object, as given. */
  readonly client?: unknown;
  /** The client's `methods[name]`, as given. */
  readonly own?: unknown;
  /** One call's `policy`, as given. */
  readonly call?: unknown;
}

/**
 * All levels of one method, resolved. TypeError and RangeError for what is wrong with a level (policy-options.ts), RangeError for what `own` or
 * `call` state although the method may not have it; the same in the service config or for the whole client is left out, and noted.
 */
export function resolvePolicy(levels: PolicyLevels): Resolution {
  const { method, serviceConfig, client, own, call, contractPriority } = levels;
  const underway: Underway = {
    method,
    settings: { ...defaults },
    contractPriority:
      contractPriority === undefined ? defaults.priority : settled(contractPriority, "contract", THE_CONTRACT),
    notes: [],
  };
  applyLevel(underway, "contract", contractStatements(levels));
  if (serviceConfig !== undefined) {
    underway.notes.push(...serviceConfig.notes);
    applyLevel(underway, "service-config", serviceConfig.statements);
  }
  applyLevel(underway, "client", policyStatements("policy", client, "client"));
  applyLevel(underway, "method", policyStatements(`methods.${method.name}`, own, "method"));
  applyLevel(underway, "call", policyStatements("policy", call, "call"));
  return settle(underway);
}

/**
 * A method's policy for one call that brings its own; undefined: the base's. A preset and an object are resolved once, and a literal that says the
 * same as one of the last few is not resolved again.
 */
export function callPolicy(base: Resolution, given: unknown): ResolvedPolicy {
  if (given === undefined) return base.policy;
  let known = callPolicies.get(base);
  if (known === undefined) {
    known = { words: new Map(), objects: new WeakMap(), recent: [] };
    callPolicies.set(base, known);
  }
  if (typeof given !== "object" || given === null) {
    const policy = known.words.get(given) ?? resolvedCall(base, given);
    known.words.set(given, policy);
    return policy;
  }
  return known.objects.get(given) ?? recentPolicy(known, given) ?? rememberedPolicy(base, known, given);
}

/** Fresh literals do not enter the WeakMap: the collector pays for each of its entries. */
function recentPolicy({ recent }: CallPolicies, given: object): ResolvedPolicy | undefined {
  for (const { data, policy } of recent) if (isSameData(given, data)) return policy;
  return undefined;
}

function rememberedPolicy(base: Resolution, { objects, recent }: CallPolicies, given: object): ResolvedPolicy {
  const policy = resolvedCall(base, given);
  objects.set(given, policy);
  recent.unshift({ data: copyOfData(given), policy });
  if (recent.length > RECENT_MAX) recent.pop();
  return policy;
}

function resolvedCall(base: Resolution, given: unknown): ResolvedPolicy {
  return settlePolicy(base.method, callLevel(base, given).settings);
}

/** As `callPolicy`, with origins and notes. */
export function resolveCall(base: Resolution, given: unknown): Resolution {
  return settle(callLevel(base, given));
}

function callLevel({ method, settings, contractPriority, notes }: Resolution, given: unknown): Underway {
  const underway: Underway = { method, settings: { ...settings }, contractPriority, notes: [...notes] };
  applyLevel(underway, "call", policyStatements("policy", given, "call"));
  return underway;
}

/** Of one resolution. Only presets get into `words`, for all else throws. */
interface CallPolicies {
  readonly words: Map<unknown, ResolvedPolicy>;
  readonly objects: WeakMap<object, ResolvedPolicy>;
  readonly recent: { readonly data: unknown; readonly policy: ResolvedPolicy }[];
}
/** Literals of a method that are told apart without resolving them. */
const RECENT_MAX = 4;
const callPolicies = new WeakMap<Resolution, CallPolicies>();

interface Underway {
  readonly method: MethodInfo;
  readonly settings: { -readonly [K in keyof Settings]: Settled<Settings[K]> };
  readonly contractPriority: Settled<Priority | undefined>;
  readonly notes: string[];
}

const THE_CONTRACT = "the contract";

const defaults = Object.freeze(
  Object.fromEntries(Object.entries(defaultSettings).map(([key, value]) => [key, settled(value, "default", "")])),
) as unknown as SettledSettings;

function settled<T>(value: T, origin: Origin, place: string): Settled<T> {
  return Object.freeze({ value, origin, place });
}

function contractStatements({ contractTimeoutMs, contractPriority }: PolicyLevels): readonly Statement[] {
  const statements: Statement[] = [];
  if (contractTimeoutMs !== undefined) statements.push(state("timeoutMs", contractTimeoutMs, THE_CONTRACT));
  if (contractPriority !== undefined) statements.push(state("priority", contractPriority, THE_CONTRACT));
  return statements;
}

function applyLevel(underway: Underway, level: Origin, statements: readonly Statement[]): void {
  const { method, settings, contractPriority, notes } = underway;
  for (const statement of statements) {
    const { key, value, place, isPreset } = statement;
    if (isForOneReply(method, level, statement)) {
      if (!isPreset) notes.push(`${place} is left out (a reply stream has no deadline but its own)`);
      continue;
    }
    // "The caller's, else the contract's": a preset that names no priority takes back what stood before it.
    if (isPreset && key === "priority" && value === undefined) {
      settings.priority = contractPriority;
      continue;
    }
    const unfit = isPreset ? undefined : unfitFor(method, statement);
    if (unfit === undefined) put(settings, isPreset ? "preset" : level, statement);
    else if (level === "client" || level === "service-config") notes.push(`${place} is left out (${unfit.why})`);
    else throw new RangeError(`${place} is refused for ${method.path} (${unfit.why}): ${unfit.remedy}`);
  }
}

/** A deadline that was meant for calls with one reply. A service config means what it means in gRPC, streams included. */
function isForOneReply(method: MethodInfo, level: Origin, { key, isPreset }: Statement): boolean {
  return key === "timeoutMs" && isReplyStream(method) && (isPreset || level === "client");
}

function put(settings: Underway["settings"], origin: Origin, { key, value, place }: Statement): void {
  (settings as Record<string, Settled<unknown>>)[key] = settled(value, origin, place);
}

function settle({ method, settings, contractPriority, notes }: Underway): Resolution {
  return Object.freeze({
    method,
    policy: settlePolicy(method, settings),
    origins: originsOf(method, settings),
    notes: Object.freeze(notes),
    settings: Object.freeze(settings),
    contractPriority,
  });
}

/** Rules between the keys: a mode bounds attempts, an effect bounds copies and codes. */
function settlePolicy(method: MethodInfo, settings: SettledSettings): ResolvedPolicy {
  const mode = settings.mode.value;
  return Object.freeze({
    preset: settings.preset.value,
    timeoutMs: settings.timeoutMs.value,
    attemptTimeoutMs: settings.attemptTimeoutMs.value,
    mode: mode.kind,
    copies: mode.copies,
    attemptsMax: attemptsOf(settings).value,
    failureBackoff: settings.failureBackoff.value,
    timeoutBackoff: settings.timeoutBackoff.value,
    codes: method.effect === "unknown" ? 0 : settings.codes.value,
    hedge: hedgeOf(method, settings).value,
    priority: settings.priority.value,
    throttle: settings.throttle.value,
    gate: settings.gate.value,
    integrity: settings.integrity.value,
    waitForReady: mode.kind !== "failfast" && settings.waitForReady.value,
    fallback: settings.fallback.value,
  });
}

/** Attempts in all, and who says so: a mode or retry itself. */
export function attemptsOf({ mode, retry, attemptsMax }: SettledSettings): Settled<number> {
  if (mode.value.kind === "failfast") return { ...mode, value: 1 };
  const stated = retry.value ? attemptsMax : { ...retry, value: 1 };
  return stated.value >= mode.value.copies ? stated : { ...mode, value: mode.value.copies };
}

function hedgeOf(method: MethodInfo, settings: SettledSettings): Settled<ResolvedHedge | false> {
  const { mode, hedge, hedgeAfter, copiesMax } = settings;
  if (!isCopyable(method.effect)) return { value: false, origin: "contract", place: "" };
  if (mode.value.kind !== "failover") return { ...mode, value: false };
  if (!hedge.value) return { ...hedge, value: false };
  return { ...hedge, value: Object.freeze({ ...hedgeAfter.value, copiesMax: copiesMax.value }) };
}

function originsOf(method: MethodInfo, settings: SettledSettings): ReadonlyMap<string, Origin> {
  const { mode, waitForReady } = settings;
  const hedge = hedgeOf(method, settings);
  const origins = new Map<string, Origin>();
  for (const key of ["preset", "timeoutMs", "attemptTimeoutMs", "mode"] as const)
    origins.set(key, settings[key].origin);
  origins.set("retry.attemptsMax", attemptsOf(settings).origin);
  origins.set("retry.backoff.failure", settings.failureBackoff.origin);
  origins.set("retry.backoff.timeout", settings.timeoutBackoff.origin);
  origins.set("retry.codes", method.effect === "unknown" ? "contract" : settings.codes.origin);
  origins.set("hedge", hedge.origin);
  if (hedge.value !== false) {
    origins.set("hedge.after", settings.hedgeAfter.origin);
    origins.set("hedge.copiesMax", settings.copiesMax.origin);
  }
  for (const key of ["priority", "throttle", "gate", "integrity", "fallback"] as const) {
    origins.set(key, settings[key].origin);
  }
  origins.set("waitForReady", mode.value.kind === "failfast" ? mode.origin : waitForReady.origin);
  return origins;
}
