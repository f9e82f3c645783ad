import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../world/seeded-random.ts";
import { FaultLane } from "./fault-lane.ts";
import { laneConditions, type LaneConditions, SOUND } from "./lane-conditions.ts";
import { checkedFaults, type ProxyFault } from "./proxy-fault.ts";

const ROOM = 1_048_576;

function conditions(faults: readonly ProxyFault[], seed = 3): LaneConditions {
  const met = checkedFaults(faults).map((fault, index) => ({
    fault,
    random: () => seededRandom(seed + index * 1_000),
  }));
  return laneConditions(met, "up");
}

function laneWith(...faults: readonly ProxyFault[]): FaultLane {
  const lane = new FaultLane(ROOM);
  lane.change(conditions(faults), 0);
  return lane;
}

interface Happening {
  readonly atMs: number;
  readonly what: string;
}

/** Drives the lane by its own word from `nowMs` until it is idle: what passed when, chunks as texts. */
function run(lane: FaultLane, nowMs: number): readonly Happening[] {
  const happened: Happening[] = [];
  let atMs = nowMs;
  for (;;) {
    const step = lane.step(atMs);
    if (step.kind === "idle") return happened;
    if (step.kind === "wait") {
      assert.ok(step.untilMs > atMs, "a wait ends later than now");
      atMs = step.untilMs;
    } else {
      happened.push({ atMs, what: step.kind === "pass" ? step.bytes.toString("latin1") : `<${step.kind}>` });
    }
  }
}

function whole(happened: readonly Happening[]): string {
  return happened.map(({ what }) => what).join("");
}

describe("a lane", () => {
  it("without faults passes everything at once, then the end, and then nothing more", () => {
    const lane = laneWith();
    lane.take(Buffer.from("ab"), 5);
    lane.take(Buffer.from("c"), 5);
    lane.sourceDone(false, 6);
    assert.deepEqual(run(lane, 6), [
      { atMs: 6, what: "ab" },
      { atMs: 6, what: "c" },
      { atMs: 6, what: "<end>" },
    ]);
    assert.deepEqual(lane.step(7), { kind: "idle" });
  });

  it("under any faults that only slow it passes every byte once and in order, changed or not on the way", () => {
    const slow = fc.oneof(
      fc.record({
        kind: fc.constant("latency" as const),
        latencyMs: fc.integer({ min: 0, max: 500 }),
        jitterMs: fc.integer({ min: 0, max: 600 }),
      }),
      fc.record({ kind: fc.constant("bandwidth" as const), bytesPerSecond: fc.integer({ min: 1, max: 100_000 }) }),
      fc.record({
        kind: fc.constant("slice" as const),
        sliceBytes: fc.integer({ min: 1, max: 50 }),
        delayMs: fc.integer({ min: 0, max: 100 }),
      }),
      fc.record({ kind: fc.constant("slow-close" as const), delayMs: fc.integer({ min: 0, max: 100 }) }),
    );
    const chunk = fc.record({ size: fc.integer({ min: 0, max: 60 }), afterMs: fc.integer({ min: 0, max: 50 }) });
    const faults = fc.array(slow, { maxLength: 4 });
    fc.assert(
      fc.property(faults, faults, fc.array(chunk, { maxLength: 30 }), fc.nat(30), (first, second, chunks, changeAt) => {
        const lane = laneWith(...first);
        let nowMs = 0;
        let given = "";
        const happened: Happening[] = [];
        for (const [index, { size, afterMs }] of chunks.entries()) {
          nowMs += afterMs;
          if (index === changeAt) lane.change(conditions(second), nowMs);
          const text = Array.from({ length: size }, (_, at) => String.fromCharCode((given.length + at) & 0xff)).join(
            "",
          );
          given += text;
          lane.take(Buffer.from(text, "latin1"), nowMs);
          for (let step = lane.step(nowMs); step.kind === "pass"; step = lane.step(nowMs)) {
            happened.push({ atMs: nowMs, what: step.bytes.toString("latin1") });
          }
        }
        lane.sourceDone(false, nowMs);
        happened.push(...run(lane, nowMs));
        assert.equal(whole(happened), `${given}<end>`);
        assert.equal(lane.passedBytes, given.length);
        assert.equal(lane.heldBytes, 0);
        assert.equal(lane.lostBytes, 0);
      }),
    );
  });

  it("says it is full before its bytes, or its chunks, are too many, and has room again at half", () => {
    const lane = new FaultLane(1_000);
    lane.change(conditions([{ kind: "stall" }]), 0);
    lane.take(Buffer.alloc(999), 0);
    assert.equal(lane.isFull, false);
    lane.take(Buffer.alloc(1), 0);
    assert.equal(lane.isFull, true);
    lane.change(conditions([{ kind: "slice", sliceBytes: 499, delayMs: 10 }]), 0);
    lane.step(0);
    assert.equal(lane.hasRoom, false);
    lane.step(10);
    assert.equal(lane.hasRoom, true);
    const small = laneWith({ kind: "stall" });
    for (let count = 0; count < 4_096; count++) small.take(Buffer.alloc(1), 0);
    assert.equal(small.isFull, true);
    assert.equal(small.heldBytes, 4_096);
  });

  it("whose other side is gone loses what waits and what still comes, and is never full", () => {
    const lane = laneWith({ kind: "stall" });
    lane.take(Buffer.from("abc"), 0);
    lane.stop();
    lane.take(Buffer.from("de"), 0);
    lane.sourceDone(true, 0);
    lane.change(SOUND, 0);
    assert.deepEqual(run(lane, 0), []);
    assert.equal(lane.lostBytes, 5);
    assert.equal(lane.heldBytes, 0);
  });

  it("passes a break on like an end, after the bytes before it; a break after an end goes unseen", () => {
    const broken = laneWith();
    broken.take(Buffer.from("ab"), 0);
    broken.sourceDone(true, 0);
    assert.equal(whole(run(broken, 0)), "ab<break>");
    const ended = laneWith();
    ended.sourceDone(false, 0);
    ended.sourceDone(true, 0);
    assert.equal(whole(run(ended, 0)), "<end>");
  });
});

