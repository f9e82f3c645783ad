import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CallCounters } from "./counters.ts";
import { formatReliability, type ReliabilityRow, reliabilityOf } from "./reliability.ts";
import { wilsonInterval } from "./wilson.ts";

const facts = { service: "shop.v1.Shop", method: "buy", peer: undefined, sinceMs: 1_000, nowMs: 11_000 };

interface End {
  readonly atMs: number;
  readonly isOk: boolean;
  readonly failed?: number;
  readonly losers?: number;
  readonly isCopyWin?: boolean;
}

/** Tells of a call and of its attempts, as a client does. */
function end(counters: CallCounters, { atMs, isOk, failed = 0, losers = 0, isCopyWin = false }: End): void {
  for (let i = 0; i < failed; i += 1) counters.attemptEnded(atMs, false);
  if (isOk) counters.attemptEnded(atMs, true);
  counters.ended(atMs, isOk, failed + losers + (isOk ? 1 : 0), failed, isCopyWin);
}

/** 1,000 calls in 10 s: 985 well at once, 8 after a repeat, 4 by a copy, 3 failed in one outage of 600 ms. */
function busyCounters(): CallCounters {
  const counters = new CallCounters();
  for (let i = 0; i < 985; i += 1) end(counters, { atMs: 1_000 + i, isOk: true });
  for (let i = 0; i < 8; i += 1) end(counters, { atMs: 2_000, isOk: true, failed: 1 });
  for (let i = 0; i < 3; i += 1) end(counters, { atMs: 2_000, isOk: true, losers: 1, isCopyWin: true });
  for (let i = 0; i < 3; i += 1) end(counters, { atMs: 3_000 + 100 * i, isOk: false, failed: 3 });
  end(counters, { atMs: 3_600, isOk: true, failed: 1, isCopyWin: true });
  return counters;
}

