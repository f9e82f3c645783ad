/**
 * `createServer`: services, doors, and an end in good order.
 */
import { contextHere } from "../call/scope.ts";
import type { DrainReport } from "../call/drain-report.ts";
import type { Event, EventName } from "../call/event.ts";
import type { Interceptor, Source } from "../call/interceptor.ts";
import type { HandlerCall, Transact } from "./handler-call.ts";
import { anyOption, functionOption, listOption, numberOption, resolveOptions } from "../call/options.ts";
import type { Effect } from "../call/method.ts";
import type { Principal } from "../call/principal.ts";
import type { Journal } from "../durable/journal.ts";
import { memory } from "../durable/memory.ts";
import type { AnyContract, MethodShape, MethodsOf } from "../schema/contract.ts";
import type { Http2Limits } from "../wire/http2/limits.ts";
import { addressText, isLocal, parseAddress } from "../wire/transport/address.ts";
import { connectInProcess, type InProcess, inProcessDial } from "../wire/transport/in-process.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { ServerConnection } from "../wire/transport/server-connection.ts";
import { readServerTls } from "../wire/transport/tls-files.ts";
import type { Socket, SocketEvents } from "../world/network.ts";
import { nodeWorld } from "../world/node.ts";
import type { World } from "../world/world.ts";
import { ConnectionFacts, type DoorFacts, inProcessDoor } from "./connection-facts.ts";
import { limitAge } from "./connection-age.ts";
import { doorWarnings } from "./door-warnings.ts";
import { type Door, Drain, type DrainHooks } from "./drain.ts";
import { http2LimitsOf } from "./http2-limits.ts";
import {
  admissionOf,
  type ListenOptions,
  type ResolvedServerOptions,
  resolveListenOptions,
  resolveServerOptions,
  type ServerOptions,
} from "./options.ts";
import { Once } from "./once.ts";
import { Router } from "./router.ts";
import { checkRule, type Rule } from "./rule.ts";
import { ServerCore } from "./server-core.ts";
import { SelfReport } from "./self-report.ts";
import type { ServerStatus } from "./server-status.ts";
import { onSignals } from "./signals.ts";
import type { RequestSchema } from "./validate.ts";

/** What a handler is given: with `transact`, where the journal has transactions. */
type HandlerArgument<E extends Effect, P extends Principal, Tx> = HandlerCall<P> &
  ([Tx] extends [never] ? unknown : Transact<E, Tx>);

interface HandlerKinds<M extends MethodShape, P extends Principal, Tx> {
  unary: (request: M["request"], call: HandlerArgument<M["effect"], P, Tx>) => M["replyInit"] | Promise<M["replyInit"]>;
  "server-stream": (request: M["request"], call: HandlerCall<P>) => Source<M["replyInit"]>;
  "client-stream": (
    requests: AsyncIterable<M["request"]>,
    call: HandlerCall<P>,
  ) => M["replyInit"] | Promise<M["replyInit"]>;
  bidi: (requests: AsyncIterable<M["request"]>, call: HandlerCall<P>) => Source<M["replyInit"]>;
}

/** Every method must be there; an object literal or an instance. */
export type Handlers<C extends AnyContract, P extends Principal = Principal, Tx = never> = {
  readonly [K in keyof MethodsOf<C>]: HandlerKinds<MethodsOf<C>[K], P, Tx>[MethodsOf<C>[K]["kind"]];
};

