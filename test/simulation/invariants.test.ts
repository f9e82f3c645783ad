/**
 * Universes of random faults. A failure names its seed and the command that plays it again; `HOLDFAST_SEED=123` plays that one alone here,
 * `HOLDFAST_SEEDS=500` more of them, and `npm run simulate` is the program for all that is longer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { commitSeed } from "./commit-seed.ts";
import { playUniverse } from "./play-universe.ts";
import { formatReport } from "./report-text.ts";
import { simulate, type SimulateReport } from "./simulate.ts";
import { planUniverse } from "./universe-plan.ts";

const alone = process.env["HOLDFAST_SEED"];
const count = Number(process.env["HOLDFAST_SEEDS"] ?? "8");
const own = commitSeed();
const seeds =
  alone === undefined
    ? [...Array.from({ length: count }, (_, index) => index + 1), ...(own === undefined ? [] : [own])]
    : [Number(alone)];

function play(played: readonly number[]): Promise<SimulateReport> {
  const all = { keep: undefined, stormMs: undefined, cpuSecondsMax: Number.POSITIVE_INFINITY, bug: undefined };
  return simulate({ ...all, seeds: played, shrinks: true, stopsAtFirst: true }, () => {});
}

test("whatever fails, everything that must hold does, at every step", async () => {
  const report = await play(seeds);
  assert.ok(report.passed, formatReport(report));
  // The storms were storms, and the invariants had something to look at.
  if (alone !== undefined) return;
  const { calls, outcomes, recovered, executions } = report;
  const succeeded = outcomes["OK"] ?? 0;
  assert.ok(calls > 500 * seeds.length, String(calls));
  assert.ok(succeeded < calls && succeeded > calls * 0.4, `${succeeded} of ${calls}`);
  assert.ok(recovered > 0 && executions > calls * 0.5, `${recovered} recovered, ${executions} ran`);
});

test("when bits flip on the way, each call still settles once and in time, and nothing is left open", async () => {
  const corrupting = Array.from({ length: 100 }, (_, index) => index + 1).filter(
    (seed) => planUniverse(seed).isCorrupting,
  );
  const report = await play(corrupting.slice(0, 3));
  assert.equal(report.universes, 3);
  assert.ok(report.passed, formatReport(report));
});

test("a universe can be played again", async () => {
  const plan = planUniverse(seeds[0] ?? 1);
  const [first, second] = [await playUniverse(plan), await playUniverse(plan)];
  assert.equal(second.hash, first.hash);
  assert.deepEqual({ ...second }, { ...first });
});
