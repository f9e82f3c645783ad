/**
 * Interceptors on a client: the user's functions around the logical call, one shape for all four kinds. A client without
 * interceptors never comes through this file.
 */
import { failure, RpcError } from "../call/error.ts";
import { type IdWords, mintCallId } from "../call/ids.ts";
import type { Interceptor, Next, Outcome, Reply } from "../call/interceptor.ts";
import { emptyMetadata, type Metadata, metadataFromPairs } from "../call/metadata.ts";
import { StreamReply } from "../call/stream-reply.ts";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import { ClientStreamCall } from "./client-stream-call.ts";
import { InterceptedClientCall } from "./intercepted-call.ts";
import { type OncePlace, placeAfter } from "./once-place.ts";
import type { CallOptions, ReplyInfo } from "./options.ts";
import { ReplyStreamCall, type Stream } from "./reply-stream.ts";
import { UnaryCall } from "./unary-call.ts";

/** What all executions of one intercepted call share. */
interface Intercepted {
  readonly core: ChannelCore;
  readonly method: ClientMethod;
  readonly id: IdWords;
  readonly abort: AbortController;
  readonly call: InterceptedClientCall;
  executions: number;
  /** Where an earlier execution of a `once` call may have been done: the next one asks there. */
  once: OncePlace | undefined;
  /** What `onReply` is to be told: that of the last execution. */
  info: ReplyInfo | undefined;
  isTold: boolean;
}

/** A call that ends in one reply. */
export async function interceptUnary(
  core: ChannelCore,
  method: ClientMethod,
  request: unknown,
  options: CallOptions | undefined,
  interceptors: readonly Interceptor[],
): Promise<unknown> {
  const state = intercepted(core, method, request, options);
  try {
    const reply = await chain(state, interceptors)(state.call);
    const replies = messagesOf(reply)[Symbol.asyncIterator]();
    const first = await replies.next();
    if (first.done === true)
      throw failure({ code: "UNIMPLEMENTED", text: "an interceptor returned no reply", method: method.plan.info });
    return first.value;
  } catch (error) {
    throw callError(state, error);
  } finally {
    tell(state, options);
  }
}

/** A call whose replies are a stream; begins at once. */
export function interceptStream(
  core: ChannelCore,
  method: ClientMethod,
  request: unknown,
  options: CallOptions | undefined,
  interceptors: readonly Interceptor[],
): Stream<unknown> {
  const state = intercepted(core, method, request, options);
  const reply = Promise.resolve().then(() => chain(state, interceptors)(state.call));
  const ended = (): void => tell(state, options);
  // Whether or not anybody reads it: the call ends.
  reply.then((given) => given.done).then(ended, ended);
  return new InterceptedStream(state, reply, ended);
}

