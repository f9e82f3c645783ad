import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { PeerPace, StandDown } from "./stand-down.ts";

const MEDIAN_MS = 10;

/** Peers that answer with log-normal latency (a tail of 5 x at p99.9), `perSecond` calls each, looked at each second. */
class Fleet {
  readonly paces: readonly PeerPace[];
  readonly standDown: StandDown;
  readonly slowness: number[];
  nowMs: number;
  private readonly perSecond: number;
  private readonly random: { float(): number };

  constructor(peers: number, perSecond: number, seed = 7) {
    this.paces = Array.from({ length: peers }, () => new PeerPace());
    this.standDown = new StandDown();
    this.slowness = new Array<number>(peers).fill(1);
    this.nowMs = 0;
    this.perSecond = perSecond;
    this.random = seededRandom(seed);
  }

  /** Lets `seconds` pass; the seconds at whose end copies stood down. */
  run(seconds: number): number {
    let down = 0;
    for (let second = 0; second < seconds; second++) {
      for (let call = 0; call < this.perSecond; call++) {
        const atMs = this.nowMs + (1_000 * call) / this.perSecond;
        this.paces.forEach((pace, i) => pace.sample(MEDIAN_MS * (this.slowness[i] as number) * this.tail(), atMs));
      }
      this.nowMs += 1_000;
      if (this.standDown.look(this.paces, this.nowMs)) down += 1;
    }
    return down;
  }

  slow(peers: number, factor: number): void {
    for (let i = 0; i < peers; i++) this.slowness[i] = factor;
  }

  /** exp of a normal number (Box and Muller) with deviation 0.5. */
  private tail(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.random.float()));
    return Math.exp(0.5 * radius * Math.cos(2 * Math.PI * this.random.float()));
  }
}

/** Peers and calls a second to each. */
const FLEETS = [2, 3, 5, 50].flatMap((peers) => [1, 10, 200].map((perSecond) => [peers, perSecond] as const));

