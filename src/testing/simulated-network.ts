/**
 * The network that joins the simulated hosts: names and addresses, who listens where, and the links between any two.
 */
import { isAddressLiteral } from "../world/address-literal.ts";
import type {
  ConnectOptions,
  ListenRequest,
  Listener,
  Network,
  NetworkError,
  NetworkPhase,
  ResolveResult,
  SocketAddress,
  SocketEvents,
} from "../world/network.ts";
import { addressText, hostPort } from "../world/node-network-error.ts";
import { afterIo } from "./after-io.ts";
import { dial } from "./dial.ts";
import { CallbackEvent } from "./event-queue.ts";
import { Host } from "./host.ts";
import { conditionsBetweenHosts, conditionsWithinHost, Link, type LinkConditions } from "./link.ts";
import type { Process } from "./process.ts";
import type { SimulatedListener } from "./simulated-listener.ts";
import { SimulatedNames } from "./simulated-names.ts";
import { SimulatedSocket } from "./simulated-socket.ts";
import type { Universe } from "./universe.ts";

/** How long an address that is nobody's keeps a caller waiting before a router says so. */
const unreachableMs = 3000;
/** How long a name server takes. */
const resolveMs = 1;
/** When Linux gives up on an address that never answers: 1 s and six times twice as long. */
const silentMs = 127_000;
/** A round trip to a machine that refuses. */
const refusalMs = 1;

/** Where a dial goes: to a host, or into a failure after some time. */
type Destination =
  | { readonly host: Host; readonly ip: string }
  | { readonly code: string; readonly phase: NetworkPhase; readonly delayMs: number };

export interface NetworkSettings {
  /** What differs from the defaults on links between hosts. */
  readonly conditions: Partial<LinkConditions>;
  readonly wallSkewMsMax: number;
  /** Names that a host's certificate proves. */
  readonly identities: Readonly<Record<string, readonly string[]>>;
}

export class SimulatedNetwork {
  readonly hosts = new Map<string, Host>();
  readonly names = new SimulatedNames();
  private readonly universe: Universe;
  private readonly settings: NetworkSettings;
  private readonly byIp = new Map<string, Host>();
  private readonly links = new Map<number, Link>();
  private idNext = 1;

  constructor(universe: Universe, settings: NetworkSettings) {
    this.universe = universe;
    this.settings = settings;
  }

  /** The host of this name, made if there is none. */
  host(name: string): Host {
    const known = this.hosts.get(name);
    if (known !== undefined) return known;
    if (name === "" || name === "localhost") throw new RangeError(`a host cannot be named "${name}"`);
    const index = this.hosts.size + 1;
    const host = new Host(this.universe, name, index, this.settings.wallSkewMsMax, (process) => this.endpoint(process));
    this.hosts.set(name, host);
    this.byIp.set(host.ip, host);
    this.universe.log.add("boot", this.universe.nowMs, index, index, 0, 0, 0);
    return host;
  }

  /** The way from one host to another. */
  link(from: Host, to: Host): Link {
    const key = from.index * 65_536 + to.index;
    let link = this.links.get(key);
    if (link === undefined) {
      const conditions =
        from === to ? conditionsWithinHost : { ...conditionsBetweenHosts, ...this.settings.conditions };
      link = new Link(from, to, this.universe.random(`link ${from.name} > ${to.name}`), conditions);
      this.links.set(key, link);
      this.onLink?.(link);
    }
    return link;
  }

  /** Told of each new link, so that faults that hold now hold for it too. */
  onLink: ((link: Link) => void) | undefined = undefined;

  /** All links made so far, in order of creation. */
  allLinks(): Iterable<Link> {
    return this.links.values();
  }

  private endpoint(process: Process): Network {
    return this.names.serve({
      connect: (address, options, events) => this.connect(process, address, options, events),
      resolve: (host, done) => this.resolve(process, host, done),
      listen: (request) => this.listen(process, request),
    });
  }

