/**
 * A client's and a channel's options: what may be given, defaults, limits. Checked once, at creation.
 */
import type { Interceptor } from "../call/interceptor.ts";
import {
  anyOption,
  booleanOption,
  describeValue,
  functionOption,
  listOption,
  numberOption,
  objectOption,
  orFalse,
  type Resolved,
  resolveOptions,
  textOption,
  wordOption,
} from "../call/options.ts";
import type { MetadataInit } from "../call/metadata.ts";
import type { Effect, MethodInfo, Priority } from "../call/method.ts";
import type { Metadata } from "../call/metadata.ts";
import type { Peer } from "../call/peer.ts";
import type { Refused } from "../call/refused.ts";
import { CallFaultLayer } from "../chaos/call-fault.ts";
import { throttleShape } from "../policy/protect/throttle.ts";
import { SwitchBoard } from "../policy/protect/switches.ts";
import type { AnyContract } from "../schema/contract.ts";
import type { World } from "../world/world.ts";
import type { CallPolicy, ClientPolicy, MethodPolicies } from "./policy/policy.ts";

export interface ClientTls {
  /** PEM file with the authorities that may vouch for servers. Default the ones that Node brings. */
  readonly caFile?: string | undefined;
  /** PEM file with this client's certificate, for mutual TLS. Default none. */
  readonly certFile?: string | undefined;
  /** PEM file with its key. Default none. */
  readonly keyFile?: string | undefined;
  /** The name that a server must prove, and SNI. Default the host of the address; 1..253 characters (RFC 1035 2.3.4). */
  readonly serverName?: string | undefined;
}

/** What a token is asked for. */
export interface TokenAsk {
  readonly method: MethodInfo;
  /** The last one was answered with UNAUTHENTICATED. */
  readonly isRefresh: boolean;
  readonly signal: AbortSignal;
}

export interface ConnectionOptions {
  /** For connecting, TLS and the server's first frame together, in milliseconds. Default 20000, 1..600000. */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Silence, while calls are open, after which the server is asked for a sign of life. Default "adaptive" (330000, which no gRPC
   * server takes for abuse, doubled when one does). 10000..86400000, or Infinity for never (gRFC A8).
   */
  readonly keepaliveMs?: number | "adaptive" | undefined;
  /** Connections to one peer; a further one is made when 80 % of the streams that the peer allows are in use. Default 4, 1..16 (gRFC A105). */
  readonly perPeerMax?: number | undefined;
}

/** Extra load that repeats and copies may make, together, of one service's calls. */
export interface BudgetOptions {
  /** Share of the calls of the last 10 s. Default 0.1; 0..1. */
  readonly share?: number | undefined;
  /** What a client with few calls may have beside that, a second. Default 1; 0..1000. */
  readonly perSecondMin?: number | undefined;
  /** Share of the calls that may be copies of slow ones; they draw on `share` too. Default 0.02; 0..1. */
  readonly copyShareMax?: number | undefined;
}

/** When a peer is kept from calls for a while: 5 s at first, twice as long each time, up to 300 s. */
export interface GateOptions {
  /** Faults of the peer in a row. Default 5; 1..1000 (Envoy). */
  readonly consecutiveFailures?: number | undefined;
  /** Share of good calls below which it is kept away, if others do better. Default 0.8; 0..1 (Finagle). */
  readonly successShareMin?: number | undefined;
  /** Share of the peers that may be kept away at once; never the last one. Default 0.5; 0..1. */
  readonly ejectedShareMax?: number | undefined;
}

/** When calls are refused here that overloaded servers would refuse (Google SRE, chapter 21): for each method and priority. */
export interface ThrottleOptions {
  /** So many times the accepted calls may be sent. Default 2; 1.1..100. */
  readonly factor?: number | undefined;
  /** Time in which what was counted fades to a third, in milliseconds. Default 5000; 100..600000. */
  readonly decayMs?: number | undefined;
  /** Share of calls that may be refused here. Default 0.75; 0..1. */
  readonly refusedShareMax?: number | undefined;
}

