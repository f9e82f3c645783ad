import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UsageError } from "./options.ts";
import { makeContender, policyContenders } from "./policy-contenders.ts";
import { policyLoads, runPolicyLoad } from "./policy-load.ts";
import { parsePolicyOptions } from "./policy-options.ts";
import { formatPolicyReport, type PolicyRow, reportOf } from "./policy-report.ts";

/** Rows whose calls per millisecond are `rates[name][round]`. */
function rowsOf(rates: Readonly<Record<string, readonly number[]>>): readonly PolicyRow[] {
  return policyLoads.flatMap((load) =>
    policyContenders.flatMap((name) =>
      (rates[name] ?? []).map((rate, round) => {
        return { name, load, round, calls: rate * 1_000, elapsedMs: 1_000, cpuMs: 500, otherCpus: 0 };
      }),
    ),
  );
}

it("a ratio is the median of the rounds' own ratios, and the verdict needs three of them", () => {
  const rates = { protect: [30, 60, 33], "protect-default": [10, 10, 10], cockatiel: [1, 1, 1], opossum: [10, 10, 11] };
  const report = reportOf(rowsOf(rates), {});
  const over = (name: string): readonly number[] =>
    report.ratios
      .filter((ratio) => ratio.of === "protect" && ratio.over === name)
      .map(({ callsPerSecond }) => callsPerSecond.median);
  assert.deepEqual(over("opossum"), [3, 3]);
  assert.deepEqual(over("cockatiel"), [33, 33]);
  assert.equal(report.passed, true);
  assert.equal(reportOf(rowsOf({ ...rates, opossum: [10, 21, 12] }), {}).passed, false);
  const two = Object.fromEntries(Object.entries(rates).map(([name, each]) => [name, each.slice(0, 2)]));
  assert.equal(reportOf(rowsOf(two), {}).passed, undefined);
  assert.match(formatPolicyReport(report), /protect over opossum +3\.00 \(3\.00 \.\. 6\.00\)/);
  assert.match(formatPolicyReport(report), /at least 3 times either in calls\/s, in both loads: passed$/);
});

it("a round without one of the contenders is an error", () => {
  const rows = rowsOf({ protect: [3], "protect-default": [3], cockatiel: [1], opossum: [1] });
  assert.throws(() =>
    reportOf(
      rows.filter(({ name }) => name !== "opossum"),
      {},
    ),
  );
});

it("flags are checked at once", () => {
  assert.deepEqual(parsePolicyOptions(["--json"]), { isJson: true, rounds: 5, seconds: 1, warmUpSeconds: 1 });
  for (const args of [["x"], ["--rounds", "0"], ["--rounds", "1.5"], ["--seconds", ""], ["--fast"]]) {
    assert.throws(() => parsePolicyOptions(args), UsageError, args.join(" "));
  }
});

describe("each contender has the same three features", () => {
  for (const name of policyContenders) {
    it(`${name} repeats: two failures are followed by a third attempt`, async () => {
      let attempts = 0;
      const call = makeContender[name](
        () => (++attempts < 3 ? Promise.reject(new Error("no")) : Promise.resolve(7)),
        1_000,
      );
      assert.equal(await call(), 7);
      assert.equal(attempts, 3);
    });

    it(`${name} stops waiting for work that does not end, three times`, async () => {
      let attempts = 0;
      const call = makeContender[name](() => {
        attempts += 1;
        return new Promise(() => {});
      }, 10);
      // Its own timers keep no process alive.
      const alive = setInterval(() => {}, 1_000);
      await assert.rejects(call());
      clearInterval(alive);
      assert.equal(attempts, 3);
    });

    it(`${name} opens its breaker: after enough failures the work is left alone`, async () => {
      let attempts = 0;
      const call = makeContender[name](() => {
        attempts += 1;
        return Promise.reject(new Error("no"));
      }, 1_000);
      for (let i = 0; i < 3; i += 1) await assert.rejects(call());
      assert.equal(attempts, 5);
    });
  }
});

it("the load counts its calls, and refuses work that is not done", async () => {
  for (const load of policyLoads) {
    const figures = await runPolicyLoad(() => Promise.resolve(1), load, 0.001);
    assert.ok(figures.calls > 0 && figures.elapsedMs > 0);
    await assert.rejects(
      runPolicyLoad(() => Promise.resolve(2), load, 0.001),
      /gave \d+ in all/,
    );
  }
});
