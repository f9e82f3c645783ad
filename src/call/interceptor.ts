/**
 * What a user wraps around calls: one shape for both sides and all four kinds.
 */
import type { Call } from "./call.ts";
import type { CodeOrOk } from "./code.ts";
import type { RpcError } from "./error.ts";
import type { Metadata, MetadataInit } from "./metadata.ts";
import type { Options } from "./options.ts";

/** Messages, now or over time. */
export type Source<T> = AsyncIterable<T> | Iterable<T>;

/** One shape for both sides and all four kinds. */
export type Interceptor = (next: Next) => Next;

/** May be called again with the same or another call: an extra execution, paid from the retry budget. */
export type Next = (call: InterceptedCall) => Promise<Reply>;

/** A call on its way in. Immutable: `with` and `map` make a changed one. */
export interface InterceptedCall extends Call {
  /** The same call with other metadata (replacing all of it), a further signal, or a shorter deadline in milliseconds. */
  with(change: Options<{ metadata: MetadataInit; signal: AbortSignal; timeoutMs: number }>): InterceptedCall;
  /** Each request message, be it one or many, passes through `change`. */
  map(change: (message: unknown) => unknown): InterceptedCall;
  /** Answers without calling `next`. */
  reply(messages: Source<unknown>): Reply;
}

/** The answer of a call, be it one message or many. */
export interface Reply {
  readonly header: Metadata;
  /** Settles when the call has ended, and never rejects. */
  readonly done: Promise<Outcome>;
  /** Each reply message, be it one or many, passes through `change`. */
  map(change: (message: unknown) => unknown): Reply;
  withHeader(header: MetadataInit): Reply;
}

/** How a call ended. */
export interface Outcome {
  readonly code: CodeOrOk;
  /** Undefined if the code is OK. */
  readonly error: RpcError | undefined;
  readonly trailer: Metadata;
  /** From the call's begin to its end, in milliseconds. */
  readonly tookMs: number;
}
