import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Random } from "../../world/random.ts";
import { seededRandom } from "../../world/seeded-random.ts";
import type { ThrottleOptions } from "./throttle.ts";
import { Throttle } from "./throttle.ts";

/** A client before a server that takes on `capacity` calls a second, ten of them at once, and refuses the rest. */
class Scene {
  readonly throttle: Throttle;
  nowMs: number;
  private readonly random: Random;
  private tokens: number;

  constructor(options?: ThrottleOptions) {
    this.throttle = new Throttle(options);
    this.nowMs = 0;
    this.random = seededRandom(11);
    this.tokens = 0;
  }

  /** `perSecond` calls for `seconds`: how many were made, reached the server, and were done. */
  run(seconds: number, perSecond: number, capacity: number): { made: number; sent: number; done: number } {
    const made = seconds * perSecond;
    let sent = 0;
    let done = 0;
    for (let i = 0; i < made; i++) {
      this.nowMs += 1_000 / perSecond;
      this.tokens = Math.min(10, this.tokens + capacity / perSecond);
      if (!this.throttle.admits(this.nowMs, this.random.float())) continue;
      sent += 1;
      if (this.tokens >= 1) {
        this.tokens -= 1;
        done += 1;
        this.throttle.accepted(this.nowMs);
      } else {
        this.throttle.refused(this.nowMs);
      }
    }
    return { made, sent, done };
  }
}