/** Whose health the servers are asked for (grpc.health.v1, gRFC A17). */
export interface HealthOptions {
  /** A service's full name, as the server registers it; "" is the server as a whole. Must be given; at most 1000 characters. */
  readonly service: string;
}

/** What all calls over one set of peers share. */
export interface ChannelOptions {
  /** TLS to every peer. Default none: plaintext, to loopback and Unix sockets only. */
  readonly tls?: ClientTls | undefined;
  /** true: plaintext to peers that are not loopback. Default refused. */
  readonly plaintext?: true | undefined;
  /** Gives the bearer token of each attempt; asked again with `isRefresh` after one UNAUTHENTICATED. Never sent over plaintext off loopback. Default none. */
  readonly token?: ((ask: TokenAsk) => string | Promise<string>) | undefined;
  /** How a peer is chosen: the faster of two drawn at random ("p2c-ewma"), the one with fewer calls of two ("least-loaded"), in turn, by weight, or by chance. Default "p2c-ewma". */
  readonly balance?: "p2c-ewma" | "least-loaded" | "round-robin" | "weighted" | "random" | undefined;
  /** Where this client stands: peers of the same zone are preferred while they suffice. Default unknown. */
  readonly zone?: string | undefined;
  /** Bounds repeats and copies. Default as each field says. */
  readonly budget?: BudgetOptions | undefined;
  /** Keeps calls from peers that are thought ill; false: never. Default as each field says. */
  readonly gate?: GateOptions | false | undefined;
  /** Refuses here what overloaded servers would refuse; false: never. Default as each field says. */
  readonly throttle?: ThrottleOptions | false | undefined;
  /** Made by `createSwitches`: mechanisms to switch off, or to watch only, while running. Default all on. */
  readonly switches?: SwitchBoard | undefined;
  /**
   * Asks each server how it is, over one stream on its connection, and calls those that say SERVING; what NOT_SERVING means is forgotten
   * while more than half of the connected say it. false: not even if a client's `serviceConfig` asks for it. Default off, unless it does (gRFC A17).
   */
  readonly health?: HealthOptions | false | undefined;
  /** Faults for tests, done to each attempt innermost in the stack. Default none. */
  readonly chaos?: CallFaultLayer | undefined;
  /** Timeouts of connections. Default as each says. */
  readonly connections?: ConnectionOptions | undefined;
  /** Bytes of one reply, compressed or not. Default 4 MiB, 1..2147483647. */
  readonly messageBytesMax?: number | undefined;
  /** Compress requests. Default off: it costs CPU on both sides. */
  readonly compress?: "gzip" | "deflate" | false | undefined;
  /** Clock, timers, chance and network. Default the real ones; `holdfast/testing` has simulated ones. */
  readonly world?: World | undefined;
}

/** What all calls of one client share. */
export interface ClientOptions<C extends AnyContract = AnyContract> {
  /** Wrapped around every logical call, the first outermost. Default none. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** How calls of every method are handled, where the method may have it: a preset's name, or a policy. Default "standard". */
  readonly policy?: ClientPolicy | undefined;
  /** The same for single methods; wins over `policy`. Default none. */
  readonly methods?: MethodPolicies<C> | undefined;
  /** A gRPC service config, as JSON text or object; stands below `policy`. RangeError if it says nothing about this service. Default none. */
  readonly serviceConfig?: string | object | undefined;
}

/** What a call's end is told to `onReply`. */
export interface ReplyInfo {
  readonly header: Metadata;
  readonly trailer: Metadata;
  /** Who answered last; undefined if nobody was reached. */
  readonly peer: Peer | undefined;
  readonly attempts: number;
  /** What the handler of a reply stream that ended with OK gave, so that another call can go on from there; else undefined. */
  readonly resumeToken: Uint8Array | undefined;
}

