import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Outages } from "./outages.ts";

describe("outages", () => {
  it("begin with the first failure of a row and end with the next success", () => {
    const outages = new Outages();
    outages.note(10, true);
    assert.deepEqual([outages.count, outages.sinceMs, outages.totalMs(15)], [0, Number.NaN, 0]);
    outages.note(20, false);
    outages.note(50, false);
    assert.deepEqual([outages.count, outages.sinceMs, outages.endedMs], [1, 20, 0]);
    outages.note(120.5, true);
    assert.deepEqual([outages.count, outages.sinceMs, outages.endedMs], [1, Number.NaN, 100.5]);
    outages.note(130, true);
    outages.note(140, false);
    outages.note(145, true);
    assert.deepEqual([outages.count, outages.endedMs], [2, 105.5]);
  });

  it("count up to now while they go on", () => {
    const outages = new Outages();
    outages.note(20, false);
    assert.equal(outages.totalMs(50), 30);
    assert.equal(outages.totalMs(51), 31);
    assert.equal(outages.totalMs(10), 0);
  });

  it("never get shorter when two ends are told out of order", () => {
    const outages = new Outages();
    outages.note(20, false);
    outages.note(19, true);
    assert.deepEqual([outages.count, outages.endedMs], [1, 0]);
  });

  it("are as many as the rows of failures, and as long as a second reading of the history says", () => {
    const anyEnd = fc.record({ afterMs: fc.nat({ max: 1_000 }), isOk: fc.boolean() });
    fc.assert(
      fc.property(fc.array(anyEnd, { maxLength: 100 }), fc.nat({ max: 1_000 }), (ends, restMs) => {
        const outages = new Outages();
        let nowMs = 0;
        // Read by time in place of by event: whoever looks between two ends sees what the one before said.
        let downMs = 0;
        for (const [i, { afterMs, isOk }] of ends.entries()) {
          if (ends[i - 1]?.isOk === false) downMs += afterMs;
          nowMs += afterMs;
          outages.note(nowMs, isOk);
        }
        if (ends.at(-1)?.isOk === false) downMs += restMs;
        const rows = ends.filter(({ isOk }, i) => !isOk && ends[i - 1]?.isOk !== false).length;
        assert.equal(outages.count, rows);
        assert.equal(outages.totalMs(nowMs + restMs), downMs);
      }),
    );
  });
});
