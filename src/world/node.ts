/**
 * The real world: the one adapter in which clocks, timers, chance, sockets and files are Node's. Nothing is done at
 * import; no other room may touch these globals.
 */
import { randomFillSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createNodeNetwork } from "./node-network.ts";
import { nodeTimers } from "./node-timers.ts";
import type { Random } from "./random.ts";
import { randomFromState } from "./seeded-random.ts";
import type { World } from "./world.ts";

/** Chance whose seed comes from node:crypto when the first number is asked for. */
class NodeRandom implements Random {
  private source: Random | undefined;

  uint32(): number {
    return (this.source ?? this.seed()).uint32();
  }

  float(): number {
    return (this.source ?? this.seed()).float();
  }

  private seed(): Random {
    const words = randomFillSync(new Int32Array(4));
    this.source = randomFromState(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0);
    return this.source;
  }
}

/**
 * The world as it is: `performance.now()` and `Date.now()`, timers that never keep the process alive, random numbers
 * seeded from node:crypto, node:net and node:tls, and the file system.
 */
export const nodeWorld: World = {
  clock: {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
  },
  timers: nodeTimers,
  random: new NodeRandom(),
  network: createNodeNetwork(),
  disk: { readText: (path) => readFile(path, "utf8") },
};
