/**
 * More calls than servers can do, in virtual time: handlers of 10 ms on a timer behind a pool of ten places, first in, first out; calls of each priority that
 * arrive at random, at a rate that changes from stretch to stretch. What is counted: good answers by the ten milliseconds in which they came, and the calls of each stretch.
 */
import { type ChannelOptions, RpcError, type ServerOptions } from "holdfast";
import type { Cluster } from "holdfast/testing";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";

export const PLACES = 10;
export const HANDLER_MS = 10;
/** What one server can do. */
export const PER_SECOND = (PLACES * 1_000) / HANDLER_MS;
export const BIN_MS = 10;
/** An answer that takes up to so many times what it takes unloaded is good. */
const GOOD_FACTOR = 10;
const TIMEOUT_MS = 1_000;

export interface Stretch {
  readonly ms: number;
  readonly perSecond: number;
}

export interface Lane {
  readonly priority: "critical" | "normal" | "sheddable";
  readonly clients: number;
  readonly stretches: readonly Stretch[];
}

export interface Counts {
  offered: number;
  answered: number;
  good: number;
  attempts: number;
}

/** What became of a lane's calls, by the stretch in which they were made. */
export interface LaneCounts {
  readonly stretches: readonly Counts[];
  /** Good answers by the 10 ms in which they came. */
  readonly goodBins: readonly number[];
  readonly failures: ReadonlyMap<string, number>;
}

export class Overload {
  /** Handlers that were begun, by server. */
  readonly begun: number[];
  readonly #cluster: Cluster;
  readonly #random: () => number;

  constructor(cluster: Cluster, servers: number, options: Omit<ServerOptions, "world"> = {}) {
    this.#cluster = cluster;
    this.begun = new Array<number>(servers).fill(0);
    const random = seededRandom(cluster.seed + 0.5);
    this.#random = () => random.float();
    cluster.serve("shop", servers, (server, index) => probe(server, { unary: this.#pool(index) }), options);
  }

  /** Runs all lanes beside each other to their end. */
  async run(lanes: readonly Lane[], options: ChannelOptions = {}, preset?: "none"): Promise<readonly LaneCounts[]> {
    const counts = lanes.map((lane, index) => this.#begin(lane, index, options, preset));
    const totalMs = Math.max(...lanes.map(({ stretches }) => stretches.reduce((sum, { ms }) => sum + ms, 0)));
    await this.#cluster.advance(totalMs + TIMEOUT_MS + 1);
    return counts;
  }

  #begin(lane: Lane, index: number, options: ChannelOptions, preset: "none" | undefined): LaneCounts {
    const stretches = lane.stretches.map(() => ({ offered: 0, answered: 0, good: 0, attempts: 0 }));
    const goodBins: number[] = [];
    const failures = new Map<string, number>();
    const { simulation, world } = this.#cluster;
    const beganMs = simulation.nowMs;
    const policy = preset === undefined ? { timeoutMs: TIMEOUT_MS } : { preset, timeoutMs: TIMEOUT_MS };
    for (let i = 0; i < lane.clients; i++) {
      const host = `${lane.priority}-${index}-${i}`;
      const client = this.#cluster.client(SafeProbe, "shop", { ...options, host, policy });
      const one = async (counts: Counts): Promise<void> => {
        const startMs = simulation.nowMs;
        counts.offered += 1;
        try {
          await client.unary({}, { priority: lane.priority });
        } catch (error) {
          const text = error instanceof RpcError ? `${error.code} ${error.reason ?? ""}` : String(error);
          failures.set(text, (failures.get(text) ?? 0) + 1);
          return;
        }
        counts.answered += 1;
        if (simulation.nowMs - startMs > GOOD_FACTOR * HANDLER_MS) return;
        counts.good += 1;
        const bin = Math.floor((simulation.nowMs - beganMs) / BIN_MS);
        goodBins[bin] = (goodBins[bin] ?? 0) + 1;
      };
      const go = (at: number, leftMs: number): void => {
        const stretch = lane.stretches[at];
        const counts = stretches[at];
        if (stretch === undefined || counts === undefined) return;
        // 1 - float() is never 0, of which there is no logarithm. A gap that reaches beyond its stretch is drawn again: it has no memory.
        const gapMs = (-Math.log(1 - this.#random()) * 1_000 * lane.clients) / stretch.perSecond;
        if (gapMs >= leftMs) {
          world.timers.schedule(leftMs, () => go(at + 1, lane.stretches[at + 1]?.ms ?? 0));
          return;
        }
        world.timers.schedule(gapMs, () => {
          void one(counts);
          go(at, leftMs - gapMs);
        });
      };
      client.$on("call.ended", ({ record }) => {
        let sinceMs = simulation.nowMs - record.tookMs - beganMs;
        const at = lane.stretches.findIndex(({ ms }) => (sinceMs -= ms) < 0);
        const counts = stretches[at];
        if (counts !== undefined) counts.attempts += record.attempts.length;
      });
      go(0, lane.stretches[0]?.ms ?? 0);
    }
    return { stretches, goodBins, failures };
  }

  #pool(index: number) {
    const { simulation } = this.#cluster;
    const world = simulation.host(`shop/${index}`);
    const freeAtMs = new Array<number>(PLACES).fill(0);
    return async (): Promise<Record<string, never>> => {
      const { nowMs } = simulation;
      this.begun[index] = (this.begun[index] as number) + 1;
      let place = 0;
      for (let i = 1; i < PLACES; i++) if ((freeAtMs[i] as number) < (freeAtMs[place] as number)) place = i;
      const endMs = Math.max(freeAtMs[place] as number, nowMs) + HANDLER_MS;
      freeAtMs[place] = endMs;
      await pause(world, endMs - nowMs);
      return {};
    };
  }
}
