/** A process of `slow-peer` with several servers, each on a port of its own; a call takes a normally distributed time, by timer. */
import { createServer } from "holdfast";
import { normalMs } from "../test/scenarios/draws.ts";
import { seededRandom } from "../src/world/seeded-random.ts";
import { answerCommands } from "./commands.ts";
import { Bench } from "./gen/bench/v1/bench_pb.ts";
import { numberedItems } from "./items.ts";
import type { SlowServerCommands } from "./slow-peer-commands.ts";

const meanMs = 167;
const deviationMs = 5;

interface Listening {
  /** Undefined: as fast as usual. */
  slowMs: number | undefined;
  handled: number;
  handledWhileSlow: number;
}

const servers: Listening[] = [];

const commands: SlowServerCommands = {
  listen: ({ count, seed }) => Promise.all(Array.from({ length: count }, (_, index) => listen(seed + index))),
  slow({ index, slowMs }) {
    const server = servers[index];
    if (server === undefined) throw new RangeError(`there is no server ${index}`);
    server.slowMs = slowMs;
    return Promise.resolve();
  },
  handled: () =>
    Promise.resolve({
      handled: servers.reduce((sum, { handled }) => sum + handled, 0),
      handledWhileSlow: servers.reduce((sum, { handledWhileSlow }) => sum + handledWhileSlow, 0),
    }),
};
answerCommands({ ...commands });

async function listen(seed: number): Promise<number> {
  const random = seededRandom(seed);
  const state: Listening = { slowMs: undefined, handled: 0, handledWhileSlow: 0 };
  servers.push(state);
  const server = createServer().service(Bench, {
    add({ a, b }) {
      state.handled += 1;
      if (state.slowMs !== undefined) state.handledWhileSlow += 1;
      const tookMs = state.slowMs ?? normalMs(random, meanMs, deviationMs);
      return new Promise((resolve) => setTimeout(() => resolve({ result: a + b }), tookMs));
    },
    placeOrder: (order) => order,
    echo: (blob) => blob,
    down: ({ count, size }) => numberedItems(count, size),
    up: () => ({ result: 0 }),
    both: (items) => items,
  });
  const { port } = await server.listen(0);
  return port;
}
