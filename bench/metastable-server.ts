/**
 * A server's process of `metastable`: some workers of 10 ms each (exponential) behind a queue that is first in, first out and has no end, for
 * which what was given up is work as any other.
 */
import { createServer } from "holdfast";
import { seededRandom } from "../src/world/seeded-random.ts";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";
import { answerCommands } from "./commands.ts";
import type { MetastableServerCommands } from "./metastable-commands.ts";

const serviceMs = 10;
const coldFactor = 4;

let slowFactor = 1;

const commands: MetastableServerCommands = {
  async serve({ port, workers, coldMs }) {
    const random = seededRandom(process.pid);
    const freeAtMs = new Array<number>(workers).fill(0);
    const coldUntilMs = performance.now() + coldMs;
    const server = createServer().service(Probe, {
      unary() {
        const nowMs = performance.now();
        const factor = nowMs < coldUntilMs ? coldFactor : slowFactor;
        let worker = 0;
        for (let i = 1; i < workers; i += 1) if ((freeAtMs[i] ?? 0) < (freeAtMs[worker] ?? 0)) worker = i;
        // 1 - float() is never 0, of which there is no logarithm.
        const endMs = Math.max(freeAtMs[worker] ?? 0, nowMs) - Math.log(1 - random.float()) * serviceMs * factor;
        freeAtMs[worker] = endMs;
        return new Promise((resolve) => setTimeout(() => resolve({}), endMs - nowMs));
      },
      download: () => [],
      upload: () => ({}),
      chat: () => [],
      seen: () => ({}),
      missing: () => ({}),
    });
    return (await server.listen(port)).port;
  },
  slow(factor) {
    slowFactor = factor;
    return Promise.resolve();
  },
};
answerCommands({ ...commands });
