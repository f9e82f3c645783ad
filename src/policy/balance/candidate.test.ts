import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Outstanding } from "../../call/outstanding.ts";
import { Candidate } from "./candidate.ts";
import { balancerOf, fail, newAttempt, observe, readyPeer, readyPeers } from "./testdata/fleet.ts";

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 1e-5 * Math.max(1, expected), `${actual} is not ${expected}`);
}

function begun(peer: Candidate, nowMs: number): Outstanding {
  const attempt = newAttempt();
  peer.began(attempt, nowMs);
  return attempt;
}

describe("the cost of a peer", () => {
  it("jumps to a latency above it, and is drawn down by one below in 10 s", () => {
    const peer = new Candidate();
    observe(peer, 100, 1_000);
    near(peer.costNowMs(1_000), 100);
    observe(peer, 400, 1_500);
    near(peer.costNowMs(1_500), 400);
    observe(peer, 100, 11_500);
    near(peer.costNowMs(11_500), 400 / Math.E + 100 * (1 - 1 / Math.E));
  });

  it("fades while nothing is observed, down to a floor at which the calls in flight decide", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    near(peer.costNowMs(10_000), 100 / Math.E);
    assert.equal(peer.costNowMs(3_600_000), 0.05);
    begun(peer, 3_600_000);
    near(peer.load(3_600_000), 0.1);
  });

  it("is drawn down at the same pace by a thousand answers a second as by one", () => {
    const often = new Candidate();
    const seldom = new Candidate();
    for (const peer of [often, seldom]) observe(peer, 1_000, 0);
    for (let nowMs = 0.25; nowMs <= 10_000; nowMs += 0.25) observe(often, 100, nowMs);
    observe(seldom, 100, 10_000);
    near(often.costNowMs(10_000) / seldom.costNowMs(10_000), 1);
  });

  it("is multiplied by the calls in flight and divided by the weight", () => {
    const peer = new Candidate({ weight: 4 });
    observe(peer, 100, 0);
    near(peer.load(0), 25);
    begun(peer, 0);
    near(peer.load(0), 50);
  });

  it("is the age of the oldest outstanding call, once that is more", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    const oldest = begun(peer, 0);
    const younger = begun(peer, 400);
    near(peer.load(50), 100 * Math.exp(-0.005) * 3);
    assert.equal(peer.load(2_000), 2_000 * 3);
    assert.equal(peer.oldestAgeMs(2_000), 2_000);
    peer.answered(oldest, 2_000);
    assert.equal(peer.oldestAgeMs(2_000), 1_600);
    peer.answered(younger, 2_000);
    assert.equal(peer.oldestAgeMs(2_000), 0);
  });

  it("counts the time to the first sign of an answer, not how long a stream lives", () => {
    const peer = new Candidate();
    const stream = begun(peer, 0);
    peer.answered(stream, 20);
    peer.answered(stream, 60_000);
    assert.equal(peer.costMs, 20);
    assert.equal(peer.load(20), 40, "the stream is still a call in flight");
    peer.ended(stream);
    assert.equal(peer.costMs, 20);
    assert.equal(peer.inFlight, 0);
  });

  it("is 0 at least when the clock goes back, and no number is lost", () => {
    const peer = new Candidate();
    observe(peer, 100, 10_000);
    const attempt = begun(peer, 9_000);
    peer.answered(attempt, 8_000);
    assert.equal(peer.costMs, 100);
    assert.equal(peer.costNowMs(5_000), 100);
    near(peer.costNowMs(20_000), 100 / Math.E);
    assert.equal(peer.oldestAgeMs(0), 0);
  });

  it("of a peer that was never observed is the mean of the ready ones, those of which nothing is known at 0", () => {
    const peers = readyPeers(4);
    const [one, two, three, fresh] = peers as [Candidate, Candidate, Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    assert.equal(fresh.costNowMs(0), 0.05, "nothing is known of anybody");
    observe(one, 200, 0);
    near(fresh.costNowMs(0), 50);
    assert.equal(fresh.load(0), fresh.costNowMs(0));
    observe(two, 200, 0);
    observe(three, 200, 0);
    near(fresh.costNowMs(0), 150);
    near(fresh.costNowMs(10_000), 150 / Math.E);
    observe(fresh, 20, 0);
    near(fresh.costNowMs(0), 20);
    assert.equal(new Candidate().costNowMs(0), 0.05, "without a balancer there is no mean");
  });

  it("of a peer that was never observed is no more than an answer usually takes, whatever a failing one costs", () => {
    const peers = readyPeers(4);
    const [one, two, ill, fresh] = peers as [Candidate, Candidate, Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    observe(one, 100, 0);
    observe(two, 100, 0);
    for (let i = 0; i < 10; i += 1) fail(ill, 1, i * 2);
    assert.ok((fresh.fleet?.meanMs(20) ?? 0) > 1_000);
    near(fresh.costNowMs(20), 100);
  });

  it("of a peer that is not ready, or was taken out, is not in the mean of the others", () => {
    const peers = readyPeers(3);
    const [one, slow, fresh] = peers as [Candidate, Candidate, Candidate];
    const balancer = balancerOf("p2c-ewma", peers);
    const mean = (): number => fresh.fleet?.meanMs(0) ?? Number.NaN;
    observe(one, 100, 0);
    observe(slow, 4_000, 0);
    near(mean(), 4_100 / 3);
    slow.isReady = false;
    balancer.changed(peers, 0);
    near(mean(), 50);
    observe(slow, 9_000, 0);
    near(mean(), 50);
    slow.isReady = true;
    balancer.changed(peers, 0);
    near(mean(), 9_100 / 3);
    balancer.changed([one, fresh], 0);
    observe(slow, 20_000, 0);
    near(mean(), 50);
  });
});

