/**
 * The load: closed loops (a worker awaits call after call, as one writes it) and an open loop (calls start when they are
 * due). Every reply is checked. A worker reads the clock once a call: the end of one is the start of the next.
 */
import type { LoadReport, LoadSpec } from "./commands.ts";
import type { BenchClient, Item } from "./contender.ts";
import { Histogram } from "./histogram.ts";
import { numberedItems } from "./items.ts";
import { order } from "./order.ts";
import { cpuMs } from "./process-figures.ts";

/** Items a stream carries before the next one is opened. */
export const itemsPerStream = 2_000;
/** Characters of an item's text: about 20 bytes a message. */
export const itemTextSize = 14;
/** Size of a large message. */
export const blobBytes = 1024 * 1024;
/** Open loop: beyond this many in flight the rest waits its turn; its latency still counts from when it was due. */
const openInFlightMax = 2_000;
/** More than are ever in flight; a power of two. */
const openRingSize = 65_536;

/** A running load; `begin` and `end` bound the measured window. */
export interface Load {
  begin(): void;
  end(): LoadReport;
  /** Starts no more calls; resolves when those in flight have ended. */
  stop(): Promise<void>;
}

/** What the loops count into. */
class Counters {
  readonly latencies = new Histogram();
  /** Calls or streams that ended well in the window. */
  completed = 0;
  items = 0;
  failed = 0;
  firstFailure: string | undefined = undefined;
  isStopping = false;
  beganAtMs = 0;
  beganCpuMs = 0;

  fail(error: unknown): void {
    this.failed += 1;
    this.firstFailure ??= error instanceof Error ? (error.stack ?? String(error)) : String(error);
  }
}

/** Starts the load on all clients, workers dealt out to them in turn. It goes on until stopped. */
export function startLoad(clients: readonly BenchClient[], spec: LoadSpec): Load {
  const counters = new Counters();
  let recordUnfinished = (_now: number): number => 0;
  const workers: Promise<void>[] = [];
  if (spec.perSecond === undefined) {
    for (let worker = 0; worker < spec.concurrency; worker += 1) {
      const client = clients[worker % clients.length];
      if (client === undefined) throw new Error("connect before start");
      workers.push(closedLoops[spec.kind](client, counters).catch((error: unknown) => counters.fail(error)));
    }
  } else {
    const [client] = clients;
    if (client === undefined) throw new Error("connect before start");
    const loop = new OpenLoop(client, counters, spec.perSecond);
    recordUnfinished = (now) => loop.recordUnfinished(now);
    workers.push(loop.run());
  }
  return {
    begin(): void {
      counters.latencies.reset();
      counters.completed = 0;
      counters.items = 0;
      counters.beganCpuMs = cpuMs();
      counters.beganAtMs = performance.now();
    },
    end: () => report(counters, recordUnfinished),
    async stop(): Promise<void> {
      counters.isStopping = true;
      await Promise.all(workers);
    },
  };
}

function report(counters: Counters, recordUnfinished: (now: number) => number): LoadReport {
  const now = performance.now();
  const unfinished = recordUnfinished(now);
  return {
    elapsedMs: now - counters.beganAtMs,
    cpuMs: cpuMs() - counters.beganCpuMs,
    calls: counters.completed,
    items: counters.items,
    p50Ms: counters.latencies.quantile(0.5),
    p99Ms: counters.latencies.quantile(0.99),
    failed: counters.failed,
    firstFailure: counters.firstFailure,
    unfinished,
  };
}

const closedLoops: Readonly<Record<LoadSpec["kind"], (client: BenchClient, counters: Counters) => Promise<void>>> = {
  async add(client, counters) {
    let startMs = performance.now();
    for (let a = 0; !counters.isStopping; a = (a + 1) & 0xffff) {
      const { result } = await client.add({ a, b: 2 });
      if (result !== a + 2) throw new Error(`${a} + 2 came back as ${result}`);
      startMs = finished(counters, startMs);
    }
  },
  async order(client, counters) {
    let startMs = performance.now();
    while (!counters.isStopping) {
      const { id, items } = await client.placeOrder();
      if (id !== order.id || items.length !== order.items.length) throw new Error("another order came back");
      startMs = finished(counters, startMs);
    }
  },
  async echo(client, counters) {
    const data = new Uint8Array(blobBytes).fill(7);
    let startMs = performance.now();
    while (!counters.isStopping) {
      const reply = await client.echo({ data });
      if (reply.data.length !== blobBytes || reply.data[blobBytes - 1] !== 7) throw new Error("another blob came back");
      startMs = finished(counters, startMs);
    }
  },
  async down(client, counters) {
    let startMs = performance.now();
    while (!counters.isStopping) {
      const check = inOrder(counters);
      await client.down({ count: itemsPerStream, size: itemTextSize }, check.take);
      check.assertAll();
      startMs = finished(counters, startMs);
    }
  },
  async up(client, counters) {
    const sum = (itemsPerStream * (itemsPerStream - 1)) / 2;
    let startMs = performance.now();
    while (!counters.isStopping) {
      const { result } = await client.up(numberedItems(itemsPerStream, itemTextSize));
      if (result !== sum) throw new Error(`the indexes' sum came back as ${result}, not ${sum}`);
      startMs = finished(counters, startMs);
    }
  },
  async both(client, counters) {
    let startMs = performance.now();
    while (!counters.isStopping) {
      const check = inOrder(counters);
      await client.both(numberedItems(itemsPerStream, itemTextSize), check.take);
      check.assertAll();
      startMs = finished(counters, startMs);
    }
  },
};

