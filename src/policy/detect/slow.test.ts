import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { OUTCOME_LATE } from "./outlier.ts";
import { type Behaviour, ScriptedFleet } from "./testdata/scripted-fleet.ts";

const SIZES = [2, 3, 5, 50] as const;

/** A spread as real services have it: half to double. */
function spread(ms: number, random: { float(): number }): number {
  return ms * 2 ** (2 * random.float() - 1);
}

/** All answer in about 10 ms, one peer so many times as slowly. */
function oneSlow(slow: number, factor: number): Behaviour {
  return (peer, _method, _atMs, random) => ({ latencyMs: spread(peer === slow ? 10 * factor : 10, random) });
}

for (const peers of SIZES) {
  describe(`a slow peer among ${peers}`, () => {
    it("is ejected within 6 s of becoming ten times slower, and no other ever", () => {
      for (let seed = 1; seed <= 5; seed += 1) {
        const fleet = new ScriptedFleet({ peers, seed });
        fleet.run(30_000, 50 * peers, oneSlow(0, 1));
        assert.deepEqual(fleet.everEjected, [], `seed ${seed}`);
        fleet.run(6_000, 50 * peers, oneSlow(1, 10));
        assert.deepEqual(fleet.everEjected, ["p1"], `seed ${seed}`);
        assert.match(fleet.records[1]?.why ?? "", /^median [\d.]+ ms, [\d.]+ ms at the others \(/);
      }
    });

    it("is ejected again, for longer, while it stays slow, and left alone once it is well", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(30_000, 50 * peers, oneSlow(0, 1));
      fleet.run(60_000, 50 * peers, oneSlow(1, 20));
      const ejections = fleet.changes.filter(({ kind }) => kind === "ejected");
      assert.ok(ejections.length >= 2, `${ejections.length}`);
      assert.deepEqual(fleet.everEjected, ["p1"]);
      fleet.run(60_000, 50 * peers, oneSlow(0, 1));
      const before = fleet.changes.length;
      fleet.run(60_000, 50 * peers, oneSlow(0, 1));
      assert.equal(fleet.changes.length, before);
      assert.deepEqual(fleet.ejected, []);
    });

    it("is nobody when all become ten times slower at once", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(30_000, 50 * peers, oneSlow(0, 1));
      fleet.run(60_000, 50 * peers, (_peer, _method, _atMs, random) => ({ latencyMs: spread(100, random) }));
      assert.deepEqual(fleet.everEjected, []);
    });

    it("is nobody where differences are smaller than 5 ms, however many times they are", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(20_000, 50 * peers, () => ({ latencyMs: 0.1 }));
      fleet.run(20_000, 50 * peers, (peer) => ({ latencyMs: peer === 1 ? 4 : 0.1 }));
      assert.deepEqual(fleet.everEjected, []);
    });

    it("is nobody for being given the heavy method more often than others", () => {
      const fleet = new ScriptedFleet({ peers, methods: 2 });
      for (let second = 0; second < 30; second += 1) {
        for (let i = 0; i < 50 * peers; i += 1) {
          fleet.nowMs += 20 / peers;
          const peer = i % peers;
          // A quarter of the calls of most peers are heavy, nearly all of those of p0.
          const method = (peer === 0 ? i % 20 !== 0 : i % 4 === 0) ? 1 : 0;
          fleet.tell(peer, 0, method === 1 ? 200 : 2, method);
        }
        fleet.sweep();
      }
      assert.deepEqual(fleet.everEjected, []);
    });

    it("is not found in one sweep alone: two in a row must see it", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(20_000, 50 * peers, oneSlow(0, 1));
      for (let i = 0; i < 200; i += 1) fleet.tell(1, 0, 400);
      fleet.nowMs += 1_000;
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, []);
      // An urgent sweep in the same moment is no second look.
      fleet.nowMs += 30;
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, []);
      fleet.nowMs += 1_000;
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, ["p1"]);
    });

    it("is found by lateness, which took at least so long", () => {
      const fleet = new ScriptedFleet({ peers, consecutiveFailures: 1_000 });
      fleet.run(30_000, 50 * peers, oneSlow(0, 1));
      fleet.run(6_000, 50 * peers, (peer, _method, _atMs, random) =>
        peer === 1 ? { outcome: OUTCOME_LATE, latencyMs: 1_000 } : { latencyMs: spread(10, random) },
      );
      assert.deepEqual(fleet.everEjected, ["p1"]);
    });
  });
}

describe("slowness in a small fleet", () => {
  it("is not held against a peer that was always so: its own past says so", () => {
    for (const peers of [2, 3, 4]) {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(120_000, 50 * peers, oneSlow(1, 10));
      assert.deepEqual(fleet.everEjected, [], `${peers} peers`);
    }
  });

  it("needs three times the others and three times its own past", () => {
    const fleet = new ScriptedFleet({ peers: 3 });
    fleet.run(30_000, 150, oneSlow(0, 1));
    fleet.run(20_000, 150, oneSlow(1, 2.2));
    assert.deepEqual(fleet.everEjected, []);
    fleet.run(6_000, 150, oneSlow(1, 5));
    assert.deepEqual(fleet.everEjected, ["p1"]);
  });
});

describe("slowness in a crowd", () => {
  it("is judged by a robust z: two fifths above the median with the scale at its floor", () => {
    const at = (factor: number): readonly string[] => {
      const fleet = new ScriptedFleet({ peers: 10 });
      fleet.run(20_000, 500, (peer) => ({ latencyMs: peer === 3 ? 100 * factor : 100 }));
      return fleet.everEjected;
    };
    assert.deepEqual(at(1.2), []);
    assert.deepEqual(at(1.7), ["p3"]);
  });

  it("does not hide one slow peer behind another, as a mean and a standard deviation would", () => {
    const fleet = new ScriptedFleet({ peers: 6 });
    fleet.run(20_000, 300, (peer) => ({ latencyMs: peer === 0 ? 10_000 : peer === 1 ? 300 : 20 }));
    assert.deepEqual(fleet.everEjected, ["p0", "p1"]);
  });

  it("compares a far zone within itself, and finds the slow one there", () => {
    const zoneOf = (peer: number): string => (peer < 7 ? "near" : "far");
    const fleet = new ScriptedFleet({ peers: 11, zoneOf });
    const far: Behaviour = (peer, _method, _atMs, random) => ({ latencyMs: spread(peer < 7 ? 2 : 60, random) });
    fleet.run(30_000, 500, far);
    assert.deepEqual(fleet.everEjected, []);
    fleet.run(10_000, 500, (peer, method, atMs, random) =>
      peer === 9 ? { latencyMs: spread(600, random) } : far(peer, method, atMs, random),
    );
    assert.deepEqual(fleet.everEjected, ["p9"]);
  });

  it("leaves peers with too few samples alone", () => {
    const fleet = new ScriptedFleet({ peers: 5 });
    fleet.run(10_000, 250, oneSlow(0, 1));
    const fresh = new ScriptedFleet({ peers: 5 });
    for (let peer = 0; peer < 4; peer += 1) for (let i = 0; i < 50; i += 1) fresh.tell(peer, 0, 10);
    for (let i = 0; i < 19; i += 1) fresh.tell(4, 0, 1_000);
    for (let i = 0; i < 3; i += 1) {
      fresh.nowMs += 1_000;
      fresh.sweep();
    }
    assert.deepEqual(fresh.everEjected, []);
    assert.deepEqual(fleet.everEjected, []);
  });
});
