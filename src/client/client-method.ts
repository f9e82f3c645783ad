/**
 * A method as a client knows it: what is the same for all its calls.
 */
import { describeValue } from "../call/options.ts";
import { type MetadataInit, metadataFrom, metadataPairs } from "../call/metadata.ts";
import type { Priority } from "../call/method.ts";
import type { MethodPlan } from "../schema/plan.ts";
import { formatTimeout } from "../wire/grpc/timeout.ts";
import { FieldToken } from "../wire/http2/hpack-encoder.ts";

/** The deadline of a call that ends in one reply, if nobody says otherwise. */
const DEFAULT_TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 86_400_000;

export interface ClientMethod {
  readonly plan: MethodPlan;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
  readonly timeoutMs: number;
  readonly priority: Priority;
  readonly path: FieldToken;
  readonly pathBytes: number;
  /** grpc-timeout of a call that has all of `timeoutMs` left. */
  readonly timeout: FieldToken | undefined;
  /** Checks one call's timeout. RangeError naming what came. */
  checkTimeout(timeoutMs: number): number;
  /** Checks one call's metadata. TypeError naming what came. */
  pairsOf(metadata: MetadataInit): readonly (string | Uint8Array)[];
}

/** Tokens are numbered for the whole process, so they are shared by all clients; kinds of timeouts are few. */
const TIMEOUT_TOKENS_MAX = 256;
const timeoutTokens = new Map<number, FieldToken>();
const methods = new WeakMap<MethodPlan, Map<number | undefined, ClientMethod>>();

/** @param timeoutMs the client's own default, if it has one. Made once for all clients that agree on it. */
export function clientMethod(plan: MethodPlan, timeoutMs: number | undefined): ClientMethod {
  let known = methods.get(plan);
  if (known === undefined) {
    known = new Map();
    methods.set(plan, known);
  }
  let method = known.get(timeoutMs);
  if (method === undefined) {
    const other = known.values().next().value;
    method = makeMethod(plan, timeoutMs, other?.path ?? new FieldToken(":path", plan.info.path));
    if (known.size < TIMEOUT_TOKENS_MAX) known.set(timeoutMs, method);
  }
  return method;
}

function makeMethod(plan: MethodPlan, timeoutMs: number | undefined, path: FieldToken): ClientMethod {
  const { kind } = plan.info;
  const isReplyStream = kind === "server-stream" || kind === "bidi";
  const ownMs = isReplyStream ? (plan.timeoutMs ?? Infinity) : (timeoutMs ?? plan.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  return {
    plan,
    isRequestStream: kind === "client-stream" || kind === "bidi",
    isReplyStream,
    timeoutMs: ownMs,
    priority: plan.priority ?? "normal",
    path,
    pathBytes: path.value.length,
    timeout: timeoutToken(ownMs),
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
