/**
 * A cluster in this process: servers and clients of their own on simulated hosts. The stacks and the frames are the
 * real ones; sockets and time are not, so nothing sleeps, and one seed is one universe.
 */
import type { CallRecord } from "../call/event.ts";
import { createClient } from "../client/create-client.ts";
import type { Client } from "../client/make-client.ts";
import type { ChannelOptions, ClientOptions } from "../client/options.ts";
import type { AnyContract } from "../schema/contract.ts";
import { createServer, type Server } from "../server/create-server.ts";
import type { ServerOptions } from "../server/options.ts";
import type { World } from "../world/world.ts";
import { CallFaults, type CallInjection, isCallInjection, withCallFaults } from "./call-fault.ts";
import type { NetworkInjection } from "./injection.ts";
import { createSimulation, type Simulation, type SimulationOptions, type WaitOptions } from "./simulation.ts";

/** Where every replica listens, on an address of its own. */
const servicePort = 50_051;
const replicasMax = 1000;
/** Records that are kept; the oldest go first. */
const recordsMax = 10_000;
/** The host from which a cluster's clients call, unless another is named. */
const clientHost = "client";

/** What can be done to a cluster: to its machines and network, and to calls. */
export type Injection = NetworkInjection | CallInjection;

/** A client's options, less those that the cluster gives itself. */
export interface ClusterClientOptions<C extends AnyContract = AnyContract>
  extends ClientOptions<C>,
    Omit<ChannelOptions, "world" | "plaintext" | "tls"> {
  /** The host that it calls from. Default "client". It must not be one of a replica, which may crash: RangeError. */
  readonly host?: string | undefined;
}

/** Servers and clients in this process, joined by a simulated network, in virtual time. */
export interface Cluster extends AsyncDisposable {
  readonly seed: number;
  /** The world of the cluster's clients, on the host `client`: for `createClient` and `createChannel`. */
  readonly world: World;
  /** Hosts, links, clocks and the log: for what the cluster itself has no word for. */
  readonly simulation: Simulation;
  /**
   * Runs `replicas` (1 to 1,000) servers on the hosts `name/0`, `name/1` and so on. `build` adds the services; it is
   * called for each replica, and again each time one starts after a crash. RangeError for a name that is taken or has
   * other characters than letters, digits, `-` and `_`.
   */
  serve(
    name: string,
    replicas: number,
    build: (server: Server, index: number) => Server,
    options?: Omit<ServerOptions, "world">,
  ): void;
  /** The addresses of its replicas. RangeError for a name that is not served. */
  target(name: string): readonly string[];
  /** The server that runs there now; undefined while the replica is down or starts. */
  server(name: string, index: number): Server | undefined;
  /**
   * A client of what is served under this name, closed with the cluster. It stands on a channel, and so on connections, of its own.
   * RangeError for a name that is not served; as `createClient` for what is no contract or option.
   */
  client<C extends AnyContract>(contract: C, name: string, options?: ClusterClientOptions<NoInfer<C>>): Client<C>;
  /**
   * How the calls of this cluster's clients went, in the order in which they ended: attempts, peers, what saved them. Of one method
   * (`/shop.v1.Shop/Buy`), or of all; the last 10,000.
   */
  records(path?: string): readonly CallRecord[];
  /** Plans faults, counted from now; a peer is a replica (`shop/1`), a service (`shop`) or `client`. RangeError for what cannot be, at once. */
  inject(...plan: readonly Injection[]): void;
  /** Lets so much virtual time pass. */
  advance(ms: number): Promise<void>;
  /** Moves the clock until the promise settles; rejects after `limitMs` of virtual time, and when nothing is left to wait for. */
  settle<T>(promise: PromiseLike<T>, options?: WaitOptions): Promise<T>;
}

/** Makes a cluster with no servers. Default seed 1. RangeError for an option that cannot be. */
export function createCluster(options?: SimulationOptions): Cluster {
  return new SimulatedCluster(createSimulation(options));
}

