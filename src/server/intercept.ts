/**
 * Interceptors on a server: the user's functions around the handler, one shape for all four kinds. Messages are streams
 * here, be they one or many; a server without interceptors never comes through this file.
 */
import type { Interceptor, Next, Outcome, Reply } from "../call/interceptor.ts";
import { StreamReply } from "../call/stream-reply.ts";
import { AsyncLocalStorage } from "node:async_hooks";
import { scopes } from "../call/scope.ts";
import { ChangedCall } from "./changed-call.ts";
import { InterceptedServerCall } from "./intercepted-call.ts";
import { isThenable, iteratorOf, type ServerCall, sendAll } from "./server-call.ts";

export function runIntercepted(call: ServerCall, request: unknown): void {
  const interceptors: readonly Interceptor[] = [...call.core.interceptors, ...call.route.interceptors];
  const requests = call.route.isRequestStream ? call.requests : [request];
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

/** The handler itself, as the innermost `next`. */
async function runInner(call: ServerCall, intercepted: InterceptedServerCall, done: Promise<Outcome>): Promise<Reply> {
  const { route } = call;
  const input = route.isRequestStream ? intercepted.requests() : await first(intercepted.requests());
  const { changed } = intercepted;
  const inner = changed === undefined ? undefined : new ChangedCall(call, changed);
  const scope = inner ?? call;
  let isStreaming = false;
  try {
    const result = scopes.run(scope, route.handler, input, scope.call);
    if (!route.isReplyStream) {
      // An interceptor, or the deadline that it set, may end the call before the handler ends.
      if (isThenable(result)) call.hold(result);
      const reply = await (inner === undefined ? result : inner.bounded(result));
      return new StreamReply([reply], call.headerMetadata, done, []);
    }
    // The interceptors' own context (an AsyncLocalStorage of theirs) holds in every step of the stream.
    const context = scopes.run(scope, () => AsyncLocalStorage.snapshot());
    const replies = steps(call, iteratorOf(result, route.plan.info.path), context, inner);
    isStreaming = true;
    return new StreamReply(replies, call.headerMetadata, done, []);
  } finally {
    if (!isStreaming) inner?.end();
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
