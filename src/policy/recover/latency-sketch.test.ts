import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LatencySketch } from "./latency-sketch.ts";

const ERROR_MAX = 0.03;

/** Latencies over the whole range, the small ones as likely as the large ones. */
const latency = fc.double({ min: -2, max: 5.77, noNaN: true }).map((log) => 10 ** log);

function exactQuantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(q * sorted.length - 1e-6)) - 1] as number;
}

function assertNear(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= ERROR_MAX * expected, `${actual} is not within 3 % of ${expected}`);
}

describe("the latency sketch", () => {
  it("answers within 3 % of the quantile of the sorted samples", () => {
    const q = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.07, 0.5, 0.9, 0.99, 1));
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1, maxLength: 400 }), q, (samples, share) => {
        const sketch = new LatencySketch();
        samples.forEach((ms, i) => sketch.record(i, ms));
        assert.equal(sketch.count(samples.length), samples.length);
        assertNear(sketch.quantile(samples.length, share), exactQuantile(samples, share));
      }),
      { numRuns: 300 },
    );
  });

  it("is as exact at the ends of each of its parts as within them", () => {
    for (let ms = 0.01; ms < 600_000; ms *= 1.0007) {
      const sketch = new LatencySketch();
      sketch.record(0, ms);
      assertNear(sketch.quantile(0, 0.5), ms);
    }
    for (let octave = 2 ** -6; octave < 600_000; octave *= 2) {
      const sketch = new LatencySketch();
      sketch.record(0, octave);
      sketch.record(0, octave * (1 - 1e-9));
      assertNear(sketch.quantile(0, 0), octave);
      assertNear(sketch.quantile(0, 1), octave);
    }
  });

  it("sees at least the last 20 s and at most the last 30, whatever the pauses", () => {
    const pause = fc.oneof(fc.nat({ max: 3_000 }), fc.nat({ max: 40_000 }), fc.constant(3_600_000));
    fc.assert(
      fc.property(fc.array(fc.tuple(pause, latency), { minLength: 1, maxLength: 80 }), fc.nat(), (steps, startMs) => {
        const sketch = new LatencySketch();
        const samples: { atMs: number; ms: number }[] = [];
        let nowMs = startMs;
        for (const [waitMs, ms] of steps) {
          nowMs += waitMs;
          sketch.record(nowMs, ms);
          samples.push({ atMs: nowMs, ms });
          const since = (span: number): number => samples.filter(({ atMs }) => nowMs - atMs < span).length;
          const seen = sketch.count(nowMs);
          assert.ok(seen >= since(20_000) && seen <= since(30_000), `${seen}`);
          const kept = samples.slice(-seen).map((one) => one.ms);
          assertNear(sketch.quantile(nowMs, 0.9), exactQuantile(kept, 0.9));
        }
      }),
    );
  });

  it("knows nothing without samples, and nothing again after half a minute of silence", () => {
    const sketch = new LatencySketch();
    assert.equal(sketch.count(0), 0);
    assert.ok(Number.isNaN(sketch.quantile(0, 0.99)));
    sketch.record(5, 7);
    assert.equal(sketch.count(29_999), 1);
    assert.equal(sketch.count(30_000), 0);
    assert.ok(Number.isNaN(sketch.quantile(30_000, 0.99)));
  });

  it("forgets all over a jump of a thousand years, and is not confused by a clock that goes back", () => {
    const sketch = new LatencySketch();
    for (let i = 0; i < 30_000; i += 100) sketch.record(i, 5);
    sketch.record(3.2e13, 50);
    assert.equal(sketch.count(3.2e13), 1);
    sketch.record(1_000, 60);
    assert.equal(sketch.count(2_000), 2);
    assertNear(sketch.quantile(3.2e13 + 1, 1), 60);
  });

  it("counts what is outside its range as the range's end, and NaN not at all", () => {
    for (const [ms, expected] of [
      [0, 0.01],
      [-5, 0.01],
      [0.001, 0.01],
      [600_000, 600_000],
      [1e9, 600_000],
      [Number.POSITIVE_INFINITY, 600_000],
      [Number.NEGATIVE_INFINITY, 0.01],
    ] as const) {
      const sketch = new LatencySketch();
      sketch.record(0, ms);
      assertNear(sketch.quantile(0, 0.5), expected);
    }
    const sketch = new LatencySketch();
    sketch.record(0, Number.NaN);
    assert.equal(sketch.count(0), 0);
  });

  it("looks back as far as it was told", () => {
    const sketch = new LatencySketch(3_000);
    sketch.record(0, 1);
    assert.equal(sketch.count(2_999), 1);
    assert.equal(sketch.count(3_000), 0);
    assert.throws(() => new LatencySketch(0), new RangeError("windowMs must be 300..600_000, got 0"));
    assert.throws(() => new LatencySketch(Number.NaN), RangeError);
    assert.throws(() => sketch.quantile(0, 99), new RangeError("q must be 0..1, got 99"));
    assert.throws(() => sketch.quantile(0, Number.NaN), RangeError);
  });
});
