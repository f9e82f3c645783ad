import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Corruption } from "./corruption.ts";

describe("corruption", () => {
  it("ejects at the third failed checksum in a minute", () => {
    const corruption = new Corruption();
    assert.deepEqual(
      [0, 30_000, 60_000].map((atMs) => corruption.failed(atMs)),
      [false, false, true],
    );
  });

  it("forgives what is longer ago than the window", () => {
    const corruption = new Corruption();
    assert.deepEqual(
      [0, 30_000, 60_001, 90_000].map((atMs) => corruption.failed(atMs)),
      [false, false, false, true],
    );
  });

  it("needs as many again after it has ejected", () => {
    const corruption = new Corruption({ failures: 2, windowMs: 1_000 });
    assert.deepEqual(
      [1, 2, 3, 4, 5].map((atMs) => corruption.failed(atMs)),
      [false, true, false, true, false],
    );
  });

  it("can be told to eject at the first", () => {
    assert.equal(new Corruption({ failures: 1 }).failed(5), true);
  });

  it("agrees with a plain list of times", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 5 }), (steps, failures) => {
        const corruption = new Corruption({ failures, windowMs: 500 });
        let times: number[] = [];
        let now = 0;
        for (const gap of steps) {
          now += gap;
          times = [...times, now].filter((at) => now - at <= 500);
          const isFull = times.length >= failures;
          assert.equal(corruption.failed(now), isFull);
          if (isFull) times = [];
        }
      }),
    );
  });

  it("refuses limits that make no sense", () => {
    assert.throws(() => new Corruption({ failures: 0 }), new RangeError("corruption.failures must be 1..100, got 0"));
    assert.throws(() => new Corruption({ failures: 1.5 }), RangeError);
    assert.throws(() => new Corruption({ windowMs: 0 }), new RangeError("corruption.windowMs must be > 0, got 0"));
    assert.throws(() => new Corruption({ windowMs: Number.NaN }), RangeError);
  });
});
