import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fisherExactP, normalTail, shareDifferenceZ, type Stratum, strataP } from "./significance.ts";

function choose(n: number, k: number): number {
  let result = 1;
  for (let i = 1; i <= k; i += 1) result = (result * (n - k + i)) / i;
  return result;
}

/** The definition, term by term. */
function plainFisher({ calls, failures, otherCalls, otherFailures }: Stratum): number {
  const failed = failures + otherFailures;
  let p = 0;
  for (let x = failures; x <= Math.min(calls, failed); x += 1)
    if (failed - x <= otherCalls)
      p += (choose(calls, x) * choose(otherCalls, failed - x)) / choose(calls + otherCalls, failed);
  return p;
}

const stratum = fc
  .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(1_000), fc.nat(1_000))
  .map(([calls, otherCalls, a, b]) => ({
    calls,
    failures: a % (calls + 1),
    otherCalls,
    otherFailures: b % (otherCalls + 1),
  }));

describe("significance", () => {
  it("gives Fisher's tea-tasting lady 17/70 and 1/70", () => {
    assert.ok(Math.abs(fisherExactP({ calls: 4, failures: 3, otherCalls: 4, otherFailures: 1 }) - 17 / 70) < 1e-9);
    assert.ok(Math.abs(fisherExactP({ calls: 4, failures: 4, otherCalls: 4, otherFailures: 0 }) - 1 / 70) < 1e-9);
  });

  it("agrees with the definition of Fisher's test", () => {
    fc.assert(
      fc.property(stratum, (given) => {
        assert.ok(Math.abs(fisherExactP(given) - plainFisher(given)) < 1e-8);
      }),
    );
  });

  it("bears large numbers", () => {
    const p = fisherExactP({ calls: 1_000_000, failures: 600, otherCalls: 1_000_000, otherFailures: 400 });
    assert.ok(p > 0 && p < 1e-8);
    assert.ok(fisherExactP({ calls: 500_000, failures: 0, otherCalls: 500_000, otherFailures: 5_000 }) > 0.999_999);
  });

  it("knows the normal tail", () => {
    assert.ok(Math.abs(normalTail(0) - 0.5) < 1e-6);
    assert.ok(Math.abs(normalTail(1.96) - 0.0249979) < 1e-6);
    assert.ok(Math.abs(normalTail(3.0902) - 0.001) < 1e-6);
    assert.ok(Math.abs(normalTail(-1.96) - 0.9750021) < 1e-6);
  });

  it("finds no difference where there is none, or nothing to compare", () => {
    assert.equal(shareDifferenceZ(5, 20, 5, 20), 0);
    assert.equal(shareDifferenceZ(0, 20, 0, 20), 0);
    assert.equal(shareDifferenceZ(20, 20, 20, 20), 0);
    assert.equal(shareDifferenceZ(0, 0, 3, 20), 0);
    assert.equal(strataP([]), 1);
    assert.ok(shareDifferenceZ(14, 20, 0, 20) > 4);
  });

  it("is not fooled by a group that is given the methods that fail everywhere (Simpson)", () => {
    // The group does 90 % of the bad method, and fails no more on either than the rest.
    const fair: readonly Stratum[] = [
      { calls: 900, failures: 450, otherCalls: 100, otherFailures: 50 },
      { calls: 100, failures: 1, otherCalls: 900, otherFailures: 9 },
    ];
    assert.ok(strataP(fair) > 0.3);
    const ill: readonly Stratum[] = [
      { calls: 900, failures: 550, otherCalls: 100, otherFailures: 40 },
      { calls: 100, failures: 20, otherCalls: 900, otherFailures: 9 },
    ];
    assert.ok(strataP(ill) < 1e-6);
  });

  it("stays a probability, and calls alike what is alike no more often than it may", () => {
    fc.assert(
      fc.property(fc.array(stratum, { maxLength: 6 }), (strata) => {
        const p = strataP(strata);
        assert.ok(p >= 0 && p <= 1, `${p}`);
      }),
    );
  });
});
