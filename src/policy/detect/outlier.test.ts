import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../../world/seeded-random.ts";
import {
  OUTCOME_IGNORED,
  OUTCOME_LATE,
  OUTCOME_OK,
  OUTCOME_RAISED,
  OUTCOME_TRANSPORT,
  OutlierDetector,
  PeerRecord,
} from "./outlier.ts";
import { ScriptedFleet } from "./testdata/scripted-fleet.ts";

const SIZES = [2, 3, 5, 50] as const;
const STANDARD = { consecutiveFailures: 5, successShareMin: 0.8, ejectedShareMax: 0.5 };

/** So many faults at one peer, 25 ms apart. */
function faults(fleet: ScriptedFleet, peer: number, count: number, outcome: number = OUTCOME_TRANSPORT): void {
  for (let i = 0; i < count; i += 1) {
    fleet.nowMs += 25;
    fleet.tell(peer, outcome);
  }
}

for (const peers of SIZES) {
  describe(`the outlier detector with ${peers} peers`, () => {
    it("ejects a peer at its fifth fault in a row, at once, and no other", () => {
      const fleet = new ScriptedFleet({ peers });
      faults(fleet, 1, 4);
      assert.deepEqual(fleet.ejected, []);
      faults(fleet, 1, 1);
      assert.deepEqual(fleet.ejected, ["p1"]);
      assert.equal(fleet.records[1]?.why, "5 faults in a row");
    });

    it("ejects a peer that another detector charges, at the next sweep and once, and not more of them than others", () => {
      const fleet = new ScriptedFleet({ peers });
      for (let peer = 0; peer < peers; peer += 1) {
        const record = fleet.records[peer];
        assert.ok(record !== undefined);
        fleet.detector.charge(record, "altered", fleet.nowMs);
        fleet.nowMs += 10;
        fleet.sweep();
      }
      const most = Math.max(1, Math.floor(peers / 2));
      assert.ok(fleet.ejected.length >= 1 && fleet.ejected.length <= most, `${fleet.ejected.length} of ${peers}`);
      assert.equal(fleet.records[0]?.why, "altered");
      fleet.run(20_000, 100, () => ({}));
      assert.deepEqual(fleet.ejected, [], "they have returned, and nothing is held against them any more");
    });

    it("ejects for lateness in a row as for transport faults, and for both mixed", () => {
      const fleet = new ScriptedFleet({ peers });
      for (let i = 0; i < 5; i += 1) faults(fleet, 0, 1, i % 2 === 0 ? OUTCOME_LATE : OUTCOME_TRANSPORT);
      assert.deepEqual(fleet.ejected, ["p0"]);
    });

    it("lets an ignored outcome neither count nor break a row, and a success break it", () => {
      const fleet = new ScriptedFleet({ peers });
      for (let i = 0; i < 4; i += 1) {
        faults(fleet, 0, 1);
        faults(fleet, 0, 10, OUTCOME_IGNORED);
      }
      faults(fleet, 0, 1, OUTCOME_OK);
      faults(fleet, 0, 4);
      assert.deepEqual(fleet.ejected, []);
      faults(fleet, 0, 1, OUTCOME_IGNORED);
      faults(fleet, 0, 1);
      assert.deepEqual(fleet.ejected, ["p0"]);
    });

    it("ejects nobody when all fail alike from one moment on: then it is us, or the network", () => {
      for (let seed = 1; seed <= 10; seed += 1) {
        const fleet = new ScriptedFleet({ peers, seed });
        fleet.run(5_000, 100, () => ({}));
        fleet.run(20_000, 100, () => ({ outcome: OUTCOME_TRANSPORT }));
        assert.deepEqual(fleet.everEjected, [], `seed ${seed}`);
      }
    });

    it("ejects nobody for a method that fails everywhere", () => {
      const fleet = new ScriptedFleet({ peers, methods: 3 });
      fleet.run(40_000, 100, (_peer, method) => ({ outcome: method === 1 ? OUTCOME_RAISED : OUTCOME_OK }));
      assert.deepEqual(fleet.everEjected, []);
      // Not in a row either, where a peer is given nothing else for a while.
      faults(fleet, 0, 5, OUTCOME_OK);
      for (let i = 0; i < 20; i += 1) fleet.tell(0, OUTCOME_RAISED, 2, 1);
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, []);
    });

    it("counts raised codes in a row where the others do well on the same method", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(2_000, 50, () => ({}));
      faults(fleet, 0, 5, OUTCOME_RAISED);
      assert.deepEqual(fleet.ejected, ["p0"]);
    });

    it("does not count raised codes in a row where nobody else was asked", () => {
      const fleet = new ScriptedFleet({ peers });
      for (let i = 0; i < 30; i += 1) fleet.tell(0, OUTCOME_RAISED, 2, 7);
      fleet.nowMs += 1_000;
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, []);
    });

    it("ejects the peer whose success share is low while the others' is not", () => {
      for (let seed = 1; seed <= 5; seed += 1) {
        const fleet = new ScriptedFleet({ peers, seed, consecutiveFailures: 1_000 });
        fleet.run(30_000, 20 * peers, (peer, _method, _atMs, random) => ({
          outcome: peer === 1 && random.float() < 0.5 ? OUTCOME_RAISED : OUTCOME_OK,
        }));
        assert.deepEqual(fleet.everEjected, ["p1"], `seed ${seed}`);
        assert.match(fleet.records[1]?.why ?? "", /^\d+ % of \d+ calls succeeded, 100 % at the others$/);
      }
    });

    it("ejects nobody while all peers fail every other call", () => {
      for (let seed = 1; seed <= 10; seed += 1) {
        const fleet = new ScriptedFleet({ peers, seed, consecutiveFailures: 1_000 });
        fleet.run(120_000, 10 * peers, (_peer, _method, _atMs, random) => ({
          outcome: random.float() < 0.5 ? OUTCOME_RAISED : OUTCOME_OK,
        }));
        assert.deepEqual(fleet.everEjected, [], `seed ${seed}`);
      }
    });

    it("never ejects the last peer, nor more than half (of two, one)", () => {
      const fleet = new ScriptedFleet({ peers, seed: 3 });
      // One after the other falls ill, within two seconds, while those that are left do well.
      for (let peer = 0; peer < peers; peer += 1) {
        for (let i = 0; i < 6; i += 1) {
          fleet.nowMs += 2_000 / peers / 6;
          fleet.tell(peer, OUTCOME_TRANSPORT);
          for (let well = peer + 1; well < peers; well += 1) fleet.tell(well, OUTCOME_OK);
        }
        fleet.sweep();
      }
      assert.equal(fleet.ejected.length, Math.max(1, Math.floor(peers / 2)));
      assert.ok(fleet.ejected.length < peers);
    });

    it("ejects nobody for lateness or latency while our own loop stalls", () => {
      const fleet = new ScriptedFleet({ peers });
      fleet.run(10_000, 20 * peers, () => ({}));
      fleet.stallScore = 3;
      faults(fleet, 0, 40, OUTCOME_LATE);
      fleet.sweep();
      fleet.run(10_000, 20 * peers, (peer) => ({ latencyMs: peer === 1 ? 500 : 2 }));
      assert.deepEqual(fleet.everEjected, []);
      faults(fleet, 0, 40, OUTCOME_LATE);
      fleet.sweep();
      fleet.stallScore = 0;
      fleet.nowMs += 1_000;
      fleet.sweep();
      assert.deepEqual(fleet.everEjected, [], "nor for it afterwards");
      fleet.stallScore = 3;
      faults(fleet, 0, 5);
      assert.deepEqual(fleet.everEjected, ["p0"], "refused connections are no lateness");
    });

    it("returns a peer when its time is over, and needs the full threshold again (envoy#40697)", () => {
      const fleet = new ScriptedFleet({ peers });
      faults(fleet, 0, 5);
      const untilMs = fleet.records[0]?.ejectedUntilMs ?? Number.NaN;
      assert.equal(fleet.detector.nextSweepMs, untilMs);
      fleet.nowMs = untilMs - 1;
      fleet.sweep();
      assert.deepEqual(fleet.ejected, ["p0"]);
      fleet.nowMs = untilMs;
      fleet.sweep();
      assert.deepEqual(fleet.ejected, []);
      assert.equal(fleet.changes.at(-1)?.kind, "returned");
      assert.equal(fleet.detector.nextSweepMs, Number.POSITIVE_INFINITY);
      faults(fleet, 0, 4);
      fleet.sweep();
      assert.deepEqual(fleet.ejected, []);
      faults(fleet, 0, 1);
      assert.deepEqual(fleet.ejected, ["p0"]);
    });

    it("does not hold the window from before the ejection against a returned peer", () => {
      const fleet = new ScriptedFleet({ peers, consecutiveFailures: 1_000 });
      fleet.run(2_000, 20 * peers, (peer) => ({ outcome: peer === 0 ? OUTCOME_TRANSPORT : OUTCOME_OK }));
      assert.deepEqual(fleet.ejected, ["p0"]);
      fleet.run(20_000, 20 * peers, () => ({}));
      assert.deepEqual(fleet.ejected, []);
      assert.equal(fleet.changes.length, 2);
    });
  });
}

