import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LatencySketch } from "./latency-sketch.ts";
import { Overdue } from "./overdue.ts";

/** A sketch with `count` samples from `fromMs` to `toMs`, all at time 0. */
function sketchOf(count: number, fromMs: number, toMs = fromMs): LatencySketch {
  const sketch = new LatencySketch();
  for (let i = 1; i <= count; i++) sketch.record(0, fromMs + ((toMs - fromMs) * i) / count);
  return sketch;
}

function assertNear(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 0.03 * expected, `${actual} is not within 3 % of ${expected}`);
}

describe("overdue", () => {
  it("is nothing before the hundredth sample, then 1.5 x the 99th percentile", () => {
    assert.equal(new Overdue(sketchOf(0, 0)).delayMs(0), Number.POSITIVE_INFINITY);
    assert.equal(new Overdue(sketchOf(99, 10)).delayMs(0), Number.POSITIVE_INFINITY);
    assertNear(new Overdue(sketchOf(100, 10)).delayMs(0), 15);
    assertNear(new Overdue(sketchOf(1_000, 0, 100)).delayMs(0), 148.5);
  });

  it("is never sooner than 2 ms", () => {
    const overdue = new Overdue(sketchOf(1_000, 0.2));
    assert.equal(overdue.delayMs(0), 2);
    assert.equal(overdue.quantileMs(0, 0.9), 2);
    assertNear(overdue.p99Ms(0), 0.2);
  });

  it("looks again after a tenth of a second, not sooner", () => {
    const sketch = sketchOf(100, 10);
    const overdue = new Overdue(sketch);
    const before = [overdue.delayMs(0), overdue.p99Ms(0), overdue.quantileMs(0, 0.95)];
    for (let i = 0; i < 10_000; i++) sketch.record(50, 100);
    assert.deepEqual([overdue.delayMs(99), overdue.p99Ms(99), overdue.quantileMs(99, 0.95)], before);
    assertNear(overdue.delayMs(100), 150);
    assertNear(overdue.p99Ms(100), 100);
    assertNear(overdue.quantileMs(100, 0.95), 100);
  });

  it("knows each quantile that a policy can name, and any other", () => {
    const overdue = new Overdue(sketchOf(1_000, 0, 100));
    for (const q of [0.9, 0.95, 0.98, 0.99, 0.5]) assertNear(overdue.quantileMs(0, q), 100 * q);
    for (const q of [0.9, 0.95, 0.98, 0.99, 0.5]) assertNear(overdue.quantileMs(1, q), 100 * q);
    assert.throws(() => overdue.quantileMs(0, 95), new RangeError("q must be 0..1, got 95"));
    assert.throws(() => new Overdue(sketchOf(0, 0)).quantileMs(0, Number.NaN), RangeError);
  });

  it("never copies by a named quantile before the hundredth sample", () => {
    assert.equal(new Overdue(sketchOf(99, 10)).quantileMs(0, 0.95), Number.POSITIVE_INFINITY);
    assertNear(new Overdue(sketchOf(100, 10)).quantileMs(0, 0.95), 10);
  });

  it("has a 99th percentile from the first sample on, and none without", () => {
    assert.ok(Number.isNaN(new Overdue(sketchOf(0, 0)).p99Ms(0)));
    assertNear(new Overdue(sketchOf(3, 7)).p99Ms(0), 7);
  });

  it("is nothing again after half a minute of silence", () => {
    const overdue = new Overdue(sketchOf(1_000, 10));
    assertNear(overdue.delayMs(0), 15);
    assert.equal(overdue.delayMs(30_000), Number.POSITIVE_INFINITY);
    assert.ok(Number.isNaN(overdue.p99Ms(30_000)));
    assert.equal(overdue.quantileMs(30_000, 0.99), Number.POSITIVE_INFINITY);
  });
});
