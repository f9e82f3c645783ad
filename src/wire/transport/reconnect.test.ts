import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { goodbyeDelayMs, impatientDelayMs, reconnectDelayMs } from "./reconnect.ts";

describe("the wait before the next connection", () => {
  it("is a second, times 1.6 for each failure, up to two minutes, while another peer is ready", () => {
    const delays = [1, 2, 3, 4, 11, 12, 1_000].map((failures) => Math.round(reconnectDelayMs(failures, true, 0.5)));
    assert.deepEqual(delays, [1_000, 1_600, 2_560, 4_096, 109_951, 120_000, 120_000]);
  });

  it("is two seconds at most while nobody is ready, so that an outage ends soon after its cause", () => {
    assert.deepEqual(
      [1, 2, 3, 100].map((failures) => reconnectDelayMs(failures, false, 0.5)),
      [1_000, 1_600, 2_000, 2_000],
    );
  });

  it("is cut to two seconds or a little less when the last ready peer is lost", () => {
    assert.deepEqual(
      [0, 0.5, 1].map((chance) => Math.round(impatientDelayMs(chance))),
      [2_000, 1_600, 1_200],
    );
  });

  it("is spread by a fifth each way, and never below 0.8 s or above 144 s", () => {
    const chances = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: -5, max: 10_000 }), fc.boolean(), chances, (failures, isAnyReady, chance) => {
        const ms = reconnectDelayMs(failures, isAnyReady, chance);
        const middle = reconnectDelayMs(failures, isAnyReady, 0.5);
        assert.ok(ms >= 800 && ms < 144_000.001, `${ms} ms`);
        assert.ok(Math.abs(ms - middle) <= middle * 0.2 + 1e-6);
        assert.ok(isAnyReady || ms <= 2_400);
        assert.ok(reconnectDelayMs(failures + 1, isAnyReady, chance) >= ms);
      }),
    );
  });

  it("is 50 ms after a goodbye, and twice as long after each that follows soon, up to a second", () => {
    assert.deepEqual(
      [1, 2, 3, 5, 6, 1_000].map((goodbyes) => goodbyeDelayMs(goodbyes, 0.5)),
      [50, 100, 200, 800, 1_000, 1_000],
    );
    assert.deepEqual(
      [0, 0.5, 0.999].map((chance) => Math.round(goodbyeDelayMs(1, chance))),
      [40, 50, 60],
    );
  });
});
