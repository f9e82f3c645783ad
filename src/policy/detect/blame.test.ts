import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type CodeOrOk, codesByNumber } from "../../call/code.ts";
import type { FaultKind, Phase } from "../../call/fault.ts";
import { type AttemptFacts, judge } from "./blame.ts";
import { OUTCOME_IGNORED, OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";

/** A status that a handler answered after 10 ms of a method whose p99 is 20 ms, with changes. */
function facts(changes: Partial<AttemptFacts> = {}): AttemptFacts {
  return {
    code: "INTERNAL",
    faultKind: "status",
    reached: "yes",
    isConnectionLost: false,
    hadMs: 10,
    p99Ms: 20,
    isCancelledByUs: false,
    stalledMs: 0,
    phase: "server",
    retryAfterMs: undefined,
    ...changes,
  };
}

const outcomeOf = (changes: Partial<AttemptFacts>): number => judge(facts(changes)).outcome;

describe("blame", () => {
  it("counts success as success", () => {
    assert.equal(outcomeOf({ code: "OK", faultKind: undefined }), OUTCOME_OK);
  });

  it("counts transport facts absolutely", () => {
    for (const faultKind of ["refused", "connect-timeout", "tls", "protocol", "reset"] as const) {
      assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind, reached: "no", phase: "connect" }), OUTCOME_TRANSPORT);
    }
    assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind: undefined, isConnectionLost: true }), OUTCOME_TRANSPORT);
    assert.equal(
      outcomeOf({ code: "UNAVAILABLE", faultKind: undefined, reached: "no", phase: "connect" }),
      OUTCOME_TRANSPORT,
    );
  });

  it("holds a reply that the caller's own limits or schema refuse against nobody", () => {
    for (const code of ["RESOURCE_EXHAUSTED", "INTERNAL"] as const) {
      const { blame, outcome, countsAsLoad } = judge(facts({ code, faultKind: "unreadable", phase: "receive" }));
      assert.deepEqual([blame, outcome, countsAsLoad], ["caller", OUTCOME_IGNORED, false]);
    }
  });

  it("compares what a handler raised with other peers, and suspects what lies behind the peer for UNAVAILABLE", () => {
    for (const code of ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS"] as const)
      assert.equal(outcomeOf({ code }), OUTCOME_RAISED);
    assert.equal(judge(facts({ code: "UNAVAILABLE" })).blame, "callee-of-peer");
    assert.equal(judge(facts({ code: "INTERNAL" })).blame, "peer");
  });

  it("holds no code of the caller or the application against a peer", () => {
    const codes: readonly CodeOrOk[] = [
      "INVALID_ARGUMENT",
      "NOT_FOUND",
      "ALREADY_EXISTS",
      "PERMISSION_DENIED",
      "FAILED_PRECONDITION",
      "ABORTED",
      "OUT_OF_RANGE",
      "UNIMPLEMENTED",
      "UNAUTHENTICATED",
    ];
    for (const code of codes) {
      assert.deepEqual(judge(facts({ code })), { blame: "caller", outcome: OUTCOME_IGNORED, countsAsLoad: false });
    }
  });

  it("counts refusals in load, not in health", () => {
    const refusals: readonly Partial<AttemptFacts>[] = [
      { code: "RESOURCE_EXHAUSTED" },
      { code: "RESOURCE_EXHAUSTED", faultKind: "overload", reached: "no" },
      { code: "DEADLINE_EXCEEDED", faultKind: "overload", reached: "no" },
      { code: "UNAVAILABLE", faultKind: "stream-refused", reached: "no" },
      { code: "UNAVAILABLE", retryAfterMs: 100 },
      { code: "RESOURCE_EXHAUSTED", faultKind: "reset", reached: "maybe" },
    ];
    for (const refusal of refusals) {
      const { outcome, countsAsLoad } = judge(facts(refusal));
      assert.deepEqual([outcome, countsAsLoad], [OUTCOME_IGNORED, true], JSON.stringify(refusal));
    }
  });

  it("takes what this process refused by itself for its own doing, or a throttle would feed on itself", () => {
    for (const faultKind of ["overload", "status"] as const) {
      const judgement = judge(facts({ code: "RESOURCE_EXHAUSTED", faultKind, reached: "no", phase: "queue" }));
      assert.deepEqual(judgement, { blame: "this-process", outcome: OUTCOME_IGNORED, countsAsLoad: false });
    }
  });

  it("blames nobody for what we cancelled, whatever else is true", () => {
    for (const faultKind of ["cancelled", "reset", "deadline", "status", undefined] as const) {
      assert.equal(outcomeOf({ code: "CANCELLED", faultKind, isCancelledByUs: true, hadMs: 1e6 }), OUTCOME_IGNORED);
    }
    assert.equal(outcomeOf({ code: "CANCELLED", faultKind: "status" }), OUTCOME_IGNORED);
    assert.equal(outcomeOf({ code: "CANCELLED", faultKind: "reset" }), OUTCOME_IGNORED);
  });

  it("calls a peer late only if it had its own p99 of time, and a second where that is unknown", () => {
    for (const faultKind of ["deadline", "attempt-timeout", "status", undefined] as const) {
      const late = { code: "DEADLINE_EXCEEDED", faultKind } as const;
      assert.equal(outcomeOf({ ...late, hadMs: 20, p99Ms: 20 }), OUTCOME_LATE);
      assert.equal(outcomeOf({ ...late, hadMs: 19, p99Ms: 20 }), OUTCOME_IGNORED);
      assert.equal(outcomeOf({ ...late, hadMs: 999, p99Ms: Number.NaN }), OUTCOME_IGNORED);
      assert.equal(outcomeOf({ ...late, hadMs: 1_000, p99Ms: Number.NaN }), OUTCOME_LATE);
    }
    assert.equal(judge(facts({ code: "DEADLINE_EXCEEDED", faultKind: "deadline", hadMs: 5 })).blame, "caller");
  });

  it("takes our own stall off the time a peer had", () => {
    const late = { code: "DEADLINE_EXCEEDED", faultKind: "deadline", hadMs: 1_010 } as const;
    assert.equal(outcomeOf(late), OUTCOME_LATE);
    assert.deepEqual(judge(facts({ ...late, stalledMs: 1_000 })), {
      blame: "this-process",
      outcome: OUTCOME_IGNORED,
      countsAsLoad: false,
    });
    assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind: "connect-timeout", stalledMs: 1_000 }), OUTCOME_IGNORED);
    assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind: "local-stall" }), OUTCOME_IGNORED);
  });

  it("does not call a peer late for a deadline that passed before the call had left", () => {
    for (const phase of ["resolve", "connect", "queue", "stall"] as const)
      assert.equal(outcomeOf({ code: "DEADLINE_EXCEEDED", faultKind: "deadline", hadMs: 1e6, phase }), OUTCOME_IGNORED);
  });

  it("does not punish a server that drains", () => {
    assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind: "goaway", reached: "no" }), OUTCOME_IGNORED);
    assert.equal(outcomeOf({ code: "UNAVAILABLE", faultKind: "status", reached: "no" }), OUTCOME_IGNORED);
  });

  it("gives frozen constants, a few for all that can happen", () => {
    const kinds: readonly (FaultKind | undefined)[] = [
      undefined,
      "resolve-failed",
      "refused",
      "connect-timeout",
      "tls",
      "reset",
      "goaway",
      "stream-refused",
      "attempt-timeout",
      "deadline",
      "overload",
      "status",
      "protocol",
      "unreadable",
      "corrupt",
      "cancelled",
      "local-stall",
      "disagreed",
    ];
    const phases: readonly Phase[] = ["resolve", "connect", "queue", "send", "server", "receive", "stall"];
    const seen = new Set<object>();
    for (const code of codesByNumber) {
      for (const faultKind of kinds) {
        for (const phase of phases) {
          const given = facts({ code, faultKind, phase, hadMs: 25 });
          const judgement = judge(given);
          assert.ok(Object.isFrozen(judgement));
          assert.equal(judge(given), judgement);
          assert.equal(judgement.outcome === OUTCOME_OK, code === "OK");
          if (judgement.countsAsLoad) assert.equal(judgement.outcome, OUTCOME_IGNORED);
          seen.add(judgement);
        }
      }
    }
    assert.ok(seen.size <= 12);
  });
});
