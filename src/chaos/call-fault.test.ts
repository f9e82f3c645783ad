import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../world/seeded-random.ts";
import {
  CALL_FAULT_PLANS_MAX,
  CallFaultLayer,
  type CallFaultPlan,
  type CallOrdeal,
  isPeerMeant,
} from "./call-fault.ts";
import { CallFaultLimit } from "./call-fault-limit.ts";

const PATH = "/shop.v1.Shop/Buy";
const PEER = "shop/0:50051";

function layer(...plans: readonly CallFaultPlan[]): CallFaultLayer {
  return new CallFaultLayer(plans, seededRandom(7), 0);
}

/** What so many attempts in a row meet. */
function met(faults: CallFaultLayer, count: number): readonly (CallOrdeal | undefined)[] {
  return Array.from({ length: count }, () => faults.meet(PATH, PEER, 1));
}

function shareOf<T>(items: readonly T[], isCounted: (item: T) => boolean): number {
  return items.filter(isCounted).length / items.length;
}

describe("the dice of call faults", () => {
  it("are independent plan by plan: 20 % and 5 % together strike 24 % (gRFC A33)", () => {
    const ordeals = met(
      layer({ kind: "delay", share: 0.2, delayMs: 100 }, { kind: "fail", share: 0.05, code: "UNAVAILABLE" }),
      100_000,
    );
    const struck = shareOf(ordeals, (ordeal) => ordeal !== undefined);
    const both = shareOf(ordeals, (ordeal) => ordeal?.delayMs === 100 && ordeal.code === "UNAVAILABLE");
    // Four standard deviations of 100,000 draws.
    assert.ok(Math.abs(struck - 0.24) < 0.0055, String(struck));
    assert.ok(Math.abs(both - 0.01) < 0.0013, String(both));
  });

  it("fall the same for the same seed, and differently for another", () => {
    const play = (seed: number): string =>
      JSON.stringify(
        met(
          new CallFaultLayer(
            [
              { kind: "corrupt", share: 0.3 },
              { kind: "drop", share: 0.1 },
            ],
            seededRandom(seed),
            0,
          ),
          200,
        ),
      );
    assert.equal(play(1), play(1));
    assert.notEqual(play(1), play(2));
  });

  it("do not fall otherwise because another plan was added, has no share, or is over", () => {
    const alone = layer({ kind: "fail", share: 0.5, code: "ABORTED" });
    const among = layer({ kind: "fail", share: 0.5, code: "ABORTED" });
    among.add({ kind: "delay", share: 0.5, delayMs: 1 }, 0);
    among.add({ kind: "delay", share: 0, delayMs: 1 }, 0);
    among.add({ kind: "truncate", forMs: 0 }, 0);
    const codes = (faults: CallFaultLayer): readonly unknown[] => met(faults, 300).map((ordeal) => ordeal?.code);
    assert.deepEqual(codes(among), codes(alone));
    assert.equal(codes(alone).includes("ABORTED"), true);
  });

  it("strike never at 0 and always at 1", () => {
    const never = layer({ kind: "drop", share: 0 });
    const always = layer({ kind: "drop", share: 1 });
    assert.ok(met(never, 1_000).every((ordeal) => ordeal === undefined));
    assert.ok(met(always, 1_000).every((ordeal) => ordeal?.isDropped === true));
  });

  it("of any plans keep to their shares, and give places inside the reply", () => {
    const kinds = fc.constantFrom("corrupt" as const, "truncate" as const, "drop" as const);
    const plans = fc.array(fc.record({ kind: kinds, share: fc.double({ min: 0, max: 1, noNaN: true }) }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(plans, fc.integer({ min: 0, max: 0xffff_ffff }), (given, seed) => {
        const faults = new CallFaultLayer(given, seededRandom(seed), 0);
        const ordeals = met(faults, 2_000);
        const spared = given.reduce((product, { share }) => product * (1 - share), 1);
        assert.ok(Math.abs(shareOf(ordeals, (ordeal) => ordeal === undefined) - spared) < 0.06);
        for (const at of ordeals.flatMap((ordeal) => [ordeal?.corruptAt ?? 0, ordeal?.truncateAt ?? 0])) {
          assert.ok(at >= 0 && at < 1);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("a call fault", () => {
  it("of each kind does its own and nothing else", () => {
    const nothing: CallOrdeal = {
      delayMs: 0,
      code: undefined,
      isDropped: false,
      corruptAt: undefined,
      truncateAt: undefined,
    };
    const one = (plan: CallFaultPlan): CallOrdeal | undefined => layer(plan).meet(PATH, PEER, 0);
    assert.deepEqual(one({ kind: "delay", delayMs: 30 }), { ...nothing, delayMs: 30 });
    assert.deepEqual(one({ kind: "fail", code: "DATA_LOSS" }), { ...nothing, code: "DATA_LOSS" });
    assert.deepEqual(one({ kind: "drop" }), { ...nothing, isDropped: true });
    const corrupted = one({ kind: "corrupt" });
    assert.deepEqual(corrupted, { ...nothing, corruptAt: corrupted?.corruptAt });
    assert.equal(typeof corrupted?.corruptAt, "number");
    const truncated = one({ kind: "truncate" });
    assert.deepEqual(truncated, { ...nothing, truncateAt: truncated?.truncateAt });
    assert.equal(typeof truncated?.truncateAt, "number");
  });

  it("adds its delay to the others', and leaves the code to the one planned first", () => {
    const ordeal = layer(
      { kind: "delay", delayMs: 30 },
      { kind: "fail", code: "ABORTED" },
      { kind: "delay", delayMs: 12 },
      { kind: "fail", code: "INTERNAL" },
    ).meet(PATH, PEER, 0);
    assert.equal(ordeal?.delayMs, 42);
    assert.equal(ordeal?.code, "ABORTED");
  });

  it("means a method, or all below a slash, and nothing that only begins alike", () => {
    const strikes = (path: string, called: string): boolean =>
      layer({ kind: "drop", path }).meet(called, PEER, 0) !== undefined;
    assert.equal(strikes(PATH, PATH), true);
    assert.equal(strikes(PATH, `${PATH}All`), false);
    assert.equal(strikes("/shop.v1.Shop/", PATH), true);
    assert.equal(strikes("/shop.v1.Shop/", "/shop.v1.Shops/Buy"), false);
    assert.equal(strikes("/", "/any.Service/Method"), true);
  });

  it("means a peer by its name, its replicas by a slash, its ports by a colon", () => {
    const strikes = (peer: string, called: string): boolean =>
      layer({ kind: "drop", peer }).meet(PATH, called, 0) !== undefined;
    assert.equal(strikes("shop", "shop/1:50051"), true);
    assert.equal(strikes("shop/1", "shop/1:50051"), true);
    assert.equal(strikes("shop/1", "shop/10:50051"), false);
    assert.equal(strikes("127.0.0.1", "127.0.0.1:80"), true);
    assert.equal(strikes("127.0.0.1:8", "127.0.0.1:80"), false);
    assert.equal(isPeerMeant("[::1]", "[::1]:443"), true);
    assert.equal(isPeerMeant("shops", "shop"), false);
  });

  it("begins and ends when it was told, both counted from when it was added", () => {
    const faults = layer();
    faults.add({ kind: "drop", atMs: 100, forMs: 50 }, 1_000);
    const times = [1_000, 1_099, 1_100, 1_149, 1_150, 1_151].map(
      (nowMs) => faults.meet(PATH, PEER, nowMs) !== undefined,
    );
    assert.deepEqual(times, [false, false, true, true, false, false]);
  });

  it("is forgotten when it is over, so that a layer can be seen to be empty", () => {
    const faults = layer({ kind: "drop", forMs: 10 }, { kind: "drop", atMs: 20, forMs: 10 });
    assert.equal(faults.isEmpty, false);
    faults.meet(PATH, PEER, 15);
    assert.equal(faults.isEmpty, false);
    assert.notEqual(faults.meet(PATH, PEER, 25), undefined);
    assert.equal(faults.meet(PATH, PEER, 30), undefined);
    assert.equal(faults.isEmpty, true);
    assert.equal(layer().isEmpty, true);
  });

  it("is gone after clear", () => {
    const faults = layer({ kind: "drop" });
    assert.notEqual(faults.meet(PATH, PEER, 0), undefined);
    faults.clear();
    assert.equal(faults.isEmpty, true);
    assert.equal(faults.meet(PATH, PEER, 0), undefined);
  });
});

describe("a plan that cannot be", () => {
  it("is refused with its place, its range and what was given", () => {
    const refused = (plan: unknown): (() => CallFaultLayer) => {
      return () => layer({ kind: "drop" }, plan as CallFaultPlan);
    };
    assert.throws(refused({ kind: "drop", share: 1.5 }), new RangeError("plans[1].share must be 0..1, got 1.5"));
    assert.throws(refused({ kind: "drop", share: NaN }), RangeError);
    assert.throws(refused({}), new TypeError("plans[1].kind must be given"));
    assert.throws(refused({ kind: "delays" }), /plans\[1\]\.kind must be .* \(did you mean "delay"\?\)/);
    assert.throws(refused({ kind: "delay" }), new TypeError('plans[1].delayMs must be given for kind "delay"'));
    assert.throws(
      refused({ kind: "drop", delayMs: 5 }),
      new TypeError('plans[1].delayMs is only for kind "delay", got it with kind "drop"'),
    );
    assert.throws(refused({ kind: "fail" }), new TypeError('plans[1].code must be given for kind "fail"'));
    assert.throws(refused({ kind: "fail", code: "OK" }), /plans\[1\]\.code must be "CANCELLED" or/);
    assert.throws(
      refused({ kind: "drop", path: "shop" }),
      new RangeError('plans[1].path must begin with "/", got "shop"'),
    );
    assert.throws(
      refused({ kind: "drop", shares: 1 }),
      /unknown key "plans\[1\]\.shares", did you mean "plans\[1\]\.share"\?/,
    );
    assert.throws(refused({ kind: "drop", peer: null }), /plans\[1\]\.peer must not be null/);
  });

  it("adds nothing, and the plans that are there go on", () => {
    const faults = layer({ kind: "drop" });
    assert.throws(() => faults.add({ kind: "fail" }, 0), /^TypeError: plan\.code must be given/);
    assert.equal(faults.meet(PATH, PEER, 0)?.code, undefined);
    assert.equal(faults.meet(PATH, PEER, 0)?.isDropped, true);
  });

  it("is one too many", () => {
    const faults = layer(...Array.from({ length: CALL_FAULT_PLANS_MAX }, () => ({ kind: "drop", forMs: 5 }) as const));
    assert.throws(() => faults.add({ kind: "drop" }, 0), /plans must be at most 1000 at once/);
    // Those that are over make room.
    faults.add({ kind: "drop" }, 5);
    assert.equal(faults.meet(PATH, PEER, 5)?.isDropped, true);
  });
});

describe("the limit on call faults", () => {
  it("holds for all layers that share it, and moves nobody's dice", () => {
    const limit = new CallFaultLimit(2);
    const one = new CallFaultLayer([{ kind: "corrupt" }], seededRandom(1), 0, limit);
    const other = new CallFaultLayer([{ kind: "drop" }], seededRandom(2), 0, limit);
    const free = new CallFaultLayer([{ kind: "corrupt" }], seededRandom(1), 0);
    const places = Array.from({ length: 3 }, () => free.meet(PATH, PEER, 0)?.corruptAt);
    assert.equal(one.meet(PATH, PEER, 0)?.corruptAt, places[0]);
    assert.notEqual(other.meet(PATH, PEER, 0), undefined);
    assert.equal(limit.active, 2);
    assert.equal(one.meet(PATH, PEER, 0), undefined);
    assert.equal(other.meet(PATH, PEER, 0), undefined);
    other.ended();
    assert.equal(one.meet(PATH, PEER, 0)?.corruptAt, places[2]);
  });

  it("does not count attempts that suffer nothing", () => {
    const limit = new CallFaultLimit(1);
    const faults = new CallFaultLayer([{ kind: "drop", path: "/other.Service/" }], seededRandom(1), 0, limit);
    assert.equal(faults.meet(PATH, PEER, 0), undefined);
    assert.equal(limit.active, 0);
  });

  it("notices what is given back twice, and refuses what is no limit", () => {
    const limit = new CallFaultLimit(1);
    assert.equal(limit.take(), true);
    limit.giveBack();
    assert.throws(() => limit.giveBack(), /given back that was not taken/);
    assert.throws(() => new CallFaultLimit(0), new RangeError("activeMax must be an integer in 1..1_000_000, got 0"));
    assert.throws(() => new CallFaultLimit(1.5), RangeError);
  });
});
