/**
 * A deployment: each server in turn is ended by SIGTERM and started again on its port, while calls run that may not be repeated. A server tells
 * its clients which of their calls is the last one that it takes, so that all others go elsewhere and have not been begun; and it tells its
 * streams, which end with a token from which another server goes on.
 */
import type { Client } from "holdfast";
import { type Calculator, Memory } from "../gen/calc/v1/calc_pb.ts";
import { TIMEOUT_MS } from "./load.ts";
import { noted, observed } from "./noted-call.ts";
import { pause } from "./pause.ts";
import type { ServerProcess } from "./server-process.ts";
import type { Tally } from "./tally.ts";

/** Calls in flight that may not be repeated, and how long each lane rests after one. */
const LANES = 8;
const REST_MS = 5;
/** How long they run before the first server ends, and after the last one is back. */
const AROUND_MS = 200;
/** The next server waits for so long at most until the last one answers again. */
const BACK_MS_MAX = 3_000;
const BACK_LOOK_MS = 20;

/** What came of it. */
export interface RollingRestartFacts {
  /** Servers that were ended and run again. */
  readonly restarts: number;
  /** Calls that may not be repeated, without repeats and copies. */
  readonly unrepeatableCalls: number;
  readonly unrepeatableFailed: number;
  /** Streams that their servers ended with a token, and that went on at another one. */
  readonly streamsResumed: number;
}

export class RollingRestart {
  readonly #servers: readonly ServerProcess[];
  readonly #client: Client<typeof Memory>;
  readonly #tally: Tally;
  readonly #handedOverBefore: number;
  #restarts: number;
  #calls: number;
  #failed: number;

  /** The calls go over the channel of `client`. */
  constructor(servers: readonly ServerProcess[], client: Client<typeof Calculator>, tally: Tally) {
    this.#servers = servers;
    this.#client = client.$channel.client(Memory, { policy: { retry: false, hedge: false } });
    this.#tally = tally;
    this.#handedOverBefore = tally.streamsHandedOver;
    this.#restarts = 0;
    this.#calls = 0;
    this.#failed = 0;
  }

  facts(): RollingRestartFacts {
    return {
      restarts: this.#restarts,
      unrepeatableCalls: this.#calls,
      unrepeatableFailed: this.#failed,
      streamsResumed: this.#tally.streamsHandedOver - this.#handedOverBefore,
    };
  }

  /**
   * Runs until all servers have been restarted, however long that takes, or `stop` aborts; calls `begun` before the first one. Rejects if a server
   * does not end in good order, or cannot be started again.
   */
  async run(_forMs: number, begun: () => void, stop: AbortSignal): Promise<void> {
    const over = new AbortController();
    const end = AbortSignal.any([stop, over.signal]);
    const lanes = Promise.all(Array.from({ length: LANES }, (_, lane) => this.#keepRemembering(lane, end)));
    try {
      await pause(AROUND_MS, stop);
      begun();
      for (const [index, server] of this.#servers.entries()) {
        if (stop.aborted) return;
        await server.drain();
        if (stop.aborted) return;
        if (server.state !== "ended") throw new Error(`server ${server.name} did not drain: ${server.lostBy}`);
        await server.start();
        this.#restarts += 1;
        await this.#isBack(index, performance.now(), stop);
      }
      await pause(AROUND_MS, stop);
    } finally {
      over.abort();
      await lanes;
    }
  }

  async #isBack(server: number, sinceMs: number, stop: AbortSignal): Promise<void> {
    const giveUpMs = sinceMs + BACK_MS_MAX;
    while (!stop.aborted && performance.now() < giveUpMs && !this.#tally.timeline.hasAny(server, sinceMs))
      await pause(BACK_LOOK_MS, stop);
  }

  async #keepRemembering(lane: number, end: AbortSignal): Promise<void> {
    const notes = observed(TIMEOUT_MS);
    for (let round = 0; !end.aborted; round += 1) {
      const value = round * LANES + lane;
      const tookMs = await noted("Remember", this.#tally, notes, async (options) => {
        const reply = await this.#client.remember({ value }, options);
        return reply.value === value;
      });
      this.#calls += 1;
      if (tookMs === undefined) this.#failed += 1;
      await pause(REST_MS, end);
    }
  }
}
