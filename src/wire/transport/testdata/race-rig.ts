/**
 * A race of addresses in virtual time, with everything written down that it asks of its world and leaves under way there.
 */
import assert from "node:assert/strict";
import { NetworkRecorder } from "../../../testing/network-recorder.ts";
import { simulatedNames, type SimulatedNames } from "../../../testing/simulated-names.ts";
import { createSimulation, type Simulation } from "../../../testing/simulation.ts";
import type {
  ClientTlsOptions,
  ListenRequest,
  Network,
  Socket,
  SocketAddress,
  SocketEvents,
} from "../../../world/network.ts";
import type { Timer } from "../../../world/timers.ts";
import type { World } from "../../../world/world.ts";
import { connectRacing, type RacingOptions } from "../happy-eyeballs.ts";

export const PLAIN = { tls: undefined, alpn: [] } as const;
export const SHOP: SocketAddress = { kind: "tcp", host: "shop.test", port: 80 };

/** A dial as the network was asked for it. */
export interface Dial {
  readonly host: string;
  readonly atMs: number;
  outcome: "running" | "opened" | "closed";
}

/** A world that writes down what is asked of it, and what of that is still under way. */
export class Ledger {
  readonly dials: Dial[] = [];
  readonly world: World;
  resolves = 0;
  /** Timers that wait, look-ups that somebody still wants the answer of. */
  readonly timers = new Set<Timer>();
  readonly questions = new Set<object>();
  timersMade = 0;

  constructor(world: World, nowMs: () => number) {
    this.world = {
      ...world,
      timers: { ...world.timers, schedule: (delayMs, callback) => this.schedule(world, delayMs, callback) },
      network: {
        ...world.network,
        connect: (address, options, events) => {
          const host = address.kind === "tcp" ? address.host : address.path;
          const dial: Dial = { host, atMs: nowMs(), outcome: "running" };
          this.dials.push(dial);
          return world.network.connect(address, options, noting(dial, events));
        },
        resolve: (host, done) => this.resolve(world.network, host, done),
      },
    };
  }

  get hosts(): readonly string[] {
    return this.dials.map(({ host }) => host);
  }
  get timesMs(): readonly number[] {
    return this.dials.map(({ atMs }) => atMs);
  }
  /** How many dials stand so. */
  count(outcome: Dial["outcome"]): number {
    return this.dials.filter((dial) => dial.outcome === outcome).length;
  }

  private schedule(world: World, delayMs: number, callback: () => void): Timer {
    const inner = world.timers.schedule(delayMs, () => {
      this.timers.delete(timer);
      callback();
    });
    const timer: Timer = {
      cancel: () => {
        this.timers.delete(timer);
        inner.cancel();
      },
    };
    this.timersMade++;
    this.timers.add(timer);
    return timer;
  }

  private resolve(network: Network, host: string, done: Parameters<Network["resolve"]>[1]): () => void {
    const question = {};
    this.resolves++;
    this.questions.add(question);
    const cancel = network.resolve(host, (result) => {
      this.questions.delete(question);
      done(result);
    });
    return () => {
      this.questions.delete(question);
      cancel();
    };
  }
}

function noting(dial: Dial, events: SocketEvents): SocketEvents {
  return {
    opened: () => {
      dial.outcome = "opened";
      events.opened();
    },
    data: (bytes) => events.data(bytes),
    drained: () => events.drained(),
    ended: () => events.ended(),
    closed: (error) => {
      dial.outcome = "closed";
      events.closed(error);
    },
  };
}

/** A simulation in which a packet takes 1 ms between any two hosts, and a name server too. */
export class RaceRig {
  readonly simulation: Simulation;
  readonly names: SimulatedNames;
  readonly ledger: Ledger;
  readonly owner: NetworkRecorder;

  constructor(react: Partial<SocketEvents> = {}) {
    this.simulation = createSimulation({ seed: 5, link: { latencyMs: 1, jitterMs: 0 } });
    const world = this.simulation.host("client");
    this.names = simulatedNames(world);
    this.ledger = new Ledger(world, () => this.simulation.nowMs);
    this.owner = new NetworkRecorder(react);
  }

  /** A server at `address`, `latencyMs` away; gives back what its only connection tells it. */
  async serve(address: string, latencyMs = 1, tls?: ListenRequest["tls"]): Promise<NetworkRecorder> {
    const server = new NetworkRecorder();
    const host = `at ${address}`;
    this.names.place(address, { host });
    this.simulation.link("client", host, { latencyMs });
    const request: ListenRequest = {
      address: { kind: "tcp", host: "0.0.0.0", port: 80 },
      tls,
      alpn: [],
      handshakeTimeoutMs: 60_000,
      accept: (socket) => {
        server.socket = socket;
        return server;
      },
      failed: (error) => assert.fail(error.text),
    };
    const before = this.simulation.nowMs;
    await this.simulation.settle(this.simulation.host(host).network.listen(request));
    assert.equal(this.simulation.nowMs, before);
    return server;
  }

  /** A host at `address`, where nobody listens: it refuses after two `latencyMs`. */
  refuse(address: string, latencyMs: number): void {
    const host = `at ${address}`;
    this.names.place(address, { host });
    this.simulation.link("client", host, { latencyMs });
  }

  /** Races to these addresses. */
  race(addresses: readonly string[], options: Partial<RacingOptions> = {}): Socket {
    if (addresses.length > 0) this.names.set("shop.test", addresses);
    return connectRacing(this.ledger.world, SHOP, { ...PLAIN, ...options }, this.owner);
  }

  advance(ms: number): Promise<void> {
    return this.simulation.advance(ms);
  }

  /** Fails unless nothing is under way, at this instant, but sockets that are open: `open` of them. */
  async assertQuiet(open: number): Promise<void> {
    const { ledger } = this;
    assert.deepEqual([ledger.timers.size, ledger.questions.size], [0, 0], "timers, look-ups");
    await this.advance(0);
    assert.deepEqual([ledger.count("running"), ledger.count("opened")], [0, open], "dials, open sockets");
  }

  opened(): Promise<void> {
    return this.simulation.settle(this.owner.saw("opened"));
  }
  closed(): Promise<void> {
    return this.simulation.settle(this.owner.saw("closed"), { limitMs: 1_000_000 });
  }
}

export function serverTls(clientCert: "require" | "none"): NonNullable<ListenRequest["tls"]> {
  return { cert: "", key: "", clientCa: undefined, clientCert };
}

export function clientTls(): ClientTlsOptions {
  return { ca: undefined, cert: undefined, key: undefined, serverName: undefined };
}

/** All methods of a closed socket may be called. */
export function assertDoesNothing(rig: RaceRig, socket: Socket): void {
  const before = [...rig.owner.happenings];
  const dials = rig.ledger.dials.length;
  socket.write(Buffer.from("x"));
  socket.writeAll([Buffer.from("y")]);
  socket.pause();
  socket.resume();
  socket.end();
  socket.destroy();
  assert.equal(socket.queuedBytes, 0);
  assert.deepEqual(rig.owner.happenings, before);
  assert.equal(rig.ledger.dials.length, dials);
}
