/**
 * The global `fetch`, protected: each HTTP method by its effect, each host a peer. What it gives is what `fetch` gives: a response, whatever its
 * status, or a rejection.
 */
import type { Event, EventName } from "../../call/event.ts";
import { describeValue } from "../../call/options.ts";
import { scopes } from "../../call/scope.ts";
import { type Fetch, nodeFetch } from "../../world/node-fetch.ts";
import type { Explanation } from "../policy/explanation.ts";
import { explainProtected } from "./explain-protected.ts";
import { failureOfFetch, failureOfStatus } from "./http-failure.ts";
import {
  effectOfKind,
  type FetchInit,
  type FetchInput,
  type HttpKind,
  httpKinds,
  requestFacts,
} from "./http-request.ts";
import {
  type FetchOptions,
  placeOf,
  type ProtectFetchOptions,
  resolveFetchOptions,
  resolveProtected,
} from "./options.ts";
import type { Attempt } from "./protected-attempt.ts";
import { callProtected } from "./protected-call.ts";
import { makePlan, type ProtectedPlan, Protection } from "./protection.ts";

/** A `fetch` that can be asked what it does. */
export type ProtectedFetch = Fetch & {
  /** How requests of an HTTP method are handled, and why. RangeError for a name that is none of the kinds it tells apart. */
  $explain(kind: HttpKind): Explanation;
  /** Hears its calls: call.ended, attempt.ended, retry, hedge, throttled, ejection, budget.empty. */
  $on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable;
};

/**
 * GET and HEAD have effect none, PUT and DELETE idempotent, POST with an Idempotency-Key once, the rest unknown. 408, 502, 503 and 504 and network
 * errors are repeated where the effect allows it, 429 after its Retry-After. The timeout ends with the response's head; the caller's signal
 * and deadline hold for its body too. TypeError or RangeError for options that are wrong, at once.
 */
export function protectFetch(options: ProtectFetchOptions): ProtectedFetch {
  const resolved = resolveFetchOptions(options);
  const protection = new Protection(resolved.name, resolved.world, resolved.budget);
  const plans = new Map(httpKinds.map((kind, index) => [kind, planOf(protection, resolved, kind, index)]));
  const base = resolved.fetch ?? nodeFetch;
  const call: Fetch = (input, init) => {
    const facts = requestFacts(input as FetchInput, init);
    const plan = facts === undefined ? undefined : plans.get(facts.kind);
    if (facts === undefined || plan === undefined) return base(input, init);
    const peer = protection.peers.use(facts.host);
    // What the call belongs to bounds the body as the caller's own signal does, when the call itself is over.
    const outer = [facts.signal, scopes.getStore()?.signal].filter((each) => each !== undefined);
    const args = [input, init, outer];
    return callProtected(plan, peer, args, facts.canSendAgain, facts.signal) as Promise<Response>;
  };
  return Object.assign(call, {
    $explain: (kind: HttpKind) => {
      const plan = plans.get(kind);
      if (plan !== undefined) return explainProtected(plan, placeOf(plan.info, false));
      throw new RangeError(`kind must be one of ${httpKinds.join(", ")}, got ${describeValue(kind)}`);
    },
    $on: <N extends EventName>(event: N, listener: (event: Event<N>) => void) => protection.events.on(event, listener),
  });
}

function planOf(
  protection: Protection,
  { name, policy, world, fetch = nodeFetch }: FetchOptions,
  kind: HttpKind,
  index: number,
): ProtectedPlan {
  const path = `/${name}/${kind.replaceAll(" ", "-")}`;
  const info = Object.freeze({ service: name, name: kind, path, kind: "unary", effect: effectOfKind[kind] } as const);
  return makePlan({
    protection,
    kind: index,
    resolution: resolveProtected(info, policy, false),
    work: ((attempt: Attempt, input: FetchInput, init: FetchInit, outer: readonly AbortSignal[]) =>
      fetch(input, { ...init, signal: anyOf(attempt.signal, outer) })) as unknown as ProtectedPlan["work"],
    hasScope: false,
    judgeError: failureOfFetch,
    judgeValue: (value) => failureOfStatus(value as Response, world.clock.wallMs()),
    discard,
    returnsFailures: true,
  });
}

function anyOf(attempt: AbortSignal, outer: readonly AbortSignal[]): AbortSignal {
  return outer.length === 0 ? attempt : AbortSignal.any([attempt, ...outer]);
}

/** Gives the connection of a response back that nobody reads. */
function discard(value: unknown): void {
  const { body } = value as Response;
  if (body === null || body.locked) return;
  // A body that broke has no connection to give back.
  body.cancel().catch(() => {});
}
