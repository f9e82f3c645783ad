/**
 * The network that joins the simulated hosts: names and addresses, who listens where, and the links between any two.
 */
import type { ListenRequest, Listener, Network, NetworkError, SocketAddress, SocketEvents } from "../world/network.ts";
import { addressText } from "../world/node-network-error.ts";
import { afterIo } from "./after-io.ts";
import { dial } from "./dial.ts";
import { CallbackEvent } from "./event-queue.ts";
import { Host } from "./host.ts";
import { conditionsBetweenHosts, conditionsWithinHost, Link, type LinkConditions } from "./link.ts";
import type { Process } from "./process.ts";
import type { SimulatedListener } from "./simulated-listener.ts";
import { SimulatedSocket } from "./simulated-socket.ts";
import type { Universe } from "./universe.ts";

/** How long an address that is nobody's keeps a caller waiting before a router says so. */
const unreachableMs = 3000;
const resolveMs = 1;

export interface NetworkSettings {
  /** What differs from the defaults on links between hosts. */
  readonly conditions: Partial<LinkConditions>;
  readonly wallSkewMsMax: number;
  /** Names that a host's certificate proves. */
  readonly identities: Readonly<Record<string, readonly string[]>>;
}

export class SimulatedNetwork {
  readonly hosts = new Map<string, Host>();
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
    return {
      connect: (address, options, events) => this.connect(process, address, options, events),
      listen: (request) => this.listen(process, request),
    };
  }

  private connect(
    process: Process,
    address: SocketAddress,
    options: Parameters<Network["connect"]>[1],
    events: SocketEvents,
  ): SimulatedSocket {
    const { universe } = this;
    const from = process.host;
    const id = this.idNext;
    this.idNext += 2;
    const to = address.kind === "unix" ? from : this.resolve(from, address.host);
    const target = addressText(address);
    const socket = new SimulatedSocket(id, process, target, "", events);
    if (!process.isAlive) {
      socket.machineDied();
      from.sockets.delete(socket);
      return socket;
    }
    if (to === undefined || (address.kind === "tcp" && !isPort(address.port))) {
      this.failLater(socket, address, target);
      return socket;
    }
    if (options.tls !== undefined) {
      const identities = options.tls.cert === undefined ? undefined : this.identitiesOf(from);
      socket.hello = { alpn: options.alpn, identities };
    }
    const isLoopback = to === from;
    const serverAddress = address.kind === "unix" ? address.path : `${to.ip}:${address.port}`;
    dial({
      universe,
      socket,
      out: this.link(from, to),
      back: this.link(to, from),
      listener: () => findListener(to, address, isLoopback),
      clientAddress:
        address.kind === "unix" ? address.path : `${from.ip}:${from.ephemeralPort((port) => isTaken(from, port))}`,
      serverAddress,
      serverIdentities: this.identitiesOf(to),
      refusalCode: () => (address.kind === "unix" ? "ENOENT" : "ECONNREFUSED"),
    });
    return socket;
  }

  private failLater(socket: SimulatedSocket, address: SocketAddress, target: string): void {
    const isIp = address.kind === "tcp" && /^[\d.]+$|:/.test(address.host);
    const isBad = address.kind === "tcp" && !isPort(address.port);
    const code = isBad ? "ERR_SOCKET_BAD_PORT" : isIp ? "EHOSTUNREACH" : "ENOTFOUND";
    const phase = isBad || isIp ? "connect" : "resolve";
    const delayMs = isBad ? 0 : isIp ? unreachableMs : resolveMs;
    const event = new CallbackEvent(() => socket.failed(code, `${target}: ${phase}: ${code}`, phase));
    socket.onGivenUp = () => this.universe.cancel(event);
    this.universe.schedule(event, this.universe.nowMs + delayMs);
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
    if (address.kind === "unix") {
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
      const owner = this.resolve(host, address.host);
      if (owner === undefined) return listenError("ENOTFOUND", address);
      if (owner !== host) return listenError("EADDRNOTAVAIL", address);
    }
    if (address.port !== 0 && isTaken(host, address.port)) return listenError("EADDRINUSE", address);
    const port = address.port === 0 ? host.ephemeralPort((candidate) => isTaken(host, candidate)) : address.port;
    const bound: SocketAddress = { kind: "tcp", host: address.host, port };
    return this.keep(host, `:${port}`, { process, address: bound, isLoopback, request, waiting: 0, isClosed: false });
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
    const key = address.kind === "unix" ? address.path : `:${address.port}`;
    return {
      address,
      close: () =>
        new Promise((resolve) => {
          listener.isClosed = true;
          if (host.listeners.get(key) === listener) host.listeners.delete(key);
          afterIo(process, resolve);
        }),
    };
  }

  private resolve(from: Host, name: string): Host | undefined {
    if (isLoopbackName(name) || name === "0.0.0.0" || name === "::") return from;
    return this.hosts.get(name) ?? this.byIp.get(name);
  }

  private identitiesOf(host: Host): readonly string[] {
    return this.settings.identities[host.name] ?? [host.name];
  }
}

function findListener(to: Host, address: SocketAddress, isLoopback: boolean): SimulatedListener | undefined {
  if (address.kind === "unix") return to.listeners.get(address.path);
  const listener = to.listeners.get(`:${address.port}`);
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
