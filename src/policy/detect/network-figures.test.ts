import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { NetworkFigures } from "./network-figures.ts";

describe("the figures of a connection's network", () => {
  it("know no round trip before the first answer, and then follow RFC 6298", () => {
    const figures = new NetworkFigures();
    assert.equal(figures.rttMs, Number.NaN);
    figures.pingSent(0);
    figures.pingAnswered(100);
    assert.equal(figures.rttMs, 100);
    assert.equal(figures.jitterMs, 50);
    figures.pingSent(1_000);
    figures.pingAnswered(1_180);
    // RTTVAR = 3/4 * 50 + 1/4 * |100 - 180|; SRTT = 7/8 * 100 + 1/8 * 180.
    assert.equal(figures.jitterMs, 57.5);
    assert.equal(figures.rttMs, 110);
  });

  it("match answers with PINGs in order, ignore an answer too many, and forget the oldest of five", () => {
    const figures = new NetworkFigures();
    figures.pingAnswered(5);
    assert.equal(figures.rttMs, Number.NaN);
    figures.pingSent(0);
    figures.pingSent(10);
    figures.pingAnswered(20);
    assert.equal(figures.rttMs, 20);
    figures.pingAnswered(30);
    assert.equal(figures.rttMs, 20);
    figures.pingAnswered(5_000);
    assert.equal(figures.rttMs, 20);
    const many = new NetworkFigures();
    for (let i = 0; i < 5; i += 1) many.pingSent(i * 10);
    many.pingAnswered(50);
    assert.equal(many.rttMs, 40, "the first was forgotten");
  });

  it("stay between the least and the greatest round trip", () => {
    const trips = fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(trips, (all) => {
        const figures = new NetworkFigures();
        for (const ms of all) {
          figures.pingSent(0);
          figures.pingAnswered(ms);
        }
        const slack = 1e-6;
        assert.ok(figures.rttMs >= Math.min(...all) - slack && figures.rttMs <= Math.max(...all) + slack);
        assert.ok(figures.jitterMs >= 0);
      }),
    );
  });

  it("come to the rate of a steady flow, and fade without one", () => {
    const figures = new NetworkFigures();
    for (let ms = 0; ms <= 60_000; ms += 10) figures.bytes(1_000, ms);
    assert.ok(Math.abs(figures.bytesPerSecond(60_000) - 100_000) < 2_000);
    assert.ok(figures.bytesPerSecond(70_000) < 10_000);
    assert.equal(figures.bytesPerSecond(3_600_000), 0);
    figures.bytes(4_000, 3_600_001);
    assert.ok(figures.bytesPerSecond(3_601_500) > 0, "goes on after an hour of nothing");
  });

  it("count stalls and resets, and expect no answers after a reset", () => {
    const figures = new NetworkFigures();
    figures.stalled(250);
    figures.stalled(50);
    figures.pingSent(0);
    figures.reset();
    figures.pingAnswered(10);
    assert.equal(figures.stalls, 2);
    assert.equal(figures.stalledMs, 300);
    assert.equal(figures.resets, 1);
    assert.equal(figures.rttMs, Number.NaN);
  });
});
