/**
 * What all levels come to for one method: flat and frozen, as the path of a call reads it, and where each value came from.
 */
import type { RpcError } from "../../call/error.ts";
import type { MethodInfo, Priority } from "../../call/method.ts";
import type { BackoffRule } from "../../policy/recover/backoff.ts";

/**
 * A named policy. `standard` is the default; in `interactive` a person waits; in `background` a batch can wait; `none` is plain gRPC: one attempt
 * to one peer, within the deadline. A preset states every key but `retry.codes` and `fallback`; what stands beside it in the same policy wins.
 */
export type Preset = "standard" | "interactive" | "background" | "none";

/** When a copy starts. */
export type HedgeMoment =
  | { readonly kind: "overdue" }
  | { readonly kind: "quantile"; readonly quantile: number }
  | { readonly kind: "fixed"; readonly afterMs: number };

export type ResolvedHedge = HedgeMoment & { readonly copiesMax: number };

/** Which level stated a value. "preset" is a preset's row at whatever level; "learned" is what running calls have shown. */
export type Origin =
  | "default"
  | "preset"
  | "contract"
  | "service-config"
  | "channel"
  | "client"
  | "method"
  | "call"
  | "learned";

export interface ResolvedPolicy {
  /** The last preset that a level named. */
  readonly preset: Preset;
  /** undefined: the default of the method's kind (30_000 ms where one reply ends the call, none for reply streams). */
  readonly timeoutMs: number | undefined;
  /** Infinity: none. */
  readonly attemptTimeoutMs: number;
  readonly mode: "failover" | "failfast" | "forking";
  /** With forking the attempts that start at once, else 1. */
  readonly copies: number;
  /** 1 with failfast or without retry, but never less than `copies`. A hedge may add its copy to it although `attemptsMax` is 1. */
  readonly attemptsMax: number;
  readonly failureBackoff: BackoffRule;
  readonly timeoutBackoff: BackoffRule;
  /** A bit per gRPC number: the failures of a request that may have reached a handler that are repeated. */
  readonly codes: number;
  readonly hedge: ResolvedHedge | false;
  /** undefined: the caller's, else "normal". */
  readonly priority: Priority | undefined;
  readonly throttle: boolean;
  readonly gate: boolean;
  readonly integrity: boolean;
  /** Whether a call waits while no peer can take it. */
  readonly waitForReady: boolean;
  readonly fallback: ((error: RpcError, request: unknown) => unknown) | undefined;
}

/** What levels state, key by key, before the rules of modes and effects are applied. */
export interface Settings {
  readonly preset: Preset;
  readonly timeoutMs: number | undefined;
  readonly attemptTimeoutMs: number;
  readonly mode: ModeSetting;
  readonly retry: boolean;
  readonly attemptsMax: number;
  readonly failureBackoff: BackoffRule;
  readonly timeoutBackoff: BackoffRule;
  readonly codes: number;
  readonly hedge: boolean;
  readonly hedgeAfter: HedgeMoment;
  readonly copiesMax: number;
  readonly priority: Priority | undefined;
  readonly throttle: boolean;
  readonly gate: boolean;
  readonly integrity: boolean;
  readonly waitForReady: boolean;
  readonly fallback: ((error: RpcError, request: unknown) => unknown) | undefined;
}

export interface ModeSetting {
  readonly kind: "failover" | "failfast" | "forking";
  readonly copies: number;
}

/** One value of one level, and where it was written: `methods.buy.retry.attemptsMax`. */
export type Statement = {
  readonly [K in keyof Settings]: {
    readonly key: K;
    readonly value: Settings[K];
    readonly place: string;
    readonly isPreset: boolean;
  };
}[keyof Settings];

/** The value of a key that won, and where it came from. */
export interface Settled<T> {
  readonly value: T;
  readonly origin: Origin;
  readonly place: string;
}

export type SettledSettings = { readonly [K in keyof Settings]: Settled<Settings[K]> };

/** All levels of one method, resolved. */
export interface Resolution {
  readonly method: MethodInfo;
  readonly policy: ResolvedPolicy;
  /** By the path of the key: "timeoutMs", "retry.attemptsMax", "hedge.after". */
  readonly origins: ReadonlyMap<string, Origin>;
  /** What was left out or changed for this method, and why. */
  readonly notes: readonly string[];
  readonly settings: SettledSettings;
  /** What a preset that names no priority goes back to. */
  readonly contractPriority: Settled<Priority | undefined>;
}

/** A statement, typed by its key. */
export function state<K extends keyof Settings>(
  key: K,
  value: Settings[K],
  place: string,
  isPreset = false,
): Statement {
  return Object.freeze({ key, value, place, isPreset }) as Statement;
}