export interface ServiceOptions<C extends AnyContract = AnyContract, P extends Principal = Principal> {
  /** Wrapped around this service's handlers, inside the server's own. Default none. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /**
   * Who may call: one rule for all methods, or one for each (one that is forgotten is a type error). Others are refused before anything of
   * their call is looked at: UNAUTHENTICATED if nobody knows them, else PERMISSION_DENIED. Default "authenticated" where the server can
   * authenticate (`authenticate`, or a door with `clientCaFile`), else "anyone".
   */
  readonly authorize?: Rule<P> | { readonly [K in keyof MethodsOf<C>]: Rule<P> } | undefined;
  /**
   * A Standard Schema (Zod, Valibot, ArkType) for the requests of each method named, asked before the handler: what it finds is told field by
   * field, INVALID_ARGUMENT with `google.rpc.BadRequest`. Of a request stream each message is. The handler gets the message as it came. Default none.
   */
  readonly validate?:
    | { readonly [K in keyof MethodsOf<C>]?: RequestSchema<Partial<MethodsOf<C>[K]["requestInit"]>> | undefined }
    | undefined;
  /**
   * What a repeat of a call is told that a crash left running, of methods with effect once: "refuse" (OUTCOME_UNKNOWN), or "rerun", for
   * handlers that can tell for themselves whether they have run. Default "refuse".
   */
  readonly onUnknown?: { readonly [K in keyof MethodsOf<C>]?: "refuse" | "rerun" | undefined } | undefined;
}

/** Services behind doors, with an end in good order. */
export interface Server<P extends Principal = Principal, Tx = never> extends InProcess, AsyncDisposable {
  /** Adds a service. TypeError for a missing or unknown handler, or a service added before. */
  service<C extends AnyContract>(contract: C, handlers: Handlers<C, P, Tx>, options?: ServiceOptions<C, P>): this;
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
  /** What this server does at this moment, in plain numbers, frozen. */
  status(): ServerStatus;
  /**
   * The owner's word about a service (by its full name), or about the whole server (""), until it drains: it stands above what checks say.
   * TypeError for another word, RangeError for a service that was not added.
   */
  setHealth(service: string, health: "SERVING" | "NOT_SERVING"): void;
}

/** Makes a server. Does no I/O. RangeError or TypeError for wrong options. */
export function createServer<P extends Principal = Principal, Tx = never>(
  options?: ServerOptions<P, Tx>,
): Server<P, Tx> {
  return new HoldfastServer<P, Tx>(resolveServerOptions(options as ServerOptions | undefined));
}

/** Who hears of a connection that was refused. */
const NOBODY: SocketEvents = Object.freeze({
  opened: () => {},
  data: () => {},
  drained: () => {},
  ended: () => {},
  closed: () => {},
});

const serviceShape = {
  interceptors: listOption(functionOption<Interceptor>()),
  authorize: anyOption<unknown>(),
  validate: anyOption<unknown>(),
  onUnknown: anyOption<unknown>(),
};
const closeShape = { timeoutMs: numberOption({ default: undefined, min: 0, max: 86_400_000 }) };

class HoldfastServer<P extends Principal, Tx> implements Server<P, Tx> {
  readonly #options: ResolvedServerOptions;
  readonly #inProcess: DoorFacts;
  readonly #world: World;
  readonly #router: Router;
  readonly #core: ServerCore;
  readonly #doors: Set<Door>;
  readonly #drainHooks: DrainHooks;
  readonly #self: SelfReport;
  readonly #strangersLimits: Http2Limits;
  readonly #knownLimits: Http2Limits;
  #isPublic: boolean;
  #drain: Drain | undefined;
  #closing: Promise<DrainReport> | undefined;
  #signals: Disposable | undefined;
  #ownJournal: Journal<unknown> | undefined;

