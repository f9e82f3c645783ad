/**
 * A TCP proxy that does to connections what bad networks and bad peers do, on real sockets and in the simulated world alike: it
 * knows only the world's network port. Not in the way of TLS: it does not look into what it carries.
 */
import { crc32 } from "node:zlib";
import { booleanOption, numberOption, objectOption, resolveOptions, textOption } from "../call/options.ts";
import type { Listener, Socket, SocketAddress, SocketEvents } from "../world/network.ts";
import { nodeWorld } from "../world/node.ts";
import type { Random } from "../world/random.ts";
import { seededRandom } from "../world/seeded-random.ts";
import type { World } from "../world/world.ts";
import { breakOff } from "./break-off.ts";
import type { MetFault } from "./lane-conditions.ts";
import { type ConnectionFate, type ConnectionOwner, ProxiedConnection } from "./proxied-connection.ts";
import { type CheckedFault, checkedFaults, type ProxyFault } from "./proxy-fault.ts";

/** A TCP address. */
export interface FaultProxyPlace {
  /** A name or an IP address; IPv6 without brackets. */
  readonly host: string;
  /** 1..65,535; to listen also 0: one that is free. */
  readonly port: number;
}

/** What a fault proxy is made of. */
export interface FaultProxyOptions {
  /** Where it runs; default this machine. */
  readonly world?: World | undefined;
  /** Where it listens: loopback, or anything with `allowRemote`. */
  readonly listen: FaultProxyPlace;
  /** Where it connects to, once for each connection it accepts. */
  readonly target: FaultProxyPlace;
  /** All chance is drawn from it, 0..4,294,967,295. Default: drawn from the world; `seed` of the proxy says which. */
  readonly seed?: number | undefined;
  /** Bytes that wait in one direction of one connection at most, 131,072..67,108,864; then the sender is slowed. Default 1,048,576. */
  readonly bufferBytesMax?: number | undefined;
  /** Connections at once, 1..65,536; more are reset. Default 1,024: each costs two descriptors. */
  readonly connectionsMax?: number | undefined;
  /** Lets others than this machine connect: what they send passes as it is, TLS or not. Default false. */
  readonly allowRemote?: boolean | undefined;
}

/** What a proxy has done so far. */
export interface FaultProxyCounts {
  /** Connections taken, those that are over included. */
  readonly accepted: number;
  /** Connections reset as they came: by a `refuse` fault, or because there were too many. */
  readonly refused: number;
  /** Connections for which the target could not be reached; they were broken off. */
  readonly unreachable: number;
  /** Connections reset by a fault, by its end, or by `cut`. */
  readonly resets: number;
  /** Connections ended by a `limit` fault. */
  readonly limited: number;
  /** Connections made half-open. */
  readonly halfOpened: number;
  /** Bytes passed on to the target. */
  readonly upBytes: number;
  /** Bytes passed on to clients. */
  readonly downBytes: number;
  /** Bytes that were taken and not passed on. */
  readonly lostBytes: number;
  /** Bits that are not what they were. */
  readonly flippedBits: number;
}

/** One connection that a proxy has now. */
export interface FaultProxyConnection {
  /** Counted from 1. */
  readonly id: number;
  /** The client's `host:port`. */
  readonly client: string;
  /** The kinds of faults that it met. */
  readonly faults: readonly string[];
  /** Whether its target's side was cut without the client being told. */
  readonly isHalfOpen: boolean;
  /** Bytes passed on to the target. */
  readonly upBytes: number;
  /** Bytes passed on to the client. */
  readonly downBytes: number;
  /** Bytes that wait in it, both ways. */
  readonly heldBytes: number;
}

/** A TCP proxy with faults. */
export interface FaultProxy extends AsyncDisposable {
  /** Which seed its chance is drawn from: the same seed and the same traffic give the same faults. */
  readonly seed: number;
  /** Begins to accept, and says where. Rejects with an Error if it cannot listen there, if it listens already or was closed. */
  listen(): Promise<FaultProxyPlace>;
  /** These faults from now on, in place of all before, on live connections as on new ones. TypeError or RangeError for what cannot be. */
  set(faults: readonly ProxyFault[]): void;
  /** No faults any more: `set([])`. */
  clear(): void;
  /** The connections it has now, oldest first. */
  connections(): readonly FaultProxyConnection[];
  /** Resets all connections now, and says how many. New ones are taken as before. */
  cut(): number;
  /** What it has done so far. */
  counts(): FaultProxyCounts;
  /** Accepts no more and cuts what it has. Resolves when its address is free and its sockets are closed. Twice is as once. */
  close(): Promise<void>;
}

