/**
 * Why no handler ran, on its way to the caller: directly, or through interceptors, which see it as an error like any other and may answer
 * in its place.
 */
import type { Code } from "../call/code.ts";
import { failure, type RpcError } from "../call/error.ts";
import type { Reason } from "../call/reason.ts";

export interface Refusal {
  readonly code: Code;
  readonly text: string;
  readonly reason: Reason | undefined;
  readonly retryAfterMs: number | undefined;
  /** False: an earlier attempt may have run, though this one did not. */
  readonly isNotRun: boolean;
  /** For the server's own record; its caller is told nothing of it. */
  readonly cause?: RpcError | undefined;
}

const refusals: WeakMap<object, Refusal> = new WeakMap();

export function errorOfRefusal(refusal: Refusal): RpcError {
  const error = failure({ ...refusal, reached: refusal.isNotRun ? "no" : "maybe" });
  refusals.set(error, refusal);
  return error;
}

/** What {@link errorOfRefusal} was given; undefined for any other value. */
export function refusalIn(thrown: unknown): Refusal | undefined {
  return typeof thrown === "object" && thrown !== null ? refusals.get(thrown) : undefined;
}
