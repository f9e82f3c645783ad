import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { failure } from "../src/call/error.ts";
import { UsageError } from "./options.ts";
import { isSound, missedOf } from "./overload.ts";
import { floodFigures, overheadUs, priorityFigures, stepFigures } from "./overload-figures.ts";
import type { PhaseFigures } from "./overload-commands.ts";
import { PhaseTally, Schedule } from "./overload-load.ts";
import { parseOverloadOptions } from "./overload-options.ts";

const phase: PhaseFigures = {
  offered: 0,
  answered: 0,
  good: 0,
  refused: 0,
  failed: 0,
  firstFailure: undefined,
  p50Ms: 0,
  p99Ms: 0,
  maxMs: 0,
};

describe("the options of overload", () => {
  it("are short where nothing is said", () => {
    assert.deepEqual(parseOverloadOptions([]), {
      isJson: false,
      seconds: 5,
      steps: 10,
      connections: 4,
      kinds: ["timer", "cpu"],
      contenders: ["holdfast"],
    });
    assert.deepEqual(parseOverloadOptions(["--handlers", "cpu", "--contenders=no-admission"]).kinds, ["cpu"]);
  });

  it("refuse what cannot be, and say what can", () => {
    assert.throws(() => parseOverloadOptions(["--handlers", "disk"]), /no handler "disk"; there are timer, cpu/);
    assert.throws(() => parseOverloadOptions(["--contenders", "grpc-js"]), /no contender "grpc-js"/);
    assert.throws(() => parseOverloadOptions(["--steps", "0"]), UsageError);
    assert.throws(() => parseOverloadOptions(["now"]), /takes flags only, got now/);
  });
});

describe("the open loop of overload", () => {
  it("has the rate of each phase, in its time, and ends", () => {
    const schedule = new Schedule({
      priority: "normal",
      seed: 3,
      phases: [
        { ms: 10_000, perSecond: 100 },
        { ms: 1_000, perSecond: 0 },
        { ms: 10_000, perSecond: 1_000 },
      ],
    });
    const counts = [0, 0, 0];
    let lastMs = 0;
    for (; schedule.dueMs !== Infinity; schedule.next()) {
      const { phase: at, dueMs } = schedule;
      assert.ok(dueMs >= lastMs);
      assert.equal(at, dueMs < 10_000 ? 0 : dueMs < 11_000 ? 1 : 2);
      counts[at] = (counts[at] ?? 0) + 1;
      lastMs = dueMs;
    }
    const [slow = 0, none, fast = 0] = counts;
    assert.equal(none, 0);
    assert.ok(Math.abs(slow - 1_000) < 150 && Math.abs(fast - 10_000) < 500, counts.join());
  });

  it("tells what the server refused from what failed", () => {
    const tally = new PhaseTally();
    tally.offered = 4;
    assert.equal(tally.succeeded(10, 100), true);
    assert.equal(tally.succeeded(101, 100), false);
    tally.failed(failure({ code: "RESOURCE_EXHAUSTED", text: "full", reason: "ADMISSION_REFUSED" }));
    tally.failed(new Error("gone"));
    const { answered, good, refused, failed, firstFailure, maxMs } = tally.figures();
    assert.deepEqual([answered, good, refused, failed, firstFailure, maxMs], [2, 1, 1, 1, "Error: gone", 101]);
    assert.equal(tally.ended, 4);
  });
});

describe("the figures of overload", () => {
  it("fold the steps and find when the capacity is reached for good", () => {
    const one = [7, 7, 5, 10, 10, 10, 10, 10, 10, 10];
    const figures = stepFigures({ phases: [], goodBins: [...one, ...one] }, { lowMs: 20, highMs: 80 }, 1_000);
    assert.deepEqual(figures.shares, [0.5, 1, 1, 1, 1, 1, 1, 1]);
    assert.equal(figures.recoveredMs, 10);
    const never = stepFigures({ phases: [], goodBins: one.map(() => 9) }, { lowMs: 20, highMs: 80 }, 1_000);
    assert.equal(never.recoveredMs, undefined);
  });

  it("take the handlers and what answers cost from what refusals cost", () => {
    const before = { atMs: 0, cpuMs: 100, handlerCpuMs: 50 };
    const after = { atMs: 1_000, cpuMs: 1_090, handlerCpuMs: 950 };
    assert.equal(overheadUs(before, after), 90_000);
    const flooded = { ...phase, answered: 900, good: 900, refused: 9_000 };
    const run = { lanes: [], ownDelayP99Ms: 0, ownDelayMsMax: 0 };
    const { share, refusalUs } = floodFigures(run, flooded, 1_000, 1_000, before, after, 20);
    assert.equal(share, 0.9);
    assert.equal(refusalUs, 8);
  });

  it("are void where the handlers had not the CPU that they are made for", () => {
    const sound = { capacityPerSecond: 950, unloadedP50Ms: 1.1, unloadedP99Ms: 1.5, perCallUs: 20 };
    assert.equal(isSound("cpu", sound), true);
    assert.equal(isSound("cpu", { ...sound, capacityPerSecond: 500 }), false);
    assert.equal(isSound("cpu", { ...sound, unloadedP50Ms: 2 }), false);
    assert.equal(isSound("timer", { ...sound, unloadedP50Ms: 10.8 }), true);
  });

  it("name what was missed", () => {
    const baseline = { capacityPerSecond: 1_000, unloadedP50Ms: 1, unloadedP99Ms: 1.2, perCallUs: 20 };
    const step = { shares: [], recoveredMs: 100, shareAfter: 1 };
    const flood = {
      share: 0.9,
      refused: 1,
      failed: 0,
      firstFailure: undefined,
      p99Ms: 3.5,
      refusalUs: 10,
      ownDelayP99Ms: 0,
    };
    const calls = { ...phase, offered: 1_000, answered: 999 };
    const priorities = priorityFigures([
      { phases: [calls, calls, calls], goodBins: [] },
      { phases: [calls, calls, calls], goodBins: [] },
    ]);
    assert.deepEqual(missedOf("cpu", baseline, { step, flood, priorities }), []);
    assert.deepEqual(
      missedOf("cpu", baseline, {
        step: { ...step, recoveredMs: undefined },
        flood: { ...flood, share: 0.89, refusalUs: Number.NaN, p99Ms: 4 },
        priorities: { ...priorities, criticalDuring: 0.998 },
      }),
      ["step", "flood: goodput", "flood: cost of a refusal", "flood: p99", "critical calls during"],
    );
  });
});
