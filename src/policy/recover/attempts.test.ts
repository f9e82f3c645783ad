import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Effect } from "../../call/method.ts";
import {
  codeBits,
  decideRepeat,
  type FailedAttempt,
  isOverload,
  mayCopy,
  type OverdueCall,
  REPEATED_CODES,
  type Repeat,
} from "./attempts.ts";

const EFFECTS: readonly Effect[] = ["none", "idempotent", "once", "unknown"];

/** A first attempt whose connection was lost, on one peer. */
const LOST: FailedAttempt = {
  code: "UNAVAILABLE",
  reached: "maybe",
  isCommitted: false,
  retryAfterMs: undefined,
  effect: "none",
  codes: REPEATED_CODES,
  attempts: 1,
  attemptsMax: 3,
  unreached: 0,
  peers: 1,
  canSendAgain: true,
  mayRepeat: true,
  marks: 0,
  isDeduplicated: false,
};
const UNREACHED: FailedAttempt = { ...LOST, reached: "no", attempts: 0, unreached: 1 };

describe("whether a failed attempt is followed by another", () => {
  it("follows the table: who was reached, what the effect allows, how the attempt ended", () => {
    const table: readonly [change: Partial<FailedAttempt>, base: FailedAttempt, expected: Repeat][] = [
      [{}, LOST, "charged"],
      [{ effect: "idempotent" }, LOST, "charged"],
      [{ effect: "once" }, LOST, "fail"],
      [{ effect: "once", isDeduplicated: true }, LOST, "charged"],
      [{ effect: "unknown" }, LOST, "fail"],
      [{ effect: "unknown", isDeduplicated: true }, LOST, "fail"],
      [{ reached: "yes" }, LOST, "charged"],
      [{ reached: "yes", code: "INTERNAL" }, LOST, "charged"],
      [{ reached: "yes", code: "UNKNOWN" }, LOST, "charged"],
      [{ reached: "yes", code: "DATA_LOSS" }, LOST, "charged"],
      [{ code: "DEADLINE_EXCEEDED" }, LOST, "charged"],
      [{ code: "ABORTED" }, LOST, "fail"],
      [{ code: "NOT_FOUND" }, LOST, "fail"],
      [{ code: "INTERNAL", codes: codeBits(["UNAVAILABLE"]) }, LOST, "fail"],
      [{ code: "RESOURCE_EXHAUSTED" }, LOST, "fail"],
      [{ code: "RESOURCE_EXHAUSTED", retryAfterMs: 0 }, LOST, "charged"],
      [{ code: "RESOURCE_EXHAUSTED", retryAfterMs: 0, effect: "unknown" }, LOST, "fail"],
      [{ attempts: 2 }, LOST, "charged"],
      [{ attempts: 3 }, LOST, "fail"],
      [{ attempts: 300, attemptsMax: Infinity }, LOST, "charged"],
      [{ isCommitted: true }, LOST, "fail"],
      [{ canSendAgain: false }, LOST, "fail"],
      [{ retryAfterMs: -1 }, LOST, "fail"],
      [{ retryAfterMs: 0 }, LOST, "charged"],
      [{ mayRepeat: false }, LOST, "fail"],
      [{ marks: 1 }, LOST, "charged"],
      [{ marks: 2 }, LOST, "poison"],
      [{ marks: 2, isCommitted: true }, LOST, "fail"],
      [{}, UNREACHED, "free"],
      [{ effect: "unknown" }, UNREACHED, "free"],
      [{ effect: "once" }, UNREACHED, "free"],
      [{ mayRepeat: false }, UNREACHED, "free"],
      [{ code: "RESOURCE_EXHAUSTED" }, UNREACHED, "free"],
      [{ attemptsMax: 1 }, UNREACHED, "free"],
      [{ unreached: 2 }, UNREACHED, "charged"],
      [{ unreached: 2, effect: "unknown" }, UNREACHED, "charged"],
      [{ unreached: 2, peers: 2 }, UNREACHED, "free"],
      [{ unreached: 3, peers: 2, attempts: 2 }, UNREACHED, "fail"],
      [{ unreached: 4 }, UNREACHED, "fail"],
      [{ retryAfterMs: -1 }, UNREACHED, "fail"],
      [{ isCommitted: true }, UNREACHED, "fail"],
      [{ canSendAgain: false }, UNREACHED, "fail"],
    ];
    for (const [change, base, expected] of table) {
      assert.equal(decideRepeat({ ...base, ...change }), expected, JSON.stringify(change));
    }
  });

  const failed: fc.Arbitrary<FailedAttempt> = fc.record({
    code: fc.constantFrom("UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED", "RESOURCE_EXHAUSTED", "NOT_FOUND"),
    reached: fc.constantFrom("no", "maybe", "yes"),
    isCommitted: fc.boolean(),
    retryAfterMs: fc.option(fc.integer({ min: -5, max: 5_000 }), { nil: undefined }),
    effect: fc.constantFrom(...EFFECTS),
    codes: fc.constantFrom(0, REPEATED_CODES),
    attempts: fc.nat(6),
    attemptsMax: fc.integer({ min: 1, max: 5 }),
    unreached: fc.nat(8),
    peers: fc.integer({ min: 1, max: 4 }),
    canSendAgain: fc.boolean(),
    mayRepeat: fc.boolean(),
    marks: fc.nat(2),
    isDeduplicated: fc.boolean(),
  });

  it("is never after the commit point, a stream no longer held, or the server's no", () => {
    fc.assert(
      fc.property(failed, (attempt) => {
        const mustEnd = attempt.isCommitted || !attempt.canSendAgain || (attempt.retryAfterMs ?? 0) < 0;
        if (mustEnd) assert.ok(["fail", "poison"].includes(decideRepeat(attempt)));
      }),
    );
  });

  it("is never a second execution of what may not be executed twice, nor below one who repeats", () => {
    fc.assert(
      fc.property(failed, (attempt) => {
        const { effect, isDeduplicated, mayRepeat, reached } = attempt;
        const isUnsafe = effect === "unknown" || (effect === "once" && !isDeduplicated) || !mayRepeat;
        if (reached !== "no" && isUnsafe) assert.ok(["fail", "poison"].includes(decideRepeat(attempt)));
      }),
    );
  });

  it("comes to an end whatever happens: at most attemptsMax charged and one free for each peer", () => {
    fc.assert(
      fc.property(failed, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), (first, reaches) => {
        let attempts = 0;
        let unreached = 0;
        let count = 0;
        for (const isReached of reaches) {
          count += 1;
          if (isReached) attempts += 1;
          else unreached += 1;
          const reached = isReached ? "maybe" : "no";
          const repeat = decideRepeat({ ...first, reached, attempts, unreached });
          if (repeat === "fail" || repeat === "poison") break;
        }
        assert.ok(count <= first.attemptsMax + first.peers + 1, `${count} attempts`);
      }),
    );
  });
});