  private connect(
    process: Process,
    address: SocketAddress,
    options: ConnectOptions,
    events: SocketEvents,
  ): SimulatedSocket {
    const { universe } = this;
    const from = process.host;
    const id = this.idNext;
    this.idNext += 2;
    const place = this.destination(from, address);
    const target = addressText(address);
    const socket = new SimulatedSocket(id, process, target, "", events);
    if (!process.isAlive) {
      socket.machineDied();
      from.sockets.delete(socket);
      return socket;
    }
    if (!("host" in place)) {
      this.failLater(socket, place, target);
      return socket;
    }
    const to = place.host;
    if (options.tls !== undefined) {
      const identities = options.tls.cert === undefined ? undefined : this.identitiesOf(from);
      socket.hello = { alpn: options.alpn, identities };
    }
    const isLoopback = to === from;
    const serverAddress = address.kind === "unix" ? address.path : hostPort(place.ip, address.port);
    dial({
      universe,
      socket,
      out: this.link(from, to),
      back: this.link(to, from),
      listener: () => findListener(to, address, isLoopback, id),
      clientAddress:
        address.kind === "unix" ? address.path : `${from.ip}:${from.ephemeralPort((port) => isTaken(from, port))}`,
      serverAddress,
      serverIdentities: this.identitiesOf(to),
      refusalCode: () => (address.kind === "unix" ? "ENOENT" : "ECONNREFUSED"),
    });
    return socket;
  }

  private failLater(
    socket: SimulatedSocket,
    failure: Exclude<Destination, { readonly host: Host }>,
    target: string,
  ): void {
    const { code, phase, delayMs } = failure;
    if (delayMs === Number.POSITIVE_INFINITY) return;
    const event = new CallbackEvent(() => socket.failed(code, `${target}: ${phase}: ${code}`, phase));
    socket.onGivenUp = () => this.universe.cancel(event);
    this.universe.schedule(event, this.universe.nowMs + delayMs);
  }

  /** Calls back in the process's I/O phase, as Node does: at once for an address, else when the name server has answered. */
  private resolve(process: Process, name: string, done: (result: ResolveResult) => void): () => void {
    const result = this.resultFor(name);
    let isCancelled = false;
    const event = new CallbackEvent(() =>
      afterIo(process, () => {
        if (!isCancelled && result !== undefined) done(result);
      }),
    );
    if (isAddressLiteral(name)) event.fire();
    else this.universe.schedule(event, this.universe.nowMs + resolveMs);
    return () => {
      isCancelled = true;
      this.universe.cancel(event);
    };
  }

  /** Undefined: never answered. */
  private resultFor(name: string): ResolveResult | undefined {
    if (isAddressLiteral(name)) return { addresses: [name] };
    const answer = this.names.answerFor(name);
    if (answer?.kind === "addresses") return { addresses: answer.addresses };
    if (answer?.kind === "silence") return undefined;
    const host = this.hosts.get(name);
    if (answer === undefined && host !== undefined) return { addresses: [host.ip] };
    if (answer === undefined && isLoopbackName(name)) return { addresses: ["127.0.0.1"] };
    const code = answer?.code ?? "ENOTFOUND";
    return { error: { phase: "resolve", code, text: `getaddrinfo ${code} ${name}` } };
  }

  private listen(process: Process, request: ListenRequest): Promise<Listener> {
    return new Promise((resolve, reject) => {
      afterIo(process, () => {
        const made = this.bind(process, request);
        if ("code" in made) reject(new Error(`cannot listen on ${made.text}`, { cause: made }));
        else resolve(this.listenerPort(process, made));
      });
    });
  }

