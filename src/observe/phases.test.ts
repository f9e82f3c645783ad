import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type AttemptStamps, phasesOf } from "./phases.ts";

const NONE = Number.NaN;
/** 1 ms to resolve, 10 to connect, 2 in the queue, 1 to send, 40 for the server, 6 to receive. */
const whole: AttemptStamps = {
  beganMs: 100,
  resolvedMs: 101,
  connectedMs: 111,
  openedMs: 113,
  sentMs: 114,
  answeredMs: 154,
  endedMs: 160,
  serverMs: NONE,
  stalledFromMs: NONE,
  stalledUntilMs: NONE,
};

function phases(stamps: Partial<AttemptStamps>): Record<string, number> {
  return phasesOf({ ...whole, ...stamps });
}

describe("the phases of an attempt", () => {
  it("are the times between its moments", () => {
    assert.deepEqual(phases({}), { resolve: 1, connect: 10, queue: 2, send: 1, server: 40, receive: 6, stall: 0 });
  });

  it("end with the one in which it ended", () => {
    const never = { openedMs: NONE, sentMs: NONE, answeredMs: NONE };
    assert.deepEqual(phases({ ...never, resolvedMs: NONE, connectedMs: NONE }), only({ resolve: 60 }));
    assert.deepEqual(phases({ ...never, connectedMs: NONE }), only({ resolve: 1, connect: 59 }));
    assert.deepEqual(phases({ ...never }), only({ resolve: 1, connect: 10, queue: 49 }));
    assert.deepEqual(phases({ answeredMs: NONE }), only({ resolve: 1, connect: 10, queue: 2, send: 1, server: 46 }));
  });

  it("take no time where a moment was not noted but a later one was: peers that were known, connections that stood", () => {
    assert.deepEqual(
      phases({ resolvedMs: NONE, connectedMs: NONE }),
      only({ queue: 13, send: 1, server: 40, receive: 6 }),
    );
    assert.deepEqual(
      phases({ resolvedMs: 100, connectedMs: 100, openedMs: NONE }),
      only({ send: 14, server: 40, receive: 6 }),
    );
  });

  it("take an answer before the request was out for the end of sending", () => {
    assert.deepEqual(
      phases({ sentMs: 158 }),
      only({ resolve: 1, connect: 10, queue: 2, send: 41, server: 0, receive: 6 }),
    );
  });

  it("believe the server's own time, and halve what is left of the wait between the way there and back", () => {
    assert.deepEqual(
      phases({ serverMs: 30 }),
      only({ resolve: 1, connect: 10, queue: 2, send: 6, server: 30, receive: 11 }),
    );
  });

  it("believe a server that went on working while it answered, but no more than there was time for", () => {
    assert.deepEqual(
      phases({ serverMs: 44 }),
      only({ resolve: 1, connect: 10, queue: 2, send: 1, server: 44, receive: 2 }),
    );
    assert.deepEqual(
      phases({ serverMs: 9_000 }),
      only({ resolve: 1, connect: 10, queue: 2, send: 1, server: 46, receive: 0 }),
    );
  });

  it("do not believe a time that cannot be: negative, or of an attempt without an answer", () => {
    assert.deepEqual(phases({ serverMs: -1 }), phases({}));
    assert.deepEqual(phases({ serverMs: 5, answeredMs: NONE }), phases({ answeredMs: NONE }));
  });

  it("give to our own stall what it took of each", () => {
    assert.deepEqual(
      phases({ stalledFromMs: 105, stalledUntilMs: 124 }),
      only({ resolve: 1, connect: 4, server: 30, receive: 6, stall: 19 }),
    );
    assert.deepEqual(phases({ stalledFromMs: 0, stalledUntilMs: 1_000 }), only({ stall: 60 }));
    assert.deepEqual(phases({ stalledFromMs: 0, stalledUntilMs: 100 }), phases({}));
    assert.deepEqual(phases({ stalledFromMs: 160, stalledUntilMs: 170 }), phases({}));
  });

  it("are never negative and add up to the whole, whatever is missing, late or out of order", () => {
    const moment = fc.oneof(fc.constant(NONE), fc.double({ min: -10, max: 1_010, noNaN: true }));
    const anyStamps = fc.record({
      beganMs: fc.double({ min: 0, max: 500, noNaN: true }),
      resolvedMs: moment,
      connectedMs: moment,
      openedMs: moment,
      sentMs: moment,
      answeredMs: moment,
      endedMs: fc.double({ min: 0, max: 1_000, noNaN: true }),
      serverMs: moment,
      stalledFromMs: moment,
      stalledUntilMs: moment,
    });
    fc.assert(
      fc.property(anyStamps, (stamps) => {
        const times = Object.values(phasesOf(stamps));
        assert.equal(times.length, 7);
        for (const ms of times) assert.ok(ms >= 0, JSON.stringify(phasesOf(stamps)));
        const sum = times.reduce((total, ms) => total + ms, 0);
        assert.ok(Math.abs(sum - Math.max(0, stamps.endedMs - stamps.beganMs)) < 1e-6);
      }),
      { numRuns: 2_000 },
    );
  });
});

function only(some: Record<string, number>): Record<string, number> {
  return { resolve: 0, connect: 0, queue: 0, send: 0, server: 0, receive: 0, stall: 0, ...some };
}