/** A TCP proxy, without faults until `set`. Does no I/O before `listen`. TypeError or RangeError for options that cannot be. */
export function createFaultProxy(options: FaultProxyOptions): FaultProxy {
  const { world = nodeWorld, ...own } = options;
  const resolved = resolveOptions("", own, SHAPE);
  const listen = addressOf("listen", resolved.listen, 0);
  const target = addressOf("target", resolved.target, 1);
  if (!resolved.allowRemote && !isLoopback(listen.host)) {
    const got = JSON.stringify(listen.host);
    throw new RangeError(`listen.host must be loopback, such as "127.0.0.1", unless allowRemote is true, got ${got}`);
  }
  const seed = resolved.seed ?? world.random.uint32();
  const { bufferBytesMax, connectionsMax } = resolved;
  return new TcpFaultProxy({ world, listen, target, seed, bufferBytesMax, connectionsMax });
}

type TcpAddress = Extract<SocketAddress, { readonly kind: "tcp" }>;

const PLACE = objectOption({
  host: textOption({ lengthMax: 255 }),
  port: numberOption({ default: undefined, min: 0, max: 65_535, integer: true }),
});
const SHAPE = {
  listen: PLACE,
  target: PLACE,
  seed: numberOption({ default: undefined, min: 0, max: 4_294_967_295, integer: true }),
  bufferBytesMax: numberOption({ default: 1_048_576, min: 131_072, max: 67_108_864, integer: true }),
  connectionsMax: numberOption({ default: 1_024, min: 1, max: 65_536, integer: true }),
  allowRemote: booleanOption({ default: false }),
};

function addressOf(
  name: string,
  { host, port }: { readonly host: string | undefined; readonly port: number | undefined },
  portMin: number,
): TcpAddress {
  if (host === undefined) throw new TypeError(`${name}.host must be given`);
  if (port === undefined) throw new TypeError(`${name}.port must be given`);
  if (port < portMin) throw new RangeError(`${name}.port must be ${portMin}..65_535, got ${port}`);
  return { kind: "tcp", host, port };
}

function isLoopback(host: string): boolean {
  return /^(localhost|::1|127(\.\d{1,3}){3}|::ffff:127\.0\.0\.1)$/i.test(host);
}

interface ProxySettings {
  readonly world: World;
  readonly listen: TcpAddress;
  readonly target: TcpAddress;
  readonly seed: number;
  readonly bufferBytesMax: number;
  readonly connectionsMax: number;
}

/** A fault, and the number that its chance is drawn with. */
interface NumberedFault {
  readonly fault: CheckedFault;
  readonly serial: number;
}

type Totals = { -readonly [K in keyof FaultProxyCounts]: number };

/** Where a reset connection's events go. */
const UNHEARD: SocketEvents = {
  opened: () => undefined,
  data: () => undefined,
  drained: () => undefined,
  ended: () => undefined,
  closed: () => undefined,
};

class TcpFaultProxy implements FaultProxy, ConnectionOwner {
  readonly world: World;
  readonly target: TcpAddress;
  readonly seed: number;
  readonly bufferBytesMax: number;
  private readonly settings: ProxySettings;
  private readonly live = new Set<ProxiedConnection>();
  private readonly totals: Totals;
  private faults: readonly NumberedFault[] = [];
  private serial = 0;
  private listening: Promise<Listener> | undefined;
  private closing: Promise<void> | undefined;
  private whenEmpty: (() => void) | undefined;

  constructor(settings: ProxySettings) {
    this.settings = settings;
    this.world = settings.world;
    this.target = settings.target;
    this.seed = settings.seed;
    this.bufferBytesMax = settings.bufferBytesMax;
    this.totals = zeroTotals();
  }

