/**
 * A server's options: what may be given, defaults, limits. Checked once, at creation.
 */
import type { Call } from "../call/call.ts";
import type { Interceptor } from "../call/interceptor.ts";
import {
  booleanOption,
  anyOption,
  describeValue,
  functionOption,
  listOption,
  numberOption,
  objectOption,
  orFalse,
  resolveOptions,
  textOption,
  wordOption,
  type Resolved,
} from "../call/options.ts";
import type { AdmissionOptions } from "../policy/protect/admission.ts";
import type { RateLimitOptions } from "../policy/protect/rate-limit.ts";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";
import type { Journal } from "../durable/journal.ts";
import type { World } from "../world/world.ts";
import type { GateOptions } from "./admission-gate.ts";
import type { ChecksOptions } from "./check-options.ts";
import type { Authenticate } from "./identity.ts";
import type { Rule } from "./rule.ts";

export interface ServerLimits {
  /** Bytes of one message, compressed or not. Default 4 MiB, 1..2147483647: what a peer may make this process hold. */
  readonly messageBytesMax?: number | undefined;
  /** Bytes of one call's metadata, 32 added for each entry. Default 16384 (16 KiB), 1024..1048576. */
  readonly metadataBytesMax?: number | undefined;
  /**
   * Calls at once on one connection, those whose handler still runs included. Default 100, and 1000 for clients with a certificate of our authority:
   * who is known may hold more. 1..100000.
   */
  readonly streamsPerConnectionMax?: number | undefined;
  /**
   * Connections at once; more are closed on arrival. Default 10000, 1..1000000. Never so many that they take the process's last descriptors
   * (`ulimit -n`): 64, or an eighth of few, are left to everything else, with a warning of the process.
   */
  readonly connectionsMax?: number | undefined;
  /**
   * Age in milliseconds, +-10 %, at which a connection is drained: its client dials again, calls underway go on. Default Infinity, as gRPC's:
   * clients that dial every address by themselves gain nothing, and each new connection costs a handshake; behind a balancer that spreads
   * connections and not calls, 1800000 lets new servers get their share. 1000..86400000.
   */
  readonly connectionAgeMsMax?: number | undefined;
  /** How long calls may go on after that, in milliseconds, before they are cut. Default Infinity, as gRPC's: long streams hear `call.draining`, and end by themselves. 0..86400000. */
  readonly connectionAgeGraceMs?: number | undefined;
}

/** How much a server takes on. */
export interface ServerAdmission {
  /** Handlers of calls with one reply that run at once: a number, or "adaptive", learned from what they take. Default "adaptive"; 1..1000000. */
  readonly concurrencyMax?: number | "adaptive" | undefined;
  /** Calls that wait to begin; the oldest is refused for a newer one. Default 1000, 0..1000000. */
  readonly queueMax?: number | undefined;
  /**
   * Delay of the event loop that stands, in milliseconds: above it sheddable calls are refused before anything of them is looked at, above twice
   * of it normal ones, above four times critical ones. Default 100, 1..60000.
   */
  readonly loopDelayMsMax?: number | undefined;
  /** Calls that each principal may make: so many a second in the long run, `burst` at once (default a second's). Default no limit. */
  readonly rate?: { readonly perSecond: number; readonly burst?: number | undefined } | undefined;
}

/** How a server serves. */
export interface ServerOptions<P extends Principal = Principal, Tx = never> {
  /** Wrapped around every handler, the first outermost. Default none. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /**
   * Finds out who calls; undefined: nobody known. Asked before anything of a call runs; what it gave is believed for 5 s for calls of the same
   * connection, method and metadata. An RpcError that it throws is the answer; whatever else it throws is UNAVAILABLE. Default the
   * first identity of a client's certificate.
   */
  readonly authenticate?:
    | ((call: Call & { readonly peer: Peer }) => P | undefined | Promise<P | undefined>)
    | undefined;
  /**
   * Who may say that a call is critical; what others call so is normal. Default callers in the trust domain: on this machine, over a network
   * declared trusted (`plaintext: true`), or with a certificate of our authority.
   */
  readonly critical?: Rule<P> | undefined;
  /**
   * Which calls begin when more come than the server can do: docs/admission.md. false: all of them. Default learned from what the handlers
   * take.
   */
  readonly admission?: ServerAdmission | false | undefined;
  /**
   * What this server depends on, each looked at from `listen` on, every 10 s for at most 2 s. While one fails the server is DEGRADED; only one that
   * is called essential makes it NOT_SERVING. Default none.
   */
  readonly checks?: ChecksOptions | undefined;
  /**
   * Keeps the first answers of methods with effect once, so that a repeat gets the answer and does nothing. Default `memory()` of
   * `holdfast/durable`: as long as this process lives. Whoever made it closes it, after the server.
   */
  readonly dedup?: Journal<Tx> | undefined;
  /** Whether clients may ask what is served (grpc.reflection.v1 and v1alpha). Default on doors that only this machine can reach. */
  readonly reflection?: boolean | undefined;
  /** true: operators' tools may ask for connections and calls (grpc.channelz.v1), on doors that only this machine can reach. Default false. */
  readonly debug?: boolean | undefined;
  /** What a client may make this server hold. Default as each limit says. */
  readonly limits?: ServerLimits | undefined;
  /** How `close` and signals end the server. Default as each field says. */
  readonly drain?: DrainOptions | undefined;
  /** Clock, timers, chance and network. Default the real ones; `holdfast/testing` has simulated ones. */
  readonly world?: World | undefined;
}