  private bind(process: Process, request: ListenRequest): SimulatedListener | NetworkError {
    const { host } = process;
    const { address } = request;
    const isShared = request.isPortShared === true;
    if (address.kind === "unix") {
      if (isShared) return listenError("EINVAL", address);
      if (host.listeners.has(address.path)) return listenError("EADDRINUSE", address);
      return this.keep(host, address.path, {
        process,
        address,
        isLoopback: true,
        request,
        waiting: 0,
        isClosed: false,
      });
    }
    if (address.port !== 0 && !isPort(address.port)) return listenError("ERR_SOCKET_BAD_PORT", address);
    const isLoopback = isLoopbackName(address.host);
    const isAny = address.host === "0.0.0.0" || address.host === "::" || address.host === "";
    if (!isLoopback && !isAny) {
      const place = this.placeOf(host, address.host);
      if (!("host" in place)) return listenError("ENOTFOUND", address);
      if (place.host !== host) return listenError("EADDRNOTAVAIL", address);
    }
    const holder = host.listeners.get(`:${address.port}`);
    const mayShare = isShared && holder?.request.isPortShared === true;
    if (holder !== undefined && !mayShare) return listenError("EADDRINUSE", address);
    const port = address.port === 0 ? host.ephemeralPort((candidate) => isTaken(host, candidate)) : address.port;
    const bound: SocketAddress = { kind: "tcp", host: address.host, port };
    const key = holder === undefined ? `:${port}` : host.sharedKey(port);
    return this.keep(host, key, { process, address: bound, isLoopback, request, waiting: 0, isClosed: false });
  }

  private keep(host: Host, key: string, listener: SimulatedListener): SimulatedListener {
    host.listeners.set(key, listener);
    const port = listener.address.kind === "tcp" ? listener.address.port : 0;
    this.universe.log.add("listen", this.universe.nowMs, host.index, host.index, port, 0, 0);
    return listener;
  }

  private listenerPort(process: Process, listener: SimulatedListener): Listener {
    const { host } = process;
    const { address } = listener;
    return {
      address,
      close: () =>
        new Promise((resolve) => {
          // Behind those that the kernel has made and the process has not taken, as on a real listener.
          afterIo(process, () => {
            listener.isClosed = true;
            host.unlisten(listener);
            resolve();
          });
        }),
    };
  }

  private destination(from: Host, address: SocketAddress): Destination {
    if (address.kind === "unix") return { host: from, ip: from.ip };
    if (!isPort(address.port)) return { code: "ERR_SOCKET_BAD_PORT", phase: "connect", delayMs: 0 };
    return this.placeOf(from, address.host);
  }

  /** Where a name or an address leads. Of several addresses of a name it is the first: racing them is not the network's. */
  private placeOf(from: Host, name: string): Destination {
    const answer = this.names.answerFor(name);
    if (answer?.kind === "failure") return { code: answer.code, phase: "resolve", delayMs: resolveMs };
    if (answer?.kind === "silence") return { code: "", phase: "resolve", delayMs: Number.POSITIVE_INFINITY };
    const ip = answer?.addresses[0] ?? name;
    if (isLoopbackName(ip) || ip === "0.0.0.0" || ip === "::") return { host: from, ip: from.ip };
    const holder = this.names.holderOf(ip);
    if (holder === "black-hole") return { code: "ETIMEDOUT", phase: "connect", delayMs: silentMs };
    if (holder === "refusing") return { code: "ECONNREFUSED", phase: "connect", delayMs: refusalMs };
    if (holder !== undefined) return { host: this.host(holder.host), ip };
    const host = this.hosts.get(ip) ?? this.byIp.get(ip);
    if (host !== undefined) return { host, ip: host.ip };
    return isAddressLiteral(ip)
      ? { code: "EHOSTUNREACH", phase: "connect", delayMs: unreachableMs }
      : { code: "ENOTFOUND", phase: "resolve", delayMs: resolveMs };
  }

  private identitiesOf(host: Host): readonly string[] {
    return this.settings.identities[host.name] ?? [host.name];
  }
}

/** Where connection `id` goes: of several listeners that share the port, to one by the connection, as the kernel's hash does. */
function findListener(
  to: Host,
  address: SocketAddress,
  isLoopback: boolean,
  id: number,
): SimulatedListener | undefined {
  if (address.kind === "unix") return to.listeners.get(address.path);
  const listener = to.listenerOf(address.port, id);
  return listener?.isLoopback === true && !isLoopback ? undefined : listener;
}

function isTaken(host: Host, port: number): boolean {
  return host.listeners.has(`:${port}`);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || name === "::1" || name.startsWith("127.");
}

function listenError(code: string, address: SocketAddress): NetworkError {
  return { phase: "listen", code, text: `${addressText(address)}: listen: ${code}` };
}
