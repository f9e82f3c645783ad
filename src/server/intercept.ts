/**
 * Interceptors on a server: the user's functions around the handler, one shape for all four kinds. Messages are streams
 * here, be they one or many; a server without interceptors never comes through this file.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { failure, RpcError } from "../call/error.ts";
import type { Interceptor, Next, Outcome, Reply } from "../call/interceptor.ts";
import { type CallScope, scopes } from "../call/scope.ts";
import { StreamReply } from "../call/stream-reply.ts";
import { unreadable } from "../wire/transport/server-exchange.ts";
import { ChangedCall } from "./changed-call.ts";
import type { Execution } from "./execution.ts";
import { InterceptedServerCall } from "./intercepted-call.ts";
import { endExecution, keptAnswer, passage } from "./passage.ts";
import { isThenable, iteratorOf, sendAll } from "./send-replies.ts";
import type { ServerCall } from "./server-call.ts";
import { validated } from "./validate.ts";

export function runIntercepted(call: ServerCall): void {
  const interceptors: readonly Interceptor[] = [...call.core.interceptors, ...call.route.interceptors];
  const requests = call.route.isRequestStream ? call.requests : new OneRequest(call);
  const done = new Promise<Outcome>((resolve) => call.onDone(resolve));
  const handle: Next = async (intercepted) => {
    if (!(intercepted instanceof InterceptedServerCall)) {
      throw new TypeError("next takes the interceptor's own call, or one made from it by with or map");
    }
    return runInner(call, intercepted, done);
  };
  let next = handle;
  for (const interceptor of interceptors.toReversed()) next = interceptor(next);
  void answer(call, next, new InterceptedServerCall(call, requests, done, {}));
}

/** The handler itself, as the innermost `next`, behind what stands before it. */
async function runInner(call: ServerCall, intercepted: InterceptedServerCall, done: Promise<Outcome>): Promise<Reply> {
  if (!call.hasGates) return runHandler(call, intercepted, done, undefined);
  const { execution, kept } = await passage(call);
  if (kept !== undefined) return keptAnswer(call, kept, done);
  return runHandler(call, intercepted, done, execution);
}

/** Gives the permit back when the handler has ended, whatever becomes of the call; that of a stream when it has begun. */
async function runHandler(
  call: ServerCall,
  intercepted: InterceptedServerCall,
  done: Promise<Outcome>,
  execution: Execution | undefined,
): Promise<Reply> {
  const { route } = call;
  let isStreaming = false;
  let hasRun = false;
  let inner: ChangedCall | undefined;
  try {
    if (call.isOver) throw RpcError.from(call.cancelReason);
    if (execution !== undefined) call.innerPassed(execution);
    const requests =
      route.validate === undefined ? intercepted.requests() : validated(intercepted.requests(), route.validate);
    const input = route.isRequestStream ? requests : await first(requests);
    if (call.isOver) throw RpcError.from(call.cancelReason);
    const { changed } = intercepted;
    inner = changed === undefined ? undefined : new ChangedCall(call, changed);
    const scope = inner ?? call;
    hasRun = true;
    call.hasRun = true;
    if (execution !== undefined) execution.hasRun = true;
    call.innerEntry = execution?.entry;
    const result = runIn(scope, call, input);
    if (route.isRequestStream) execution?.givePermitBack();
    if (!route.isReplyStream) {
      const work = isThenable(result) ? Promise.resolve(result) : undefined;
      const ended =
        execution === undefined ? undefined : endExecution(call, execution, work ?? Promise.resolve(result));
      // An interceptor, or the deadline that it set, may end the call before the handler ends.
      if (work !== undefined) call.hold(ended === undefined ? work : Promise.allSettled([work, ended]));
      const reply = await (inner === undefined ? (ended ?? result) : inner.bounded(ended ?? result));
      return new StreamReply([reply], call.headerMetadata, done, []);
    }
    // The interceptors' own context (an AsyncLocalStorage of theirs) holds in every step of the stream.
    const context = scopes.run(scope, () => AsyncLocalStorage.snapshot());
    const replies = steps(call, iteratorOf(result, route.plan.info.path), context, inner);
    isStreaming = true;
    return new StreamReply(replies, call.headerMetadata, done, []);
  } finally {
    if (!isStreaming) inner?.end();
    if (execution !== undefined && (!hasRun || route.isReplyStream)) {
      if (hasRun) execution.givePermitBack();
      else execution.abandon();
      call.innerEnded(execution);
    }
  }
}

/** What the handler gives; of one that answers once, what it throws at once is what it would have rejected with later. */
function runIn(scope: CallScope, call: ServerCall, input: unknown): unknown {
  try {
    return scopes.run(scope, call.route.handler, input, scope.call);
  } catch (error) {
    if (call.route.isReplyStream) throw error;
    return Promise.reject(error as Error);
  }
}

/** A handler's replies, each step taken in the given context and within the inner call's deadline. */
async function* steps(
  call: ServerCall,
  iterator: AsyncIterator<unknown> | Iterator<unknown>,
  context: ReturnType<typeof AsyncLocalStorage.snapshot>,
  inner: ChangedCall | undefined,
): AsyncGenerator<unknown> {
  let isDone = false;
  let step: unknown;
  try {
    for (;;) {
      step = context(() => iterator.next());
      const result = (await (inner === undefined ? step : inner.bounded(step))) as IteratorResult<unknown>;
      if (result.done === true) {
        isDone = true;
        return;
      }
      yield result.value;
    }
  } catch (error) {
    // A handler that is late is told by its signal; waiting for it here would keep its caller waiting.
    isDone = true;
    if (inner?.isCancelled === true) call.hold(Promise.allSettled([step, context(() => iterator.return?.())]));
    throw error;
  } finally {
    inner?.end();
    if (!isDone) await context(() => iterator.return?.());
  }
}

/** The one request: decoded when it is read, which is after the gates; each execution of the handler reads it anew. */
class OneRequest implements Iterable<unknown> {
  readonly #call: ServerCall;

  constructor(call: ServerCall) {
    this.#call = call;
  }
  *[Symbol.iterator](): Generator<unknown> {
    const request = this.#call.exchange.decodeRequest();
    if (request === unreadable) throw failure({ code: "INTERNAL", text: "the request cannot be read" });
    yield request;
  }
}

async function first(messages: AsyncIterable<unknown>): Promise<unknown> {
  for await (const message of messages) return message;
  throw new TypeError("the call has no request");
}

async function answer(call: ServerCall, next: Next, intercepted: InterceptedServerCall): Promise<void> {
  let reply: Reply;
  try {
    reply = await next(intercepted);
    if (!(reply instanceof StreamReply))
      throw new TypeError("an interceptor must return the Reply of next, or call.reply(...)");
    for (const [name, value] of reply.header) if (!call.hasHeader(name)) call.setHeader(name, value);
  } catch (error) {
    call.fail(error);
    call.handlerEnded();
    return;
  }
  const sent = sendAll(call, reply.messages());
  if (call.route.isReplyStream) call.replyKnown();
  await sent;
}