export interface DrainOptions {
  /** How long calls may go on, in milliseconds, once clients have been told, before they are cut. Default 20000, 0..86400000. */
  readonly timeoutMs?: number | undefined;
  /** How long new calls are still served after the drain began, so that others notice. Default 5000, 0 when all doors are loopback; 0..600000. */
  readonly propagationMs?: number | undefined;
  /**
   * Signals that drain this server and then take their normal course; a second one of the same kind cuts the drain first. Default SIGTERM
   * and SIGINT; `[]` for none.
   */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
}

export interface ServerTls {
  /** PEM file with the certificate chain. Default none: it must be given. */
  readonly certFile: string;
  /** PEM file with the private key. Default none: it must be given. */
  readonly keyFile: string;
  /** PEM file with the authorities that clients' certificates are checked against (mutual TLS). Default none. */
  readonly clientCaFile?: string | undefined;
  /** Whether a client must show a certificate. Default "require" with `clientCaFile`, else none is asked for. */
  readonly clientCert?: "require" | "request" | undefined;
}

/** Security belongs to the door. */
export interface ListenOptions {
  /** Serve TLS. Default none: plaintext, on loopback and Unix sockets only. */
  readonly tls?: ServerTls | undefined;
  /** true: plaintext although the address is not loopback. Default refused. */
  readonly plaintext?: true | undefined;
  /**
   * true: other processes may listen on the same port, if they say so too (SO_REUSEPORT), and share its connections, so that a successor
   * listens before this server ends. Not on Unix sockets, nor on systems without it (macOS, Windows): refused. Default false.
   */
  readonly reusePort?: boolean | undefined;
}

const DEFAULT_SIGNALS: readonly NodeJS.Signals[] = Object.freeze(["SIGTERM", "SIGINT"] as const);
/** Those that ask a process to end or to do something; SIGKILL and SIGSTOP cannot be caught, faults are not for draining. */
const CATCHABLE: ReadonlySet<string> = new Set([
  "SIGTERM",
  "SIGINT",
  "SIGHUP",
  "SIGQUIT",
  "SIGBREAK",
  "SIGUSR1",
  "SIGUSR2",
]);

const serverShape = {
  admission: orFalse(
    objectOption({
      concurrencyMax: anyOption<unknown>({ default: "adaptive" }),
      queueMax: numberOption({ default: 1_000, min: 0, max: 1_000_000, integer: true }),
      loopDelayMsMax: numberOption({ default: 100, min: 1, max: 60_000 }),
      rate: anyOption<{ readonly perSecond: number; readonly burst?: number | undefined }>(),
    }),
  ),
  checks: anyOption<ChecksOptions>(),
  dedup: anyOption<Journal<unknown>>(),
  reflection: booleanOption({ default: undefined }),
  debug: booleanOption({ default: false }),
  authenticate: functionOption<Authenticate>(),
  critical: anyOption<unknown>(),
  interceptors: listOption(functionOption<Interceptor>()),
  limits: objectOption({
    messageBytesMax: numberOption({ default: 4 * 1_048_576, min: 1, max: 2_147_483_647, integer: true }),
    metadataBytesMax: numberOption({ default: 16_384, min: 1_024, max: 1_048_576, integer: true }),
    streamsPerConnectionMax: numberOption({ default: undefined, min: 1, max: 100_000, integer: true }),
    connectionsMax: numberOption({ default: 10_000, min: 1, max: 1_000_000, integer: true }),
    connectionAgeMsMax: numberOption({ default: Infinity, min: 1_000, max: 86_400_000, infinity: true }),
    connectionAgeGraceMs: numberOption({ default: Infinity, min: 0, max: 86_400_000, infinity: true }),
  }),
  drain: objectOption({
    timeoutMs: numberOption({ default: 20_000, min: 0, max: 86_400_000 }),
    propagationMs: numberOption({ default: undefined, min: 0, max: 600_000 }),
    signals: anyOption<readonly NodeJS.Signals[]>({ default: DEFAULT_SIGNALS }),
  }),
  world: anyOption<World>(),
};

