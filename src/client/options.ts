/**
 * A client's and a channel's options: what may be given, defaults, limits. Checked once, at creation.
 */
import type { Interceptor } from "../call/interceptor.ts";
import {
  anyOption,
  booleanOption,
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
import type { MethodInfo, Priority } from "../call/method.ts";
import type { Metadata } from "../call/metadata.ts";
import type { Peer } from "../call/peer.ts";
import type { World } from "../world/world.ts";

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
}

/** What all calls over one set of peers share. */
export interface ChannelOptions {
  /** TLS to every peer. Default none: plaintext, to loopback and Unix sockets only. */
  readonly tls?: ClientTls | undefined;
  /** true: plaintext to peers that are not loopback. Default refused. */
  readonly plaintext?: true | undefined;
  /** Gives the bearer token of each attempt; asked again with `isRefresh` after one UNAUTHENTICATED. Never sent over plaintext off loopback. Default none. */
  readonly token?: ((ask: TokenAsk) => string | Promise<string>) | undefined;
  /** How a peer is chosen. Default "round-robin". */
  readonly balance?: "round-robin" | undefined;
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
export interface ClientOptions {
  /** Wrapped around every logical call, the first outermost. Default none. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** The deadline of calls that end in one reply, in milliseconds. Default the contract's, else 30000; 1..86400000, or Infinity for none. */
  readonly timeoutMs?: number | undefined;
}

/** What a call's end is told to `onReply`. */
export interface ReplyInfo {
  readonly header: Metadata;
  readonly trailer: Metadata;
  /** Who answered last; undefined if nobody was reached. */
  readonly peer: Peer | undefined;
  readonly attempts: number;
}

/** How one call differs from the others of its client. */
export interface CallOptions {
  /** Aborting it cancels the call: a RST_STREAM, of which servers bear only so many ({@link Stream}). Default none. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole call, in milliseconds; a parent's deadline still bounds it. Default the client's, none for reply streams, whose headers must come within 30000 then; 1..86400000, or Infinity. */
  readonly timeoutMs?: number | undefined;
  /** Request metadata. Default none. */
  readonly metadata?: MetadataInit | undefined;
  /** Whom admission refuses first under load. Default the caller's own, else the contract's, else "normal". */
  readonly priority?: Priority | undefined;
  /** Your own identity for a call of effect once. Default minted. 1..256 printable ASCII characters. */
  readonly idempotencyKey?: string | undefined;
  /** Called once, before the promise settles or the stream ends, also on failure. Default none. */
  readonly onReply?: ((info: ReplyInfo) => void) | undefined;
}

const channelShape = {
  tls: anyOption<ClientTls>(),
  plaintext: booleanOption({ default: false }),
  token: functionOption<(ask: TokenAsk) => string | Promise<string>>(),
  balance: wordOption(["round-robin"], { default: "round-robin" }),
  connections: objectOption({
    connectTimeoutMs: numberOption({ default: 20_000, min: 1, max: 600_000 }),
    keepaliveMs: anyOption<number | "adaptive">({ default: "adaptive" }),
  }),
  messageBytesMax: numberOption({ default: 4 * 1_048_576, min: 1, max: 2_147_483_647, integer: true }),
  compress: orFalse(wordOption(["gzip", "deflate"]), { default: false }),
  world: anyOption<World>(),
};

const clientShape = {
  interceptors: listOption(functionOption<Interceptor>()),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
};

const tlsShape = {
  caFile: textOption(),
  certFile: textOption(),
  keyFile: textOption(),
  serverName: textOption({ lengthMax: 253 }),
};

export type ResolvedChannelOptions = Resolved<typeof channelShape>;
export type ResolvedClientOptions = Resolved<typeof clientShape>;
export type ResolvedTls = Resolved<typeof tlsShape>;

export function resolveChannelOptions(given: unknown): ResolvedChannelOptions {
  const options = resolveOptions("", given ?? {}, channelShape);
  if (options.tls !== undefined) {
    if (options.plaintext) throw new TypeError("give tls or plaintext: true, not both");
    resolveOptions("tls", options.tls, tlsShape);
  }
  const { keepaliveMs } = options.connections;
  const isKeepalive =
    keepaliveMs === "adaptive" ||
    keepaliveMs === Infinity ||
    (Number(keepaliveMs) >= 10_000 && Number(keepaliveMs) <= 86_400_000);
  if (!isKeepalive) {
    throw new RangeError(
      `connections.keepaliveMs must be "adaptive", 10000..86400000 or Infinity, got ${String(keepaliveMs)}`,
    );
  }
  return options;
}

export function resolveClientOptions(given: unknown): ResolvedClientOptions {
  return resolveOptions("", given ?? {}, clientShape);
}

/** The options of createClient are those of a client and of its channel in one object. */
export function splitOptions(given: unknown): {
  readonly client: ResolvedClientOptions;
  readonly channel: ResolvedChannelOptions;
} {
  const merged = resolveOptions("", given ?? {}, { ...channelShape, ...clientShape });
  const { interceptors, timeoutMs, ...channel } = merged;
  return {
    client: Object.freeze({ interceptors, timeoutMs }),
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
  "onReply",
]);
const callShape = {
  signal: anyOption<AbortSignal>(),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
  metadata: anyOption<MetadataInit>(),
  priority: wordOption(["critical", "normal", "sheddable"]),
  idempotencyKey: textOption({ lengthMin: 1, lengthMax: 256 }),
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
