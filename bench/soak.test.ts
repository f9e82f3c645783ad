import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UsageError } from "./options.ts";
import { runSoak } from "./soak.ts";
import type { SoakSample } from "./soak-commands.ts";
import { parseSoakOptions } from "./soak-options.ts";
import { describeSoak, soakReport } from "./soak-report.ts";

/** Samples of a process, one each 1,000 calls, with a heap that grows by so much a call. */
function samples(bytesPerCall: number, noiseBytes = 0): readonly SoakSample[] {
  return Array.from({ length: 30 }, (_, index) => ({
    atMs: index * 2_000,
    calls: index * 1_000,
    heapBytes: 30e6 + bytesPerCall * index * 1_000 + (index % 2) * noiseBytes,
    rssBytes: 150e6,
    descriptors: 40,
    handles: 20,
    wheel: 10,
    open: 2,
    cpuMs: index * 500,
  }));
}

const options = parseSoakOptions([]);
const tally = {
  calls: 30_000,
  refused: 0,
  unavailable: {},
  deeds: { unary: 30_000 },
  surprises: {},
  left: [],
  sample: samples(0)[0] as SoakSample,
};

describe("the options of the soak", () => {
  it("are five minutes and 40 bytes a call where nothing is said", () => {
    assert.equal(options.minutes, 5);
    assert.equal(options.bytesPerCallMax, 40);
    assert.equal(options.plantedBytes, 0);
  });

  it("refuse what cannot be, and say what can", () => {
    assert.throws(() => parseSoakOptions(["--minutes", "0"]), /--minutes must be 0\.05\.\.1440, got 0/);
    assert.throws(() => parseSoakOptions(["forever"]), UsageError);
  });
});

describe("the report of a soak", () => {
  const passedWith = (heap: readonly SoakSample[], left: readonly string[] = [], surprises = {}): boolean =>
    soakReport(options, [{ process: "server", samples: heap }], [{ ...tally, surprises }], left).passed;

  it("finds a leak of 100 bytes a call, also under noise, and lets what is under the gate pass", () => {
    assert.equal(passedWith(samples(0)), true);
    assert.equal(passedWith(samples(15)), true);
    assert.equal(passedWith(samples(100)), false);
    assert.equal(passedWith(samples(100, 500_000)), false);
  });

  it("fails a run that is too noisy to find it", () => {
    assert.equal(passedWith(samples(0, 20_000_000)), false);
  });

  it("fails for what is left at the end, and for a call that did not end as it should", () => {
    assert.equal(passedWith(samples(0), ["server: 1 connections"]), false);
    assert.equal(passedWith(samples(0), [], { "unary: ABORTED": 1 }), false);
  });

  it("lets one call in a thousand end with UNAVAILABLE, and no more", () => {
    const series = [{ process: "client 1", samples: samples(0) }];
    const passedWith = (count: number): boolean =>
      soakReport(options, series, [{ ...tally, unavailable: { unary: count } }], []).passed;
    assert.equal(passedWith(29), true);
    assert.equal(passedWith(30), false);
  });

  it("fails for descriptors that are not closed", () => {
    const open = samples(0).map((sample, index) => ({ ...sample, descriptors: 40 + 5 * index }));
    assert.equal(passedWith(open), false);
  });
});

describe("a soak of real processes", () => {
  // So short a run cannot tell code that still warms up from a small leak: the gate is looser, and the planted leak larger.
  const flags = ["--minutes", "0.15", "--warm-up-seconds", "4", "--bytes-per-call-max", "3000"];

  it("ends with nothing open and nothing that grows", async () => {
    const report = await runSoak(parseSoakOptions(flags), () => {});
    assert.deepEqual(report.surprises, {});
    assert.deepEqual(report.left, []);
    const grown = report.growths.filter(({ isOver, isBlind }) => isOver || isBlind);
    assert.deepEqual(grown, [], describeSoak(report));
    assert.ok(report.calls > 100, `${report.calls} calls`);
  });

  it("finds a leak that was planted in the server", async () => {
    const report = await runSoak(parseSoakOptions([...flags, "--planted-bytes", "30000"]), () => {});
    const grown = report.growths.filter(({ isOver }) => isOver).map(({ process, figure }) => `${process} ${figure}`);
    assert.ok(grown.includes("server heapBytes"), describeSoak(report));
    assert.equal(report.passed, false);
  });
});
