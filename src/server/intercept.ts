/**
 * Interceptors on a server: the user's functions around the handler, one shape for all four kinds. Messages are streams
 * here, be they one or many; a server without interceptors never comes through this file.
 */
import type { Interceptor, Next, Outcome, Reply } from "../call/interceptor.ts";
import { StreamReply } from "../call/stream-reply.ts";
import { InterceptedServerCall } from "./intercepted-call.ts";
import { type ServerCall, sendAll } from "./server-call.ts";

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
  const result = route.handler(input, call.call);
  if (!route.isReplyStream) return new StreamReply([await result], call.headerMetadata, done, []);
  return new StreamReply(result as AsyncIterable<unknown>, call.headerMetadata, done, []);
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
  await sendAll(call, reply.messages());
}
