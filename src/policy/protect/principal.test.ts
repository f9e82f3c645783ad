import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Demand, LEVELS, Principal, Principals } from "./principal.ts";

describe("a principal's level", () => {
  it("is the same for all of its calls and on all servers, and another one in another hour", () => {
    const here = new Principal("alice");
    const there = new Principal("alice");
    const levels = Array.from({ length: 24 }, (_, hour) => here.level(hour));
    assert.deepEqual(
      levels,
      Array.from({ length: 24 }, (_, hour) => there.level(hour)),
    );
    assert.ok(new Set(levels).size > 12, `${new Set(levels).size}`);
    assert.equal(here.level(3), here.level(3));
  });

  it("spreads keys evenly over 0..127", () => {
    const counts = new Array<number>(LEVELS).fill(0);
    for (let i = 0; i < 128 * 100; i++) {
      const level = new Principal(`user-${i}`).level(7);
      counts[level] = (counts[level] as number) + 1;
    }
    assert.ok(Math.min(...counts) > 60 && Math.max(...counts) < 145, `${Math.min(...counts)}..${Math.max(...counts)}`);
  });
});

describe("the principals of late", () => {
  it("gives the same one for the same key", () => {
    const principals = new Principals();
    assert.equal(principals.of("a"), principals.of("a"));
    assert.notEqual(principals.of("a"), principals.of("b"));
  });

  it("holds no more than it may, and lets go of the one that was asked for longest ago", () => {
    const principals = new Principals(2);
    const first = principals.of("a");
    principals.of("b");
    assert.equal(principals.of("a"), first);
    principals.of("c");
    assert.equal(principals.size, 2);
    assert.equal(principals.of("a"), first);
    for (let i = 0; i < 1_000; i++) principals.of(`${i}`);
    assert.equal(principals.size, 2);
  });

  it("refuses a size that is none", () => {
    assert.throws(() => new Principals(0), { name: "RangeError", message: "countMax must be 1..1_000_000, got 0" });
    assert.throws(() => new Principals(Number.NaN), RangeError);
  });
});

describe("demand", () => {
  it("finds the others light beside a hog, and nobody among equals", () => {
    const demand = new Demand();
    const hog = new Principal("hog");
    const other = new Principal("other");
    for (let ms = 0; ms < 2_000; ms++) {
      for (let i = 0; i < 4; i++) demand.count(hog, ms);
      if (ms % 10 === 0) demand.count(other, ms);
    }
    assert.ok(demand.isLight(other));
    assert.ok(!demand.isLight(hog));
    const equal = new Demand();
    const some = ["a", "b", "c"].map((key) => new Principal(key));
    for (let ms = 0; ms < 2_000; ms++) equal.count(some[ms % 3] as Principal, ms);
    assert.ok(some.every((principal) => !equal.isLight(principal)));
  });

  it("counts what is asked, so that who is refused all is not light for that", () => {
    const demand = new Demand();
    const served = new Principal("served");
    const shed = new Principal("shed");
    for (let ms = 0; ms < 1_000; ms++) {
      demand.count(served, ms);
      served.countBegun(ms, 1);
      demand.count(shed, ms);
    }
    assert.ok(served.begunOf(1_000) > 500);
    assert.equal(shed.begunOf(1_000), 0);
    assert.ok(!demand.isLight(shed));
  });
});
