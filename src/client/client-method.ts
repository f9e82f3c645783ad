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
import { callPolicy, type Resolution } from "./policy/resolve-policy.ts";

/** The deadline of a call that ends in one reply, if nobody says otherwise. */
const DEFAULT_TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 86_400_000;

/** Tokens are numbered for the whole process, so they are shared by all clients; kinds of timeouts are few. */
const TIMEOUT_TOKENS_MAX = 256;
const timeoutTokens = new Map<number, FieldToken>();
const pathTokens = new WeakMap<MethodPlan, FieldToken>();

/** A method on a channel that has `state` of it, made at its first call: most methods of most clients are never called. */
export class ClientMethod {
  readonly plan: MethodPlan;
  readonly state: MethodState;
  /** What the levels of policies give for it. */
  readonly resolution: Resolution;
  readonly policy: ResolvedPolicy;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
  /** The deadline that `policy` gives. */
  readonly timeoutMs: number;
  readonly path: FieldToken;
  readonly pathBytes: number;
  /** grpc-timeout of a call that has all of `timeoutMs` left. */
  readonly timeout: FieldToken | undefined;

  constructor(plan: MethodPlan, state: MethodState, resolution: Resolution) {
    const { policy } = resolution;
    const path = pathToken(plan);
    this.plan = plan;
    this.state = state;
    this.resolution = resolution;
    this.policy = policy;
    this.isRequestStream = isRequestStream(plan);
    this.isReplyStream = isReplyStream(plan);
    this.timeoutMs = this.timeoutOf(policy);
    this.path = path;
    this.pathBytes = path.value.length;
    this.timeout = timeoutToken(this.timeoutMs);
  }

  /** One call's own policy on top, checked. TypeError or RangeError naming what came. */
  policyOf(given: unknown): ResolvedPolicy {
    return callPolicy(this.resolution, given);
  }

  timeoutOf(policy: ResolvedPolicy): number {
    return policy.timeoutMs ?? (this.isReplyStream ? Infinity : DEFAULT_TIMEOUT_MS);
  }

  /** Checks one call's timeout. RangeError naming what came. */
  checkTimeout(timeoutMs: number): number {
    if (timeoutMs === Infinity || (timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) return timeoutMs;
    throw new RangeError(`timeoutMs must be 1..${TIMEOUT_MAX_MS} or Infinity, got ${describeValue(timeoutMs)}`);
  }

  /** Checks one call's metadata. TypeError naming what came. */
  pairsOf(metadata: MetadataInit): readonly (string | Uint8Array)[] {
    return metadataPairs(metadataFrom(metadata));
  }
}

export function isRequestStream({ info: { kind } }: MethodPlan): boolean {
  return kind === "client-stream" || kind === "bidi";
}

export function isReplyStream({ info: { kind } }: MethodPlan): boolean {
  return kind === "server-stream" || kind === "bidi";
}

function pathToken(plan: MethodPlan): FieldToken {
  let path = pathTokens.get(plan);
  if (path === undefined) {
    path = new FieldToken(":path", plan.info.path);
    pathTokens.set(plan, path);
  }
  return path;
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
