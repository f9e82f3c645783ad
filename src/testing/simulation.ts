/**
 * A simulated world: many hosts, one virtual clock, one network with faults, all of it drawn from one seed. Programs
 * run in it unchanged, because they reach the world only through the {@link World} they are given.
 */
import type { World } from "../world/world.ts";
import { Driver, type WaitOptions } from "./driver.ts";
import { FaultSchedule } from "./fault-schedule.ts";
import type { Host } from "./host.ts";
import type { NetworkInjection } from "./injection.ts";
import { checkedConditions, checkRange, conditionsBetweenHosts, type LinkConditions } from "./link.ts";
import { afterIo } from "./after-io.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import { Universe } from "./universe.ts";

export type { WaitOptions } from "./driver.ts";
export type { InjectionTime, NetworkInjection } from "./injection.ts";
export type { LinkConditions } from "./link.ts";

/** Any part of {@link LinkConditions}. */
export type LinkChange = { readonly [K in keyof LinkConditions]?: LinkConditions[K] | undefined };

/** What a simulation is made of. All of it may be left out. */
export interface SimulationOptions {
  /** Everything that is left to chance is drawn from it; a whole number from 0 to 2^53 - 1. Default 1. */
  readonly seed?: number | undefined;
  /** How links between hosts differ from the defaults of {@link LinkConditions}. */
  readonly link?: LinkChange | undefined;
  /** How far hosts' wall clocks may be off, each its own way; milliseconds, 0 to 86,400,000. Default 20. */
  readonly wallSkewMsMax?: number | undefined;
  /** Which names a host's certificate proves in pretended TLS, by host name. Default: the host's own name. */
  readonly identities?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** What runs on a host from its start: called anew after each restart, with the new process's world. */
export type Program = (world: World) => unknown;

/** A simulated world: its hosts, its faults, its time and its log. */
export interface Simulation {
  readonly seed: number;
  /** Virtual milliseconds since the beginning, in steps of 1/1024. */
  readonly nowMs: number;
  /** Events that happened so far, timers and segments included. */
  readonly eventsFired: number;
  /** The world of this host's current process. The host is made when it is first named. */
  host(name: string): World;
  /** Whether it has a process: false after a crash, until it is started again; a frozen one is there. */
  isRunning(name: string): boolean;
  /** Its IPv4 address; connecting to it or to the name is the same. */
  address(name: string): string;
  /** Says what the host runs, and runs it in its next turn. A program that throws or rejects fails the current wait. */
  boot(name: string, program: Program): void;
  /** Puts a file on a host's disk. */
  writeFile(name: string, path: string, text: string): void;
  /** Changes the ways between two hosts, in both directions or only from the first to the second. RangeError for what cannot be. */
  link(from: string, to: string, change: LinkChange, options?: { readonly isOneWay?: boolean | undefined }): void;
  /** Kills its process, as SIGKILL does; `isMachine`: the machine loses power, and nobody is told. */
  crash(name: string, options?: { readonly isMachine?: boolean | undefined }): void;
  /** Starts a crashed host again and gives back the new process's world. Error if it still runs. */
  restart(name: string): World;
  /** Stops all that its process does, while its kernel goes on. Each freeze needs its own thaw. */
  freeze(name: string): void;
  /** All that waited happens now: timers first, in order, then what arrived. */
  thaw(name: string): void;
  /** Lets nothing pass between two hosts (or groups of them, as in injections); gives back what heals it. */
  partition(left: string, right: string, options?: { readonly isOneWay?: boolean | undefined }): () => void;
  /** Plans faults, counted from now. RangeError for what cannot be, at once. */
  inject(...plan: readonly NetworkInjection[]): void;
  /** Lets so much virtual time pass; all that is due until then, and at that instant, has happened when it resolves. */
  advance(ms: number): Promise<void>;
  /**
   * Moves the clock until the promise settles, and gives back what it settled to. Rejects after `limitMs` of virtual
   * time, and as soon as nothing is left that could settle it. What waits for the real world (threads, real sockets)
   * is not waited for.
   */
  settle<T>(promise: PromiseLike<T>, options?: WaitOptions): Promise<T>;
  /** Moves the clock until `predicate` holds; it is asked after each call of simulated code. Rejects as `settle` does. */
  runUntil(predicate: () => boolean, options?: WaitOptions): Promise<void>;
  /** SHA-256 over all that the network saw: the same seed and program give the same. */
  logHash(): string;
  /** The last entries of that log, for whoever compares two runs. */
  logLines(): readonly string[];
}

/**
 * Makes a simulated world. Nothing in it happens unless one of its waits (`advance`, `settle`, `runUntil`) is awaited.
 * RangeError for an option that cannot be.
 */
export function createSimulation(options: SimulationOptions = {}): Simulation {
  const seed = options.seed ?? 1;
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`seed must be a whole number from 0 to 2^53 - 1, got ${seed}`);
  const wallSkewMsMax = options.wallSkewMsMax ?? 20;
  checkRange("wallSkewMsMax", wallSkewMsMax, 0, 86_400_000);
  const conditions = checkedConditions(changed(conditionsBetweenHosts, options.link ?? {}));
  const universe = new Universe(seed);
  const network = new SimulatedNetwork(universe, { conditions, wallSkewMsMax, identities: options.identities ?? {} });
  return new SimulatedWorld(universe, network);
}