/** Tells `onReply`, once. */
function tell(state: Intercepted, options: CallOptions | undefined): void {
  const { info } = state;
  if (state.isTold || info === undefined) return;
  state.isTold = true;
  try {
    options?.onReply?.(info);
  } catch (error) {
    // The call has its outcome: the listener's bug goes to the process alone.
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** What the caller gets for what an interceptor threw. It has the call's id, so that no handler above passes its words on. */
function callError(state: Intercepted, thrown: unknown): RpcError {
  if (thrown instanceof RpcError) return thrown;
  const { code, text } = RpcError.from(thrown);
  return failure({ code, text, method: state.method.plan.info, callId: state.call.id, cause: thrown });
}

function intercepted(
  core: ChannelCore,
  method: ClientMethod,
  request: unknown,
  options: CallOptions | undefined,
): Intercepted {
  const { world } = core.runtime;
  const id: IdWords = { id0: 0, id1: 0, id2: 0, id3: 0 };
  mintCallId(world, id);
  const abort = new AbortController();
  const signal = options?.signal === undefined ? abort.signal : AbortSignal.any([options.signal, abort.signal]);
  const requests = method.isRequestStream ? (request as AsyncIterable<unknown>) : [request];
  const timeoutMs = options?.timeoutMs ?? method.timeoutMs;
  const call = new InterceptedClientCall(world, method, id, requests, {
    ...options,
    signal,
    onReply: undefined,
    deadlineMs: world.clock.monotonicMs() + timeoutMs,
    changes: [],
  });
  return { core, method, id, abort, call, executions: 0, once: undefined, info: undefined, isTold: false };
}

function chain(state: Intercepted, interceptors: readonly Interceptor[]): Next {
  let next: Next = async (call) => {
    if (!(call instanceof InterceptedClientCall)) {
      throw new TypeError("next takes the interceptor's own call, or one made from it by with or map");
    }
    state.executions += 1;
    if (state.executions > 1) payForRepeat(state);
    if (state.executions > 1 && state.method.isRequestStream) {
      const text = "a request stream that was sent is not held and cannot be sent again";
      throw failure({
        code: "FAILED_PRECONDITION",
        text,
        reason: "NOT_REPEATABLE",
        reached: "no",
        method: state.method.plan.info,
      });
    }
    return state.method.isReplyStream ? executeStream(state, call) : executeUnary(state, call);
  };
  for (const interceptor of interceptors.toReversed()) next = interceptor(next);
  return next;
}

/** A second execution is extra load as any repeat is. */
function payForRepeat({ core, method }: Intercepted): void {
  const nowMs = core.nowMs();
  if (core.budgetState === "off" || method.state.budget.takeRepeat(nowMs)) return;
  core.events.emit("budget.empty", nowMs, { method: method.plan.info });
  if (core.budgetState === "observe") return;
  throw failure({
    code: "RESOURCE_EXHAUSTED",
    text: "an interceptor called next again, and the budget for repeats was empty",
    reason: "BUDGET_EMPTY",
    reached: "maybe",
    method: method.plan.info,
  });
}

async function executeUnary(state: Intercepted, intercepted: InterceptedClientCall): Promise<Reply> {
  const { core, method } = state;
  const options = intercepted.optionsNow((info) => {
    state.info = info;
  });
  const nowMs = core.runtime.world.clock.monotonicMs();
  const call = method.isRequestStream
    ? new ClientStreamCall(core, method, intercepted.requests(), options, nowMs)
    : new UnaryCall(core, method, await firstOf(intercepted.requests()), options, nowMs);
  call.once = state.once;
  call.begin(state.id);
  const message = await unaryReply(state, call);
  const done = Promise.resolve(outcomeOf(undefined, call.last, core.runtime.world.clock.monotonicMs() - nowMs));
  return new StreamReply([message], headerOf(call.last), done, []);
}

async function unaryReply(state: Intercepted, call: UnaryCall): Promise<unknown> {
  try {
    const message = await call.promise;
    state.once = placeAfter(call, undefined);
    return message;
  } catch (error) {
    state.once = placeAfter(call, error instanceof RpcError ? error : undefined);
    throw error;
  }
}

async function executeStream(state: Intercepted, intercepted: InterceptedClientCall): Promise<Reply> {
  const { core, method } = state;
  const { clock } = core.runtime.world;
  const nowMs = clock.monotonicMs();
  let settle: (outcome: Outcome) => void = () => {};
  const done = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  const options = intercepted.optionsNow((info) => {
    state.info = info;
    state.once = placeAfter(call, call.failure);
    queueMicrotask(() => settle(outcomeOf(call.failure, call.last, clock.monotonicMs() - nowMs)));
  });
  const request = method.isRequestStream ? intercepted.requests() : await firstOf(intercepted.requests());
  const call = new ReplyStreamCall(core, method, request, options, nowMs);
  call.once = state.once;
  call.begin(state.id);
  call.watch();
  const header = await call.header;
  if (call.failure !== undefined && call.source === undefined) throw call.failure;
  return new StreamReply(call, header, done, []);
}

async function firstOf(messages: AsyncIterable<unknown>): Promise<unknown> {
  for await (const message of messages) return message;
  return undefined;
}

function headerOf(attempt: ClientAttempt | undefined): Metadata {
  return attempt?.header === undefined ? emptyMetadata : metadataFromPairs(attempt.header);
}

function outcomeOf(error: RpcError | undefined, attempt: ClientAttempt | undefined, tookMs: number): Outcome {
  const trailer = attempt?.trailer === undefined ? emptyMetadata : metadataFromPairs(attempt.trailer);
  return { code: error?.code ?? "OK", error, trailer, tookMs };
}

function messagesOf(reply: Reply): AsyncIterable<unknown> {
  if (!(reply instanceof StreamReply))
    throw new TypeError("an interceptor must return the Reply of next, or call.reply(...)");
  return reply.messages();
}

/** A reply stream behind interceptors. */
class InterceptedStream implements Stream<unknown> {
  readonly #state: Intercepted;
  readonly #reply: Promise<Reply>;
  readonly #ended: () => void;
  #isTaken: boolean;

  constructor(state: Intercepted, reply: Promise<Reply>, ended: () => void) {
    this.#state = state;
    this.#reply = reply;
    this.#ended = ended;
    this.#isTaken = false;
  }
  get header(): Promise<Metadata> {
    return this.#reply.then(
      (reply) => reply.header,
      () => emptyMetadata,
    );
  }
  get resumeToken(): Uint8Array | undefined {
    return this.#state.info?.resumeToken;
  }
  cancel(reason?: unknown): void {
    this.#state.abort.abort(reason);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }
  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    if (this.#isTaken) throw new TypeError("a stream can be iterated once");
    this.#isTaken = true;
    return this.#read();
  }
  async *#read(): AsyncGenerator<unknown> {
    let isDone = false;
    try {
      yield* messagesOf(await this.#reply);
      isDone = true;
    } catch (error) {
      isDone = true;
      throw callError(this.#state, error);
    } finally {
      if (!isDone) this.cancel();
      this.#ended();
    }
  }
}
