/** The client's process of `rolling`: an open loop of calls that may not be repeated, and streams that go on from where they were ended. */
import { type Client, createClient, RpcError } from "holdfast";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";
import { answerCommands } from "./commands.ts";
import { serverHost } from "./contender.ts";
import { Histogram } from "./histogram.ts";
import type { RollingClientCommands, RollingFigures } from "./rolling-commands.ts";

const readyTimeoutMs = 10_000;

class RollingLoad {
  readonly #client: Client<typeof Probe>;
  readonly #latencies = new Histogram();
  readonly #ending = new AbortController();
  readonly #streams: Promise<void>[] = [];
  readonly #failures = new Map<string, number>();
  readonly #streamFaults: string[] = [];
  readonly #idle = Promise.withResolvers<void>();
  #isStopped = false;
  #started = 0;
  #failed = 0;
  #firstFailure: string | undefined = undefined;
  #maxMs = 0;
  #ownStallMsMax = 0;
  #messages = 0;
  #resumed = 0;

  constructor(client: Client<typeof Probe>) {
    this.#client = client;
  }

  start(perSecond: number, streams: number): void {
    for (let number = 0; number < streams; number += 1) this.#streams.push(this.#watch(number));
    const beganAtMs = performance.now();
    const turn = (): void => {
      const elapsedMs = performance.now() - beganAtMs;
      const due = Math.floor((elapsedMs * perSecond) / 1_000) + 1;
      const sleptMs = elapsedMs - (this.#started * 1_000) / perSecond;
      if (!this.#isStopped) this.#ownStallMsMax = Math.max(this.#ownStallMsMax, sleptMs);
      for (; this.#started < due && !this.#isStopped; this.#started += 1) {
        void this.#call(this.#started, beganAtMs + (this.#started * 1_000) / perSecond);
      }
      if (!this.#isStopped) setTimeout(turn, 1);
    };
    turn();
  }

  async stop(): Promise<RollingFigures> {
    this.#isStopped = true;
    this.#ending.abort();
    if (this.#latencies.count === this.#started) this.#idle.resolve();
    await Promise.all([this.#idle.promise, ...this.#streams]);
    return {
      calls: this.#latencies.count,
      failed: this.#failed,
      failures: Object.fromEntries(this.#failures),
      firstFailure: this.#firstFailure,
      p50Ms: this.#latencies.quantile(0.5),
      p99Ms: this.#latencies.quantile(0.99),
      maxMs: this.#maxMs,
      ownStallMsMax: this.#ownStallMsMax,
      messages: this.#messages,
      resumed: this.#resumed,
      streamFaults: this.#streamFaults.slice(0, 5),
    };
  }

  async #call(number: number, dueMs: number): Promise<void> {
    const body = Buffer.from(String(number));
    try {
      const reply = await this.#client.unary({ body });
      if (Buffer.compare(reply.body, body) !== 0) throw new Error(`${number} came back as another`);
    } catch (error) {
      this.#failed += 1;
      const kind = kindOf(error);
      this.#failures.set(kind, (this.#failures.get(kind) ?? 0) + 1);
      this.#firstFailure ??= error instanceof Error ? `${error.message}\n${inspectFaults(error)}` : String(error);
    }
    const tookMs = performance.now() - dueMs;
    this.#latencies.record(tookMs);
    this.#maxMs = Math.max(this.#maxMs, tookMs);
    if (this.#isStopped && this.#latencies.count === this.#started) this.#idle.resolve();
  }

  /** One long stream: each part begins where the last one said. */
  async #watch(number: number): Promise<void> {
    const { signal } = this.#ending;
    let token: Uint8Array | undefined = Buffer.from("0");
    let next = 0;
    while (!signal.aborted && token !== undefined) {
      const stream = this.#client.download({ body: token }, { signal });
      try {
        for await (const { index } of stream) {
          if (index !== next) throw new Error(`message ${index} came where ${next} was due`);
          next += 1;
          this.#messages += 1;
        }
        token = stream.resumeToken;
        if (token === undefined) this.#streamFaults.push(`stream ${number} ended without a token`);
        else this.#resumed += 1;
      } catch (error) {
        if (!signal.aborted) this.#streamFaults.push(`stream ${number}: ${String(error)}`);
        return;
      }
    }
  }
}

function kindOf(error: unknown): string {
  if (!(error instanceof RpcError)) return String(error);
  const text = error.text.replaceAll(/\d[\d.:]*/g, "N");
  return `${error.code}, reached ${error.reached}: ${text}`;
}

function inspectFaults(error: Error): string {
  return JSON.stringify((error as { faults?: unknown }).faults ?? []);
}

let load: RollingLoad | undefined;

const commands: RollingClientCommands = {
  async connect({ ports, timeoutMs }) {
    const addresses = ports.map((port) => `${serverHost}:${port}`);
    const client = createClient(Probe, addresses, { policy: { retry: false, hedge: false, timeoutMs } });
    await client.$channel.ready({ timeoutMs: readyTimeoutMs });
    load = new RollingLoad(client);
  },
  start({ perSecond, streams }) {
    if (load === undefined) throw new Error("connect before start");
    load.start(perSecond, streams);
    return Promise.resolve();
  },
  stop() {
    if (load === undefined) throw new Error("start before stop");
    return load.stop();
  },
};
answerCommands({ ...commands });