class SimulatedWorld implements Simulation {
  readonly seed: number;
  private readonly universe: Universe;
  private readonly network: SimulatedNetwork;
  private readonly driver: Driver;
  private readonly faults: FaultSchedule;
  private readonly programs = new Map<Host, Program>();

  constructor(universe: Universe, network: SimulatedNetwork) {
    this.seed = universe.seed;
    this.universe = universe;
    this.network = network;
    this.driver = new Driver(universe);
    this.faults = new FaultSchedule(universe, network, {
      crash: (host, isMachine) => this.crashHost(host, isMachine),
      restart: (host) => this.restartHost(host),
    });
  }

  get nowMs(): number {
    return this.universe.nowMs;
  }

  get eventsFired(): number {
    return this.universe.eventsFired;
  }

  host(name: string): World {
    return this.network.host(name).process.world;
  }

  isRunning(name: string): boolean {
    return this.network.host(name).process.isAlive;
  }

  address(name: string): string {
    return this.network.host(name).ip;
  }

  boot(name: string, program: Program): void {
    const host = this.network.host(name);
    this.programs.set(host, program);
    this.run(host, program);
  }

  writeFile(name: string, path: string, text: string): void {
    this.network.host(name).files.set(path, text);
  }

  link(from: string, to: string, change: LinkChange, options: { readonly isOneWay?: boolean | undefined } = {}): void {
    const left = this.network.host(from);
    const right = this.network.host(to);
    const links = [this.network.link(left, right)];
    if (options.isOneWay !== true && left !== right) links.push(this.network.link(right, left));
    for (const link of links) link.conditions = checkedConditions(changed(link.conditions, change));
  }

  crash(name: string, options: { readonly isMachine?: boolean | undefined } = {}): void {
    this.crashHost(this.network.host(name), options.isMachine === true);
  }

  restart(name: string): World {
    const host = this.network.host(name);
    this.restartHost(host);
    return host.process.world;
  }

  freeze(name: string): void {
    const host = this.network.host(name);
    this.universe.log.add("freeze", this.nowMs, host.index, host.index, 0, 0, 0);
    host.freeze();
  }

  thaw(name: string): void {
    const host = this.network.host(name);
    this.universe.log.add("thaw", this.nowMs, host.index, host.index, 0, 0, 0);
    host.thaw();
  }

  partition(left: string, right: string, options: { readonly isOneWay?: boolean | undefined } = {}): () => void {
    const heals = [this.faults.cut(left, right)];
    if (options.isOneWay !== true) heals.push(this.faults.cut(right, left));
    return () => {
      for (const heal of heals) heal();
    };
  }

  inject(...plan: readonly NetworkInjection[]): void {
    for (const injection of plan) this.faults.add(injection);
  }

  advance(ms: number): Promise<void> {
    return this.driver.advance(ms);
  }

  settle<T>(promise: PromiseLike<T>, options?: WaitOptions): Promise<T> {
    return this.driver.settle(promise, options);
  }

  runUntil(predicate: () => boolean, options?: WaitOptions): Promise<void> {
    return this.driver.runUntil(predicate, options);
  }

  logHash(): string {
    return this.universe.log.digest();
  }

  logLines(): readonly string[] {
    return this.universe.log.lines();
  }

  private crashHost(host: Host, isMachine: boolean): void {
    this.universe.log.add("crash", this.nowMs, host.index, host.index, isMachine ? 1 : 0, 0, 0);
    if (isMachine) host.powerOff();
    else host.killProcess();
  }

  private restartHost(host: Host): void {
    host.restart();
    this.universe.log.add("boot", this.nowMs, host.index, host.index, 1, 0, 0);
    const program = this.programs.get(host);
    if (program !== undefined) this.run(host, program);
  }

  private run(host: Host, program: Program): void {
    const { process } = host;
    afterIo(process, () => {
      const result: unknown = program(process.world);
      if (!isPromise(result)) return;
      result.then(undefined, (error: unknown) => {
        // What a dead process does is nobody's concern any more.
        if (process.isAlive) this.driver.fail(error);
      });
    });
  }
}

function changed(conditions: LinkConditions, change: LinkChange): LinkConditions {
  const known: Record<string, number> = { ...conditions };
  for (const [name, value] of Object.entries(change)) {
    if (!Object.hasOwn(conditions, name)) throw new RangeError(`link: unknown condition "${name}"`);
    if (value !== undefined) known[name] = value;
  }
  return known as unknown as LinkConditions;
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
