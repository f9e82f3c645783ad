import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outlier.ts";
import { type Behaviour, type FleetFacts, ScriptedFleet } from "./testdata/scripted-fleet.ts";

/** `bad` of the peers, the first ones, are version 2; all are in zones a and b in turn. */
function fleetOf(peers: number, bad: number, changes: Partial<FleetFacts> = {}): ScriptedFleet {
  const fleet = new ScriptedFleet({
    peers,
    versionOf: (peer) => (peer < bad ? "2" : "1"),
    zoneOf: (peer) => (peer % 2 === 0 ? "a" : "b"),
    ...changes,
  });
  fleet.hasGroups = true;
  return fleet;
}

/** The first `bad` peers raise INTERNAL for a share of their calls, the others for one in a hundred. */
function failing(bad: number, share: number, others = 0.01): Behaviour {
  return (peer, _method, _atMs, random) => ({
    outcome: random.float() < (peer < bad ? share : others) ? OUTCOME_RAISED : OUTCOME_OK,
  });
}

const names = (count: number): readonly string[] => Array.from({ length: count }, (_, peer) => `p${peer}`).sort();

describe("a version that fails together", () => {
  for (const [peers, bad] of [
    [5, 3],
    [6, 4],
    [50, 35],
  ] as const) {
    it(`is ejected beyond half: ${bad} of ${peers}, in steps of a quarter, and nobody else`, () => {
      for (let seed = 1; seed <= 5; seed += 1) {
        const fleet = fleetOf(peers, bad, { seed, consecutiveFailures: 1_000 });
        fleet.run(20_000, 40 * peers, failing(bad, 0.6));
        assert.deepEqual(fleet.everEjected, names(bad), `seed ${seed}`);
        const first = fleet.changes.find(({ why }) => why.startsWith('version "2"'));
        assert.match(first?.why ?? "", /^version "2": \d+ % of its calls failed at \d+ peers, \d % elsewhere$/);
        const perStep = new Map<number, number>();
        for (const { atMs, why, kind } of fleet.changes)
          if (kind === "ejected" && why.startsWith("version")) perStep.set(atMs, (perStep.get(atMs) ?? 0) + 1);
        assert.ok(Math.max(...perStep.values()) <= Math.ceil(bad / 4));
      }
    });
  }

  it("is kept out: a member that returns and fails is ejected again beyond half, and the calls to the version grow few", () => {
    const fleet = fleetOf(6, 4);
    fleet.run(30_000, 200, failing(4, 0.9));
    const before = fleet.calls.slice(0, 4).reduce((sum, calls) => sum + calls, 0);
    fleet.run(60_000, 200, failing(4, 0.9));
    const after = fleet.calls.slice(0, 4).reduce((sum, calls) => sum + calls, 0) - before;
    assert.ok(after < 0.1 * 60 * 200, `${after} of 12000 calls`);
    assert.deepEqual(fleet.everEjected, names(4));
    const out = new Set<string>();
    let beyondHalf = 0;
    for (const { record, kind, why } of fleet.changes) {
      if (kind === "returned") out.delete(record.name);
      else out.add(record.name);
      if (kind === "ejected" && !why.startsWith("version") && out.size > 3) beyondHalf += 1;
    }
    assert.ok(beyondHalf > 0, "by the ordinary rules too");
  });

  it("never takes the last peer, though all outside the group are removed meanwhile", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 3 });
    fleet.run(10_000, 200, failing(4, 0.9));
    for (const record of fleet.records.slice(4)) fleet.detector.remove(record);
    if (fleet.ejected.length === 4) {
      assert.ok(fleet.detector.nextSweepMs <= fleet.nowMs, "a sweep is due at once");
      fleet.sweep();
    }
    for (let i = 0; i < 200; i += 1) {
      fleet.nowMs += 100;
      for (let peer = 0; peer < 4; peer += 1) fleet.tell(peer, OUTCOME_TRANSPORT);
      for (let peer = 3; peer >= 0; peer -= 1) if (i % 10 === 0) fleet.tell(peer, OUTCOME_OK);
      assert.ok(fleet.ejected.length < 4);
    }
  });

  it("comes back for good once it is well", () => {
    const fleet = fleetOf(6, 4);
    fleet.run(20_000, 200, failing(4, 0.9));
    fleet.run(150_000, 200, failing(0, 0));
    assert.deepEqual(fleet.ejected, []);
    const changes = fleet.changes.length;
    fleet.run(60_000, 200, failing(0, 0));
    assert.equal(fleet.changes.length, changes);
  });

  it("is not seen in two peers, of which one is ill: calls of one peer are not independent", () => {
    const fleet = fleetOf(6, 2, { consecutiveFailures: 1_000, ejectedShareMax: 0 });
    fleet.run(30_000, 300, (peer, _method, _atMs, random) => ({
      outcome: peer === 0 && random.float() < 0.9 ? OUTCOME_RAISED : OUTCOME_OK,
    }));
    assert.deepEqual(fleet.everEjected, ["p0"]);
    assert.equal(
      fleet.changes.some(({ why }) => why.startsWith("version")),
      false,
    );
  });

  it("must be significant, and by ten points, without its worst peer too", () => {
    const changesWith = (second: { readonly calls: number; readonly faults: number }): number => {
      const fleet = fleetOf(4, 2, { consecutiveFailures: 100_000, zoneOf: () => undefined });
      const tell = (peer: number, calls: number, faults: number): void => {
        for (let i = 0; i < calls; i += 1) fleet.tell(peer, i < faults ? OUTCOME_RAISED : OUTCOME_OK);
      };
      tell(0, 2_000, 1_800);
      tell(1, second.calls, second.faults);
      tell(2, 2_000, 20);
      tell(3, 2_000, 20);
      return fleet.detector.sweepGroups(1_000, 0).length;
    };
    assert.equal(changesWith({ calls: 2_000, faults: 100 }), 0, "5 % for certain are not enough");
    assert.equal(changesWith({ calls: 14, faults: 2 }), 0, "2 of 14 may be chance");
    assert.equal(changesWith({ calls: 2_000, faults: 500 }), 1);
  });

  it("needs two peers inside and two outside", () => {
    for (const bad of [1, 3] as const) {
      const fleet = fleetOf(4, bad, { consecutiveFailures: 1_000, ejectedShareMax: 0, zoneOf: () => undefined });
      fleet.run(20_000, 200, failing(bad, 0.5));
      assert.equal(
        fleet.changes.some(({ why }) => why.startsWith("version")),
        false,
        `${bad} of 4`,
      );
    }
  });

  it("is not blamed for the methods it is given: only the same methods are compared", () => {
    const fleet = fleetOf(6, 3, { consecutiveFailures: 1_000 });
    for (let second = 0; second < 20; second += 1) {
      for (let i = 0; i < 300; i += 1) {
        fleet.nowMs += 1_000 / 300;
        const peer = i % 6;
        // Method 1 fails every second time at all peers; version 2 is given it nearly always.
        const method = (peer < 3 ? i % 100 < 90 : i % 100 < 10) ? 1 : 0;
        const outcome = method === 1 && fleet.random.float() < 0.5 ? OUTCOME_RAISED : OUTCOME_OK;
        fleet.tell(peer, outcome, 2, method);
      }
      fleet.sweep();
    }
    assert.deepEqual(fleet.everEjected, []);
  });

  it("is nobody when all fail alike, or hardly more than the rest", () => {
    for (let seed = 1; seed <= 5; seed += 1) {
      const alike = fleetOf(6, 3, { seed, consecutiveFailures: 1_000 });
      alike.run(60_000, 200, failing(6, 0.4));
      assert.deepEqual(alike.everEjected, [], `seed ${seed}`);
      const hardly = fleetOf(6, 3, { seed, consecutiveFailures: 1_000 });
      hardly.run(60_000, 200, failing(3, 0.05));
      assert.deepEqual(hardly.everEjected, [], `seed ${seed}`);
    }
  });

  it("stays while the rest has no room for its calls", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 1_000, ejectedShareMax: 0 });
    for (const record of fleet.records) record.load = 0.5;
    fleet.run(20_000, 200, failing(4, 0.6));
    assert.equal(
      fleet.changes.some(({ why }) => why.startsWith("version")),
      false,
      "2 peers at 80 % cannot carry 6 at 50 %",
    );
  });

  it("stays while our own loop stalls", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 1_000 });
    fleet.stallScore = 1;
    fleet.run(20_000, 200, failing(4, 0.6));
    assert.equal(
      fleet.changes.some(({ why }) => why.startsWith("version")),
      false,
    );
  });

  it("comes back at once if the rest worsens, and is left alone for a minute", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 1_000, ejectedShareMax: 0 });
    // What the version's absence puts on the rest is too much for it.
    const overloaded: Behaviour = (peer, method, atMs, random) =>
      failing(4, 0.6, fleet.ejected.length >= 3 ? 0.3 : 0.01)(peer, method, atMs, random);
    fleet.run(15_000, 200, overloaded);
    const reverted = fleet.changes.filter(({ why }) => why.startsWith("the rest worsened"));
    assert.ok(reverted.length >= 1);
    assert.ok(reverted.every(({ kind }) => kind === "returned"));
    const at = reverted[0]?.atMs ?? 0;
    assert.equal(new Set(reverted.map(({ atMs }) => atMs)).size, 1, "all in one turn");
    fleet.run(Math.max(0, at + 59_000 - fleet.nowMs), 200, failing(4, 0.6));
    assert.equal(
      fleet.changes.some(({ atMs, why }) => atMs > at && /^(version|zone)/.test(why)),
      false,
    );
  });

  it("comes back if the rest runs out of room", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 1_000, ejectedShareMax: 0 });
    fleet.run(1_500, 400, failing(4, 0.6));
    assert.ok(fleet.ejected.length >= 1);
    for (const record of fleet.records) record.load = 1;
    fleet.run(1_000, 400, failing(4, 0.6));
    assert.ok(fleet.changes.some(({ why, kind }) => kind === "returned" && why === "the rest has no room"));
  });

  it("is only reported while groups are observed, and does not keep the ordinary rules from acting", () => {
    const fleet = fleetOf(6, 4, { consecutiveFailures: 1_000, ejectedShareMax: 0 });
    fleet.detector.isObservingGroups = true;
    // Of groups alone: the ordinary rules are told to watch too.
    fleet.detector.isObserving = true;
    fleet.run(20_000, 200, failing(4, 0.6));
    assert.deepEqual(fleet.ejected, []);
    const reported = fleet.changes.filter(({ why, kind }) => kind === "ejected" && why.startsWith("version"));
    assert.deepEqual(reported.map(({ record }) => record.name).sort(), names(4), "each once");
    fleet.run(120_000, 200, failing(0, 0));
    const ended = fleet.changes.filter(({ why }) => why === "it no longer fails more than the rest");
    assert.equal(ended.length, 4);
    const acting = fleetOf(6, 4, { consecutiveFailures: 5 });
    acting.detector.isObservingGroups = true;
    acting.run(3_000, 200, (peer) => ({ outcome: peer === 0 ? OUTCOME_TRANSPORT : OUTCOME_OK }));
    assert.deepEqual(acting.everEjected, ["p0"]);
  });
});

