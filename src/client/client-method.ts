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

/** @param timeoutMs the client's own default, if it has one. */
export function clientMethod(plan: MethodPlan, timeoutMs: number | undefined): ClientMethod {
  const { kind, path } = plan.info;
  const isReplyStream = kind === "server-stream" || kind === "bidi";
  const ownMs = isReplyStream ? (plan.timeoutMs ?? Infinity) : (timeoutMs ?? plan.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  return {
    plan,
    isRequestStream: kind === "client-stream" || kind === "bidi",
    isReplyStream,
    timeoutMs: ownMs,
    priority: plan.priority ?? "normal",
    path: new FieldToken(":path", path),
    pathBytes: path.length,
    timeout: ownMs === Infinity ? undefined : new FieldToken("grpc-timeout", formatTimeout(ownMs)),
    checkTimeout,
    pairsOf: (metadata) => metadataPairs(metadataFrom(metadata)),
  };
}

function checkTimeout(timeoutMs: number): number {
  if (timeoutMs === Infinity || (timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) return timeoutMs;
  throw new RangeError(`timeoutMs must be 1..${TIMEOUT_MAX_MS} or Infinity, got ${describeValue(timeoutMs)}`);
}