/** How one call differs from the others of its client. */
export interface CallOptions<E extends Effect = Effect> {
  /** Aborting it cancels the call: a RST_STREAM, of which servers bear only so many ({@link Stream}). Default none. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole call, in milliseconds; a parent's deadline still bounds it. Default the client's, none for reply streams, whose headers must come within 30000 then; 1..86400000, or Infinity. */
  readonly timeoutMs?: number | undefined;
  /** Request metadata. Default none. */
  readonly metadata?: MetadataInit | undefined;
  /** Whom admission refuses first under load. Default the caller's own, else the contract's, else "normal". */
  readonly priority?: Priority | undefined;
  /** Your own identity for a call of effect once. Default minted. 1..256 printable ASCII characters. */
  readonly idempotencyKey?:
    | ("once" extends E ? string : Refused<"an idempotency key needs a method with effect once">)
    | undefined;
  /** How this call is handled, over the client's policies: a preset's name, or a policy, which is read once. Default none. */
  readonly policy?: CallPolicy<E> | undefined;
  /** Called once, before the promise settles or the stream ends, also on failure. Default none. */
  readonly onReply?: ((info: ReplyInfo) => void) | undefined;
}

// The bounds are no wider than those of the mechanisms, some of which are made when they are first needed: in the turn of a socket,
// where a RangeError would cost a connection (options-accepted.test.ts).
const channelShape = {
  tls: anyOption<ClientTls>(),
  plaintext: booleanOption({ default: false }),
  token: functionOption<(ask: TokenAsk) => string | Promise<string>>(),
  balance: wordOption(["p2c-ewma", "least-loaded", "round-robin", "weighted", "random"], { default: "p2c-ewma" }),
  zone: textOption({ lengthMax: 256 }),
  budget: objectOption({
    share: numberOption({ default: 0.1, min: 0, max: 1 }),
    perSecondMin: numberOption({ default: 1, min: 0, max: 1_000 }),
    copyShareMax: numberOption({ default: 0.02, min: 0, max: 1 }),
  }),
  gate: orFalse(
    objectOption({
      consecutiveFailures: numberOption({ default: 5, min: 1, max: 1_000, integer: true }),
      successShareMin: numberOption({ default: 0.8, min: 0, max: 1 }),
      ejectedShareMax: numberOption({ default: 0.5, min: 0, max: 1 }),
    }),
  ),
  throttle: orFalse(objectOption(throttleShape)),
  switches: anyOption<SwitchBoard>(),
  health: anyOption<HealthOptions | false>(),
  chaos: anyOption<CallFaultLayer>(),
  connections: objectOption({
    perPeerMax: numberOption({ default: 4, min: 1, max: 16, integer: true }),
    connectTimeoutMs: numberOption({ default: 20_000, min: 1, max: 600_000 }),
    keepaliveMs: anyOption<number | "adaptive">({ default: "adaptive" }),
  }),
  messageBytesMax: numberOption({ default: 4 * 1_048_576, min: 1, max: 2_147_483_647, integer: true }),
  compress: orFalse(wordOption(["gzip", "deflate"]), { default: false }),
  world: anyOption<World>(),
};

const clientShape = {
  interceptors: listOption(functionOption<Interceptor>()),
  policy: anyOption<ClientPolicy>(),
  methods: anyOption<object>(),
  serviceConfig: anyOption<string | object>(),
};

const tlsShape = {
  caFile: textOption(),
  certFile: textOption(),
  keyFile: textOption(),
  serverName: textOption({ lengthMax: 253 }),
};

const healthShape = { service: textOption({ lengthMin: 0, lengthMax: 1_000 }) };

export type ResolvedChannelOptions = Resolved<typeof channelShape>;
export type ResolvedClientOptions = Resolved<typeof clientShape>;
export type ResolvedTls = Resolved<typeof tlsShape>;

export function resolveChannelOptions(given: unknown): ResolvedChannelOptions {
  const options = resolveOptions("", given ?? {}, channelShape);
  if (options.tls !== undefined) {
    if (options.plaintext) throw new TypeError("give tls or plaintext: true, not both");
    resolveOptions("tls", options.tls, tlsShape);
  }
  if (options.switches !== undefined && !(options.switches instanceof SwitchBoard)) {
    throw new TypeError(`switches must be made by createSwitches, got ${describeValue(options.switches)}`);
  }
  if (options.chaos !== undefined && !(options.chaos instanceof CallFaultLayer)) {
    throw new TypeError(`chaos must be a CallFaultLayer, got ${describeValue(options.chaos)}`);
  }
  if (options.health !== undefined && options.health !== false) {
    const { service } = resolveOptions("health", options.health, healthShape);
    if (service === undefined)
      throw new TypeError('health.service must be a text, "" for the whole server, got undefined');
  }
  const { keepaliveMs } = options.connections;
  const isKeepalive =
    keepaliveMs === "adaptive" ||
    keepaliveMs === Infinity ||
    (typeof keepaliveMs === "number" && keepaliveMs >= 10_000 && keepaliveMs <= 86_400_000);
  if (!isKeepalive) {
    throw new RangeError(
      `connections.keepaliveMs must be "adaptive", 10000..86400000 or Infinity, got ${describeValue(keepaliveMs)}`,
    );
  }
  return options;
}