describe("a zone that fails together", () => {
  it("is ejected like a version, one group at a time", () => {
    const fleet = new ScriptedFleet({
      peers: 9,
      zoneOf: (peer) => ["a", "b", "c"][Math.floor(peer / 3)],
      consecutiveFailures: 1_000,
      ejectedShareMax: 0,
    });
    fleet.hasGroups = true;
    fleet.run(8_000, 400, (peer, _method, _atMs, random) => ({
      outcome: peer < 6 && random.float() < (peer < 3 ? 0.9 : 0.5) ? OUTCOME_RAISED : OUTCOME_OK,
    }));
    const groups = fleet.changes.filter(({ why }) => why.startsWith("zone")).map(({ why }) => why.slice(0, 8));
    assert.deepEqual([...new Set(groups)], ['zone "a"']);
  });

  it("yields to the version where both are the same peers: that is the likelier cause", () => {
    const fleet = new ScriptedFleet({
      peers: 6,
      zoneOf: (peer) => (peer < 4 ? "a" : "b"),
      versionOf: (peer) => (peer < 4 ? "2" : "1"),
      consecutiveFailures: 1_000,
    });
    fleet.hasGroups = true;
    fleet.run(10_000, 300, failing(4, 0.7));
    const whys = fleet.changes.filter(({ kind, why }) => kind === "ejected" && /^(zone|version)/.test(why));
    assert.ok(whys.length > 0 && whys.every(({ why }) => why.startsWith("version")));
  });
});