describe("a failure", () => {
  it("costs twice what an answer does, however fast it was, and is forgiven in 7 s", () => {
    const peers = readyPeers(2);
    const [well, ill] = peers as [Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    observe(well, 100, 0);
    observe(ill, 100, 0);
    fail(ill, 1, 0);
    near(ill.costNowMs(0), 200);
    near(ill.costNowMs(10_000 * Math.LN2), 100);
  });

  it("costs more than the others even if the peer answered nothing ever, and under one call in 10 s", () => {
    const peers = readyPeers(3);
    const [one, two, ill] = peers as [Candidate, Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    observe(one, 100, 0);
    fail(ill, 1, 10_000);
    observe(two, 100, 20_000);
    fail(ill, 1, 20_000);
    assert.ok(ill.costNowMs(20_000) >= 200, String(ill.costNowMs(20_000)));
  });

  it("costs twice the time it took, and each time twice that, where nobody has answered yet", () => {
    const peers = readyPeers(2);
    const [untried, ill] = peers as [Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    fail(ill, 1, 0);
    near(ill.costNowMs(0), 2);
    fail(ill, 1, 1);
    near(ill.costNowMs(1), 4);
    assert.ok(untried.load(1) < ill.load(1), "the untried one goes first");
  });

  it("costs its own latency if that is more, and 5 s at most", () => {
    const peer = readyPeer();
    balancerOf("p2c-ewma", [peer]);
    observe(peer, 100, 0);
    fail(peer, 1_000, 2_000);
    near(peer.costNowMs(2_000), 1_000);
    fail(peer, 30_000, 40_000);
    near(peer.costNowMs(40_000), 5_000);
    for (let i = 0; i < 20; i += 1) fail(peer, 1, 40_001 + i);
    assert.ok(peer.costNowMs(40_020) <= 5_000);
  });

  it("doubles the cost each time it is news, and not for each of the calls that a lost connection took along", () => {
    const peers = readyPeers(2);
    const [well, ill] = peers as [Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    observe(well, 100, 0);
    observe(ill, 100, 0);
    const attempts = Array.from({ length: 64 }, () => begun(ill, 0));
    for (const attempt of attempts) ill.failed(attempt, 10);
    assert.ok(Math.abs(ill.costNowMs(10) - 200) < 1, String(ill.costNowMs(10)));
    fail(ill, 1, 20);
    assert.ok(Math.abs(ill.costNowMs(20) - 400) < 2, String(ill.costNowMs(20)));
  });

  it("of calls that overlap without end goes on doubling", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    const attempts: Outstanding[] = [];
    for (let nowMs = 0; nowMs < 400; nowMs += 10) {
      attempts.push(begun(peer, nowMs));
      const due = attempts.length > 5 ? attempts.shift() : undefined;
      if (due !== undefined) peer.failed(due, nowMs + 5);
    }
    assert.ok(peer.costNowMs(400) > 2_000, String(peer.costNowMs(400)));
  });

  it("among answers adds up to no more than one", () => {
    const peer = new Candidate();
    for (let nowMs = 0; nowMs < 60_000; nowMs += 200) {
      fail(peer, 1, nowMs + 1);
      observe(peer, 100, nowMs + 200);
    }
    assert.ok(peer.costNowMs(60_000) <= 200.001, String(peer.costNowMs(60_000)));
  });

  it("in a row counts as a call that is in flight, from the second on, until it is forgotten", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    fail(peer, 0, 0);
    near(peer.load(0), 200);
    for (let i = 0; i < 9; i += 1) fail(peer, 0, 0);
    near(peer.load(0), 5_000 * (1 + 9));
    near(peer.load(10_000), (5_000 / Math.E) * (10 / Math.E));
    near(peer.load(30_000), 5_000 * Math.exp(-3));
    observe(peer, 5_000, 10_000);
    near(peer.load(10_000), 5_000 * (10 / Math.E));
    assert.equal(peer.inFlight, 0);
  });

  it("after a first sign of an answer counts all the same", () => {
    const peer = readyPeer();
    balancerOf("p2c-ewma", [peer]);
    const attempt = begun(peer, 0);
    peer.answered(attempt, 10);
    peer.failed(attempt, 10);
    peer.ended(attempt);
    near(peer.costNowMs(10), 20);
    assert.equal(peer.inFlight, 0);
  });

  it("of a peer that is slower than the others costs twice what its own answers take", () => {
    const peers = readyPeers(2);
    const [near5, far] = peers as [Candidate, Candidate];
    balancerOf("p2c-ewma", peers);
    for (let i = 0; i < 50; i += 1) observe(near5, 5, i);
    observe(far, 80, 50);
    fail(far, 1, 50);
    near(far.costNowMs(50), 160);
  });

  it("never lowers the cost", () => {
    const peer = new Candidate();
    observe(peer, 20_000, 0);
    fail(peer, 1, 0);
    near(peer.costNowMs(0), 20_000);
  });
});

describe("a refusal for want of capacity", () => {
  function refuse(peer: Candidate, latencyMs: number, nowMs: number): void {
    const attempt = begun(peer, nowMs - latencyMs);
    peer.refused(attempt, nowMs);
    peer.ended(attempt);
  }

  it("costs what a failure does as long as nothing is answered", () => {
    const refusing = new Candidate();
    const failing = new Candidate();
    for (const peer of [refusing, failing]) observe(peer, 100, 0);
    for (let nowMs = 10; nowMs <= 60; nowMs += 10) {
      refuse(refusing, 1, nowMs);
      fail(failing, 1, nowMs);
      assert.equal(refusing.load(nowMs), failing.load(nowMs));
    }
    assert.ok(refusing.costNowMs(60) > 1_000);
  });

  it("is forgotten with the next answer: the peer has room", () => {
    const peer = new Candidate();
    const other = new Candidate();
    for (const each of [peer, other]) observe(each, 100, 0);
    for (let nowMs = 10; nowMs <= 1_000; nowMs += 10) refuse(peer, 1, nowMs);
    for (const each of [peer, other]) observe(each, 100, 1_010);
    near(peer.load(1_010), other.load(1_010));
  });

  it("of a peer that had answered nothing is what is known of it, until that fades", () => {
    const peer = new Candidate();
    refuse(peer, 4, 4);
    observe(peer, 1, 5);
    assert.ok(peer.costNowMs(5) >= 7.9, String(peer.costNowMs(5)));
  });

  it("leaves the mean of the fleet where it was", () => {
    const peers = readyPeers(2);
    balancerOf("least-loaded", peers);
    for (const peer of peers) observe(peer, 100, 0);
    const { fleet } = peers[0] as Candidate;
    const beforeMs = fleet?.meanMs(0) ?? Number.NaN;
    for (let i = 0; i < 20; i += 1) refuse(peers[0] as Candidate, 1, i);
    for (const peer of peers) observe(peer, 100, 20);
    assert.ok(Math.abs((fleet?.meanMs(20) ?? Number.NaN) / beforeMs - 1) < 0.01);
  });
});

describe("an attempt that another one overtook", () => {
  it("raises the cost to its age and does not lower it", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    peer.overtaken(begun(peer, 0), 50);
    near(peer.costNowMs(0), 100);
    assert.equal(peer.costAtMs, 0);
    peer.overtaken(begun(peer, 50), 350);
    near(peer.costNowMs(350), 300);
  });

  it("quadruples the cost, if it is the second in a row that lost by far and the peer has answered nothing since", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    const [first, alongside] = [begun(peer, 0), begun(peer, 100)];
    peer.overtaken(first, 300, 20);
    peer.overtaken(alongside, 400, 20);
    assert.ok(peer.costNowMs(400) <= 300, "both were on their way already: one pause");
    peer.overtaken(begun(peer, 400), 600, 20);
    assert.ok(peer.costNowMs(600) > 1_100, String(peer.costNowMs(600)));
    for (let nowMs = 600; nowMs < 3_000; nowMs += 300) peer.overtaken(begun(peer, nowMs), nowMs + 300, 20);
    assert.ok(peer.costNowMs(3_000) <= 5_000 && peer.costNowMs(3_000) > 3_500, String(peer.costNowMs(3_000)));
  });

  it("is one slow call among answers, and no more than that", () => {
    const peer = new Candidate();
    for (let nowMs = 0; nowMs < 30_000; nowMs += 300) {
      peer.overtaken(begun(peer, nowMs), nowMs + 200, 20);
      observe(peer, 20, nowMs + 200);
    }
    assert.ok(peer.costNowMs(30_000) <= 200, String(peer.costNowMs(30_000)));
  });

  it("says nothing of the peer if it lost by little, or was the younger one", () => {
    const peer = new Candidate();
    observe(peer, 100, 0);
    for (let nowMs = 0; nowMs < 3_000; nowMs += 100) peer.overtaken(begun(peer, nowMs), nowMs + 90, 89);
    for (let nowMs = 3_000; nowMs < 6_000; nowMs += 100) peer.overtaken(begun(peer, nowMs), nowMs + 30, 300);
    assert.ok(peer.costNowMs(6_000) < 100);
  });

  it("does nothing if it was answered before, and leaves the calls in flight to their end", () => {
    const peer = new Candidate();
    const attempt = begun(peer, 0);
    peer.answered(attempt, 10);
    peer.overtaken(attempt, 5_000, 1);
    assert.equal(peer.costMs, 10);
    assert.equal(peer.inFlight, 1);
    peer.ended(attempt);
    assert.equal(peer.inFlight, 0);
  });
});