export function resolveClientOptions(given: unknown): ResolvedClientOptions {
  refusePolicyKeys(given);
  return resolveOptions("", given ?? {}, clientShape);
}

/** Keys of a policy are often looked for one level up. */
const POLICY_KEYS = ["preset", "timeoutMs", "attemptTimeoutMs", "retry", "hedge", "mode", "priority"];

function refusePolicyKeys(given: unknown): void {
  if (typeof given !== "object" || given === null) return;
  for (const key of POLICY_KEYS) {
    if (Object.hasOwn(given, key)) throw new TypeError(`unknown key "${key}", did you mean "policy.${key}"?`);
  }
}

/** The options of createClient are those of a client and of its channel in one object. */
export function splitOptions(given: unknown): {
  readonly client: ResolvedClientOptions;
  readonly channel: ResolvedChannelOptions;
} {
  if (isEmpty(given)) return (defaults ??= Object.freeze(splitGiven({})));
  return splitGiven(given);
}

/** What clients without options share: checking and filling in costs 13 KB of garbage, which thousands of clients feel. */
let defaults: ReturnType<typeof splitOptions> | undefined;
const clientAndChannelShape = { ...channelShape, ...clientShape };

function isEmpty(given: unknown): boolean {
  if (given === undefined || given === null) return true;
  return Object.getPrototypeOf(given) === Object.prototype && Reflect.ownKeys(given).length === 0;
}

function splitGiven(given: unknown): ReturnType<typeof splitOptions> {
  refusePolicyKeys(given);
  const merged = resolveOptions("", given, clientAndChannelShape);
  const { interceptors, policy, methods, serviceConfig, ...channel } = merged;
  return {
    client: Object.freeze({ interceptors, policy, methods, serviceConfig }),
    channel: resolveChannelOptions(withoutUndefined(channel)),
  };
}

function withoutUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

const callKeys: ReadonlySet<string> = new Set([
  "signal",
  "timeoutMs",
  "metadata",
  "priority",
  "idempotencyKey",
  "policy",
  "onReply",
]);
const callShape = {
  signal: anyOption<AbortSignal>(),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
  metadata: anyOption<MetadataInit>(),
  priority: wordOption(["critical", "normal", "sheddable"]),
  idempotencyKey: textOption({ lengthMin: 1, lengthMax: 256 }),
  policy: anyOption<unknown>(),
  onReply: functionOption<(info: ReplyInfo) => void>(),
};

/**
 * Checks one call's options, the common ones without making anything. TypeError or RangeError naming key, value and range;
 * an idempotency key is for methods of effect once.
 */
export function checkCallOptions(method: MethodInfo, options: CallOptions): void {
  if (typeof options !== "object" || options === null) resolveOptions("", options, callShape);
  for (const key in options) {
    if (key === "timeoutMs" || key === "metadata") continue;
    if (!callKeys.has(key) || options[key as keyof CallOptions] !== undefined) {
      resolveOptions("", options, callShape);
      break;
    }
  }
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw new TypeError("signal must be an AbortSignal");
  }
  const key = options.idempotencyKey;
  if (key === undefined) return;
  if (method.effect !== "once") {
    throw new TypeError(
      `${method.path} has effect ${method.effect}: an idempotency key needs a method with effect once`,
    );
  }
  if (!/^[!-~]+$/.test(key)) throw new TypeError("idempotencyKey must be made of printable ASCII without spaces");
}