const listenShape = {
  tls: anyOption<ServerTls>(),
  plaintext: booleanOption({ default: false }),
  reusePort: booleanOption({ default: false }),
};

const tlsShape = {
  certFile: textOption(),
  keyFile: textOption(),
  clientCaFile: textOption(),
  clientCert: wordOption(["require", "request"]),
};

export type ResolvedServerOptions = Resolved<typeof serverShape>;

export function resolveServerOptions(given: ServerOptions | undefined): ResolvedServerOptions {
  const options = resolveOptions("", given ?? {}, serverShape);
  const { dedup } = options;
  if (dedup !== undefined && (typeof dedup !== "object" || typeof dedup["~dedup"] !== "function")) {
    throw new TypeError(`dedup must be a journal of holdfast/durable, got ${describeValue(dedup)}`);
  }
  const { signals } = options.drain;
  if (!Array.isArray(signals)) throw new TypeError(`drain.signals must be an array, got ${describeValue(signals)}`);
  for (const signal of signals as readonly unknown[]) {
    if (typeof signal !== "string" || !CATCHABLE.has(signal)) {
      throw new RangeError(`drain.signals must hold ${[...CATCHABLE].join(", ")} only, got ${describeValue(signal)}`);
    }
  }
  return options;
}

export interface ResolvedListenOptions {
  readonly tls: Resolved<typeof tlsShape> | undefined;
  readonly isPlaintextAllowed: boolean;
  readonly isPortShared: boolean;
}

export function resolveListenOptions(given: ListenOptions | undefined): ResolvedListenOptions {
  const options = resolveOptions("", given ?? {}, listenShape);
  if (options.tls !== undefined && options.plaintext) throw new TypeError("give tls or plaintext: true, not both");
  const isPortShared = options.reusePort;
  if (options.tls === undefined) return { tls: undefined, isPlaintextAllowed: options.plaintext, isPortShared };
  const tls = resolveOptions("tls", options.tls, tlsShape);
  if (tls.certFile === undefined || tls.keyFile === undefined) {
    throw new TypeError(
      `tls needs certFile and keyFile, got ${tls.certFile === undefined ? "no certFile" : "no keyFile"}`,
    );
  }
  return { tls, isPlaintextAllowed: false, isPortShared };
}

/** What admission is to do; false: nothing. */
export function admissionOf(given: ResolvedServerOptions["admission"]): GateOptions | false {
  if (given === false) return false;
  const { loopDelayMsMax, rate } = given;
  return { admission: limitOf(given), loopDelayMsMax, rate: rate === undefined ? undefined : rateOf(rate) };
}

function rateOf(given: unknown): RateLimitOptions {
  const { perSecond, burst } = resolveOptions("admission.rate", given, {
    perSecond: numberOption({ default: undefined, min: 0.001, max: 1_000_000 }),
    burst: numberOption({ default: undefined, min: 1, max: 1_000_000, integer: true }),
  });
  if (perSecond === undefined) throw new TypeError("admission.rate needs perSecond, got none");
  return { perSecond, burst: burst ?? Math.max(1, Math.ceil(perSecond)) };
}

function limitOf({
  concurrencyMax,
  queueMax,
}: {
  readonly concurrencyMax: unknown;
  readonly queueMax: number;
}): AdmissionOptions {
  if (concurrencyMax === "adaptive") return { queueMax };
  if (
    typeof concurrencyMax !== "number" ||
    !Number.isInteger(concurrencyMax) ||
    concurrencyMax < 1 ||
    concurrencyMax > 1_000_000
  )
    throw new RangeError(
      `admission.concurrencyMax must be "adaptive" or an integer in 1..1000000, got ${describeValue(concurrencyMax)}`,
    );
  return { concurrencyMax, isAdaptive: false, queueMax };
}