describe("the outstanding calls of a peer", () => {
  it("are those that began and gave no sign, oldest first, whatever happens in which order", () => {
    const step = fc.record({
      what: fc.constantFrom("began", "answered", "failed", "overtaken", "ended"),
      which: fc.nat({ max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const peer = new Candidate();
        const open: Outstanding[] = [];
        let waiting: Outstanding[] = [];
        steps.forEach(({ what, which }, nowMs) => {
          const attempt = what === "began" ? begun(peer, nowMs) : open[which % Math.max(1, open.length)];
          if (attempt === undefined) return;
          if (what === "began") {
            open.push(attempt);
            waiting.push(attempt);
            assertSame(peer, waiting, open.length);
            return;
          }
          if (what === "ended") peer.ended(attempt);
          else peer[what](attempt, nowMs);
          if (what === "ended") open.splice(open.indexOf(attempt), 1);
          waiting = waiting.filter((other) => other !== attempt);
          assert.ok(!attempt.isOutstanding);
          assert.equal(attempt.outstandingNext ?? attempt.outstandingPrevious, undefined);
          assertSame(peer, waiting, open.length);
        });
      }),
    );
  });

  function assertSame(peer: Candidate, waiting: readonly Outstanding[], inFlight: number): void {
    const forwards: Outstanding[] = [];
    for (let entry = peer.oldest; entry !== undefined; entry = entry.outstandingNext) forwards.push(entry);
    const backwards: Outstanding[] = [];
    for (let entry = peer.newest; entry !== undefined; entry = entry.outstandingPrevious) backwards.push(entry);
    assert.deepEqual(
      forwards.map(({ startedMs }) => startedMs),
      waiting.map(({ startedMs }) => startedMs),
    );
    assert.ok(forwards.every((entry, index) => entry === waiting[index]));
    assert.ok(backwards.toReversed().every((entry, index) => entry === waiting[index]));
    assert.equal(backwards.length, waiting.length);
    assert.equal(peer.inFlight, inFlight);
  }

  it("that are given up leave no sample", () => {
    const peer = new Candidate();
    const attempt = begun(peer, 0);
    peer.ended(attempt);
    assert.equal(peer.costAtMs, Number.NEGATIVE_INFINITY);
    assert.equal(peer.oldest, undefined);
    assert.equal(peer.inFlight, 0);
  });

  it("cannot begin twice or end twice", () => {
    const peer = new Candidate();
    const attempt = begun(peer, 0);
    assert.throws(() => peer.began(attempt, 1), /outstanding already/);
    assert.equal(peer.inFlight, 1);
    peer.ended(attempt);
    assert.throws(() => peer.ended(attempt), /had ended already/);
    assert.equal(peer.inFlight, 0);
    peer.began(attempt, 2);
    assert.equal(peer.oldestAgeMs(3), 1, "an attempt object may be used again");
  });
});

describe("the facts of a peer", () => {
  it("are checked", () => {
    for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => new Candidate({ weight }), {
        name: "RangeError",
        message: `peer.weight must be a finite number > 0, got ${weight}`,
      });
    for (const tier of [-1, 0.5, Number.NaN])
      assert.throws(() => new Candidate({ tier }), {
        name: "RangeError",
        message: `peer.tier must be an integer >= 0, got ${tier}`,
      });
  });

  it("have defaults, and absent is the same as undefined", () => {
    for (const peer of [new Candidate(), new Candidate({ weight: undefined, tier: undefined, zone: undefined })]) {
      assert.deepEqual([peer.weight, peer.tier, peer.zone], [1, 0, undefined]);
      assert.deepEqual([peer.isReady, peer.isHealthy, peer.readySinceMs], [false, true, Number.NEGATIVE_INFINITY]);
    }
  });
});
