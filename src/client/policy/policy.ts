/**
 * How a call is handled, as a value: the types of a policy, and what the compiler refuses because a method may not have it.
 * docs/policies.md is the reference; policy-options.ts holds the same limits for callers without types.
 */
import type { Code } from "../../call/code.ts";
import type { RpcError } from "../../call/error.ts";
import type { Effect, Priority } from "../../call/method.ts";
import type { Options } from "../../call/options.ts";
import type { Refused } from "../../call/refused.ts";
import type { AnyContract, MethodShape, MethodsOf } from "../../schema/contract.ts";
import type { Preset } from "./resolved-policy.ts";

export type { Preset, ResolvedHedge, ResolvedPolicy } from "./resolved-policy.ts";

/**
 * The waits before an attempt goes back to a peer that was tried, or to an overloaded fleet. The wait before repeat n (from 0) is `baseMs * factor^n` (exponential),
 * `baseMs + n * stepMs` (linear) or `baseMs` (constant), at most `maxMs`, then jittered (AWS Architecture Blog, "Exponential Backoff And Jitter"; Finagle's Backoff).
 * `baseMs` 1..600_000 ms; `factor` 1..10, default 2; `stepMs` 1..600_000 ms; `maxMs` `baseMs`..3_600_000 ms, default 20 x `baseMs`; `jitter` default "full".
 */
export type Backoff = Options<{ jitter: "none" | "equal" | "full" | "decorrelated"; maxMs: number }> &
  (
    | { readonly kind: "exponential"; readonly baseMs: number; readonly factor?: number | undefined }
    | { readonly kind: "linear"; readonly baseMs: number; readonly stepMs: number }
    | { readonly kind: "constant"; readonly baseMs: number }
  );

/** A wait for each cause: after a failure, and after an attempt that ran out of its time. */
export interface BackoffByCause {
  /** After every failure but a timeout. Default 50 ms x2, at most 1000 ms, full jitter. */
  readonly failure?: Backoff | undefined;
  /** After an attempt's DEADLINE_EXCEEDED. Default as `failure`. */
  readonly timeout?: Backoff | undefined;
}

/** The failures after which a request that may have reached a handler is sent again (DESIGN section 4). All others are answers, and final. */
export type RepeatableCode = Extract<Code, "UNAVAILABLE" | "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "DEADLINE_EXCEEDED">;

type IfRepeatable<E extends Effect, T, Why extends string> = [E] extends ["unknown"] ? Refused<Why> : T;
type IfCopyable<E extends Effect, T, Why extends string> = [E] extends ["unknown" | "once"] ? Refused<Why> : T;

/** When a failed attempt is followed by another, elsewhere first (gRFC A6; bounded by the deadline and by the budget besides). */
export interface Retry<E extends Effect = Effect> {
  /** Attempts of a call, the first and copies included. Default 3; 1..10, or Infinity: the deadline and the budget bound it. */
  readonly attemptsMax?: number | undefined;
  /** Waits before going back to a tried peer, in one for both causes or one for each. Default 50 ms x2, at most 1000 ms, full jitter. */
  readonly backoff?: Backoff | BackoffByCause | undefined;
  /** Which failures of a request that may have reached a handler are repeated. Default all five; none for effect unknown. */
  readonly codes?:
    | IfRepeatable<
        E,
        readonly RepeatableCode[],
        "retrying a call that reached a handler repeats its effect: declare effect none, idempotent or once"
      >
    | undefined;
}

/** When a second attempt starts although the first has not failed (Dean and Barroso, "The Tail at Scale", 2013). The first answer wins. */
export interface Hedge {
  /** A moment of the method's own latency: "overdue" is 1.5 x p99 (from 100 samples on, never under 2 ms). Default "overdue". Not beside `afterMs`. */
  readonly after?: "overdue" | "p90" | "p95" | "p98" | "p99" | undefined;
  /** A fixed wait instead, in milliseconds. Default none; 1..86_400_000. */
  readonly afterMs?: number | undefined;
  /** Copies beside the first attempt. Default 1; 1..3. */
  readonly copiesMax?: number | undefined;
}

/** A mode that starts several copies of a call at once; the first success wins. `copies` 2..5. */
export interface Copies {
  readonly kind: "forking";
  readonly copies: number;
}

/** How calls are handled. The same type at every level: client, method, call. An absent key takes the level below; `false` turns a layer off. */
export interface Policy<E extends Effect = Effect> {
  /** Stands first in its policy: the other keys win over it. Default none stated, which is "standard". */
  readonly preset?: Preset | undefined;
  /** The whole call, in milliseconds. Default the contract's, else 30_000; reply streams have none unless `methods` states one. 1..86_400_000, or Infinity. */
  readonly timeoutMs?: number | undefined;
  /** Cancels an attempt that takes longer, in milliseconds, and counts it as failed. Default false: an overdue attempt is copied, never cancelled. 1..86_400_000. */
  readonly attemptTimeoutMs?: number | false | undefined;
  /** Whom admission refuses first under load. Default the caller's, else the contract's, else "normal". */
  readonly priority?: Priority | undefined;
  /** How many copies run: one after the other ("failover"), only one that never waits for a peer ("failfast"), or several at once. Default "failover". */
  readonly mode?:
    | "failover"
    | "failfast"
    | IfCopyable<E, Copies, "this mode executes a call several times: declare effect none or idempotent">
    | undefined;
  /** Repeats after failures. Default 3 attempts; false: one. */
  readonly retry?: Retry<E> | false | undefined;
  /** Copies of slow attempts. Default on for effect none and idempotent, when overdue, 1 copy. */
  readonly hedge?:
    | IfCopyable<E, Hedge, "hedging runs a call twice: declare effect none or idempotent">
    | false
    | undefined;
  /** false: not refused locally while the servers shed load. Default on; its numbers are the channel's. */
  readonly throttle?: false | undefined;
  /** false: opinions about peers do not keep this call from them. Default on; its numbers are the channel's. */
  readonly gate?: false | undefined;
  /** false: no checksums. Default on towards peers that offer them. */
  readonly integrity?: false | undefined;
}

/** Answers in place of a failure, which is recorded all the same. */
export type Fallback<M extends MethodShape> = (
  error: RpcError,
  request: M["request"],
) => M["replyInit"] | Promise<M["replyInit"]>;

/** A policy for one method of a contract: the reply's type is known, so an answer for bad days can be given. */
export interface MethodPolicy<M extends MethodShape> extends Policy<M["effect"]> {
  /** A reply in place of a failure. Default none. */
  readonly fallback?:
    | (M["kind"] extends "unary" ? Fallback<M> : Refused<"only a unary method has a fallback">)
    | undefined;
}

/** `methods` of a client: policies by the contract's method names. */
export type MethodPolicies<C extends AnyContract> = {
  readonly [K in keyof MethodsOf<C>]?: MethodPolicy<MethodsOf<C>[K]> | undefined;
};

/** `policy` of a client: for every method, where the method may have it. */
export type ClientPolicy = Preset | Policy;

/** `policy` of one call. `timeoutMs` and `priority` are options of the call itself. A policy object is read once: give a new one for new values. */
export type CallPolicy<E extends Effect = Effect> = Preset | Omit<Policy<E>, "timeoutMs" | "priority">;