  constructor(options: ResolvedServerOptions) {
    this.#options = options;
    this.#inProcess = inProcessDoor();
    this.#world = options.world ?? nodeWorld;
    this.#router = new Router();
    this.#core = new ServerCore(runtimeOf(this.#world), this.#router, {
      interceptors: (options.interceptors ?? []) as readonly Interceptor[],
      messageBytesMax: options.limits.messageBytesMax,
      authenticate: options.authenticate,
      admission: admissionOf(options.admission),
      critical: options.critical === undefined ? undefined : checkRule("critical", options.critical),
    });
    this.#strangersLimits = http2LimitsOf(options.limits, false);
    this.#knownLimits = http2LimitsOf(options.limits, true);
    this.#doors = new Set();
    const { checks, reflection, debug } = options;
    this.#self = new SelfReport(this.#world, this.#core, this.#router, { checks, reflection, debug });
    this.#drainHooks = {
      healthChanged: () => this.#self.draining(),
      deregister: [],
      told: (state, report) => this.#core.events.emit("drain", this.#world.clock.monotonicMs(), { state, report }),
    };
    this.#isPublic = false;
    this.#drain = undefined;
    this.#closing = undefined;
    this.#signals = undefined;
    this.#ownJournal = undefined;
  }

  get state(): Server["state"] {
    if (this.#drain !== undefined) return this.#drain.isOver ? "closed" : "draining";
    return this.#doors.size === 0 ? "idle" : "listening";
  }

  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable {
    return this.#core.events.on(name, listener);
  }

  service<C extends AnyContract>(contract: C, handlers: Handlers<C, P, Tx>, options?: ServiceOptions<C, P>): this {
    const { interceptors, authorize, validate, onUnknown } = resolveOptions("", options ?? {}, serviceShape);
    this.#router.add(contract, handlers, {
      interceptors: (interceptors ?? []) as readonly Interceptor[],
      authorize,
      validate,
      onUnknown,
      isBuiltIn: false,
      isLocalOnly: false,
    });
    this.#self.serviceAdded(contract);
    if (this.#core.once === undefined && this.#router.hasKept) this.#keepAnswers();
    return this;
  }

  status(): ServerStatus {
    return this.#self.status(this.state);
  }

  setHealth(service: string, health: "SERVING" | "NOT_SERVING"): void {
    this.#self.board.setHealth(service, health);
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
    await this.#core.once?.open();
    await this.#self.starting();
    const door: DoorFacts = Object.freeze({
      address: addressText(address),
      isLocal: isLocal(address),
      isTls: tls !== undefined,
      asksCertificates: files?.clientCaFile !== undefined,
      isInProcess: false,
      context: contextHere("HOLDFAST_DOOR"),
    });
    const listener = await this.#world.network.listen({
      address,
      isPortShared,
      tls,
      alpn: ["h2"],
      handshakeTimeoutMs: 10_000,
      hasRoom: (opening) => this.#hasRoom(opening),
      accept: (socket) => this.#accept(socket, door),
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
    this.#self.opened({ address: addressText(bound), isTls: door.isTls, isLocal: door.isLocal });
    return { address: addressText(bound), port: bound.kind === "tcp" ? bound.port : 0 };
  }

  [inProcessDial] = (events: SocketEvents): Socket => {
    this.#self.dialled();
    return connectInProcess(this.#world, events, (socket) => this.#accept(socket, this.#inProcess));
  };

  close(options?: { readonly timeoutMs?: number | undefined }): Promise<DrainReport> {
    const { timeoutMs } = resolveOptions("", options ?? {}, closeShape);
    this.#closing ??= this.#close(timeoutMs ?? this.#options.drain.timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #hasRoom(opening: number): boolean {
    return this.#core.connections.size + opening < this.#options.limits.connectionsMax;
  }

  #accept(socket: Socket, door: DoorFacts): SocketEvents {
    if (this.#drain?.isOver === true || !this.#hasRoom(0)) {
      // Before SETTINGS: a client that has not read them has sent nothing, and knows it.
      socket.destroy();
      return NOBODY;
    }
    const facts = new ConnectionFacts(door, socket);
    const limits = facts.certified === undefined ? this.#strangersLimits : this.#knownLimits;
    const connection = new ServerConnection(this.#core.runtime, socket, this.#core, limits, facts);
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
      this.#core.gate?.stop();
      this.#self.closed();
      await this.#ownJournal?.[Symbol.asyncDispose]();
    }
  }

  /** The first method with effect once has come: its answers are kept, in the journal that was given or one of the server's own. */
  #keepAnswers(): void {
    const journal = this.#options.dedup ?? memory();
    if (this.#options.dedup === undefined) this.#ownJournal = journal;
    this.#core.once = new Once(journal["~dedup"](this.#world), () => this.#self.board.storeFailed());
  }
}