describe("an ejection's time", () => {
  /** Ejects p0 again as soon as it is back, and gives the times. */
  function times(fleet: ScriptedFleet, count: number): readonly number[] {
    const result: number[] = [];
    for (let i = 0; i < count; i += 1) {
      faults(fleet, 0, 5);
      const record = fleet.records[0];
      assert.equal(record?.isEjected, true);
      result.push((record?.ejectedUntilMs ?? 0) - fleet.nowMs);
      fleet.nowMs = record?.ejectedUntilMs ?? 0;
      fleet.sweep();
    }
    return result;
  }

  it("doubles from 5 s up to 300 s, with equal jitter, and is capped there (envoy#26758)", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      times(new ScriptedFleet({ peers: 3, seed }), 12).forEach((ms, index) => {
        const fullMs = Math.min(300_000, 5_000 * 2 ** index);
        assert.ok(ms >= fullMs / 2 && ms <= fullMs, `${index + 1}: ${ms}`);
      });
    }
  });

  it("differs between clients", () => {
    const all = [1, 2, 3, 4, 5].map((seed) => times(new ScriptedFleet({ peers: 3, seed }), 1)[0]);
    assert.equal(new Set(all).size, 5);
  });

  it("comes down one step for each 30 s of health, and not from above the cap (envoy#37602)", () => {
    const fleet = new ScriptedFleet({ peers: 3 });
    times(fleet, 50);
    const record = fleet.records[0];
    assert.equal(record?.ejections, 7);
    fleet.nowMs += 29_999;
    fleet.sweep();
    assert.equal(record?.ejections, 7);
    fleet.nowMs += 1;
    fleet.sweep();
    assert.equal(record?.ejections, 6);
    fleet.nowMs += 6 * 30_000;
    fleet.sweep();
    assert.equal(record?.ejections, 0);
    assert.ok((times(fleet, 1)[0] ?? 0) <= 5_000);
  });
});

