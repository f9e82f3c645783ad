/**
 * The facts of one call: what a user asked for, whichever side looks at it.
 */
import type { Deadline } from "./deadline.ts";
import type { Metadata } from "./metadata.ts";
import type { MethodInfo, Priority } from "./method.ts";

/** The facts of one call, the same for interceptors, handlers and `currentCall()`. */
export interface Call {
  /** The idempotency key if one was given, else minted; the same on every attempt, in every record, and on the server. */
  readonly id: string;
  readonly side: "client" | "server";
  readonly method: MethodInfo;
  readonly metadata: Metadata;
  readonly deadline: Deadline;
  /** Made when first read, so that a call which never reads it does not pay for it. */
  readonly signal: AbortSignal;
  readonly priority: Priority;
}
