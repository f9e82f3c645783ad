import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Effect } from "../../call/method.ts";
import { backoffMs, decideRepeat, type FailedAttempt } from "./attempts.ts";

const EFFECTS: readonly Effect[] = ["none", "idempotent", "once", "unknown"];

/** A first attempt whose connection was lost, on one peer. */
const LOST: FailedAttempt = {
  code: "UNAVAILABLE",
  reached: "maybe",
  isConnectionLost: true,
  isCommitted: false,
  retryAfterMs: undefined,
  effect: "none",
  attempts: 1,
  attemptsMax: 3,
  unreached: 0,
  peers: 1,
  isRepeatable: true,
};
const UNREACHED: FailedAttempt = { ...LOST, reached: "no", isConnectionLost: false, attempts: 0, unreached: 1 };

const words = (failed: FailedAttempt): string => {
  const repeat = decideRepeat(failed);
  return repeat.kind === "fail" ? "fail" : repeat.counts ? "counted" : "free";
};

describe("whether a failed attempt is followed by another", () => {
  it("follows the table: who was reached, what the effect allows, how the attempt ended", () => {
    const table: readonly [change: Partial<FailedAttempt>, base: FailedAttempt, expected: string][] = [
      [{}, LOST, "counted"],
      [{ effect: "idempotent" }, LOST, "counted"],
      [{ effect: "once" }, LOST, "fail"],
      [{ effect: "unknown" }, LOST, "fail"],
      [{ isConnectionLost: false, reached: "yes" }, LOST, "fail"],
      [{ attempts: 2 }, LOST, "counted"],
      [{ attempts: 3 }, LOST, "fail"],
      [{ isCommitted: true }, LOST, "fail"],
      [{ isRepeatable: false }, LOST, "fail"],
      [{ retryAfterMs: -1 }, LOST, "fail"],
      [{ retryAfterMs: 0 }, LOST, "counted"],
      [{}, UNREACHED, "free"],
      [{ effect: "unknown" }, UNREACHED, "free"],
      [{ effect: "once" }, UNREACHED, "free"],
      [{ unreached: 2 }, UNREACHED, "counted"],
      [{ unreached: 2, peers: 2 }, UNREACHED, "free"],
      [{ unreached: 3, peers: 2, attempts: 2 }, UNREACHED, "fail"],
      [{ unreached: 4 }, UNREACHED, "fail"],
      [{ retryAfterMs: -1 }, UNREACHED, "fail"],
      [{ isCommitted: true }, UNREACHED, "fail"],
      [{ isRepeatable: false }, UNREACHED, "fail"],
    ];
    for (const [change, base, expected] of table) {
      assert.equal(words({ ...base, ...change }), expected, JSON.stringify(change));
    }
  });

  const failed: fc.Arbitrary<FailedAttempt> = fc.record({
    code: fc.constantFrom("UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"),
    reached: fc.constantFrom("no", "maybe", "yes"),
    isConnectionLost: fc.boolean(),
    isCommitted: fc.boolean(),
    retryAfterMs: fc.option(fc.integer({ min: -5, max: 5_000 }), { nil: undefined }),
    effect: fc.constantFrom(...EFFECTS),
    attempts: fc.nat(6),
    attemptsMax: fc.integer({ min: 1, max: 5 }),
    unreached: fc.nat(8),
    peers: fc.integer({ min: 1, max: 4 }),
    isRepeatable: fc.boolean(),
  });

  it("is never after the commit point, a stream no longer held, or the server's no", () => {
    fc.assert(
      fc.property(failed, (attempt) => {
        const mustFail = attempt.isCommitted || !attempt.isRepeatable || (attempt.retryAfterMs ?? 0) < 0;
        if (mustFail) assert.equal(words(attempt), "fail");
      }),
    );
  });

  it("is never a second execution of what may not be executed twice", () => {
    fc.assert(
      fc.property(failed, (attempt) => {
        const isUnsafe = attempt.effect === "once" || attempt.effect === "unknown";
        if (attempt.reached !== "no" && isUnsafe) assert.equal(words(attempt), "fail");
      }),
    );
  });

  it("comes to an end whatever happens: at most attemptsMax counted and one free for each peer", () => {
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
          if (words({ ...first, reached, attempts, unreached }) === "fail") break;
        }
        assert.ok(count <= first.attemptsMax + first.peers + 1, `${count} attempts`);
      }),
    );
  });
});

describe("the backoff", () => {
  it("is between 0 and 50 ms doubled each time, up to a second", () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 50].map((n) => backoffMs(n, 0.5)),
      [25, 50, 100, 200, 400, 500, 500],
    );
    fc.assert(
      fc.property(fc.nat(1_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (repeats, chance) => {
        const ms = backoffMs(repeats, chance);
        assert.ok(ms >= 0 && ms < 1_000);
        assert.ok(ms <= 50 * 2 ** Math.min(repeats, 10));
      }),
    );
  });
});