function finished(counters: Counters, startMs: number): number {
  const now = performance.now();
  counters.latencies.record(now - startMs);
  counters.completed += 1;
  return now;
}

/** Counts the items of one stream and checks that they come in order, none missing. */
function inOrder(counters: Counters): { take(item: Item): void; assertAll(): void } {
  let expected = 0;
  return {
    take({ index, text }): void {
      if (index !== expected || text.length !== itemTextSize) throw new Error(`item ${index} came, not ${expected}`);
      expected += 1;
      counters.items += 1;
    },
    assertAll(): void {
      if (expected !== itemsPerStream) throw new Error(`a stream ended after ${expected} of ${itemsPerStream} items`);
    },
  };
}

/**
 * Starts calls when they are due. The loop spins by `setImmediate`, since timers are too coarse: the client's CPU figure
 * is the pacing's, not the contender's.
 */
class OpenLoop {
  readonly #client: BenchClient;
  readonly #counters: Counters;
  readonly #perMs: number;
  readonly #startedAtMs = performance.now();
  /** When each call in flight was due, by its number; NaN once it has ended. */
  readonly #dueMs = new Float64Array(openRingSize).fill(Number.NaN);
  #started = 0;
  #inFlight = 0;
  readonly #ended = Promise.withResolvers<void>();
  readonly #turn = (): void => {
    if (this.#counters.isStopping) {
      if (this.#inFlight === 0) this.#ended.resolve();
      else setImmediate(this.#turn);
      return;
    }
    const due = Math.floor((performance.now() - this.#startedAtMs) * this.#perMs);
    while (this.#started < due && this.#inFlight < openInFlightMax) this.#start();
    setImmediate(this.#turn);
  };

  constructor(client: BenchClient, counters: Counters, perSecond: number) {
    this.#client = client;
    this.#counters = counters;
    this.#perMs = perSecond / 1_000;
  }

  run(): Promise<void> {
    this.#turn();
    return this.#ended.promise;
  }

  /** Records the age of each call that is due and has not ended; says how many there are. */
  recordUnfinished(now: number): number {
    let unfinished = 0;
    const record = (dueMs: number): void => {
      // NaN, a slot without a call, is neither before nor after.
      if (!(dueMs >= this.#counters.beganAtMs && dueMs <= now)) return;
      unfinished += 1;
      this.#counters.latencies.record(now - dueMs);
    };
    for (const dueMs of this.#dueMs) record(dueMs);
    const due = Math.floor((now - this.#startedAtMs) * this.#perMs);
    for (let call = this.#started; call < due; call += 1) record(this.#dueAt(call));
    return unfinished;
  }

  #dueAt(call: number): number {
    return this.#startedAtMs + (call + 1) / this.#perMs;
  }

  #start(): void {
    const call = this.#started;
    const slot = call & (openRingSize - 1);
    const a = call & 0xffff;
    const dueMs = this.#dueAt(call);
    this.#dueMs[slot] = dueMs;
    this.#started += 1;
    this.#inFlight += 1;
    this.#client.add({ a, b: 2 }).then(
      ({ result }) => {
        this.#end(slot);
        if (result !== a + 2) this.#counters.fail(new Error(`${a} + 2 came back as ${result}`));
        this.#counters.completed += 1;
        // The latency of a call that was due before the window's begin belongs to the warm-up.
        if (dueMs >= this.#counters.beganAtMs) this.#counters.latencies.record(performance.now() - dueMs);
      },
      (error: unknown) => {
        this.#end(slot);
        this.#counters.fail(error);
      },
    );
  }

  #end(slot: number): void {
    this.#inFlight -= 1;
    this.#dueMs[slot] = Number.NaN;
  }
}
