import assert from "node:assert/strict";
import { it } from "node:test";
import type { RpcError } from "holdfast";
import type { DedupLine } from "../../test/calls/dedup-peer.ts";
import { inProcess, ofBalancer, ofService, onMachine, type Peers, scene } from "../../test/calls/once-scene.ts";
import type { Random } from "../world/random.ts";
import { seededRandom } from "../world/seeded-random.ts";

const CALLS = 200;
const UNAVAILABLE = { "grpc-status": "14" };
const MISFORTUNES: readonly DedupLine[] = [
  "lose",
  "lose",
  "hang",
  "reset",
  "crash",
  { fails: UNAVAILABLE },
  { isProxied: UNAVAILABLE },
  { refuses: { ...UNAVAILABLE, "holdfast-not-run": "1" } },
  { refuses: { "grpc-status": "8", "grpc-retry-pushback-ms": "20" } },
];

function below(random: Random, bound: number): number {
  return Math.floor(random.float() * bound);
}

/** Calls at random times among peers that fail in every way that a line can, and are started again at random times. */
async function play(count: number, peers: Peers, seed: number) {
  const random = seededRandom(seed);
  const options = { policy: { attemptTimeoutMs: 300, retry: { attemptsMax: 6 } }, budget: { share: 1 } };
  await using s = scene(count, peers, options, seed);
  await s.simulation.advance(1);
  for (let line = 0; line < CALLS; line++) {
    s.lines.push(random.float() < 0.6 ? "answer" : (MISFORTUNES[below(random, MISFORTUNES.length)] as DedupLine));
  }
  const ended = new Map<string, RpcError | undefined>();
  const calls: Promise<void>[] = [];
  for (let call = 0; call < CALLS; call++) {
    const idempotencyKey = `c${call}`;
    calls.push(s.call({ idempotencyKey, timeoutMs: 20_000 }).then((error) => void ended.set(idempotencyKey, error)));
    await s.simulation.advance(below(random, 60));
    for (let index = 0; index < count; index++) {
      if (!s.simulation.isRunning(`p${index}`) && random.float() < 0.1) s.simulation.restart(`p${index}`);
    }
  }
  await Promise.all(calls);
  return { ended, effects: s.log.effects, saved: s.records.filter(({ savedBy }) => savedBy === "dedup").length };
}

const kinds: readonly [name: string, peers: () => Peers][] = [
  ["stores of processes", () => inProcess],
  ["stores of machines", () => onMachine],
  ["one store for all", () => ofService(1)],
  ["two stores of services", () => ofService(2)],
  ["processes behind balancers", () => ofBalancer],
];
for (const [name, peers] of kinds) {
  for (const count of [1, 2, 5]) {
    it(`no once call is done twice, and each that succeeded was done: ${name}, ${count} peers`, async () => {
      let saved = 0;
      for (let seed = 9; seed <= 13; seed++) {
        const { ended, effects, saved: ofSeed } = await play(count, peers(), seed);
        saved += ofSeed;
        assert.equal(ended.size, CALLS);
        const times = new Map<string, number>();
        for (const id of effects) times.set(id, (times.get(id) ?? 0) + 1);
        for (const [id, error] of ended) {
          const done = times.get(id) ?? 0;
          assert.ok(done <= 1, `seed ${seed}: ${id} was done ${done} times`);
          if (error === undefined) assert.equal(done, 1, `seed ${seed}: ${id} succeeded and was not done`);
          if (error?.reached === "no") assert.equal(done, 0, `seed ${seed}: ${id} was done, and it says it was not`);
        }
      }
      if (peers() !== ofBalancer) assert.ok(saved > 0, `${saved} calls were saved`);
    });
  }
}