describe("the reliability of a method", () => {
  it("is what the formulas say", () => {
    const row = reliabilityOf(busyCounters(), facts);
    assert.deepEqual(row, {
      service: "shop.v1.Shop",
      method: "buy",
      peer: undefined,
      calls: 1_000,
      failures: 3,
      failureProbability: 0.003,
      reliability: 0.997,
      reliabilityInterval: wilsonInterval(997, 1_000),
      attemptReliability: 997 / (997 + 18),
      attemptReliabilityInterval: wilsonInterval(997, 1_015),
      callsPerFailure: 1_000 / 3,
      recoveredShare: 9 / 18,
      recoveryProbability: 9 / 12,
      throughputPerSecond: 100,
      mtbfMs: 9_400,
      mttrMs: 600,
      extraLoadShare: 1_018 / 1_000 - 1,
      saved: { retry: 8, hedge: 4 },
    });
  });

  it("before the first call is 1 with an interval that says that nothing is known", () => {
    for (const nowMs of [1_000, 11_000]) {
      const row = reliabilityOf(new CallCounters(), { ...facts, nowMs });
      assert.deepEqual(row, {
        ...{ service: "shop.v1.Shop", method: "buy", peer: undefined, calls: 0, failures: 0 },
        ...{ failureProbability: 0, reliability: 1, reliabilityInterval: [0, 1] },
        ...{ attemptReliability: 1, attemptReliabilityInterval: [0, 1] },
        ...{ callsPerFailure: Infinity, recoveredShare: 1, recoveryProbability: 1, throughputPerSecond: 0 },
        ...{ mtbfMs: Infinity, mttrMs: 0, extraLoadShare: 0, saved: { retry: 0, hedge: 0 } },
      });
    }
  });

  it("counts the outage that goes on, up to now", () => {
    const counters = new CallCounters();
    end(counters, { atMs: 2_000, isOk: true });
    end(counters, { atMs: 8_000, isOk: false, failed: 1 });
    const { mttrMs, mtbfMs } = reliabilityOf(counters, facts);
    assert.deepEqual([mttrMs, mtbfMs], [3_000, 7_000]);
  });

  it("does not count an outage for longer than it was looked at", () => {
    const counters = new CallCounters();
    end(counters, { atMs: 500, isOk: false, failed: 1 });
    const { mttrMs, mtbfMs } = reliabilityOf(counters, facts);
    assert.deepEqual([mttrMs, mtbfMs], [10_000, 0]);
  });

  it("takes a call that was refused before any attempt for a failure of the call and of no attempt", () => {
    const counters = new CallCounters();
    end(counters, { atMs: 2_000, isOk: true });
    end(counters, { atMs: 3_000, isOk: false });
    const row = reliabilityOf(counters, facts);
    assert.deepEqual([row.reliability, row.attemptReliability, row.extraLoadShare], [0.5, 1, -0.5]);
  });

  it("does not take a cancelled loser for a success", () => {
    const counters = new CallCounters();
    // One attempt failed, a copy was cancelled, the third answered: of the two that were judged one did well.
    end(counters, { atMs: 2_000, isOk: true, failed: 1, losers: 1 });
    const { attemptReliability, extraLoadShare } = reliabilityOf(counters, facts);
    assert.deepEqual([attemptReliability, extraLoadShare], [0.5, 2]);
  });

  it("does not count what the caller ended, but for the load that it made", () => {
    const counters = new CallCounters();
    end(counters, { atMs: 2_000, isOk: true });
    counters.endedByCaller(2);
    const row = reliabilityOf(counters, facts);
    assert.deepEqual([row.calls, row.reliability, row.extraLoadShare], [1, 1, 0.5]);
  });

  it("of a peer is that of its attempts", () => {
    const counters = new CallCounters();
    for (let i = 0; i < 10; i += 1) counters.attemptEnded(2_000 + i, i !== 4);
    const row = reliabilityOf(counters, { ...facts, peer: "10.0.0.1:50051" });
    assert.deepEqual(row, {
      ...{ service: "shop.v1.Shop", method: "buy", peer: "10.0.0.1:50051", calls: 10, failures: 1 },
      ...{ failureProbability: 0.1, reliability: 0.9, reliabilityInterval: wilsonInterval(9, 10) },
      ...{ attemptReliability: 0.9, attemptReliabilityInterval: wilsonInterval(9, 10), callsPerFailure: 10 },
      ...{ recoveredShare: 0, recoveryProbability: 0, throughputPerSecond: 1, mtbfMs: 9_999, mttrMs: 1 },
      ...{ extraLoadShare: 0, saved: { retry: 0, hedge: 0 } },
    });
  });

  it("has no figure that is NaN, negative where it cannot be, or in contradiction with another", () => {
    const anyEnd = fc.record({
      afterMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
      isOk: fc.boolean(),
      failed: fc.nat({ max: 3 }),
      losers: fc.nat({ max: 2 }),
      isCopyWin: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(anyEnd, { maxLength: 50 }),
        fc.double({ min: 0, max: 1_000, noNaN: true }),
        (ends, restMs) => {
          const counters = new CallCounters();
          let nowMs = facts.sinceMs;
          for (const { afterMs, isOk, failed, losers, isCopyWin } of ends) {
            nowMs += afterMs;
            counters.ended(nowMs, isOk, failed + losers + (isOk ? 1 : 0), failed, isOk && isCopyWin);
          }
          const row = reliabilityOf(counters, { ...facts, nowMs: nowMs + restMs });
          assertSound(row, nowMs + restMs - facts.sinceMs);
        },
      ),
    );
  });
});