  async listen(): Promise<FaultProxyPlace> {
    if (this.closing !== undefined) throw new Error("the fault proxy is closed");
    if (this.listening !== undefined) throw new Error("the fault proxy listens already");
    this.listening = this.world.network.listen({
      address: this.settings.listen,
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 10_000,
      accept: (socket) => this.accept(socket),
      // A connection that could not be taken was never ours.
      failed: () => undefined,
    });
    try {
      const { address } = await this.listening;
      return address.kind === "tcp" ? { host: address.host, port: address.port } : this.settings.listen;
    } catch (error) {
      this.listening = undefined;
      throw error;
    }
  }

  set(faults: readonly ProxyFault[]): void {
    this.faults = checkedFaults(faults).map((fault) => ({ fault, serial: this.serial++ }));
    for (const connection of [...this.live]) connection.meet(this.metBy(connection.id));
  }

  clear(): void {
    this.set([]);
  }

  connections(): readonly FaultProxyConnection[] {
    return Array.from(this.live, ({ id, client, met, isHalfOpen, upBytes, downBytes, heldBytes }) => ({
      id,
      client,
      faults: met,
      isHalfOpen,
      upBytes,
      downBytes,
      heldBytes,
    }));
  }

  cut(): number {
    const resetsBefore = this.totals.resets;
    for (const connection of [...this.live]) connection.reset();
    return this.totals.resets - resetsBefore;
  }

  counts(): FaultProxyCounts {
    const totals = { ...this.totals };
    for (const connection of this.live) addBytes(totals, connection);
    return totals;
  }

  close(): Promise<void> {
    this.closing ??= this.closeNow();
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  befell(fate: ConnectionFate): void {
    if (fate === "reset") this.totals.resets += 1;
    else if (fate === "limited") this.totals.limited += 1;
    else if (fate === "half-open") this.totals.halfOpened += 1;
    else this.totals.unreachable += 1;
  }

  gone(connection: ProxiedConnection): void {
    this.live.delete(connection);
    addBytes(this.totals, connection);
    if (this.live.size === 0) this.whenEmpty?.();
  }

  private accept(socket: Socket): SocketEvents {
    const id = this.totals.accepted + this.totals.refused + 1;
    const met = this.metBy(id);
    const isRefused =
      met.some(({ fault }) => fault.kind === "refuse") || this.live.size >= this.settings.connectionsMax;
    if (isRefused || this.closing !== undefined) {
      this.totals.refused += 1;
      breakOff(socket);
      return UNHEARD;
    }
    this.totals.accepted += 1;
    const connection = new ProxiedConnection(this, id, socket);
    this.live.add(connection);
    return connection.open(met);
  }

  /** The faults that this connection meets: each has thrown its dice for it. */
  private metBy(id: number): readonly MetFault[] {
    return this.faults
      .filter(({ fault, serial }) => fault.share >= 1 || this.random(serial, id, "share").float() < fault.share)
      .map(({ fault, serial }) => ({ fault, random: (direction) => this.random(serial, id, direction) }));
  }

  /** A stream of chance for each use, so that none depends on when another was used. */
  private random(serial: number, id: number, use: string): Random {
    return seededRandom(crc32(`${this.seed}/${serial}/${id}/${use}`));
  }

  private async closeNow(): Promise<void> {
    const listener = await this.listening?.catch(() => undefined);
    const free = listener?.close();
    if (this.live.size > 0) {
      const empty = new Promise<void>((resolve) => {
        this.whenEmpty = resolve;
      });
      for (const connection of [...this.live]) connection.close();
      await empty;
    }
    await free;
  }
}

function zeroTotals(): Totals {
  return {
    accepted: 0,
    refused: 0,
    unreachable: 0,
    resets: 0,
    limited: 0,
    halfOpened: 0,
    upBytes: 0,
    downBytes: 0,
    lostBytes: 0,
    flippedBits: 0,
  };
}

function addBytes(totals: Totals, connection: ProxiedConnection): void {
  totals.upBytes += connection.upBytes;
  totals.downBytes += connection.downBytes;
  totals.lostBytes += connection.lostBytes;
  totals.flippedBits += connection.flippedBits;
}
