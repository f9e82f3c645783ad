import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { createSwitches } from "holdfast/policy";
import { createCluster } from "holdfast/testing";
import { Metastable, type Trigger, triggers, TROUBLE_S, WARM_S } from "./metastable.ts";

/** `HOLDFAST_SCENARIO_FULL=1`: more seeds, and a minute to look at afterwards. */
const IS_FULL = process.env["HOLDFAST_SCENARIO_FULL"] === "1";
const SEEDS = IS_FULL ? [1, 2, 3, 4, 5, 6, 7, 8] : [1, 2, 3];
const AFTER_S = IS_FULL ? 60 : 10;
/** So long after its end trouble may still be felt. */
const RECOVERY_S = 1;
const GOOD_MIN = 0.95;
const ATTEMPTS_MAX = 1.1;

interface Recovery {
  /** Good calls as a share of the offered ones, by seconds after the end. */
  readonly shares: readonly number[];
  readonly goodBefore: number;
  readonly goodDuring: number;
  /** Attempts for each call that was made before the trouble, and later than a second after it. */
  readonly attemptsOutside: number;
  readonly failures: string;
}

interface World {
  readonly servers: number;
  readonly hasAdmission: boolean;
  readonly switches?: ReturnType<typeof createSwitches>;
}

async function play(trigger: Trigger, seed: number, { servers, hasAdmission, switches }: World): Promise<Recovery> {
  await using cluster = createCluster({ seed });
  const service = new Metastable(cluster, servers, hasAdmission ? undefined : false);
  service.begin(switches === undefined ? {} : { switches });
  await cluster.advance(WARM_S * 1_000);
  await service.trouble(trigger);
  await cluster.advance((AFTER_S + 1) * 1_000);
  const { offered, good, attempts } = service;
  const endS = WARM_S + TROUBLE_S;
  const share = (from: number, until: number): number => good.between(from, until) / offered.between(from, until);
  const outside = (each: typeof offered): number =>
    each.between(0, WARM_S - 1) + each.between(endS + RECOVERY_S, endS + AFTER_S);
  return {
    shares: Array.from({ length: AFTER_S }, (_, second) => share(endS + second, endS + second + 1)),
    // A call of the last moment before it is still on its way when the trouble begins.
    goodBefore: share(0, WARM_S - 1),
    goodDuring: share(WARM_S, endS),
    attemptsOutside: outside(attempts) / outside(offered),
    failures: [...service.failures].map(([text, count]) => `${count} x ${text}`).join(", "),
  };
}

for (const trigger of triggers) {
  it(`${trigger}: 95 % of what is offered is good within a second of the end of the trouble`, async (context: TestContext) => {
    for (const seed of SEEDS) {
      const servers = trigger === "half" ? 2 : 1;
      const recovery = await play(trigger, seed, { servers, hasAdmission: true });
      const shares = recovery.shares.map((share) => share.toFixed(3)).join(" ");
      context.diagnostic(
        `seed ${seed}: ${recovery.goodBefore.toFixed(3)} before, ${recovery.goodDuring.toFixed(3)} during, then ${shares}; ${recovery.attemptsOutside.toFixed(3)} attempts a call outside; ${recovery.failures}`,
      );
      assert.ok(recovery.goodBefore >= GOOD_MIN, `seed ${seed}: before the trouble`);
      assert.ok(recovery.goodDuring < GOOD_MIN, `seed ${seed}: the trouble is felt`);
      assert.ok(
        recovery.shares.slice(RECOVERY_S).every((share) => share >= GOOD_MIN),
        `seed ${seed}: ${shares}`,
      );
      assert.ok(recovery.attemptsOutside <= ATTEMPTS_MAX, `seed ${seed}: ${recovery.attemptsOutside} attempts a call`);
    }
  });
}

it("is a scenario of a metastable failure: where nothing bounds repeats and admission is off, the slow time never ends", async () => {
  const switches = createSwitches({ states: { budget: "off", throttle: "off" } });
  const { shares } = await play("slow", 1, { servers: 1, hasAdmission: false, switches });
  assert.ok(
    shares.slice(-3).every((share) => share < 0.1),
    shares.join(" "),
  );
});