function assertSound(row: ReliabilityRow, spanMs: number): void {
  for (const [name, figure] of Object.entries(row).filter(([, value]) => typeof value === "number"))
    assert.ok((figure as number) >= (name === "extraLoadShare" ? -1 : 0), `${name} is ${figure}`);
  const [low, high] = row.reliabilityInterval;
  assert.ok(0 <= low && low <= row.reliability + 1e-12 && row.reliability <= high + 1e-12 && high <= 1);
  const [attemptLow, attemptHigh] = row.attemptReliabilityInterval;
  assert.ok(attemptLow <= row.attemptReliability + 1e-12 && row.attemptReliability <= attemptHigh + 1e-12);
  assert.ok(row.recoveredShare <= 1 && row.recoveryProbability <= 1 && row.attemptReliability <= 1);
  assert.ok(row.saved.retry + row.saved.hedge <= row.calls - row.failures);
  // Availability by time: the two means divide the whole time among them.
  if (row.mtbfMs !== Infinity) {
    const outages = spanMs / (row.mtbfMs + row.mttrMs);
    assert.ok(spanMs === 0 || Math.abs(outages - Math.round(outages)) < 1e-6, `${outages} outages`);
  }
}

/** 400 attempts at one peer, two of which failed in a row and were over after 50 ms. */
function busyPeer(): CallCounters {
  const counters = new CallCounters();
  for (let i = 0; i < 397; i += 1) counters.attemptEnded(1_000 + i, true);
  for (const atMs of [2_000, 2_010]) counters.attemptEnded(atMs, false);
  counters.attemptEnded(2_050, true);
  return counters;
}

describe("the table for people", () => {
  it("has a line for each row under a line of titles, in columns", () => {
    const quiet = reliabilityOf(new CallCounters(), { ...facts, method: "find" });
    const peer = reliabilityOf(busyPeer(), { ...facts, peer: "10.0.0.1:50051" });
    const table = formatReliability([reliabilityOf(busyCounters(), facts), quiet, peer]);
    assert.deepEqual(table.split("\n"), [
      "method             peer            calls  failures  reliability       95 % interval  per attempt  saved by          extra load  calls/s   MTBF    MTTR",
      "shop.v1.Shop/buy   all              1000         3      99.70 %  99.12 % .. 99.90 %       98.2 %  retry 8, hedge 4     +1.80 %    100.0  9.4 s  600 ms",
      "shop.v1.Shop/find  all                 0         0            -                   -            -  -                          -      0.0      -       -",
      "shop.v1.Shop/buy   10.0.0.1:50051    400         2      99.50 %   98.2 % .. 99.86 %      99.50 %  -                        0 %     40.0  9.9 s   50 ms",
    ]);
    assert.equal(formatReliability([]), "no calls were counted");
  });

  it("never rounds a failure away, nor the last success", () => {
    const cell = (failures: number, calls: number): string => {
      const counters = new CallCounters();
      counters.calls = calls;
      counters.failures = failures;
      const [titles = "", line = ""] = formatReliability([reliabilityOf(counters, facts)]).split("\n");
      const end = titles.indexOf("reliability") + "reliability".length;
      return line.slice(0, end).split("  ").at(-1)?.trim() ?? "";
    };
    assert.equal(cell(0, 1_000_000), "100 %");
    assert.equal(cell(1, 4), "75.0 %");
    assert.equal(cell(1, 1_000_000), "99.99990 %");
    assert.equal(cell(1, 10_000_000_000_000), ">99.999999999 %");
    assert.equal(cell(999_999, 1_000_000), "0.00010 %");
    assert.equal(cell(9_999_999_999_999, 10_000_000_000_000), "<0.000000001 %");
    assert.equal(cell(7, 7), "0 %");
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 1, max: 2 ** 40 }), (failures, answered) => {
        const shown = cell(failures, failures + answered).replace(/[<>]|(?:\.0*)? %$/g, "");
        assert.ok(shown !== "100" && !/^0(\.0*)?$/.test(shown), shown);
      }),
    );
  });

  it("gives times in the unit that people would use", () => {
    const shown = [0.4, 999, 1_000, 90_000, 5_400_000, 129_600_000].map((nowMs) => {
      const counters = new CallCounters();
      end(counters, { atMs: 0, isOk: false, failed: 1 });
      return formatReliability([reliabilityOf(counters, { ...facts, sinceMs: 0, nowMs })]).match(/[\d.]+ \w+$/)?.[0];
    });
    assert.deepEqual(shown, ["0 ms", "999 ms", "1.0 s", "1.5 min", "1.5 h", "1.5 d"]);
  });
});
