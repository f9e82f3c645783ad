/**
 * A contract's methods as functions over a channel.
 */
import { failure } from "../call/error.ts";
import type { Interceptor, Source } from "../call/interceptor.ts";
import { describeValue } from "../call/options.ts";
import type { AnyContract, MethodShape, MethodsOf } from "../schema/contract.ts";
import { planOf } from "../schema/plan.ts";
import type { Channel } from "./channel.ts";
import type { ChannelCore } from "./channel-core.ts";
import { type ClientMethod, clientMethod } from "./client-method.ts";
import { ClientStreamCall } from "./client-stream-call.ts";
import { interceptStream, interceptUnary } from "./intercept.ts";
import { type CallOptions, checkCallOptions, type ResolvedClientOptions } from "./options.ts";
import { ReplyStreamCall, type Stream } from "./reply-stream.ts";
import { UnaryCall } from "./unary-call.ts";

interface ClientMethods<M extends MethodShape> {
  unary: (request: M["requestInit"], options?: CallOptions) => Promise<M["reply"]>;
  "server-stream": (request: M["requestInit"], options?: CallOptions) => Stream<M["reply"]>;
  "client-stream": (requests: Source<M["requestInit"]>, options?: CallOptions) => Promise<M["reply"]>;
  bidi: (requests: Source<M["requestInit"]>, options?: CallOptions) => Stream<M["reply"]>;
}

export interface ClientControl<C extends AnyContract = AnyContract> extends AsyncDisposable {
  readonly $contract: C;
  readonly $channel: Channel;
  /** Ends the client, and its channel if it made that itself: calls in flight may end for `timeoutMs` (default 20000), then they are cut. */
  $close(options?: { readonly timeoutMs?: number | undefined }): Promise<void>;
}

/** A contract's methods as functions, and our own members, which begin with `$`. */
export type Client<C extends AnyContract> = {
  readonly [K in keyof MethodsOf<C>]: ClientMethods<MethodsOf<C>[K]>[MethodsOf<C>[K]["kind"]];
} & ClientControl<C>;

/** Makes a client; `ownsChannel` lets its end be the channel's. */
export function makeClient<C extends AnyContract>(
  contract: C,
  channel: Channel,
  core: ChannelCore,
  options: ResolvedClientOptions,
  ownsChannel: boolean,
): Client<C> {
  const plan = planOf(contract);
  const interceptors = (options.interceptors ?? []) as readonly Interceptor[];
  const state: ClientState = { isClosed: false };
  const close = async (how?: { readonly timeoutMs?: number | undefined }): Promise<void> => {
    state.isClosed = true;
    if (ownsChannel) await channel.close(how);
  };
  const client: Record<string | symbol, unknown> = Object.create(null) as Record<string | symbol, unknown>;
  for (const method of plan.methods) {
    client[method.info.name] = methodFunction(core, clientMethod(method, options.timeoutMs), interceptors, state);
  }
  client["$contract"] = contract;
  client["$channel"] = channel;
  client["$close"] = close;
  client[Symbol.asyncDispose] = () => close();
  return Object.freeze(client) as Client<C>;
}

interface ClientState {
  isClosed: boolean;
}

type AnyMethod = (request: unknown, options?: CallOptions) => unknown;

function methodFunction(
  core: ChannelCore,
  method: ClientMethod,
  interceptors: readonly Interceptor[],
  state: ClientState,
): AnyMethod {
  const { clock } = core.runtime.world;
  if (interceptors.length > 0) {
    const run = method.isReplyStream ? interceptStream : interceptUnary;
    return (request, options) => {
      checkArguments(method, request, options);
      // As the calls without interceptors do in their constructor: a wrong value throws at this line.
      if (options?.timeoutMs !== undefined) method.checkTimeout(options.timeoutMs);
      if (options?.metadata !== undefined) method.pairsOf(options.metadata);
      if (!state.isClosed) return run(core, method, request, options, interceptors);
      return method.isReplyStream ? closedStream(core, method, request, options) : closed(method);
    };
  }
  if (method.isReplyStream) {
    return (request, options) => {
      checkArguments(method, request, options);
      if (state.isClosed) return closedStream(core, method, request, options);
      const call = new ReplyStreamCall(core, method, request, options, clock.monotonicMs());
      call.begin(undefined);
      return call.watch();
    };
  }
  if (method.isRequestStream) {
    return (requests, options) => {
      checkArguments(method, requests, options);
      const call = new ClientStreamCall(core, method, requests as AsyncIterable<unknown>, options, clock.monotonicMs());
      if (state.isClosed) call.refuse(CLOSED);
      else call.begin(undefined);
      return call.promise;
    };
  }
  return (request, options) => {
    if (options !== undefined) checkCallOptions(method.plan.info, options);
    if (state.isClosed) return closed(method);
    const call = new UnaryCall(core, method, request, options, clock.monotonicMs());
    call.begin(undefined);
    return call.promise;
  };
}

const CLOSED = { reason: "CLIENT_CLOSED", text: "the client was closed" } as const;

function closed(method: ClientMethod): Promise<never> {
  const { text, reason } = CLOSED;
  return Promise.reject(failure({ code: "CANCELLED", text, reason, reached: "no", method: method.plan.info }));
}

function closedStream(
  core: ChannelCore,
  method: ClientMethod,
  request: unknown,
  options: CallOptions | undefined,
): Stream<unknown> {
  const call = new ReplyStreamCall(core, method, request, options, core.runtime.world.clock.monotonicMs());
  call.refuse(CLOSED);
  return call.watch();
}

/** What is wrong with a call before it begins is thrown at its line. */
function checkArguments(method: ClientMethod, request: unknown, options: CallOptions | undefined): void {
  if (options !== undefined) checkCallOptions(method.plan.info, options);
  if (!method.isRequestStream) return;
  const isSource =
    typeof request === "object" && request !== null && (Symbol.asyncIterator in request || Symbol.iterator in request);
  if (!isSource)
    throw new TypeError(`${method.plan.info.path} takes an iterable of requests, got ${describeValue(request)}`);
}
