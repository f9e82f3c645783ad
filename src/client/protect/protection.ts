/**
 * What all calls of one protected function share, and how its work is to be done.
 */
import type { MethodInfo } from "../../call/method.ts";
import { Events } from "../../call/event.ts";
import { CallCounters } from "../../observe/counters.ts";
import { RetryBudget } from "../../policy/recover/budget.ts";
import { type Runtime, runtimeOf } from "../../wire/transport/runtime.ts";
import type { World } from "../../world/world.ts";
import type { BudgetOptions } from "../options.ts";
import type { Resolution, ResolvedPolicy } from "../policy/resolved-policy.ts";
import { presetRows } from "../policy/presets.ts";
import { BEAT_MS, type SelfBeat, selfBeatOf } from "../self-beat.ts";
import type { AttemptFailure } from "./attempt-failure.ts";
import { type FreshCalls, freshCallsOf } from "./fresh-calls.ts";
import type { Attempt } from "./protected-attempt.ts";
import { ProtectedPeer, ProtectedPeers } from "./protected-peer.ts";

export class Protection {
  readonly name: string;
  readonly runtime: Runtime;
  readonly fresh: FreshCalls;
  readonly beat: SelfBeat;
  readonly events: Events;
  readonly budget: RetryBudget;
  readonly counters: CallCounters;
  /** The one peer of a function whose options name none. */
  readonly onlyPeer: ProtectedPeer;
  /** The peers of one whose options do. */
  readonly peers: ProtectedPeers;

  constructor(name: string, world: World, budget: BudgetOptions) {
    this.name = name;
    this.runtime = runtimeOf(world);
    this.fresh = freshCallsOf(this.runtime);
    this.beat = selfBeatOf(this.runtime);
    this.events = new Events();
    this.budget = new RetryBudget(budget);
    this.counters = new CallCounters();
    this.onlyPeer = new ProtectedPeer(name);
    this.peers = new ProtectedPeers();
  }

  nowMs(): number {
    return this.runtime.world.clock.monotonicMs();
  }

  /** The gate of a peer was shut, or is open again. */
  tellGate(peer: ProtectedPeer, nowMs: number): void {
    if (!this.events.isHeard) return;
    const { state, why, untilMs } = peer.breaker;
    const kind = state === "shut" ? "ejected" : "returned";
    this.events.emit("ejection", nowMs, { peer: peer.describe(), kind, why, untilMs, isEnforced: true });
  }

  /** How long this process stood still since a moment, at most: the beat that showed it was due after it had begun. */
  stalledMsSince(sinceMs: number): number {
    const { stalledUntilMs, lastStallMs } = this.beat.watch;
    return stalledUntilMs >= sinceMs ? lastStallMs + BEAT_MS : 0;
  }
}

/** One kind of call of a protected function: a plain function has one, a protected fetch one for each HTTP method. */
export interface ProtectedPlan {
  readonly protection: Protection;
  /** A small number of its own in the protection. */
  readonly kind: number;
  readonly info: MethodInfo;
  readonly resolution: Resolution;
  readonly policy: ResolvedPolicy;
  readonly timeoutMs: number;
  readonly work: (attempt: Attempt, ...args: readonly unknown[]) => unknown;
  /** Calls made inside the work inherit from it. */
  readonly hasScope: boolean;
  /** The user's code may be run by a timer, and is then to find its own async context. */
  readonly keepsContext: boolean;
  readonly judgeError: (error: unknown) => AttemptFailure;
  /** Undefined: whatever is returned is a success. */
  readonly judgeValue: ((value: unknown) => AttemptFailure | undefined) | undefined;
  /** What becomes of a value that nobody gets: it came too late, or was a failure that is repeated. */
  readonly discard: ((value: unknown) => void) | undefined;
  /** A value that was judged a failure is the call's result all the same if nothing better came. */
  readonly returnsFailures: boolean;
  /** In place of a failure. */
  readonly fallback: ((...args: readonly unknown[]) => unknown) | undefined;
}

/** What a plan is made from; the rest follows from the policy. */
export type PlanFacts = Pick<
  ProtectedPlan,
  | "protection"
  | "kind"
  | "resolution"
  | "work"
  | "hasScope"
  | "judgeError"
  | "judgeValue"
  | "discard"
  | "returnsFailures"
>;

export function makePlan(facts: PlanFacts): ProtectedPlan {
  const { policy, method } = facts.resolution;
  const { hedge, attemptTimeoutMs, fallback } = policy;
  return Object.freeze({
    ...facts,
    info: method,
    policy,
    timeoutMs: policy.timeoutMs ?? presetRows.standard.timeoutMs,
    keepsContext: facts.hasScope || hedge !== false || attemptTimeoutMs !== Infinity || fallback !== undefined,
    // Declared for a method's one request, and given the call's arguments.
    fallback: fallback as ProtectedPlan["fallback"],
  });
}
