/**
 * `createServer`: services, doors, and an end in good order.
 */
import type { DrainReport } from "../call/drain-report.ts";
import { type Event, type EventName, Events } from "../call/event.ts";
import type { Interceptor, Source } from "../call/interceptor.ts";
import type { HandlerCall } from "./handler-call.ts";
import { functionOption, listOption, numberOption, resolveOptions } from "../call/options.ts";
import type { AnyContract, MethodShape, MethodsOf } from "../schema/contract.ts";
import { addressText, isLocal, parseAddress } from "../wire/transport/address.ts";
import { connectInProcess, type InProcess, inProcessDial } from "../wire/transport/in-process.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { ServerConnection } from "../wire/transport/server-connection.ts";
import { readServerTls } from "../wire/transport/tls-files.ts";
import type { Socket, SocketEvents } from "../world/network.ts";
import { nodeWorld } from "../world/node.ts";
import type { World } from "../world/world.ts";
import { limitAge } from "./connection-age.ts";
import { doorWarnings } from "./door-warnings.ts";
import { type Door, Drain, type DrainHooks } from "./drain.ts";
import { http2LimitsOf } from "./http2-limits.ts";
import {
  type ListenOptions,
  type ResolvedServerOptions,
  resolveListenOptions,
  resolveServerOptions,
  type ServerOptions,
} from "./options.ts";
import { Router } from "./router.ts";
import { ServerCore } from "./server-core.ts";
import { onSignals } from "./signals.ts";

interface HandlerKinds<M extends MethodShape> {
  unary: (request: M["request"], call: HandlerCall) => M["replyInit"] | Promise<M["replyInit"]>;
  "server-stream": (request: M["request"], call: HandlerCall) => Source<M["replyInit"]>;
  "client-stream": (
    requests: AsyncIterable<M["request"]>,
    call: HandlerCall,
  ) => M["replyInit"] | Promise<M["replyInit"]>;
  bidi: (requests: AsyncIterable<M["request"]>, call: HandlerCall) => Source<M["replyInit"]>;
}

/** Every method must be there; an object literal or an instance. */
export type Handlers<C extends AnyContract> = {
  readonly [K in keyof MethodsOf<C>]: HandlerKinds<MethodsOf<C>[K]>[MethodsOf<C>[K]["kind"]];
};

export interface ServiceOptions {
  /** Wrapped around this service's handlers, inside the server's own. Default none. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** Services behind doors, with an end in good order. */
export interface Server extends InProcess, AsyncDisposable {
  /** Adds a service. TypeError for a missing or unknown handler, or a service added before. */
  service<C extends AnyContract>(contract: C, handlers: Handlers<C>, options?: ServiceOptions): this;
  /**
   * Opens a door: a port (on 127.0.0.1), "host:port" or "unix:/path"; port 0 takes a free one. May be called again for another
   * door. Rejects with an Error that names address and cause; TypeError for a non-loopback address without TLS or plaintext: true.
   */
  listen(
    address: number | string,
    options?: ListenOptions,
  ): Promise<{ readonly address: string; readonly port: number }>;
  readonly state: "idle" | "listening" | "draining" | "closed";
  /**
   * Drains: health says so; new calls are served for `drain.propagationMs`, and no longer than `timeoutMs`; clients are told and go
   * elsewhere; calls underway have `timeoutMs` from then (default `drain.timeoutMs`), then they are cut. 0 cuts at once. The second caller gets
   * the same report. In all, with the defaults: 25 s at the most.
   */
  close(options?: { readonly timeoutMs?: number | undefined }): Promise<DrainReport>;
  /** Hears this server's events (`docs/events.md`) until what is returned is disposed of. As a client's `$on`. */
  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable;
}

/** Makes a server. Does no I/O. RangeError or TypeError for wrong options. */
export function createServer(options?: ServerOptions): Server {
  return new HoldfastServer(resolveServerOptions(options));
}

/** Who hears of a connection that was refused. */
const NOBODY: SocketEvents = Object.freeze({
  opened: () => {},
  data: () => {},
  drained: () => {},
  ended: () => {},
  closed: () => {},
});

const closeShape = { timeoutMs: numberOption({ default: undefined, min: 0, max: 86_400_000 }) };

class HoldfastServer implements Server {
  readonly #options: ResolvedServerOptions;
  readonly #world: World;
  readonly #router: Router;
  readonly #core: ServerCore;
  readonly #doors: Set<Door>;
  readonly #events: Events;
  readonly #drainHooks: DrainHooks;
  #isPublic: boolean;
  #drain: Drain | undefined;
  #closing: Promise<DrainReport> | undefined;
  #signals: Disposable | undefined;

