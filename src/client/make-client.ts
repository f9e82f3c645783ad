/**
 * A contract's methods as functions over a channel.
 */
import { failure } from "../call/error.ts";
import type { Interceptor, Source } from "../call/interceptor.ts";
import type { Event, EventName } from "../call/event.ts";
import { describeValue, unknownKeyError } from "../call/options.ts";
import type { AnyContract, MethodShape, MethodsOf } from "../schema/contract.ts";
import { type ContractPlan, type MethodPlan, planOf } from "../schema/plan.ts";
import type { Channel } from "./channel.ts";
import type { ChannelCore } from "./channel-core.ts";
import { ClientMethod, isReplyStream, isRequestStream } from "./client-method.ts";
import { ClientStreamCall } from "./client-stream-call.ts";
import { interceptStream, interceptUnary } from "./intercept.ts";
import { learnedOf } from "./learned.ts";
import { type CallOptions, checkCallOptions, type ResolvedClientOptions } from "./options.ts";
import { explain, type Explanation } from "./policy/explanation.ts";
import type { CallPolicy } from "./policy/policy.ts";
import { checkMethodNames } from "./policy/policy-options.ts";
import { type Resolution, resolveCall, resolvePolicy } from "./policy/resolve-policy.ts";
import { parseServiceConfig, type ServiceConfig, serviceConfigEntry } from "./policy/service-config.ts";
import { ReplyStreamCall, type Stream } from "./reply-stream.ts";
import { UnaryCall } from "./unary-call.ts";

interface ClientMethods<M extends MethodShape> {
  unary: (request: M["requestInit"], options?: CallOptions<M["effect"]>) => Promise<M["reply"]>;
  "server-stream": (request: M["requestInit"], options?: CallOptions<M["effect"]>) => Stream<M["reply"]>;
  "client-stream": (requests: Source<M["requestInit"]>, options?: CallOptions<M["effect"]>) => Promise<M["reply"]>;
  bidi: (requests: Source<M["requestInit"]>, options?: CallOptions<M["effect"]>) => Stream<M["reply"]>;
}

export interface ClientControl<C extends AnyContract = AnyContract> extends AsyncDisposable {
  readonly $contract: C;
  readonly $channel: Channel;
  /** How a method's calls are handled, every value with where it came from; with `policy`, as a call that brings it would be. RangeError for a method it does not have. */
  $explain(method: keyof MethodsOf<C> & string, policy?: CallPolicy): Explanation;
  /** Calls `listener` with each event of this client's channel until what is returned is disposed of ({@link Events.on}). */
  $on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable;
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
  const config = serviceConfigOf(plan, core, options);
  const methods = resolutionsOf(plan, options, config).map((resolution, index) => {
    return new KnownMethod(core, plan.methods[index] as MethodPlan, resolution);
  });
  if (config?.healthService !== undefined) core.watchHealth(config.healthService, "serviceConfig.healthCheckConfig");
  const interceptors = (options.interceptors ?? []) as readonly Interceptor[];
  const state: ClientState = { isClosed: false };
  const close = async (how?: { readonly timeoutMs?: number | undefined }): Promise<void> => {
    state.isClosed = true;
    if (ownsChannel) await channel.close(how);
  };
  // Not Object.create(null), which gives each object a hash table of its own: this way all clients of a contract share a shape.
  const client = Object.setPrototypeOf({}, null) as Record<string | symbol, unknown>;
  for (const method of methods) client[method.plan.info.name] = methodFunction(method, interceptors, state);
  client["$contract"] = contract;
  client["$channel"] = channel;
  client["$explain"] = (name: unknown, policy?: unknown) => {
    const known = methods.find(({ plan: { info } }) => info.name === name);
    if (known === undefined) {
      throw unknownKeyError(
        "",
        String(name),
        methods.map(({ plan: { info } }) => info.name),
      );
    }
    const resolution = policy === undefined ? known.resolution : resolveCall(known.resolution, policy);
    return explain(resolution, learnedOf(core, known.called));
  };
  client["$on"] = core.events.on.bind(core.events);
  client["$close"] = close;
  client[Symbol.asyncDispose] = () => close();
  return Object.freeze(client) as Client<C>;
}

/** A method of a client; what its calls need is made at the first of them. */
class KnownMethod {
  readonly core: ChannelCore;
  readonly plan: MethodPlan;
  readonly resolution: Resolution;
  #called: ClientMethod | undefined;

  constructor(core: ChannelCore, plan: MethodPlan, resolution: Resolution) {
    this.core = core;
    this.plan = plan;
    this.resolution = resolution;
    this.#called = undefined;
  }