describe("a lane with", () => {
  it("latency is late by it, and by nothing more", () => {
    const lane = laneWith({ kind: "latency", latencyMs: 50 }, { kind: "latency", latencyMs: 7 });
    lane.take(Buffer.from("a"), 10);
    lane.take(Buffer.from("b"), 30);
    lane.sourceDone(false, 31);
    assert.deepEqual(run(lane, 31), [
      { atMs: 67, what: "a" },
      { atMs: 87, what: "b" },
      { atMs: 88, what: "<end>" },
    ]);
  });

  it("jitter is late by latency give or take it, spread evenly, and drawn from the seed", () => {
    const late = (seed: number): readonly number[] =>
      Array.from({ length: 500 }, (_, index) => {
        const lane = new FaultLane(ROOM);
        lane.change(conditions([{ kind: "latency", latencyMs: 50, jitterMs: 10 }], seed + index * 7), 0);
        lane.take(Buffer.from("a"), 0);
        const [only] = run(lane, 0);
        return only?.atMs ?? assert.fail();
      });
    const times = late(1);
    assert.ok(times.every((ms) => ms >= 40 && ms <= 60));
    const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
    assert.ok(Math.abs(mean - 50) < 1.1, String(mean));
    assert.ok(Math.min(...times) < 41 && Math.max(...times) > 59);
    assert.deepEqual(late(1), times);
    assert.notDeepEqual(late(2), times);
  });

  it("a change of latency is late as if the new one had held from the start, and nothing overtakes", () => {
    const lane = laneWith({ kind: "latency", latencyMs: 10_000 });
    lane.take(Buffer.from("a"), 0);
    assert.deepEqual(lane.step(0), { kind: "wait", untilMs: 10_000 });
    lane.change(conditions([{ kind: "latency", latencyMs: 30 }]), 20);
    lane.take(Buffer.from("b"), 25);
    assert.deepEqual(run(lane, 25), [
      { atMs: 30, what: "a" },
      { atMs: 55, what: "b" },
    ]);
    lane.take(Buffer.from("c"), 60);
    lane.change(SOUND, 70);
    assert.deepEqual(run(lane, 70), [{ atMs: 70, what: "c" }]);
  });

  it("limited bandwidth passes its bytes per second, however late it is asked, and saves nothing up", () => {
    const lane = laneWith({ kind: "bandwidth", bytesPerSecond: 1_000 });
    lane.take(Buffer.alloc(1_000), 0);
    const first = run(lane, 0);
    assert.equal(whole(first).length, 1_000);
    assert.equal(first.at(-1)?.atMs, 980);
    lane.take(Buffer.alloc(500), 60_000);
    const second = run(lane, 60_000);
    assert.equal(second.at(-1)?.atMs, 60_480);
    // Asked 3 ms late each time, it is as fast.
    lane.take(Buffer.alloc(1_000), 100_000);
    let atMs = 100_000;
    for (let step = lane.step(atMs); step.kind !== "idle"; step = lane.step(atMs)) {
      if (step.kind === "wait") atMs = step.untilMs + 3;
    }
    assert.equal(atMs, 100_983);
  });

  it("the lowest bandwidth of several", () => {
    const lane = laneWith({ kind: "bandwidth", bytesPerSecond: 1 }, { kind: "bandwidth", bytesPerSecond: 1_000 });
    lane.take(Buffer.from("abc"), 0);
    assert.deepEqual(run(lane, 0), [
      { atMs: 0, what: "a" },
      { atMs: 1_000, what: "b" },
      { atMs: 2_000, what: "c" },
    ]);
  });

  it("slices passes small pieces with pauses between", () => {
    const lane = laneWith({ kind: "slice", sliceBytes: 2, delayMs: 5 });
    lane.take(Buffer.from("abcde"), 0);
    lane.sourceDone(false, 0);
    assert.deepEqual(run(lane, 0), [
      { atMs: 0, what: "ab" },
      { atMs: 5, what: "cd" },
      { atMs: 10, what: "e" },
      { atMs: 10, what: "<end>" },
    ]);
  });

  it("a stall passes nothing, no end, no break, and everything when it is over", () => {
    const lane = laneWith({ kind: "stall" });
    lane.take(Buffer.from("abc"), 0);
    lane.sourceDone(true, 0);
    assert.deepEqual(run(lane, 1_000_000), []);
    lane.change(SOUND, 2_000_000);
    assert.equal(whole(run(lane, 2_000_000)), "abc<break>");
    assert.equal(lane.isTorn, false);
  });

  it("silence loses what is sent, and is torn when it is over; if nothing was lost it goes on", () => {
    const lane = laneWith({ kind: "silence" });
    assert.deepEqual(run(lane, 0), []);
    lane.change(SOUND, 1);
    assert.equal(lane.isTorn, false);
    lane.change(conditions([{ kind: "silence" }]), 2);
    lane.take(Buffer.from("abc"), 2);
    assert.deepEqual(run(lane, 2), []);
    assert.equal(lane.lostBytes, 3);
    assert.equal(lane.heldBytes, 0);
    assert.equal(lane.isTorn, false);
    lane.change(SOUND, 3);
    assert.equal(lane.isTorn, true);
    const ended = laneWith({ kind: "silence" });
    ended.sourceDone(false, 0);
    assert.deepEqual(run(ended, 0), []);
    ended.change(SOUND, 1);
    assert.equal(ended.isTorn, true, "an end is lost like a byte");
  });

  it("reset lets so many bytes pass, to the byte, and then ends the connection", () => {
    const lane = laneWith({ kind: "reset", afterBytes: 3 });
    lane.take(Buffer.from("ab"), 0);
    assert.equal(whole(run(lane, 0)), "ab");
    lane.take(Buffer.from("cdef"), 0);
    assert.equal(whole(run(lane, 0)), "c<reset>");
    assert.equal(lane.lostBytes, 3);
  });

  it("reset at once does not wait for a byte, nor for a stall to end", () => {
    const lane = laneWith({ kind: "stall" }, { kind: "reset" });
    assert.equal(whole(run(lane, 0)), "<reset>");
  });

  it("reset counts from when the fault came, and the nearer of two ends wins", () => {
    const lane = laneWith();
    lane.take(Buffer.from("abc"), 0);
    run(lane, 0);
    lane.change(
      conditions([
        { kind: "limit", bytes: 2 },
        { kind: "reset", afterBytes: 5 },
      ]),
      0,
    );
    lane.take(Buffer.from("defgh"), 0);
    assert.equal(whole(run(lane, 0)), "de<limit>");
  });

  it("corruption in every so many bytes flips one bit in each run, at the same places however the stream is cut", () => {
    const chunks = fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(chunks, fc.integer({ min: 1, max: 50 }), fc.nat(), (sizes, everyBytes, seed) => {
        const play = (pieces: readonly number[]): { readonly bytes: Buffer; readonly flips: number } => {
          const lane = new FaultLane(ROOM);
          lane.change(conditions([{ kind: "corrupt", everyBytes }], seed), 0);
          for (const size of pieces) lane.take(Buffer.alloc(size), 0);
          return { bytes: Buffer.from(whole(run(lane, 0)), "latin1"), flips: lane.flippedBits };
        };
        const total = sizes.reduce((sum, size) => sum + size, 0);
        const cut = play(sizes);
        assert.deepEqual(play([total]), cut);
        for (let at = 0; at + everyBytes <= total; at += everyBytes) {
          const ones = [...cut.bytes.subarray(at, at + everyBytes)]
            .join(" ")
            .split(" ")
            .filter((byte) => byte !== "0");
          assert.equal(ones.length, 1);
          assert.equal(Math.log2(Number(ones[0])) % 1, 0);
        }
        assert.ok(cut.flips === Math.floor(total / everyBytes) || cut.flips === Math.floor(total / everyBytes) + 1);
      }),
      { numRuns: 60 },
    );
  });

  it("corruption of a share of chunks flips one bit in so many of them", () => {
    const lane = laneWith({ kind: "corrupt", chunkShare: 0.1 });
    for (let count = 0; count < 4_000; count++) lane.take(Buffer.alloc(10), 0);
    const damaged = run(lane, 0).filter(({ what }) => what !== "\0".repeat(10));
    assert.ok(damaged.length > 300 && damaged.length < 500, String(damaged.length));
    assert.equal(lane.flippedBits, damaged.length);
  });

  it("slow close passes bytes at once and the end later", () => {
    const lane = laneWith({ kind: "slow-close", delayMs: 40 });
    lane.take(Buffer.from("a"), 0);
    lane.sourceDone(false, 0);
    assert.deepEqual(run(lane, 0), [
      { atMs: 0, what: "a" },
      { atMs: 40, what: "<end>" },
    ]);
  });

  it("faults of the other direction has none", () => {
    const lane = laneWith({ kind: "stall", direction: "down" }, { kind: "reset", direction: "down" });
    lane.take(Buffer.from("a"), 0);
    assert.equal(whole(run(lane, 0)), "a");
  });
});
