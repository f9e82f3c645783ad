import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resultOf } from "./metastable.ts";
import { parseMetastableOptions } from "./metastable-options.ts";
import { UsageError } from "./options.ts";

describe("the options of metastable", () => {
  it("are the published experiment where nothing is said", () => {
    assert.deepEqual(parseMetastableOptions([]), {
      isJson: false,
      triggers: ["slow", "spike", "partition", "restart", "half"],
      perSecond: 650,
      clients: 10,
      troubleSeconds: 10,
      afterSeconds: 10,
    });
    assert.deepEqual(parseMetastableOptions(["--json", "--triggers=half,slow", "--clients", "3"]).triggers, [
      "half",
      "slow",
    ]);
  });

  it("refuse what cannot be, and say what can", () => {
    assert.throws(() => parseMetastableOptions(["--triggers", "flood"]), /no trigger "flood"; there are slow, /);
    assert.throws(() => parseMetastableOptions(["--clients", "0"]), UsageError);
    assert.throws(() => parseMetastableOptions(["--trouble", "3"]), UsageError);
    assert.throws(() => parseMetastableOptions(["slow"]), /takes flags only, got slow/);
  });
});

describe("the result of metastable", () => {
  const offered = [100, 100, 100, 100, 100, 100, 100, 100];
  const failures = {};
  const of = (good: readonly number[], attempts: readonly number[]) =>
    resultOf("slow", { offered, good, attempts, failures }, 2, 4.1, 3, Number.NaN);

  it("forgives the second after the end, and none of those that follow", () => {
    const attempts = [100, 100, 300, 300, 300, 300, 100, 100];
    const well = of([100, 100, 30, 30, 30, 50, 95, 96], attempts);
    assert.equal(well.passed, true);
    assert.deepEqual(well.goodAfter, [0.5, 0.95, 0.96]);
    assert.equal(well.attemptsOutside, 1);
    assert.equal(of([100, 100, 30, 30, 30, 50, 94, 96], attempts).passed, false);
  });

  it("is void where not all was well before", () => {
    const { isVoid, passed } = of([98, 98, 30, 30, 30, 100, 100, 100], offered);
    assert.deepEqual([isVoid, passed], [true, false]);
  });

  it("counts the attempts outside of the trouble", () => {
    const result = of([100, 100, 30, 30, 30, 100, 100, 100], [100, 100, 300, 300, 300, 300, 100, 140]);
    assert.equal(result.attemptsOutside, 340 / 300);
    assert.equal(result.passed, false);
  });
});