  get called(): ClientMethod {
    return (this.#called ??= new ClientMethod(this.plan, this.core.methodState(this.plan.info), this.resolution));
  }
}

/** The service config, with a note if the channel does not do what it says of health. */
function serviceConfigOf(
  plan: ContractPlan,
  core: ChannelCore,
  options: ResolvedClientOptions,
): ServiceConfig | undefined {
  if (options.serviceConfig === undefined) return undefined;
  const wireNames = plan.methods.map(({ info }) => info.path.slice(info.path.lastIndexOf("/") + 1));
  const config = parseServiceConfig(options.serviceConfig, plan.name, wireNames);
  const { healthService } = config;
  const why = healthService === undefined ? undefined : core.whyNoHealth(healthService);
  if (why === undefined) return config;
  const note = `serviceConfig.healthCheckConfig.serviceName ${JSON.stringify(healthService)} has no effect: ${why}`;
  return { ...config, notes: [...config.notes, note] };
}

/** What clients that name no more than a preset share, by that preset. */
const shared = new WeakMap<ContractPlan, Map<unknown, readonly Resolution[]>>();

/** The policies of the contract's methods, in their order. TypeError or RangeError for what a level says wrongly. */
function resolutionsOf(
  plan: ContractPlan,
  options: ResolvedClientOptions,
  config: ServiceConfig | undefined,
): readonly Resolution[] {
  const { policy, methods } = options;
  const isShared =
    config === undefined && methods === undefined && (policy === undefined || typeof policy === "string");
  if (!isShared) return resolvedAnew(plan, options, config);
  const byPreset = shared.get(plan) ?? new Map<unknown, readonly Resolution[]>();
  const known = byPreset.get(policy) ?? resolvedAnew(plan, options, config);
  byPreset.set(policy, known);
  shared.set(plan, byPreset);
  return known;
}

function resolvedAnew(
  plan: ContractPlan,
  options: ResolvedClientOptions,
  config: ServiceConfig | undefined,
): readonly Resolution[] {
  const names = plan.methods.map(({ info }) => info.name);
  const own = checkMethodNames(options.methods, names);
  return plan.methods.map((method) =>
    resolvePolicy({
      method: method.info,
      contractTimeoutMs: method.timeoutMs,
      contractPriority: method.priority,
      serviceConfig: config === undefined ? undefined : serviceConfigEntry(config, method.info),
      client: options.policy,
      own: own[method.info.name],
    }),
  );
}

interface ClientState {
  isClosed: boolean;
}

type AnyMethod = (request: unknown, options?: CallOptions) => unknown;

function methodFunction(known: KnownMethod, interceptors: readonly Interceptor[], state: ClientState): AnyMethod {
  const { core, plan } = known;
  const { clock } = core.runtime.world;
  if (interceptors.length > 0) return interceptedFunction(known, interceptors, state);
  if (isReplyStream(plan)) {
    return (request, options) => {
      checkArguments(plan, request, options);
      if (state.isClosed) return closedStream(core, known.called, request, options);
      const call = new ReplyStreamCall(core, known.called, request, options, clock.monotonicMs());
      call.begin(undefined);
      return call.watch();
    };
  }
  if (isRequestStream(plan)) {
    return (requests, options) => {
      checkArguments(plan, requests, options);
      const source = requests as AsyncIterable<unknown>;
      const call = new ClientStreamCall(core, known.called, source, options, clock.monotonicMs());
      if (state.isClosed) call.refuse(CLOSED);
      else call.begin(undefined);
      return call.promise;
    };
  }
  return (request, options) => {
    if (options !== undefined) checkCallOptions(plan.info, options);
    if (state.isClosed) return closed(plan);
    const call = new UnaryCall(core, known.called, request, options, clock.monotonicMs());
    call.begin(undefined);
    return call.promise;
  };
}

function interceptedFunction(known: KnownMethod, interceptors: readonly Interceptor[], state: ClientState): AnyMethod {
  const { core, plan } = known;
  const isStream = isReplyStream(plan);
  const run = isStream ? interceptStream : interceptUnary;
  return (request, options) => {
    checkArguments(plan, request, options);
    // As the calls without interceptors do in their constructor: a wrong value throws at this line.
    if (options?.timeoutMs !== undefined) known.called.checkTimeout(options.timeoutMs);
    if (options?.metadata !== undefined) known.called.pairsOf(options.metadata);
    if (!state.isClosed) return run(core, known.called, request, options, interceptors);
    return isStream ? closedStream(core, known.called, request, options) : closed(plan);
  };
}

const CLOSED = { reason: "CLIENT_CLOSED", text: "the client was closed" } as const;

function closed({ info }: MethodPlan): Promise<never> {
  const { text, reason } = CLOSED;
  return Promise.reject(failure({ code: "CANCELLED", text, reason, reached: "no", method: info }));
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
function checkArguments(plan: MethodPlan, request: unknown, options: CallOptions | undefined): void {
  if (options !== undefined) checkCallOptions(plan.info, options);
  if (!isRequestStream(plan)) return;
  const isSource =
    typeof request === "object" && request !== null && (Symbol.asyncIterator in request || Symbol.iterator in request);
  if (!isSource) throw new TypeError(`${plan.info.path} takes an iterable of requests, got ${describeValue(request)}`);
}
