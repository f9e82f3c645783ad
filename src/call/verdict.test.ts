import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { failure } from "./error.ts";
import type { Fault, FaultKind, Phase } from "./fault.ts";
import type { Effect, MethodInfo } from "./method.ts";
import { type Reason, reasons } from "./reason.ts";

const kinds: readonly FaultKind[] = [
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

function methodOf(effect: Effect): MethodInfo {
  return { service: "shop.v1.Shop", name: "buy", path: "/shop.v1.Shop/Buy", kind: "unary", effect };
}

function faultOf(address: string, facts: Partial<Fault>): Fault {
  const peer = { id: address, address, zone: undefined, version: undefined, identities: [] };
  return {
    kind: "reset",
    phase: "server",
    blame: "peer",
    peer,
    attempt: 1,
    code: undefined,
    atMs: 1,
    text: "",
    ...facts,
  };
}

test("says what happened at each peer, whether it may have been done, and what may be done now", () => {
  const error = failure({
    code: "UNAVAILABLE",
    text: "connection lost",
    reason: "CONNECTION_LOST",
    reached: "maybe",
    faults: [faultOf("10.0.0.7", {}), faultOf("10.0.0.8", { kind: "stream-refused" })],
    method: methodOf("once"),
    attempts: 2,
    tookMs: 340,
  });
  assert.equal(
    error.verdict,
    "UNAVAILABLE after 2 attempts in 340 ms: 10.0.0.7 reset the connection after the request was sent, 10.0.0.8 refused it; " +
      "buy may have happened once; repeat it with the same idempotencyKey.",
  );
});

test("a call that never left says so, and that it is safe to repeat", () => {
  const error = failure({
    code: "UNAVAILABLE",
    text: "",
    reason: "NO_PEER",
    reached: "no",
    method: methodOf("unknown"),
    tookMs: 10_000,
  });
  assert.equal(
    error.verdict,
    "UNAVAILABLE in 10 s: no peer could be picked; buy did not happen; it is safe to repeat.",
  );
});

test("an unknown effect is warned about", () => {
  const error = failure({
    code: "DEADLINE_EXCEEDED",
    text: "",
    reason: "DEADLINE",
    reached: "maybe",
    method: methodOf("unknown"),
  });
  assert.match(error.verdict, /buy may have happened; repeat it only if doing it twice does no harm\.$/);
});

test("a pushback is told, and a negative one forbids", () => {
  const facts = { code: "RESOURCE_EXHAUSTED", text: "busy.", method: methodOf("none") } as const;
  assert.equal(
    failure({ ...facts, retryAfterMs: 250 }).verdict,
    "RESOURCE_EXHAUSTED: busy; it is safe to repeat in 250 ms.",
  );
  assert.equal(
    failure({ ...facts, retryAfterMs: -1 }).verdict,
    "RESOURCE_EXHAUSTED: busy; the server asks not to repeat it.",
  );
});

test("the caller who cancelled is given no advice", () => {
  const error = failure({
    code: "CANCELLED",
    text: "",
    reason: "CANCELLED_BY_CALLER",
    reached: "no",
    method: methodOf("none"),
  });
  assert.equal(error.verdict, `CANCELLED: ${reasons.CANCELLED_BY_CALLER}.`);
});

test("a server's own words stand alone", () => {
  assert.equal(
    failure({ code: "NOT_FOUND", text: "no such order", reached: "yes", method: methodOf("unknown") }).verdict,
    "NOT_FOUND: no such order.",
  );
  assert.equal(failure({ code: "NOT_FOUND", text: "", reached: "yes" }).verdict, "NOT_FOUND: no reason was given.");
});

test("many faults are counted, not listed", () => {
  const faults = Array.from({ length: 9 }, (_, i) => faultOf(`p${i}`, { kind: "refused" }));
  assert.match(failure({ code: "UNAVAILABLE", text: "", faults }).verdict, /p3 refused the connection, and 5 more\.$/);
});

test("every fault, phase, reason and effect makes one sentence without holes", () => {
  const fault = fc.record({
    kind: fc.constantFrom(...kinds),
    phase: fc.constantFrom(...phases),
    text: fc.constantFrom("", "ECONNREFUSED", "ended."),
  });
  fc.assert(
    fc.property(
      fc.array(fault, { maxLength: 5 }),
      fc.option(fc.constantFrom(...(Object.keys(reasons) as Reason[])), { nil: undefined }),
      fc.constantFrom("no", "maybe", "yes"),
      fc.constantFrom<Effect>("none", "idempotent", "once", "unknown"),
      fc.option(fc.nat(100_000), { nil: undefined }),
      (given, reason, reached, effect, tookMs) => {
        const faults = given.map((facts) => faultOf("p", facts));
        const { verdict } = failure({
          code: "UNAVAILABLE",
          text: "",
          faults,
          reason,
          reached,
          method: methodOf(effect),
          tookMs,
        });
        assert.match(verdict, /^UNAVAILABLE( in [\d.]+ m?s)?: \S.*[^.]\.$/);
        assert.doesNotMatch(verdict, /undefined|NaN|null|\(\)/);
      },
    ),
  );
});

test("each reason has its explanation: one clause, without a full stop", () => {
  for (const [reason, text] of Object.entries(reasons)) {
    assert.match(reason, /^[A-Z][A-Z_]+$/);
    assert.match(text, /^[a-z].{10,}[^.]$/s, reason);
  }
});
