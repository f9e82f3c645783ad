/**
 * The same protections around any async function: deadline, repeats, copies, budget, throttle and gate, decided by what decides for calls on the
 * wire.
 */
import type { Effect } from "../../call/method.ts";
import { describeValue } from "../../call/options.ts";
import type { Event, EventName } from "../../call/event.ts";
import type { Explanation } from "../policy/explanation.ts";
import { type AttemptVerdict, failureOfClassify, failureOfError, failureOfVerdict } from "./attempt-failure.ts";
import { explainProtected } from "./explain-protected.ts";
import { methodOf, placeOf, type ProtectOptions, resolveFunctionOptions, resolveProtected } from "./options.ts";
import type { Attempt } from "./protected-attempt.ts";
import { callProtected } from "./protected-call.ts";
import type { ProtectedPeer } from "./protected-peer.ts";
import { makePlan, type PlanFacts, type ProtectedPlan, Protection } from "./protection.ts";

/** Longer keys are no names. */
const KEY_LENGTH_MAX = 1_024;

/** A function that takes what the work takes, and survives what the work may not. Rejects with an RpcError, whose `cause` is what the work threw. */
export type Protected<A extends readonly unknown[], R> = ((...args: A) => Promise<R>) & {
  /** How its calls are handled, and why. */
  $explain(): Explanation;
  /** Hears its calls: call.ended, attempt.ended, retry, hedge, throttled, ejection, budget.empty. */
  $on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable;
};

/**
 * Protects `work`, which must pass on the attempt's signal. Options come first, so that the compiler knows the effect when it reads the rest.
 * TypeError or RangeError for options that are wrong, at once.
 */
export function protect<A extends readonly unknown[], R, E extends Effect = "unknown">(
  options: ProtectOptions<E, NoInfer<A>, NoInfer<R>>,
  work: (attempt: Attempt, ...args: A) => Promise<R>,
): Protected<A, R> {
  if (typeof work !== "function") throw new TypeError(`work must be a function, got ${describeValue(work)}`);
  const { name, effect, world, budget, policy, peer, classify, hasScope } = resolveFunctionOptions(options);
  const info = methodOf(name, effect);
  const plan = makePlan({
    protection: new Protection(name, world, budget),
    kind: 0,
    resolution: resolveProtected(info, policy, true),
    work: work as unknown as ProtectedPlan["work"],
    hasScope,
    ...judgesOf(classify),
    discard: undefined,
    returnsFailures: false,
  });
  const { protection } = plan;
  const call =
    peer === undefined
      ? (...args: readonly unknown[]) => callProtected(plan, protection.onlyPeer, args, true, undefined)
      : (...args: readonly unknown[]) => callKeyed(plan, peer, args);
  Object.defineProperty(call, "name", { value: info.name, configurable: true });
  return Object.assign(call, {
    $explain: () => explainProtected(plan, placeOf(info, true)),
    $on: <N extends EventName>(event: N, listener: (event: Event<N>) => void) => protection.events.on(event, listener),
  }) as Protected<A, R>;
}

function callKeyed(
  plan: ProtectedPlan,
  peerOf: (...args: readonly unknown[]) => unknown,
  args: readonly unknown[],
): Promise<unknown> {
  let peer: ProtectedPeer;
  try {
    peer = plan.protection.peers.use(checkedKey(peerOf(...args)));
  } catch (error) {
    return Promise.reject(error);
  }
  return callProtected(plan, peer, args, true, undefined);
}

function checkedKey(key: unknown): string {
  if (typeof key !== "string") throw new TypeError(`peer must return a text, got ${describeValue(key)}`);
  if (key.length >= 1 && key.length <= KEY_LENGTH_MAX) return key;
  throw new RangeError(`peer must return 1..${KEY_LENGTH_MAX} characters, got ${key.length}`);
}

function judgesOf(
  classify: ((result: unknown) => AttemptVerdict) | undefined,
): Pick<PlanFacts, "judgeError" | "judgeValue"> {
  if (classify === undefined) return { judgeError: failureOfError, judgeValue: undefined };
  return {
    judgeError: (error) => {
      try {
        return failureOfVerdict(classify({ error }), { error }) ?? failureOfError(error);
      } catch (thrown) {
        return failureOfClassify(thrown);
      }
    },
    judgeValue: (value) => {
      try {
        return failureOfVerdict(classify({ value }), { value });
      } catch (thrown) {
        return failureOfClassify(thrown);
      }
    },
  };
}