describe("the outlier detector", () => {
  it("says nothing while all is well", () => {
    const fleet = new ScriptedFleet({ peers: 5 });
    fleet.run(60_000, 100, (_peer, _method, _atMs, random) => ({
      outcome: random.float() < 0.02 ? OUTCOME_RAISED : OUTCOME_OK,
      latencyMs: 1 + 3 * random.float(),
    }));
    assert.deepEqual(fleet.changes, []);
  });

  it("gives the worst its turn where not all may go", () => {
    const fleet = new ScriptedFleet({ peers: 5, consecutiveFailures: 1_000, ejectedShareMax: 0.2 });
    fleet.run(900, 200, (peer, _method, _atMs, random) => ({
      outcome: random.float() < [0, 0.45, 0.9, 0, 0][peer]! ? OUTCOME_TRANSPORT : OUTCOME_OK,
    }));
    fleet.nowMs = 1_000;
    fleet.sweep();
    assert.deepEqual(fleet.ejected, ["p2"]);
  });

  it("gives a peer its turn within a second of room being there", () => {
    const fleet = new ScriptedFleet({ peers: 3 });
    faults(fleet, 0, 5);
    faults(fleet, 1, 7);
    assert.deepEqual(fleet.ejected, ["p0"]);
    fleet.nowMs = fleet.detector.nextSweepMs;
    fleet.sweep();
    assert.deepEqual(fleet.ejected, ["p1"], "its row has not been broken meanwhile");
  });

  it("asks for a sweep at the end of a row, and not with each fault that cannot lead to anything", () => {
    const fleet = new ScriptedFleet({ peers: 2 });
    faults(fleet, 0, 5);
    let asked = 0;
    for (let i = 0; i < 1_000; i += 1) {
      fleet.nowMs += 2;
      if (fleet.tell(1, OUTCOME_TRANSPORT)) asked += 1;
    }
    assert.ok(asked >= 1 && asked <= 3, `asked ${asked} times in 2 s`);
  });

  it("asks at most 50 times a second when many peers fail at once", () => {
    const fleet = new ScriptedFleet({ peers: 50 });
    let asked = 0;
    for (let i = 0; i < 10_000; i += 1) {
      fleet.nowMs += 0.1;
      if (fleet.tell(i % 50, OUTCOME_TRANSPORT)) asked += 1;
    }
    assert.ok(asked <= 50, `asked ${asked} times in 1 s`);
  });

  it("goes by 30 s: faults of before say nothing", () => {
    const fleet = new ScriptedFleet({ peers: 3, consecutiveFailures: 1_000 });
    for (let i = 0; i < 300; i += 1) fleet.tell(i % 3, i % 3 === 0 && i % 2 === 0 ? OUTCOME_RAISED : OUTCOME_OK);
    fleet.nowMs += 35_000;
    for (let i = 0; i < 300; i += 1) fleet.tell(i % 3, OUTCOME_OK);
    fleet.sweep();
    assert.deepEqual(fleet.everEjected, []);
  });

  it("goes by 30 s also for a peer that is not called any more", () => {
    const fleet = new ScriptedFleet({ peers: 3, consecutiveFailures: 1_000 });
    // All ill alike, so nobody goes; then the others are well, and what is known of the first is old.
    for (let i = 0; i < 240; i += 1) fleet.tell(i % 3, i % 2 === 0 ? OUTCOME_RAISED : OUTCOME_OK);
    fleet.sweep();
    fleet.nowMs += 35_000;
    for (let i = 0; i < 400; i += 1) fleet.tell(1 + (i % 2), OUTCOME_OK);
    fleet.sweep();
    assert.deepEqual(fleet.everEjected, []);
  });

  it("bears hours without a sweep", () => {
    const fleet = new ScriptedFleet({ peers: 3 });
    faults(fleet, 0, 4);
    fleet.nowMs += 8 * 3_600_000;
    fleet.sweep();
    faults(fleet, 0, 1);
    assert.deepEqual(fleet.ejected, ["p0"], "a row is a row, however slow");
    fleet.nowMs += 8 * 3_600_000;
    fleet.sweep();
    assert.deepEqual(fleet.ejected, []);
  });

  it("only watches while it is told to, reports the same, and acts when it is told", () => {
    const seen = [false, true].map((isObserving) => {
      const fleet = new ScriptedFleet({ peers: 5, seed: 9 });
      fleet.detector.isObserving = isObserving;
      faults(fleet, 2, 5);
      return fleet;
    });
    const [acting, watching] = seen as [ScriptedFleet, ScriptedFleet];
    assert.deepEqual(acting.ejected, ["p2"]);
    assert.deepEqual(watching.ejected, []);
    assert.deepEqual(
      watching.changes.map(({ kind, why, untilMs }) => ({ kind, why, untilMs })),
      acting.changes.map(({ kind, why, untilMs }) => ({ kind, why, untilMs })),
    );
    watching.detector.isObserving = false;
    assert.deepEqual(watching.ejected, ["p2"]);
    watching.detector.isObserving = true;
    assert.deepEqual(watching.ejected, []);
    watching.nowMs = watching.detector.nextSweepMs;
    watching.sweep();
    assert.equal(watching.changes.at(-1)?.kind, "returned");
  });

  it("forgets a peer that is gone, and takes it back", () => {
    const fleet = new ScriptedFleet({ peers: 3 });
    const [record] = fleet.records;
    assert.ok(record !== undefined);
    faults(fleet, 0, 5);
    fleet.detector.remove(record);
    fleet.detector.remove(record);
    assert.equal(record.isEjected, false);
    assert.equal(fleet.detector.nextSweepMs, Number.POSITIVE_INFINITY);
    faults(fleet, 0, 5);
    assert.deepEqual(fleet.ejected, [], "late outcomes of a peer that is gone change nothing");
    fleet.detector.add(record, fleet.nowMs);
    assert.throws(() => fleet.detector.add(record, fleet.nowMs), /p0 is in a detector already/);
  });

  it("returns the last peer at once when all others are gone", () => {
    const fleet = new ScriptedFleet({ peers: 2 });
    const [, well] = fleet.records;
    assert.ok(well !== undefined);
    faults(fleet, 0, 5);
    assert.deepEqual(fleet.ejected, ["p0"]);
    fleet.detector.remove(well);
    assert.ok(fleet.detector.nextSweepMs <= fleet.nowMs);
    fleet.sweep();
    assert.deepEqual(fleet.ejected, []);
    assert.equal(fleet.changes.at(-1)?.why, "the others are gone");
    faults(fleet, 0, 50);
    assert.deepEqual(fleet.ejected, []);
    assert.equal(fleet.detector.nextSweepMs, Number.POSITIVE_INFINITY);
  });

  it("bounds the figures of a peer: 64 methods, and one more slot for the rest", () => {
    const fleet = new ScriptedFleet({ peers: 2 });
    for (let method = 0; method < 10_000; method += 1) fleet.tell(0, OUTCOME_OK, 2, method);
    assert.equal(fleet.records[0]?.figures.length, 65);
  });

  it("refuses limits that make no sense", () => {
    const random = seededRandom(1);
    const refused = (changes: Partial<typeof STANDARD>, text: string): void =>
      assert.throws(() => new OutlierDetector({ ...STANDARD, ...changes }, random), new RangeError(text));
    refused({ consecutiveFailures: 0 }, "gate.consecutiveFailures must be an integer >= 1, got 0");
    refused({ successShareMin: 1.1 }, "gate.successShareMin must be 0..1, got 1.1");
    refused({ ejectedShareMax: -1 }, "gate.ejectedShareMax must be 0..1, got -1");
  });

  it("keeps its promises whatever happens: never the last, never more than half, times in order", () => {
    const event = fc.tuple(
      fc.nat(5),
      fc.constantFrom(OUTCOME_OK, OUTCOME_TRANSPORT, OUTCOME_RAISED, OUTCOME_IGNORED, OUTCOME_LATE),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 3_000 }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(event, { maxLength: 120 }),
        fc.nat(),
        (peers, events, seed) => {
          const fleet = new ScriptedFleet({ peers, seed });
          for (const [peer, outcome, count, afterMs] of events) {
            fleet.nowMs += afterMs;
            for (let i = 0; i < count; i += 1) fleet.tell(peer % peers, outcome);
            fleet.sweep();
            const { ejected } = fleet;
            assert.ok(ejected.length < peers);
            assert.ok(ejected.length <= Math.max(1, Math.floor(peers / 2)));
            const ends = fleet.records.filter(({ isEjected }) => isEjected).map(({ ejectedUntilMs }) => ejectedUntilMs);
            assert.equal(fleet.detector.nextSweepMs, Math.min(...ends));
            for (const end of ends) assert.ok(end > fleet.nowMs && end <= fleet.nowMs + 300_000);
          }
        },
      ),
    );
  });

  it("cannot be given a record twice, but by two names", () => {
    const detector = new OutlierDetector(STANDARD, seededRandom(1));
    const record = new PeerRecord({ name: "a", zone: "z1", version: "2" });
    detector.add(record, 0);
    assert.throws(() => detector.add(record, 0), Error);
    detector.add(new PeerRecord({ name: "a" }), 0);
    assert.deepEqual(detector.sweep(1_000, 0), []);
  });
});