class SimulatedCluster implements Cluster {
  readonly seed: number;
  readonly simulation: Simulation;
  private readonly callFaults: CallFaults;
  private readonly clients: Client<AnyContract>[] = [];
  private readonly recent: CallRecord[] = [];
  private readonly clientHosts = new Set<string>([clientHost]);
  private readonly targets = new Map<string, readonly string[]>();
  private readonly servers = new Map<string, { readonly server: Server; readonly world: World }>();

  constructor(simulation: Simulation) {
    this.seed = simulation.seed;
    this.simulation = simulation;
    this.callFaults = new CallFaults(simulation.seed, () => simulation.nowMs);
  }

  get world(): World {
    return this.simulation.host(clientHost);
  }

  serve(
    name: string,
    replicas: number,
    build: (server: Server, index: number) => Server,
    options: Omit<ServerOptions, "world"> = {},
  ): void {
    if (!/^[\w-]+$/.test(name) || this.clientHosts.has(name) || this.targets.has(name)) {
      throw new RangeError(`a service cannot be named "${name}": taken, or not made of letters, digits, "-" and "_"`);
    }
    if (!Number.isInteger(replicas) || replicas < 1 || replicas > replicasMax) {
      throw new RangeError(`replicas must be 1..${replicasMax}, got ${replicas}`);
    }
    const hosts = Array.from({ length: replicas }, (_, index) => `${name}/${index}`);
    for (const [index, host] of hosts.entries()) {
      this.simulation.boot(host, async (world) => {
        const server = build(withCallFaults(createServer({ ...options, world }), this.callFaults, host, world), index);
        // The network is simulated: nobody can listen in.
        await server.listen(`0.0.0.0:${servicePort}`, { plaintext: true });
        this.servers.set(host, { server, world });
      });
    }
    this.targets.set(
      name,
      hosts.map((host) => `${this.simulation.address(host)}:${servicePort}`),
    );
  }

  target(name: string): readonly string[] {
    const target = this.targets.get(name);
    if (target === undefined) throw new RangeError(`nothing is served as "${name}"`);
    return target;
  }

  server(name: string, index: number): Server | undefined {
    if (index >= this.target(name).length) throw new RangeError(`"${name}" has no replica ${index}`);
    const host = `${name}/${index}`;
    const known = this.servers.get(host);
    // A server of an earlier process belongs to a world that has ended.
    if (!this.simulation.isRunning(host) || known?.world !== this.simulation.host(host)) return undefined;
    return known.server;
  }

  client<C extends AnyContract>(contract: C, name: string, options: ClusterClientOptions<NoInfer<C>> = {}): Client<C> {
    const { host = clientHost, ...rest } = options;
    if (host.includes("/") || this.targets.has(host))
      throw new RangeError(`a client cannot be on "${host}", a replica's`);
    const client = createClient(contract, this.target(name), {
      ...rest,
      world: this.simulation.host(host),
      plaintext: true,
    });
    this.clientHosts.add(host);
    this.clients.push(client as unknown as Client<AnyContract>);
    client.$on("call.ended", ({ record }) => {
      this.recent.push(record);
      if (this.recent.length > recordsMax) this.recent.shift();
    });
    return client;
  }

  records(path?: string): readonly CallRecord[] {
    return this.recent.filter(({ method }) => path === undefined || method.path === path);
  }

  inject(...plan: readonly Injection[]): void {
    for (const injection of plan) {
      if (isCallInjection(injection)) this.callFaults.add(injection);
      else this.simulation.inject(injection);
    }
  }

  advance(ms: number): Promise<void> {
    return this.simulation.advance(ms);
  }

  settle<T>(promise: PromiseLike<T>, options?: WaitOptions): Promise<T> {
    return this.simulation.settle(promise, options);
  }

  /** Ends open calls, then every process: nothing of the cluster runs any more, and nothing real was held. */
  async [Symbol.asyncDispose](): Promise<void> {
    // Not awaited: one that the test is closing already waits for time that will not pass.
    for (const client of this.clients) void client.$close({ timeoutMs: 0 });
    await this.simulation.advance(0);
    for (const name of [...this.hosts(), ...this.clientHosts]) this.simulation.crash(name);
    await this.simulation.advance(0);
  }

  private hosts(): string[] {
    return [...this.targets].flatMap(([name, addresses]) => addresses.map((_, index) => `${name}/${index}`));
  }
}