describe("the throttle", () => {
  it("refuses nothing while the server refuses nothing, or less than half", () => {
    const scene = new Scene();
    const well = scene.run(10, 1_000, 1_000_000);
    assert.equal(well.sent, well.made);
    assert.equal(scene.throttle.isActive, false);
    const half = scene.run(30, 1_000, 600);
    assert.ok(half.sent >= 0.99 * half.made, `${half.sent}`);
  });

  it("sends a server about twice of what it takes on, and loses none of that", () => {
    const scene = new Scene();
    scene.run(10, 1_000, 300);
    const { sent, done } = scene.run(60, 1_000, 300);
    assert.ok(sent <= 1.1 * 2 * 300 * 60, `${sent}`);
    assert.ok(done >= 0.95 * 300 * 60, `${done}`);
  });

  it("refuses three quarters at most, so that it finds out that the server is well again, and then lets go", () => {
    const scene = new Scene();
    scene.run(30, 1_000, 0);
    const dead = scene.run(30, 1_000, 0);
    assert.ok(Math.abs(dead.sent / dead.made - 0.25) < 0.02, `${dead.sent}`);
    assert.equal(scene.throttle.refusedShare(scene.nowMs), 0.75);
    scene.run(1, 1_000, 1_000_000);
    assert.equal(scene.throttle.isActive, false);
    const after = scene.run(10, 1_000, 1_000_000);
    assert.equal(after.sent, after.made);
  });

  it("forgets the refusals after 20 accepted in a row, not after 19", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 100; i++) throttle.refused(0);
    for (let i = 0; i < 19; i++) throttle.accepted(1);
    throttle.refused(1);
    for (let i = 0; i < 19; i++) throttle.accepted(1);
    assert.equal(throttle.isActive, true);
    assert.ok(throttle.refusedShare(1) > 0.4);
    throttle.accepted(1);
    assert.equal(throttle.isActive, false);
    assert.equal(throttle.refusedShare(1), 0);
    assert.ok(throttle.admits(1, 0));
  });

  it("forgets them also when the server has refused nothing for 3 s, however few calls it was sent", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 10_000; i++) throttle.refused(0);
    throttle.accepted(1_000);
    assert.ok(throttle.refusedShare(3_000) > 0.7);
    throttle.refused(3_000);
    assert.ok(throttle.refusedShare(5_900) > 0.7);
    assert.equal(throttle.refusedShare(6_150), 0);
    assert.ok(throttle.admits(6_150, 0));
    assert.equal(throttle.isActive, false);
  });

  it("is soon back when the server was well for twenty calls only", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 5_000; i++) throttle.accepted(0);
    for (let i = 0; i < 10_000; i++) throttle.refused(0);
    for (let i = 0; i < 20; i++) throttle.accepted(1);
    assert.equal(throttle.isActive, false);
    for (let i = 0; i < 60; i++) throttle.refused(2);
    assert.ok(throttle.refusedShare(2) > 0.45);
  });

  it("stays as slow to refuse as it was when bursts of refusals among very many accepted were forgotten", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 5_000; i++) throttle.accepted(0);
    for (let burst = 0; burst < 10; burst++) {
      for (let i = 0; i < 64; i++) throttle.refused(0);
      for (let i = 0; i < 20; i++) throttle.accepted(1);
      assert.equal(throttle.isActive, false);
    }
    for (let i = 0; i < 64; i++) throttle.refused(2);
    assert.equal(throttle.refusedShare(2), 0);
  });

  it("does nothing below five calls a second, though all are refused", () => {
    const scene = new Scene();
    const few = scene.run(120, 4, 0);
    assert.equal(few.sent, few.made);
    assert.equal(scene.throttle.isActive, true);
    const more = scene.run(120, 10, 0);
    assert.ok(more.sent < 0.5 * more.made, `${more.sent}`);
  });

  it("lets one call a second through, also where it may refuse all", () => {
    const throttle = new Throttle({ refusedShareMax: 1 });
    for (let i = 0; i < 10_000; i++) throttle.refused(0);
    let lastMs = 0;
    for (let nowMs = 0; nowMs <= 20_000; nowMs += 10) {
      if (throttle.admits(nowMs, 0)) {
        assert.ok(nowMs - lastMs <= 1_000, `${nowMs - lastMs}`);
        lastMs = nowMs;
        throttle.refused(nowMs);
      }
    }
    assert.ok(lastMs >= 19_000);
  });

  it("takes one refusal in a hundred thousand for what it is", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 100_000; i++) throttle.accepted(i / 100);
    throttle.refused(1_000);
    assert.equal(throttle.isActive, true);
    assert.equal(throttle.refusedShare(1_000), 0);
    assert.ok(throttle.admits(1_000, 0));
  });

  it("forgets by itself in silence, over any jump of the clock, and is not confused by one back", () => {
    for (const laterMs of [100_000, 3_600_000, 3.2e13]) {
      const throttle = new Throttle();
      for (let i = 0; i < 1_000; i++) throttle.refused(50_000);
      assert.ok(throttle.refusedShare(50_000) > 0.7);
      assert.ok(throttle.refusedShare(1_000) > 0.7);
      assert.ok(throttle.admits(50_000 + laterMs, 0));
      assert.equal(throttle.isActive, false);
    }
  });

  it("counts what it is asked for while it is only watched as sent, and answers as if it acted", () => {
    const throttle = new Throttle();
    for (let i = 0; i < 1_000; i++) throttle.refused(0);
    const before = throttle.refusedShare(0);
    let refused = 0;
    for (let i = 0; i < 1_000; i++) if (!throttle.wouldAdmit(0, i / 1_000)) refused += 1;
    assert.equal(throttle.refusedShare(0), before);
    assert.ok(Math.abs(refused - 750) < 5, `${refused}`);
  });

  it("keeps its share within 0 and the limit, and follows the formula, whatever happens", () => {
    const event = fc.record({
      waitMs: fc.oneof(fc.constant(0), fc.nat({ max: 90 }), fc.nat({ max: 20_000 })),
      what: fc.constantFrom("accepted", "refused", "admits"),
      times: fc.integer({ min: 1, max: 60 }),
      chance: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    const limit = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), limit, (events, refusedShareMax) => {
        const throttle = new Throttle({ refusedShareMax });
        let nowMs = 0;
        for (const { waitMs, what, times, chance } of events) {
          nowMs += waitMs;
          for (let i = 0; i < times; i++) {
            if (what === "admits") {
              const share = throttle.refusedShare(nowMs);
              if (chance >= share) assert.equal(throttle.admits(nowMs, chance), true);
              else throttle.admits(nowMs, chance);
            } else throttle[what](nowMs);
          }
          const share = throttle.refusedShare(nowMs);
          assert.ok(share >= 0 && share <= refusedShareMax, `${share}`);
          if (!throttle.isActive) assert.equal(share, 0);
        }
      }),
    );
  });

  it("refuses (requests - K * accepts) / (requests + 1)", () => {
    const throttle = new Throttle({ factor: 1.5 });
    for (let i = 0; i < 40; i++) throttle.accepted(0);
    for (let i = 0; i < 60; i++) throttle.refused(0);
    assert.equal(throttle.refusedShare(0), (100 - 1.5 * 40) / 101);
    assert.equal(throttle.admits(0, 0), true, "the one that passes each second");
    assert.equal(throttle.admits(0, 0), false);
    assert.equal(throttle.refusedShare(0), (101 - 1.5 * 40) / 102, "what is refused here is a request too");
  });

  it("checks its options", () => {
    assert.throws(() => new Throttle({ factor: 1 }), new RangeError("throttle.factor must be 1.1..100, got 1"));
    const misspelt: object = { decay: 5 };
    assert.throws(() => new Throttle(misspelt), /unknown key "throttle.decay", did you mean "throttle.decayMs"\?/);
  });

  it("that begins at a refusal takes what was accepted before into account: a burst among many is no overload", () => {
    const throttle = new Throttle();
    throttle.assume(1_000, 0);
    for (let i = 0; i < 200; i++) throttle.refused(10);
    assert.equal(throttle.refusedShare(10), 0);
    const fresh = new Throttle();
    for (let i = 0; i < 200; i++) fresh.refused(10);
    assert.equal(fresh.refusedShare(10), 0.75);
  });
});
