/**
 * One service of ten workers, 10 ms each (exponential), behind a queue that is first in, first out and has no end, at 0.7 of what it can do; calls
 * that arrive at random, of ten clients with 1 s each; ten seconds of trouble (reliability.md 3.4; Bronson et al., HotOS 2021; Huang et al., OSDI
 * 2022). What keeps such a system down after its trouble is over is its own repeats and its own queue: neither may.
 */
import { type ChannelOptions, RpcError, type ServerOptions } from "holdfast";
import type { Cluster } from "holdfast/testing";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { PerSecond } from "./tiers.ts";

export const WORKERS = 10;
const SERVICE_MS = 10;
const CLIENTS = 10;
const TIMEOUT_MS = 1_000;
/** What is offered, as a share of what the workers can do. */
const LOAD = 0.7;
const SLOW_FACTOR = 4;
const SPIKE_FACTOR = 2;
export const WARM_S = 5;
export const TROUBLE_S = 10;
const COLD_MS = 1_000;

/** What happens to the service for {@link TROUBLE_S} seconds. */
export const triggers = ["slow", "spike", "partition", "restart", "half"] as const;
export type Trigger = (typeof triggers)[number];

/** The service, its clients, and what became of the calls by the second in which they were made. */
export class Metastable {
  readonly offered = new PerSecond();
  /** Answered within the second that they had. */
  readonly good = new PerSecond();
  readonly attempts = new PerSecond();
  /** The failures of the calls made in a second, by what they say. */
  readonly failures = new Map<string, number>();
  readonly #cluster: Cluster;
  readonly #servers: number;
  readonly #random: () => number;
  #serviceFactor = 1;
  #loadFactor = 1;
  readonly #coldUntilMs: number[] = [];

  /** With several servers the workers are divided among them. */
  constructor(cluster: Cluster, servers: number, admission: ServerOptions["admission"]) {
    this.#cluster = cluster;
    this.#servers = servers;
    const random = seededRandom(cluster.seed);
    this.#random = () => random.float();
    cluster.serve("shop", servers, (server, index) => probe(server, { unary: this.#pool(index) }), { admission });
  }

  /** Calls begin, for good. */
  begin(options: ChannelOptions = {}): void {
    for (let index = 0; index < CLIENTS; index++) {
      const client = this.#cluster.client(SafeProbe, "shop", {
        ...options,
        host: `client${index}`,
        policy: { timeoutMs: TIMEOUT_MS },
      });
      client.$on("call.ended", ({ record }) => {
        const beganMs = this.#cluster.simulation.nowMs - record.tookMs;
        for (const _ of record.attempts) this.attempts.note(beganMs);
      });
      this.#arrivals(() => client.unary({}));
    }
  }

  /** The trouble, from now on; resolves when it is over. */
  async trouble(trigger: Trigger): Promise<void> {
    const { simulation } = this.#cluster;
    const troubleMs = TROUBLE_S * 1_000;
    switch (trigger) {
      case "slow":
        this.#serviceFactor = SLOW_FACTOR;
        break;
      case "spike":
        this.#loadFactor = SPIKE_FACTOR;
        break;
      case "partition":
        for (let index = 0; index < CLIENTS; index++) {
          this.#cluster.inject({ kind: "partition", between: [`client${index}`, "shop"], forMs: troubleMs });
        }
        break;
      case "restart":
        // It is back a second before the end of the trouble, and cold until then.
        this.#cluster.inject({ kind: "restart", peer: "shop", forMs: troubleMs - COLD_MS });
        for (let index = 0; index < this.#servers; index++) this.#coldUntilMs[index] = simulation.nowMs + troubleMs;
        break;
      case "half":
        for (let index = 0; index < this.#servers / 2; index++) {
          this.#cluster.inject({ kind: "restart", peer: `shop/${index}`, forMs: troubleMs });
        }
        break;
    }
    await this.#cluster.advance(troubleMs);
    this.#serviceFactor = 1;
    this.#loadFactor = 1;
  }

  #pool(index: number) {
    const { simulation } = this.#cluster;
    const world = simulation.host(`shop/${index}`);
    const freeAtMs = new Array<number>(WORKERS / this.#servers).fill(0);
    return async (): Promise<Record<string, never>> => {
      const { nowMs } = simulation;
      let worker = 0;
      for (let i = 1; i < freeAtMs.length; i++) {
        if ((freeAtMs[i] as number) < (freeAtMs[worker] as number)) worker = i;
      }
      const isCold = nowMs < (this.#coldUntilMs[index] ?? 0);
      const factor = isCold ? SLOW_FACTOR : this.#serviceFactor;
      // 1 - float() is never 0, of which there is no logarithm. What has been given up stays work: the pool knows nothing better.
      const endMs = Math.max(freeAtMs[worker] as number, nowMs) - Math.log(1 - this.#random()) * SERVICE_MS * factor;
      freeAtMs[worker] = endMs;
      await pause(world, endMs - nowMs);
      return {};
    };
  }

  #arrivals(call: () => Promise<unknown>): void {
    const { simulation, world } = this.#cluster;
    const perMs = (LOAD * WORKERS) / SERVICE_MS / CLIENTS;
    const one = async (): Promise<void> => {
      const beganMs = simulation.nowMs;
      this.offered.note(beganMs);
      try {
        await call();
        this.good.note(beganMs);
      } catch (error) {
        const text = error instanceof RpcError ? `${error.code} ${error.reason ?? ""}` : String(error);
        this.failures.set(text, (this.failures.get(text) ?? 0) + 1);
      }
    };
    const next = (): void => {
      void one();
      world.timers.schedule(-Math.log(1 - this.#random()) / (perMs * this.#loadFactor), next);
    };
    world.timers.schedule(-Math.log(1 - this.#random()) / perMs, next);
  }
}
