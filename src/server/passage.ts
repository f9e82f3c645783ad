/**
 * What stands before and after a handler behind interceptors: the same as without them, as promises.
 */
import type { Code } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import type { Outcome, Reply } from "../call/interceptor.ts";
import { metadataFromPairs } from "../call/metadata.ts";
import type { ScopeChild } from "../call/scope.ts";
import { StreamReply } from "../call/stream-reply.ts";
import type { DedupEntry } from "../durable/dedup-store.ts";
import { decodeStatusDetails } from "../wire/grpc/status-details.ts";
import type { Status } from "../wire/transport/server-exchange.ts";
import { Execution, type ExecutionOwner } from "./execution.ts";
import { readable, statusOf } from "./handler-error.ts";
import { decodeKept, type KeptAnswer } from "./kept-answer.ts";
import { isForgettable, keptFailure, keptReply, NOT_KEPT, notKeptCause } from "./once.ts";
import { errorOfRefusal, type Refusal } from "./refusal.ts";
import type { ServerCall } from "./server-call.ts";

/** The way is clear; or `kept` is the answer that an earlier attempt got. Rejects with why no handler runs. */
export interface Passed {
  readonly execution: Execution;
  readonly kept: Uint8Array | undefined;
}

/** Goes through what stands before the handler. Over when its call is. */
export function passage(call: ServerCall): Promise<Passed> {
  return new Passage(call).done;
}

class Passage implements ExecutionOwner, ScopeChild {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  readonly done: Promise<Passed>;
  readonly #call: ServerCall;
  readonly #execution: Execution;
  readonly #resolve: (passed: Passed) => void;
  readonly #reject: (error: unknown) => void;

  constructor(call: ServerCall) {
    const { promise, resolve, reject } = Promise.withResolvers<Passed>();
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.done = promise;
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#execution = new Execution(call, this);
    call.addChild(this);
    if (call.isCancelled) this.scopeCancelled(call.cancelReason);
    else this.#execution.go();
  }

  passed(): void {
    this.#call.removeChild(this);
    this.#resolve({ execution: this.#execution, kept: undefined });
  }
  answered(kept: Uint8Array): void {
    this.#call.removeChild(this);
    this.#resolve({ execution: this.#execution, kept });
  }
  refused(refusal: Refusal): void {
    this.#call.removeChild(this);
    this.#reject(errorOfRefusal(refusal));
  }
  scopeCancelled(reason: unknown): void {
    this.#execution.abandon();
    this.#reject(reason);
  }
}

/** The handler's reply, once its answer is kept (if it is to be) and the permit given back. */
export async function endExecution(call: ServerCall, execution: Execution, work: Promise<unknown>): Promise<unknown> {
  const { entry } = execution;
  try {
    return await (entry === undefined ? work : keptOutcome(call, entry, work));
  } finally {
    execution.ended(true, Number.NaN);
    call.innerEnded(execution);
    if (entry !== undefined && call.innerEntry === entry) call.innerEntry = undefined;
  }
}

/** What is kept of what the handler came to: its reply or its failure, or what its transaction has committed, whatever came after that. */
async function keptOutcome(call: ServerCall, entry: DedupEntry, work: Promise<unknown>): Promise<unknown> {
  let reply: unknown;
  let own: Uint8Array | undefined;
  try {
    reply = await work;
    own = entry.answer === undefined ? keptReply(call, call.replyCodec, reply) : undefined;
  } catch (error) {
    if (isForgettable(entry)) await call.core.once?.forget(entry);
    else await keep(call, entry, entry.answer ?? keptFailure(call, statusOf(readable(error), call)));
    if (isReplyKept(entry)) return messageIn(call, decodeKept(entry.answer as Uint8Array));
    throw error;
  }
  if (own !== undefined) await keep(call, entry, own);
  return entry.answer === own || entry.answer === undefined ? reply : messageIn(call, decodeKept(entry.answer));
}

function isReplyKept({ answer }: DedupEntry): boolean {
  return answer !== undefined && decodeKept(answer).failure === undefined;
}

async function keep(call: ServerCall, entry: DedupEntry, answer: Uint8Array): Promise<void> {
  try {
    await call.core.once?.finish(entry, answer);
  } catch (error) {
    throw notKept(error);
  }
}

/** The answer of an earlier attempt, as a reply that interceptors see. */
export function keptAnswer(call: ServerCall, bytes: Uint8Array, done: Promise<Outcome>): Reply {
  const kept = decodeKept(bytes);
  // An interceptor that calls next again is given what this very attempt has done.
  call.exchange.isDeduplicated = !call.hasRun;
  const message = messageIn(call, kept);
  if (kept.trailer !== undefined) call.trailerPairs = [...kept.trailer];
  return new StreamReply([message], metadataFromPairs([...(kept.header ?? [])]), done, []);
}

/** The reply in a kept answer; a kept failure is thrown as the handler threw it. */
function messageIn(call: ServerCall, { failure: kept, reply }: KeptAnswer): unknown {
  if (kept === undefined && reply !== undefined) return call.replyCodec.decode(reply, 0, reply.length);
  throw kept === undefined ? new TypeError("a kept answer without a reply") : errorOf(kept);
}

/** A kept failure, as the handler threw it. */
function errorOf({ code, text, metadata, details, retryAfterMs }: Status): RpcError {
  return new RpcError(code as Code, text, {
    details: details === undefined ? undefined : decodeStatusDetails(details)?.details,
    metadata: metadata === undefined ? undefined : metadataFromPairs([...metadata]),
    retryAfterMs,
  });
}

function notKept(thrown: unknown): RpcError {
  const { text, retryAfterMs } = NOT_KEPT;
  const cause = notKeptCause(thrown);
  return errorOfRefusal({ code: "ABORTED", text, reason: "OUTCOME_UNKNOWN", retryAfterMs, isNotRun: false, cause });
}
