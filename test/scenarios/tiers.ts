/**
 * Three tiers of servers below ten clients: clients call the front, which calls the middle, which calls the bottom. Calls made by a handler
 * inherit its deadline and what may be repeated. What is offered, what arrives at the bottom and what comes of it is counted by the second.
 */
import { type ChannelOptions, createClient, RpcError } from "holdfast";
import type { Cluster } from "holdfast/testing";
import { forever, pause, probe, type ProbeHandlers, SafeProbe } from "../simulation/probe-cluster.ts";
import { steadyLoad } from "./steady-load.ts";

const CLIENTS = 10;
const REPLICAS = 3;
const BOTTOM_MS = 2;

/** What the bottom does with each call. */
export type Mood = "well" | "refuses" | "hangs" | "unavailable";

/** Events in each second since the beginning. */
export class PerSecond {
  readonly #counts: number[] = [];

  note(atMs: number): void {
    const second = Math.floor(atMs / 1_000);
    this.#counts[second] = this.at(second) + 1;
  }

  at(second: number): number {
    return this.#counts[second] ?? 0;
  }

  between(from: number, until: number): number {
    let sum = 0;
    for (let second = from; second < until; second++) sum += this.at(second);
    return sum;
  }
}

export class Tiers {
  mood: Mood = "well";
  /** Calls by the second in which they were made; of those, the good ones. */
  readonly offered = new PerSecond();
  readonly good = new PerSecond();
  /** Attempts that a handler of the bottom met. */
  readonly arrived = new PerSecond();
  readonly #cluster: Cluster;
  /** Of every client in every tier. */
  readonly #options: ChannelOptions;

  constructor(cluster: Cluster, options: ChannelOptions = {}) {
    this.#cluster = cluster;
    this.#options = options;
    this.#serve("bottom", (index) => this.#bottom(index));
    this.#serve("middle", (index) => this.#through("middle", index, "bottom"));
    this.#serve("front", (index) => this.#through("front", index, "middle"));
  }

  /** Each client makes so many calls a second, for good. */
  begin(perSecond: number, timeoutMs: number): void {
    const { simulation } = this.#cluster;
    for (let index = 0; index < CLIENTS; index++) {
      const host = `client${index}`;
      const client = this.#cluster.client(SafeProbe, "front", { ...this.#options, host, policy: { timeoutMs } });
      const call = async (): Promise<void> => {
        const beganMs = simulation.nowMs;
        this.offered.note(beganMs);
        await client.unary({});
        this.good.note(beganMs);
      };
      steadyLoad(simulation.host(host), perSecond, call, (index * 1_000) / perSecond / CLIENTS);
    }
  }

  #serve(name: string, handler: (index: number) => ProbeHandlers["unary"]): void {
    this.#cluster.serve(name, REPLICAS, (server, index) => probe(server, { unary: handler(index) }));
  }

  #through(tier: string, index: number, below: string): ProbeHandlers["unary"] {
    const world = this.#cluster.simulation.host(`${tier}/${index}`);
    const target = this.#cluster.target(below);
    const client = createClient(SafeProbe, target, { ...this.#options, world, plaintext: true });
    return () => client.unary({});
  }

  #bottom(index: number): ProbeHandlers["unary"] {
    const { simulation } = this.#cluster;
    const world = simulation.host(`bottom/${index}`);
    return async (request, call) => {
      this.arrived.note(simulation.nowMs);
      switch (this.mood) {
        case "refuses":
          throw new RpcError("RESOURCE_EXHAUSTED", "full");
        case "unavailable":
          throw new RpcError("UNAVAILABLE", "not now");
        case "hangs":
          return await forever(request, call);
        case "well":
          await pause(world, BOTTOM_MS, call.signal);
          return {};
      }
    };
  }
}
