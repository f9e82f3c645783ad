import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Histogram } from "./histogram.ts";

test("a quantile is within 0.8 % (or 0.1 us) of the exact one", () => {
  const durations = fc.array(fc.double({ min: 0, max: 400_000, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(durations, fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1), (values, share) => {
      const histogram = new Histogram();
      for (const value of values) histogram.record(value);
      const sorted = values.toSorted((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil(share * values.length)) - 1] ?? 0;
      assert.ok(Math.abs(histogram.quantile(share) - exact) <= exact * 0.008 + 0.0001);
    }),
  );
});

test("what lies outside the range is counted at its ends", () => {
  const histogram = new Histogram();
  histogram.record(-5);
  histogram.record(1e12);
  assert.equal(histogram.count, 2);
  assert.equal(histogram.quantile(0.5), 0);
  assert.ok(histogram.quantile(1) > 420_000);
});

test("an empty or reset histogram has quantile 0", () => {
  const histogram = new Histogram();
  assert.equal(histogram.quantile(0.99), 0);
  histogram.record(3);
  histogram.reset();
  assert.equal(histogram.count, 0);
  assert.equal(histogram.quantile(0.99), 0);
});
