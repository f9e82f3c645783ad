/**
 * A method as a client knows it: what is the same for all its calls.
 */
import { describeValue } from "../call/options.ts";
import { type MetadataInit, metadataFrom, metadataPairs } from "../call/metadata.ts";
import type { MethodPlan } from "../schema/plan.ts";
import { formatTimeout } from "../wire/grpc/timeout.ts";
import { FieldToken } from "../wire/http2/hpack-encoder.ts";
import type { MethodState } from "./method-state.ts";
import type { ResolvedPolicy } from "./policy/policy.ts";

/** The deadline of a call that ends in one reply, if nobody says otherwise. */
const DEFAULT_TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 86_400_000;

/** What the levels of policies give for one method. */
export interface MethodPolicies {
  readonly policy: ResolvedPolicy;
  /** One call's own policy on top, checked. TypeError or RangeError naming what came. */
  readonly policyOf: (given: unknown) => ResolvedPolicy;
}

export interface ClientMethod extends MethodPolicies {
  readonly plan: MethodPlan;
  readonly state: MethodState;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
  /** The deadline that `policy` gives. */
  readonly timeoutMs: number;
  readonly path: FieldToken;
  readonly pathBytes: number;
  /** grpc-timeout of a call that has all of `timeoutMs` left. */
  readonly timeout: FieldToken | undefined;
  timeoutOf(policy: ResolvedPolicy): number;
  /** Checks one call's timeout. RangeError naming what came. */
  checkTimeout(timeoutMs: number): number;
  /** Checks one call's metadata. TypeError naming what came. */
  pairsOf(metadata: MetadataInit): readonly (string | Uint8Array)[];
}

/** Tokens are numbered for the whole process, so they are shared by all clients; kinds of timeouts are few. */
const TIMEOUT_TOKENS_MAX = 256;
const timeoutTokens = new Map<number, FieldToken>();
const pathTokens = new WeakMap<MethodPlan, FieldToken>();

/** A client's method on a channel that has `state` of it. */
export function clientMethod(plan: MethodPlan, state: MethodState, policies: MethodPolicies): ClientMethod {
  const { kind } = plan.info;
  const isReplyStream = kind === "server-stream" || kind === "bidi";
  const timeoutOf = (policy: ResolvedPolicy): number =>
    policy.timeoutMs ?? (isReplyStream ? Infinity : DEFAULT_TIMEOUT_MS);
  const timeoutMs = timeoutOf(policies.policy);
  let path = pathTokens.get(plan);
  if (path === undefined) {
    path = new FieldToken(":path", plan.info.path);
    pathTokens.set(plan, path);
  }
  return {
    plan,
    state,
    policy: policies.policy,
    policyOf: policies.policyOf,
    isRequestStream: kind === "client-stream" || kind === "bidi",
    isReplyStream,
    timeoutMs,
    path,
    pathBytes: path.value.length,
    timeout: timeoutToken(timeoutMs),
    timeoutOf,
    checkTimeout,
    pairsOf,
  };
}

/** Undefined when there is none, or when there are too many kinds: then it is written as a literal. */
function timeoutToken(timeoutMs: number): FieldToken | undefined {
  if (timeoutMs === Infinity) return undefined;
  let token = timeoutTokens.get(timeoutMs);
  if (token === undefined && timeoutTokens.size < TIMEOUT_TOKENS_MAX) {
    token = new FieldToken("grpc-timeout", formatTimeout(timeoutMs));
    timeoutTokens.set(timeoutMs, token);
  }
  return token;
}

function pairsOf(metadata: MetadataInit): readonly (string | Uint8Array)[] {
  return metadataPairs(metadataFrom(metadata));
}

function checkTimeout(timeoutMs: number): number {
  if (timeoutMs === Infinity || (timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) return timeoutMs;
  throw new RangeError(`timeoutMs must be 1..${TIMEOUT_MAX_MS} or Infinity, got ${describeValue(timeoutMs)}`);
}
