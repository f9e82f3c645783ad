import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UsageError } from "./options.ts";
import { describeRolling, reportOf, runRolling } from "./rolling.ts";
import { parseRollingOptions } from "./rolling-options.ts";

describe("the options of rolling", () => {
  it("are five servers restarted ten times where nothing is said", () => {
    assert.deepEqual(parseRollingOptions([]), {
      isJson: false,
      rounds: 10,
      perSecond: 1_000,
      servers: 5,
      streams: 8,
      settleMs: 1_500,
      propagationMs: 0,
      timeoutMs: 1_000,
    });
    assert.equal(parseRollingOptions(["--rounds", "2", "--json"]).rounds, 2);
  });

  it("refuse what cannot be, and say what can", () => {
    assert.throws(() => parseRollingOptions(["--rounds", "0"]), /--rounds must be a whole number in 1..100, got 0/);
    assert.throws(() => parseRollingOptions(["--servers", "1"]), UsageError);
    assert.throws(() => parseRollingOptions(["twice"]), /takes flags only, got twice/);
  });
});

describe("the report of rolling", () => {
  const figures = {
    calls: 10,
    failed: 0,
    failures: {},
    firstFailure: undefined,
    p50Ms: 1,
    p99Ms: 2,
    maxMs: 3,
    ownStallMsMax: 1,
    messages: 9,
    resumed: 2,
  };
  const lives = [
    { handled: 6, cut: 0, tookMs: 20 },
    { handled: 4, cut: 0, tookMs: 0 },
  ];

  const run = { restarts: 1, busyCpus: 0.5 };

  it("is passed if nothing failed, was cut, ran twice or never, and no stream lost its place", () => {
    const options = parseRollingOptions([]);
    const good = { ...figures, streamFaults: [] };
    assert.equal(reportOf(options, good, lives, run).passed, true);
    assert.equal(reportOf(options, { ...good, failed: 1 }, lives, run).passed, false);
    assert.equal(reportOf(options, { ...good, calls: 9 }, lives, run).passed, false);
    assert.equal(reportOf(options, { ...good, streamFaults: ["lost"] }, lives, run).passed, false);
    assert.equal(reportOf(options, good, [{ handled: 10, cut: 1, tookMs: 5 }], run).passed, false);
  });

  it("says what was first to fail", () => {
    const report = reportOf(
      parseRollingOptions([]),
      { ...figures, firstFailure: "UNAVAILABLE", streamFaults: ["lost"] },
      lives,
      run,
    );
    assert.match(describeRolling(report), /longest drain 20 ms {2}0\.50 CPUs busy {2}missed\nUNAVAILABLE\nlost$/);
  });
});

describe("a rolling restart of real processes", () => {
  it("fails no call, runs none twice, cuts none, and no stream loses its place", async () => {
    // The deadline is no part of the claim: a busy machine may take its time.
    const flags = ["--rounds", "1", "--servers", "3", "--per-second", "100", "--streams", "4"];
    const options = parseRollingOptions([...flags, "--settle-ms", "0", "--timeout-ms", "60000"]);
    const report = await runRolling(options, () => {});
    assert.deepEqual(report.figures.failures, {});
    assert.deepEqual(report.figures.streamFaults, []);
    assert.equal(report.handled, report.figures.calls);
    assert.equal(report.restarts, 3);
    assert.ok(report.figures.resumed >= 3, `${report.figures.resumed} streams went on elsewhere`);
    assert.equal(report.passed, true, describeRolling(report));
  });
});
