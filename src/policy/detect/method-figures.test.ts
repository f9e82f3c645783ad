import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MethodFigures, SLICES } from "./method-figures.ts";
import { OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";

describe("the figures of a peer's method", () => {
  it("give the median of at least 20 latencies within an eighth, from 16 us to 67 s", () => {
    const latencies = fc.array(fc.double({ min: 0.016, max: 67_000, noNaN: true }), { minLength: 20, maxLength: 300 });
    fc.assert(
      fc.property(latencies, (all) => {
        const figures = new MethodFigures(0, 0);
        for (const ms of all) figures.latency(ms);
        figures.findMedian();
        const sorted = [...all].sort((a, b) => a - b);
        // The lower of the two middle ones bounds it from below, the upper from above.
        const low = sorted[Math.ceil(all.length / 2) - 1] ?? Number.NaN;
        const high = sorted[Math.floor(all.length / 2)] ?? Number.NaN;
        assert.ok(figures.medianMs >= low * 0.87, `${figures.medianMs} < ${low}`);
        assert.ok(figures.medianMs <= high * 1.13, `${figures.medianMs} > ${high}`);
      }),
    );
  });

  it("have no median of fewer than 20, and ignore what is no latency", () => {
    const figures = new MethodFigures(0, 0);
    for (let i = 0; i < 19; i += 1) figures.latency(5);
    figures.latency(Number.NaN);
    figures.latency(-1);
    figures.findMedian();
    assert.equal(figures.medianMs, Number.NaN);
    figures.latency(5);
    figures.findMedian();
    assert.ok(Math.abs(figures.medianMs - 5) < 0.6);
  });

  it("keep the few latencies of one window for the median of the next, and nothing of them after a clearing", () => {
    for (const early of [1, 2, 3, 4, 5]) {
      const figures = new MethodFigures(0, 0);
      figures.latency(0.02);
      figures.clear(0);
      for (let i = 0; i < early; i += 1) figures.latency(5);
      figures.turn(15_000, true);
      for (let i = early; i < 19; i += 1) figures.latency(5);
      figures.findMedian();
      assert.equal(figures.medianMs, Number.NaN, `${early} and ${19 - early}`);
      figures.latency(5);
      figures.findMedian();
      assert.ok(Math.abs(figures.medianMs - 5) < 0.6, `${early}: ${figures.medianMs}`);
    }
  });

  it("share nothing with other figures that have counted nothing yet", () => {
    const one = new MethodFigures(0, 0);
    const other = new MethodFigures(0, 0);
    one.count(0, OUTCOME_OK);
    one.count(1, OUTCOME_LATE);
    other.excuseLate(1);
    other.clearSlice(0);
    other.summarize();
    one.summarize();
    assert.deepEqual([one.calls, one.faults, other.calls], [2, 1, 0]);
  });

  it("put what is too short or too long into the first and last bucket", () => {
    for (const [given, low, high] of [
      [0, 0.015, 0.019],
      [1e12, 58_000, 67_200],
      [Number.POSITIVE_INFINITY, 58_000, 67_200],
    ] as const) {
      const figures = new MethodFigures(0, 0);
      for (let i = 0; i < 20; i += 1) figures.latency(given);
      figures.findMedian();
      assert.ok(figures.medianMs >= low && figures.medianMs <= high, `${given} gave ${figures.medianMs}`);
    }
  });

  it("know a change after one window, since the older one is asked only for want of samples", () => {
    const figures = new MethodFigures(0, 0);
    for (let i = 0; i < 1_000; i += 1) figures.latency(1);
    figures.findMedian();
    figures.turn(2_000, true);
    for (let i = 0; i < 20; i += 1) figures.latency(100);
    figures.findMedian();
    assert.ok(figures.medianMs > 90);
    assert.ok(figures.pastMs < 1.2, "the past is from before");
  });

  it("let the past follow in proportion, and not at all from a peer out of line", () => {
    const figures = new MethodFigures(0, 0);
    const window = (fromMs: number, ms: number, isInLine: boolean): number => {
      for (let i = 0; i < 50; i += 1) figures.latency(ms);
      figures.findMedian();
      figures.turn(fromMs + 2_000, isInLine);
      return figures.pastMs;
    };
    const past = window(0, 1, true);
    assert.equal(window(2_000, 1_000, false), past);
    const followed = window(4_000, 1_000, true);
    assert.ok(followed > past && followed < past * 1.5, "1000 times slower for 2 s is no new past");
    for (let at = 6_000; at < 306_000; at += 2_000) window(at, 1_000, true);
    assert.ok(figures.pastMs > 900, "for five minutes it is");
  });

  it("sum up what each slice counted, and forget a slice that begins anew", () => {
    const event = fc.tuple(
      fc.integer({ min: 0, max: SLICES - 1 }),
      fc.constantFrom(OUTCOME_OK, OUTCOME_TRANSPORT, OUTCOME_RAISED, OUTCOME_LATE),
    );
    fc.assert(
      fc.property(fc.array(event), fc.integer({ min: 0, max: SLICES - 1 }), (events, gone) => {
        const figures = new MethodFigures(0, 0);
        for (const [slice, outcome] of events) figures.count(slice, outcome);
        figures.clearSlice(gone);
        const excused = (gone + 1) % SLICES;
        figures.excuseLate(excused);
        figures.summarize();
        const left = events.filter(
          ([slice, outcome]) => slice !== gone && (slice !== excused || outcome !== OUTCOME_LATE),
        );
        assert.equal(figures.calls, left.length);
        assert.equal(figures.faults, left.filter(([, outcome]) => outcome !== OUTCOME_OK).length);
      }),
    );
  });

  it("forget everything but the past", () => {
    const figures = new MethodFigures(3, 0);
    for (let i = 0; i < 50; i += 1) {
      figures.latency(4);
      figures.count(0, OUTCOME_TRANSPORT);
    }
    figures.findMedian();
    figures.turn(2_000, true);
    const past = figures.pastMs;
    figures.clear(3_000);
    figures.summarize();
    figures.findMedian();
    assert.deepEqual([figures.calls, figures.faults, figures.medianMs, figures.pastMs], [0, 0, Number.NaN, past]);
  });
});
