/** What the main process of the soak asks of its children (see commands.ts for the pipe), and what they say of themselves. */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { nodeWorld } from "../src/world/node.ts";
import { runtimeOf } from "../src/wire/transport/runtime.ts";

/** What a process holds after a full collection. */
export interface SoakSample {
  /** By this process's clock. */
  readonly atMs: number;
  /** Calls that it has begun, as a client or as a server. */
  readonly calls: number;
  /** The heap, and buffers outside of it. */
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Open files and sockets; NaN where /proc is not there. */
  readonly descriptors: number;
  /** What keeps Node's event loop: sockets, timers, pipes. */
  readonly handles: number;
  /** Deadlines that wait in the timer wheel. */
  readonly wheel: number;
  /** Calls that are open. */
  readonly open: number;
  /** User and system time so far. */
  readonly cpuMs: number;
}

export interface SoakDoors {
  readonly plainPort: number;
  readonly tlsPort: number;
}

export interface SoakServerCommands {
  serve(options: { readonly certFile: string; readonly keyFile: string }): Promise<SoakDoors>;
  sample(): Promise<SoakSample>;
  /** Waits until nothing is open, then closes; what is not 0 that should be, in words, and how many calls the end cut. */
  rest(): Promise<{ readonly left: readonly string[]; readonly sample: SoakSample }>;
}

export interface SoakClientCommands {
  /** Begins the load. */
  start(options: {
    readonly port: number;
    readonly caFile: string | undefined;
    readonly perSecond: number;
  }): Promise<void>;
  sample(): Promise<SoakSample>;
  /** Ends the load, waits for what is open, closes the clients. */
  rest(): Promise<SoakTally>;
}

/** What became of a client's calls. */
export interface SoakTally {
  readonly calls: number;
  /** By admission. */
  readonly refused: number;
  /** By deed, how often it was done. */
  readonly deeds: Readonly<Record<string, number>>;
  /** By deed and what came instead of what should: how often. */
  readonly surprises: Readonly<Record<string, number>>;
  /** The same of calls that ended with UNAVAILABLE: on a machine that stands still now and then, servers look dead. */
  readonly unavailable: Readonly<Record<string, number>>;
  /** What is not 0 after the end that should be. */
  readonly left: readonly string[];
  readonly sample: SoakSample;
}

// Collections age code that is seldom run until it is thrown away, and compiled again: megabytes that come and go with our own samples.
setFlagsFromString("--no-flush-bytecode");

/** Takes this process's figures. Needs `--expose-gc`. */
export function takeSample(calls: number, open: number): SoakSample {
  if (globalThis.gc === undefined) throw new Error("start node with --expose-gc");
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return {
    atMs: performance.now(),
    calls,
    heapBytes: heapUsed + external,
    rssBytes: rss,
    descriptors: descriptors(),
    handles: process.getActiveResourcesInfo().length,
    wheel: runtimeOf(nodeWorld).wheel.size,
    open,
    cpuMs: (user + system) / 1_000,
  };
}

function descriptors(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return Number.NaN;
  }
}
