import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CHECK_UNKNOWN, type CheckState, checkStep, checksWord } from "./check-state.ts";

function after(...outcomes: readonly boolean[]): CheckState {
  return outcomes.reduce(checkStep, CHECK_UNKNOWN);
}

describe("what a check is worth", () => {
  it("one failure is none, two in a row are, and one success ends it", () => {
    assert.deepEqual(
      [after(true, false), after(true, false, true, false), after(true, false, false), after(false, false, true)].map(
        ({ isFailing }) => isFailing,
      ),
      [false, false, true, false],
    );
    assert.equal(after(true, false, false, false).failuresInARow, 3);
    assert.deepEqual(after(false, false, true), { hasPassed: true, failuresInARow: 0, isFailing: false });
  });

  it("together: pending until each essential one has passed, failing only for an essential one", () => {
    const good = after(true);
    const bad = after(true, false, false);
    const never = after(false, false, false);
    const word = (...checks: readonly (readonly [isEssential: boolean, state: CheckState])[]): string =>
      checksWord(checks.map(([isEssential, state]) => ({ isEssential, state })));
    assert.equal(word(), "passing");
    assert.equal(word([true, good], [false, good]), "passing");
    assert.equal(word([true, good], [false, bad]), "degraded");
    assert.equal(word([false, bad], [true, bad]), "failing");
    assert.equal(word([true, bad], [false, bad]), "failing");
    assert.equal(word([true, bad], [true, CHECK_UNKNOWN]), "pending");
    assert.equal(word([true, never]), "pending");
    assert.equal(word([false, CHECK_UNKNOWN]), "passing");
    assert.equal(word([false, never]), "degraded");
  });
});
