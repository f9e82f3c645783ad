/**
 * One simulated machine: a name and an address, clocks that differ from those of others, files, and what its kernel
 * keeps for its process (sockets, listeners). The kernel works on while the process is frozen, and is what tells the
 * peers when the process is killed.
 */
import type { World } from "../world/world.ts";
import { memoryDisk } from "./memory-disk.ts";
import { Process } from "./process.ts";
import type { SimulatedListener } from "./simulated-listener.ts";
import type { SimulatedSocket } from "./simulated-socket.ts";
import type { Universe } from "./universe.ts";

/** Virtual time 0 is this wall time (2026-01-01T00:00:00Z), give or take the host's skew. */
const wallEpochMs = 1_767_225_600_000;
/** Linux's first ephemeral port. */
const portFirst = 32_768;
const portLast = 60_999;

export class Host {
  readonly universe: Universe;
  readonly name: string;
  readonly index: number;
  /** A private IPv4 address, by the order in which hosts were made. */
  readonly ip: string;
  readonly monotonicStartMs: number;
  wallStartMs: number;
  /** Whether the machine runs; its process may be dead all the same. */
  isUp = true;
  process: Process;
  /** What its kernel knows, in order of creation. */
  readonly sockets = new Set<SimulatedSocket>();
  readonly listeners = new Map<string, SimulatedListener>();
  readonly files = new Map<string, string>();
  private freezes = 0;
  private incarnations = 0;
  private portNext = portFirst;
  private readonly makeNetwork: (process: Process) => World["network"];

  constructor(
    universe: Universe,
    name: string,
    index: number,
    wallSkewMsMax: number,
    makeNetwork: (process: Process) => World["network"],
  ) {
    this.universe = universe;
    this.name = name;
    this.index = index;
    this.ip = `10.${(index >>> 16) & 0xff}.${(index >>> 8) & 0xff}.${index & 0xff}`;
    this.makeNetwork = makeNetwork;
    const random = universe.random(`host ${name}`);
    // Whole numbers, so that sums with the virtual time stay exact.
    this.monotonicStartMs = random.uint32() % 1_000_000_000;
    this.wallStartMs = wallEpochMs + Math.round((random.float() * 2 - 1) * wallSkewMsMax);
    this.process = this.start();
  }

  get isFrozen(): boolean {
    return this.freezes > 0;
  }

  /** Freezes add up: each needs its own thaw. What is dead cannot freeze, and the next process does not start frozen. */
  freeze(): void {
    if (this.process.isAlive) this.freezes++;
  }

  thaw(): void {
    if (this.freezes > 0 && --this.freezes === 0) this.process.wake();
  }

  /**
   * Kills the process as SIGKILL does: the kernel sends what it has taken, ends or resets its connections and refuses
   * new ones.
   */
  killProcess(): void {
    if (!this.process.isAlive) return;
    this.process.kill();
    this.freezes = 0;
    this.listeners.clear();
    for (const socket of [...this.sockets]) socket.ownerDied();
  }

  /** Takes the machine down as a power failure does: nobody is told. */
  powerOff(): void {
    this.process.kill();
    this.freezes = 0;
    this.isUp = false;
    this.listeners.clear();
    for (const socket of [...this.sockets]) socket.machineDied();
    this.sockets.clear();
  }

  /** A new process on a machine that runs; the old one must be dead. */
  restart(): Process {
    if (this.process.isAlive) throw new Error(`${this.name} still runs`);
    this.isUp = true;
    this.process = this.start();
    return this.process;
  }

  /** A port of which no listener of this host has taken hold, in order. */
  ephemeralPort(isTaken: (port: number) => boolean): number {
    for (let tries = portFirst; tries <= portLast; tries++) {
      const port = this.portNext;
      this.portNext = port === portLast ? portFirst : port + 1;
      if (!isTaken(port)) return port;
    }
    throw new Error(`${this.name} has no free port`);
  }

  /** A name of its own for one more listener on a port that others hold and share. */
  sharedKey(port: number): string {
    let number = 2;
    while (this.listeners.has(`:${port}#${number}`)) number++;
    return `:${port}#${number}`;
  }

  /** Who gets a connection to a port: one of those that share it, by the number of the connection. */
  listenerOf(port: number, connection: number): SimulatedListener | undefined {
    const first = this.listeners.get(`:${port}`);
    if (first?.request.isPortShared !== true) return first;
    const all = [...this.listeners.values()].filter(({ address }) => address.kind === "tcp" && address.port === port);
    return all[(connection >>> 1) % all.length];
  }

  /** Takes a listener away; of those that share its port another takes its place. */
  unlisten(gone: SimulatedListener): void {
    for (const [key, listener] of this.listeners) {
      if (listener !== gone) continue;
      this.listeners.delete(key);
      if (key.includes("#") || gone.address.kind !== "tcp") return;
      for (const [other, sharing] of this.listeners) {
        if (!other.startsWith(`${key}#`)) continue;
        this.listeners.delete(other);
        this.listeners.set(key, sharing);
        return;
      }
      return;
    }
  }

  private start(): Process {
    const incarnation = this.incarnations++;
    return new Process(this.universe, this, (process) => ({
      clock: process.clock,
      timers: process.timers,
      random: this.universe.random(`process ${this.name} ${incarnation}`),
      network: this.makeNetwork(process),
      disk: memoryDisk(process),
    }));
  }
}