describe("whether an overdue call gets a copy", () => {
  const OVERDUE: OverdueCall = {
    effect: "none",
    isCommitted: false,
    canSendAgain: true,
    mayRepeat: true,
    attempts: 1,
    attemptsMax: 3,
    inFlight: 1,
    copiesMax: 1,
    isStandingDown: false,
  };

  it("is so only if the effect allows it, nothing was answered, nobody above repeats, and there is room", () => {
    const table: readonly [change: Partial<OverdueCall>, expected: boolean][] = [
      [{}, true],
      [{ effect: "idempotent" }, true],
      [{ effect: "once" }, false],
      [{ effect: "unknown" }, false],
      [{ isCommitted: true }, false],
      [{ canSendAgain: false }, false],
      [{ mayRepeat: false }, false],
      [{ attempts: 3 }, false],
      [{ inFlight: 2, attempts: 2 }, false],
      [{ inFlight: 2, attempts: 2, copiesMax: 2 }, true],
      [{ isStandingDown: true }, false],
    ];
    for (const [change, expected] of table)
      assert.equal(mayCopy({ ...OVERDUE, ...change }), expected, JSON.stringify(change));
  });
});

it("overload is what asks for patience, whichever peer comes next", () => {
  assert.equal(isOverload("RESOURCE_EXHAUSTED", undefined), true);
  assert.equal(isOverload("UNAVAILABLE", 20), true);
  assert.equal(isOverload("UNAVAILABLE", undefined), false);
  assert.equal(isOverload("INTERNAL", 0), false);
});
