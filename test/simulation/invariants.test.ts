/**
 * Many universes under random faults. A failure names its seed: `HOLDFAST_SEED=123` plays that one alone, and
 * `HOLDFAST_SEEDS=500` plays more of them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Life, playLife } from "./random-faults.ts";

const alone = process.env["HOLDFAST_SEED"];
const count = Number(process.env["HOLDFAST_SEEDS"] ?? "24");
const seeds = alone === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(alone)];

async function playAll(played: readonly number[], isCorrupting: boolean): Promise<readonly Life[]> {
  const lives: Life[] = [];
  for (const seed of played) {
    try {
      lives.push(await playLife(seed, isCorrupting));
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  return lives;
}

test("whatever fails, each call settles once and in time, runs as often as it may, and nothing is left open", async () => {
  const lives = await playAll(seeds, false);
  const calls = lives.reduce((sum, life) => sum + life.calls, 0);
  const succeeded = lives.reduce((sum, life) => sum + (life.outcomes["OK"] ?? 0), 0);
  const recovered = lives.reduce((sum, life) => sum + life.recovered, 0);
  // The storm was one, and what was to survive it did.
  assert.ok(calls > 500 * seeds.length, String(calls));
  assert.ok(succeeded < calls && succeeded > calls * 0.5, `${succeeded} of ${calls}`);
  assert.ok(recovered > 0);
});

test("when bits flip on the way, each call still settles once and in time, and nothing is left open", async () => {
  const lives = await playAll(seeds.slice(0, Math.ceil(seeds.length / 3)), true);
  assert.ok(lives.every(({ calls }) => calls > 300));
});

test("a life can be played again", async () => {
  const seed = seeds[0] ?? 1;
  assert.deepEqual(await playLife(seed, false), await playLife(seed, false));
});