describe("copies stand down", () => {
  it("never while all is well, with 2, 3, 5 and 50 peers, at 1, 10 and 200 calls a second to each", () => {
    for (const [peers, perSecond] of FLEETS) {
      const fleet = new Fleet(peers, perSecond);
      assert.equal(fleet.run(120), 0, `${peers} peers, ${perSecond}/s`);
    }
  });

  it("when more than half of the peers are slower: 3 x within 5 s from 10 calls a second on, 10 x within 15 s at one", () => {
    for (const [peers, perSecond] of FLEETS) {
      const fleet = new Fleet(peers, perSecond);
      fleet.run(60);
      fleet.slow(Math.floor(peers / 2) + 1, perSecond === 1 ? 10 : 3);
      fleet.run(perSecond === 1 ? 15 : 5);
      assert.equal(fleet.standDown.isDown, true, `${peers} peers, ${perSecond}/s`);
    }
  });

  it("not when only half of the peers are slow, however slow they are", () => {
    for (const [peers, perSecond] of FLEETS) {
      const fleet = new Fleet(peers, perSecond);
      fleet.run(60);
      fleet.slow(Math.floor(peers / 2), 1_000);
      // At one call a second a peer's median is a guess: a few seconds in ten minutes.
      assert.ok(
        fleet.run(perSecond === 200 ? 120 : 600) <= (perSecond === 1 ? 10 : 0),
        `${peers} peers, ${perSecond}/s`,
      );
    }
  });

  it("for 60 s at most: a jump of any size is the new baseline by then", () => {
    for (const perSecond of [1, 10, 200]) {
      for (const factor of [5, 10, 100, 10_000]) {
        const fleet = new Fleet(3, perSecond);
        fleet.run(60);
        fleet.slow(3, factor);
        assert.ok(fleet.run(60) >= 10, `${factor} x at ${perSecond}/s was not seen`);
        assert.equal(fleet.run(120), 0, `${factor} x at ${perSecond}/s did not become normal`);
      }
    }
  });

  it("until the peers are as fast as before, and again when they are slow again a little later", () => {
    const fleet = new Fleet(5, 100);
    fleet.run(60);
    for (let round = 0; round < 3; round++) {
      fleet.slow(5, 5);
      assert.ok(fleet.run(10) >= 8);
      fleet.slow(5, 1);
      fleet.run(3);
      assert.equal(fleet.standDown.isDown, false);
      assert.equal(fleet.run(27), 0);
    }
  });

  it("and do not come and go at the limit: down at twice the baseline, up again below 1.5 times", () => {
    const standDown = new StandDown();
    const pace = new PeerPace();
    for (let i = 0; i < 100; i++) pace.sample(10, i * 1_000);
    const settleAt = (ms: number): void => {
      for (let i = 0; i < 200; i++) pace.sample(ms, 99_001);
    };
    settleAt(19);
    assert.equal(standDown.look([pace, pace], 99_010), false);
    settleAt(21);
    assert.equal(standDown.look([pace, pace], 99_010), true);
    settleAt(16);
    assert.equal(standDown.look([pace, pace], 99_010), true);
    settleAt(14);
    assert.equal(standDown.look([pace, pace], 99_010), false);
    settleAt(16);
    assert.equal(standDown.look([pace, pace], 99_010), false);
  });

  it("not for a difference under 2 ms, whatever the factor", () => {
    const standDown = new StandDown();
    const pace = new PeerPace();
    for (let i = 0; i < 100; i++) pace.sample(0, i * 1_000);
    for (let i = 0; i < 1_000; i++) pace.sample(1.9, 99_001);
    assert.ok(pace.medianMs > 1.8);
    assert.equal(standDown.look([pace, pace], 99_002), false);
    for (let i = 0; i < 1_000; i++) pace.sample(2.5, 99_003);
    assert.equal(standDown.look([pace, pace], 99_004), true);
  });

  it("not by the word of a peer without a past, and no longer by that of one that fell silent", () => {
    const standDown = new StandDown();
    assert.equal(standDown.look([], 0), false);
    assert.equal(standDown.look([new PeerPace()], 0), false);
    const young = new PeerPace();
    young.sample(1, 0);
    for (let i = 0; i < 15; i++) young.sample(500, 1);
    assert.equal(standDown.look([young], 2), false);
    const slow = new PeerPace();
    for (let i = 0; i < 50; i++) slow.sample(1, i * 100);
    for (let i = 0; i < 500; i++) slow.sample(100, 5_000);
    assert.equal(standDown.look([slow, slow, new PeerPace()], 5_001), true);
    assert.equal(standDown.look([slow, slow], 15_000), true);
    assert.equal(standDown.look([slow, slow], 15_001), false);
  });

  it("not by the word of one peer, though it be the only one that has a say: the first that was ready got the whole first burst", () => {
    const standDown = new StandDown();
    const first = new PeerPace();
    // All were sent at once, so that the fast ones come first.
    for (let i = 0; i < 100; i++) first.sample(1 + i / 5, i / 10);
    assert.ok(first.hasSay(50) && first.isOver(2, 2));
    assert.equal(standDown.look([first, ...Array.from({ length: 19 }, () => new PeerPace())], 50), false);
    assert.equal(standDown.look([first, first], 50), true);
  });

  it("not for a day in which nothing was called", () => {
    const fleet = new Fleet(3, 100);
    fleet.run(30);
    fleet.nowMs += 86_400_000;
    assert.equal(fleet.run(30), 0);
  });

  it("and the median goes straight to the time that a peer always takes, and not past it", () => {
    const pace = new PeerPace();
    let last = 10;
    pace.sample(last, 0);
    for (const ms of [10, 80, 3]) {
      for (let i = 0; i < 300; i++) {
        pace.sample(ms, 0);
        assert.ok((pace.medianMs - ms) * (last - ms) >= 0, `${i}`);
        last = pace.medianMs;
        if (last === ms) break;
      }
      assert.equal(last, ms);
    }
  });

  it("and the median is right within a quarter, and takes no nonsense for a sample", () => {
    for (const perSecond of [10, 200]) {
      const fleet = new Fleet(20, perSecond);
      fleet.run(60);
      for (const { medianMs } of fleet.paces) assert.ok(Math.abs(Math.log(medianMs / MEDIAN_MS)) < 0.5, `${medianMs}`);
      const mean = fleet.paces.reduce((sum, { medianMs }) => sum + medianMs / 20, 0);
      assert.ok(Math.abs(mean - MEDIAN_MS) < MEDIAN_MS / 4, `${mean}`);
    }
    const pace = new PeerPace();
    pace.sample(Number.NaN, 0);
    assert.ok(Number.isNaN(pace.medianMs));
    pace.sample(5, 0);
    for (const ms of [Number.NaN, -1, Number.POSITIVE_INFINITY, 0]) pace.sample(ms, 1);
    assert.ok(pace.medianMs > 2 && pace.medianMs < 10);
  });
});
