import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { UsageError } from "./options.ts";
import { meetsGoal, resultOf } from "./slow-peer.ts";
import { callsDue, LoadTally } from "./slow-peer-load.ts";
import { parseSlowPeerOptions } from "./slow-peer-options.ts";

describe("the options of slow-peer", () => {
  it("are the published experiment where nothing is said", () => {
    assert.deepEqual(parseSlowPeerOptions([]), {
      isJson: false,
      seconds: 60,
      perSecond: 1_000,
      contenders: ["holdfast"],
    });
    assert.deepEqual(
      parseSlowPeerOptions(["--json", "--seconds", "5", "--contenders", "grpc-js,holdfast", "--per-second=50"]),
      { isJson: true, seconds: 5, perSecond: 50, contenders: ["grpc-js", "holdfast"] },
    );
  });

  it("refuse what cannot be, and say what can", () => {
    assert.throws(
      () => parseSlowPeerOptions(["--seconds", "1"]),
      new UsageError("--seconds must be a whole number in 2..600, got 1"),
    );
    assert.throws(() => parseSlowPeerOptions(["--seconds", " "]), UsageError);
    assert.throws(() => parseSlowPeerOptions(["--per-second", "2.5e3.1"]), UsageError);
    assert.throws(() => parseSlowPeerOptions(["--contenders", "grpc"]), /no contender "grpc"; there are holdfast, /);
    assert.throws(() => parseSlowPeerOptions(["--rounds", "3"]), UsageError);
    assert.throws(() => parseSlowPeerOptions(["twice"]), /takes flags only, got twice/);
  });
});

describe("the load of slow-peer", () => {
  it("has started each call once when it is over, however the timer came", () => {
    const turns = fc.array(fc.double({ min: 0, max: 50, noNaN: true }), { maxLength: 200 });
    fc.assert(
      fc.property(
        turns,
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 500 }),
        (gaps, perSecond, calls) => {
          let elapsedMs = 0;
          let due = callsDue(0, { perSecond, calls, lateMs: 0 });
          assert.equal(due, 1);
          for (const gap of gaps) {
            elapsedMs += gap;
            const next = callsDue(elapsedMs, { perSecond, calls, lateMs: 0 });
            assert.ok(next >= due && next <= calls);
            // The last one that is due is due by now, and the next one is not.
            assert.ok(((next - 1) * 1_000) / perSecond <= elapsedMs + 1e-6);
            if (next < calls) assert.ok((next * 1_000) / perSecond > elapsedMs - 1e-6);
            due = next;
          }
        },
      ),
    );
  });

  it("counts what is late and what failed apart, and both in the latencies", () => {
    const tally = new LoadTally(1_000);
    for (let ms = 1; ms <= 98; ms += 1) tally.succeeded(ms);
    tally.succeeded(1_000.1);
    tally.refused(2_000, new Error("gone"));
    tally.refused(5, new Error("again"));
    tally.slept(3);
    tally.slept(1);
    const { calls, late, failed, firstFailure, maxMs, ownStallMsMax, p50Ms, p999Ms } = tally.figures();
    assert.deepEqual([calls, late, failed, firstFailure], [101, 1, 2, "Error: gone"]);
    assert.equal(maxMs, 2_000);
    assert.equal(ownStallMsMax, 3);
    assert.ok(Math.abs(p50Ms - 50) < 1 && Math.abs(p999Ms - 2_000) < 20, `${p50Ms}, ${p999Ms}`);
    assert.equal(tally.ended, 101);
  });
});

describe("the result of slow-peer", () => {
  const tally = new LoadTally(1_000);
  for (let call = 0; call < 1_000; call += 1) tally.succeeded(167);
  const before = { handled: 400, handledWhileSlow: 0 };

  it("leaves out what arrived before the load", () => {
    const result = resultOf("holdfast", tally.figures(), before, { handled: 1_401, handledWhileSlow: 12 });
    assert.ok(Math.abs(result.extraShare - 0.001) < 1e-9);
    assert.equal(result.handledWhileSlow, 12);
    assert.equal(result.inTimeShare, 1);
  });

  it("meets the goal with no call lost and one attempt in a thousand more, and not otherwise", () => {
    assert.equal(meetsGoal({ late: 0, failed: 0, extraShare: 0.001 }), true);
    assert.equal(meetsGoal({ late: 1, failed: 0, extraShare: 0 }), false);
    assert.equal(meetsGoal({ late: 0, failed: 1, extraShare: 0 }), false);
    assert.equal(meetsGoal({ late: 0, failed: 0, extraShare: 0.0011 }), false);
  });
});