  constructor(options: ResolvedServerOptions) {
    this.#options = options;
    this.#world = options.world ?? nodeWorld;
    this.#router = new Router();
    this.#core = new ServerCore(runtimeOf(this.#world), this.#router, {
      interceptors: (options.interceptors ?? []) as readonly Interceptor[],
      messageBytesMax: options.limits.messageBytesMax,
      limits: http2LimitsOf(options.limits),
    });
    this.#doors = new Set();
    this.#events = new Events();
    this.#drainHooks = {
      healthChanged: () => {
        // Nobody asks for this server's health yet.
      },
      deregister: [],
      told: (state, report) => this.#events.emit("drain", this.#world.clock.monotonicMs(), { state, report }),
    };
    this.#isPublic = false;
    this.#drain = undefined;
    this.#closing = undefined;
    this.#signals = undefined;
  }

  get state(): Server["state"] {
    if (this.#drain !== undefined) return this.#drain.isOver ? "closed" : "draining";
    return this.#doors.size === 0 ? "idle" : "listening";
  }

  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable {
    return this.#events.on(name, listener);
  }

  service<C extends AnyContract>(contract: C, handlers: Handlers<C>, options?: ServiceOptions): this {
    const { interceptors } = resolveOptions("", options ?? {}, {
      interceptors: listOption(functionOption<Interceptor>()),
    });
    this.#router.add(contract, handlers, (interceptors ?? []) as readonly Interceptor[]);
    return this;
  }

  async listen(
    given: number | string,
    options?: ListenOptions,
  ): Promise<{ readonly address: string; readonly port: number }> {
    const address = parseAddress(given, "the address to listen on");
    const { tls: files, isPlaintextAllowed, isPortShared } = resolveListenOptions(options);
    if (isPortShared && address.kind === "unix")
      throw new TypeError(`reusePort is for TCP ports, got ${addressText(address)}`);
    if (files === undefined && !isPlaintextAllowed && !isLocal(address)) {
      throw new TypeError(
        `${addressText(address)} is not loopback: give tls, or plaintext: true if the network is trusted`,
      );
    }
    if (this.#drain !== undefined) throw new Error(`the server is ${this.state}, it cannot listen`);
    const tls =
      files === undefined
        ? undefined
        : await readServerTls(this.#world.disk, {
            ...files,
            certFile: files.certFile ?? "",
            keyFile: files.keyFile ?? "",
          });
    const listener = await this.#world.network.listen({
      address,
      isPortShared,
      tls,
      alpn: ["h2"],
      handshakeTimeoutMs: 10_000,
      accept: (socket) => this.#accept(socket),
      failed: doorWarnings(this.#world.clock, addressText(address)),
    });
    if (this.#drain !== undefined) {
      await listener.close();
      throw new Error("the server was closed while it began to listen");
    }
    this.#doors.add({ listener, isPortShared });
    if (!isLocal(address)) this.#isPublic = true;
    // A simulated server has no signals.
    const signals = this.#options.world === undefined ? this.#options.drain.signals : [];
    this.#signals ??= onSignals(signals ?? [], { drain: () => this.close(), cut: () => this.#drain?.cut() });
    const bound = listener.address;
    return { address: addressText(bound), port: bound.kind === "tcp" ? bound.port : 0 };
  }

  [inProcessDial] = (events: SocketEvents): Socket =>
    connectInProcess(this.#world, events, (socket) => this.#accept(socket));

  close(options?: { readonly timeoutMs?: number | undefined }): Promise<DrainReport> {
    const { timeoutMs } = resolveOptions("", options ?? {}, closeShape);
    this.#closing ??= this.#close(timeoutMs ?? this.#options.drain.timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(socket: Socket): SocketEvents {
    if (this.#drain?.isOver === true || this.#core.connections.size >= this.#options.limits.connectionsMax) {
      // Before SETTINGS: a client that has not read them has sent nothing, and knows it.
      socket.destroy();
      return NOBODY;
    }
    const connection = new ServerConnection(this.#core.runtime, socket, this.#core, this.#core.limits);
    this.#core.connections.add(connection);
    limitAge(connection, this.#options.limits, this.#world.random);
    this.#drain?.accepted(connection);
    return connection;
  }

  async #close(timeoutMs: number): Promise<DrainReport> {
    const propagationMs = this.#options.drain.propagationMs ?? (this.#isPublic ? 5_000 : 0);
    const drain = new Drain(this.#world, this.#core, this.#doors, this.#drainHooks, { propagationMs, timeoutMs });
    this.#drain = drain;
    try {
      return await drain.run();
    } finally {
      this.#signals?.[Symbol.dispose]();
    }
  }
}
