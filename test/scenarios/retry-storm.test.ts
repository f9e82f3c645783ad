import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import type { ChannelOptions } from "holdfast";
import { createSwitches } from "holdfast/policy";
import { createCluster } from "holdfast/testing";
import { type Mood, Tiers } from "./tiers.ts";

/** `HOLDFAST_SCENARIO_FULL=1`: ten clients of 100 calls/s and a minute of trouble; else the same shape, smaller, for every day. */
const IS_FULL = process.env["HOLDFAST_SCENARIO_FULL"] === "1";
const PER_SECOND = IS_FULL ? 100 : 20;
const TROUBLE_S = IS_FULL ? 60 : 20;
const WARM_S = 10;
const AFTER_S = 15;
/** So long after its end trouble may still be felt. */
const RECOVERY_S = 5;
const TIMEOUT_MS = 1_000;

interface Storm {
  /** Attempts that arrived at the bottom during the trouble, of calls that were made then. */
  readonly load: number;
  /** Seconds after the trouble, counted from its end, in which fewer than 99 % of the calls were good; before `RECOVERY_S` they may be. */
  readonly badSeconds: readonly number[];
  readonly goodBefore: number;
  readonly goodDuring: number;
}

async function play(mood: Mood, seed: number, options?: ChannelOptions): Promise<Storm> {
  await using cluster = createCluster({ seed });
  const tiers = new Tiers(cluster, options);
  tiers.begin(PER_SECOND, TIMEOUT_MS);
  await cluster.advance(WARM_S * 1_000);
  tiers.mood = mood;
  await cluster.advance(TROUBLE_S * 1_000);
  tiers.mood = "well";
  await cluster.advance(AFTER_S * 1_000 + TIMEOUT_MS);
  const endS = WARM_S + TROUBLE_S;
  const { offered, good, arrived } = tiers;
  const badSeconds: number[] = [];
  for (let second = 0; second < AFTER_S; second++) {
    if (good.at(endS + second) < 0.99 * offered.at(endS + second)) badSeconds.push(second);
  }
  return {
    load: arrived.between(WARM_S, endS) / offered.between(WARM_S, endS),
    badSeconds,
    // A call of the last moment before it is still on its way when the trouble begins.
    goodBefore: good.between(0, WARM_S - 1) / offered.between(0, WARM_S - 1),
    goodDuring: good.between(WARM_S, endS) / offered.between(WARM_S, endS),
  };
}

const MOODS: readonly Exclude<Mood, "well">[] = ["refuses", "hangs", "unavailable"];

for (const mood of MOODS) {
  it(`three tiers whose bottom ${mood}: at most 1.2 times the load arrives there, and all is well within 5 s of its end`, async (context: TestContext) => {
    for (const seed of IS_FULL ? [1] : [1, 2, 3]) {
      const storm = await play(mood, seed);
      context.diagnostic(
        `seed ${seed}: ${storm.load.toFixed(3)} of the offered load arrived; bad seconds after the end: ${storm.badSeconds.join(", ") || "none"}`,
      );
      assert.equal(storm.goodBefore, 1, `seed ${seed}: before the trouble`);
      assert.ok(storm.goodDuring < 0.05, `seed ${seed}: the trouble is felt`);
      assert.ok(storm.load <= 1.2, `seed ${seed}: ${storm.load} times the offered load`);
      assert.ok(
        storm.badSeconds.every((second) => second < RECOVERY_S),
        `seed ${seed}: still bad ${storm.badSeconds.join(", ")} s after the end`,
      );
    }
  });
}

it("is a scenario that shows a storm where nothing bounds repeats: a bottom that is unavailable is called three times as often", async () => {
  const storm = await play("unavailable", 1, {
    switches: createSwitches({ states: { budget: "off", throttle: "off" } }),
  });
  assert.ok(storm.load > 2.5, `${storm.load} times the offered load`);
});
