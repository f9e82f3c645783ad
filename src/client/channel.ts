/**
 * `createChannel`: peers and connections that several clients share.
 */
import { failure } from "../call/error.ts";
import type { Event, EventName } from "../call/event.ts";
import { anyOption, numberOption, resolveOptions, wordOption } from "../call/options.ts";
import type { ReliabilityRow } from "../observe/reliability.ts";
import type { AnyContract } from "../schema/contract.ts";
import { DEFAULT_HTTP2_LIMITS } from "../wire/http2/limits.ts";
import { nodeWorld } from "../world/node.ts";
import { ChannelCore } from "./channel-core.ts";
import { type Client, makeClient } from "./make-client.ts";
import {
  type ChannelOptions,
  type ClientOptions,
  type ResolvedChannelOptions,
  resolveChannelOptions,
  resolveClientOptions,
} from "./options.ts";
import { peerReport, type PeerReport, reliabilityRows } from "./peer-report.ts";
import { peersOf, type Target } from "./target.ts";
import { tlsOnce } from "./tls-dial.ts";

/** Peers, connections and the choice among them; many clients may stand on one. */
export interface Channel extends AsyncDisposable {
  /** A client that stands on this channel and does not close it. */
  client<C extends AnyContract>(contract: C, options?: ClientOptions<NoInfer<C>>): Client<C>;
  /** Each peer with its health, and why it has it. */
  peers(): readonly PeerReport[];
  /** What the calls since the channel was made say of each method, or of each peer: N, R with its interval, R per attempt, MTTR. */
  reliability(options?: { readonly by?: "method" | "peer" | undefined }): readonly ReliabilityRow[];
  /** Calls `listener` with each event until what is returned is disposed of ({@link Events.on}). */
  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable;
  /** Resolves when one peer is ready; never needed before a call. Rejects with UNAVAILABLE, or CANCELLED when aborted. */
  ready(options?: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  }): Promise<void>;
  /** Lets calls in flight end for `timeoutMs` (default 20000), then cuts them. Closing twice is closing once. */
  close(options?: { readonly timeoutMs?: number | undefined }): Promise<void>;
}

/** Makes a channel. Does no I/O: nothing connects before the first call. TypeError or RangeError for a wrong target or option. */
export function createChannel(target: Target, options?: ChannelOptions): Channel {
  return new HoldfastChannel(target, resolveChannelOptions(options));
}

const readyShape = {
  signal: anyOption<AbortSignal>(),
  timeoutMs: numberOption({ default: 10_000, min: 1, max: 86_400_000 }),
};
const reliabilityShape = { by: wordOption(["method", "peer"], { default: "method" }) };
const closeShape = { timeoutMs: numberOption({ default: 20_000, min: 0, max: 86_400_000 }) };

/** A connection that was silent for longer, without calls, is asked for a sign of life before the next call is sent on it. */
const REUSE_CHECK_MS = 5_000;
/** What the budget counts: calls, repeats and copies of so long. */
const BUDGET_WINDOW_MS = 10_000;

export class HoldfastChannel implements Channel {
  readonly core: ChannelCore;
  #closing: Promise<void> | undefined;

  constructor(target: Target, options: ResolvedChannelOptions) {
    const world = options.world ?? nodeWorld;
    const { tls } = options;
    const isTls = tls !== undefined;
    const discovered = peersOf(target, world, {
      tls: tls === undefined ? undefined : tlsOnce(world, tls),
      isPlaintextAllowed: options.plaintext,
      sendsTokens: options.token !== undefined,
      serverName: tls?.serverName,
    });
    const { connectTimeoutMs, keepaliveMs, perPeerMax } = options.connections;
    this.core = new ChannelCore({
      world,
      peers: discovered.peers,
      discover: discovered.watch,
      link: {
        connectTimeoutMs,
        keepaliveMs: (keepaliveMs ?? "adaptive") as number | "adaptive",
        perPeerMax,
        reuseCheckMs: discovered.isInProcess ? Infinity : REUSE_CHECK_MS,
        limits: DEFAULT_HTTP2_LIMITS,
        isTls,
      },
      messageBytesMax: options.messageBytesMax,
      requestEncoding: options.compress === false ? undefined : options.compress,
      token: options.token,
      balance: options.balance,
      zone: options.zone,
      budget: { ...options.budget, windowMs: BUDGET_WINDOW_MS },
      gate: options.gate === false ? undefined : options.gate,
      throttle: options.throttle === false ? undefined : options.throttle,
      switches: options.switches,
      chaos: options.chaos,
      health: options.health,
      isInProcess: discovered.isInProcess,
    });
    this.#closing = undefined;
  }

  client<C extends AnyContract>(contract: C, options?: ClientOptions<NoInfer<C>>): Client<C> {
    return makeClient(contract, this, this.core, resolveClientOptions(options), false);
  }

  peers(): readonly PeerReport[] {
    const nowMs = this.core.nowMs();
    return this.core.peers.map((peer) => peerReport(peer, nowMs));
  }

  reliability(options?: { readonly by?: "method" | "peer" | undefined }): readonly ReliabilityRow[] {
    const { by } = resolveOptions("", options ?? {}, reliabilityShape);
    return reliabilityRows(this.core, by);
  }

  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable {
    return this.core.events.on(name, listener);
  }

  ready(options?: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  }): Promise<void> {
    const { core } = this;
    const { timeoutMs, signal } = resolveOptions("", options ?? {}, readyShape);
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError("signal must be an AbortSignal");
    core.start();
    return new Promise((resolve, reject) => {
      const finish = (end: () => void): void => {
        timer.cancel();
        stop();
        signal?.removeEventListener("abort", aborted);
        end();
      };
      const check = (): void => {
        if (core.isAnyReady) finish(resolve);
        else if (core.isClosed) {
          finish(() =>
            reject(
              failure({ code: "CANCELLED", text: "the client was closed", reason: "CLIENT_CLOSED", reached: "no" }),
            ),
          );
        }
      };
      const aborted = (): void =>
        finish(() =>
          reject(
            failure({
              code: "CANCELLED",
              text: "waiting was aborted",
              reason: "CANCELLED_BY_CALLER",
              cause: signal?.reason,
            }),
          ),
        );
      const timer = core.runtime.world.timers.schedule(timeoutMs, () => {
        finish(() =>
          reject(
            failure({
              code: "UNAVAILABLE",
              text: `no peer was ready within ${timeoutMs} ms: ${core.reasonsText()}`,
              reason: "NO_PEER",
              reached: "no",
              cause: core.resolverFailure?.cause,
            }),
          ),
        );
      });
      const stop = core.onChange(check);
      if (signal?.aborted === true) aborted();
      else signal?.addEventListener("abort", aborted, { once: true });
      check();
    });
  }

  close(options?: { readonly timeoutMs?: number | undefined }): Promise<void> {
    const { timeoutMs } = resolveOptions("", options ?? {}, closeShape);
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(timeoutMs: number): Promise<void> {
    const { core } = this;
    core.close(timeoutMs > 0);
    if (timeoutMs > 0 && core.openCalls > 0) await this.#callsEnded(timeoutMs);
    core.close(false);
  }

  #callsEnded(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.core.runtime.world.timers.schedule(timeoutMs, resolve);
      this.core.onIdle(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
