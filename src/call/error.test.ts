import assert from "node:assert/strict";
import { registerHooks } from "node:module";
import { test } from "node:test";
import { inspect } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { type Code, codesByNumber } from "./code.ts";
import { type FailureFacts, failure, RpcError, type RpcErrorOptions } from "./error.ts";
import { emptyMetadata, metadataFrom } from "./metadata.ts";
import type { Effect, MethodInfo } from "./method.ts";
import type { Peer } from "./peer.ts";

const peer: Peer = { id: "a", address: "10.0.0.7:443", zone: undefined, version: undefined, identities: [] };

function methodOf(effect: Effect): MethodInfo {
  return { service: "shop.v1.Shop", name: "buy", path: "/shop.v1.Shop/Buy", kind: "unary", effect };
}

function failed(facts: Partial<FailureFacts>): RpcError {
  return failure({ code: "UNAVAILABLE", text: "gone", ...facts });
}

test("carries code, text, details, metadata, pushback and cause; its message is code and text", () => {
  const cause = new Error("below");
  const details = [{ type: "a.B", value: Uint8Array.of(1) }];
  const error = new RpcError("NOT_FOUND", "no such order", {
    details,
    metadata: { "x-a": "1" },
    retryAfterMs: 5,
    cause,
  });
  assert.equal(error.message, "NOT_FOUND: no such order");
  assert.equal(error.name, "RpcError");
  assert.equal(error.code, "NOT_FOUND");
  assert.equal(error.text, "no such order");
  assert.deepEqual(error.details, details);
  assert.equal(error.metadata.get("x-a"), "1");
  assert.equal(error.retryAfterMs, 5);
  assert.equal(error.cause, cause);
  assert.ok(error.stack?.includes("error.test.ts"), "an error you make shows where");
  assert.ok(error instanceof Error);
});

test("an error you make claims nothing: no reason, no faults, maybe reached, not repeatable", () => {
  const error = new RpcError("UNAVAILABLE", "x");
  assert.equal(error.reason, undefined);
  assert.deepEqual(error.faults, []);
  assert.deepEqual(error.details, []);
  assert.equal(error.metadata, emptyMetadata);
  assert.equal(error.reached, "maybe");
  assert.equal(error.isRepeatable, false);
  assert.equal(error.callId, undefined);
  assert.ok(!("cause" in error));
});

test("misuse throws at once and says what was expected", () => {
  const cases: readonly [() => unknown, RegExp][] = [
    [
      () => new RpcError("OK" as Code, "x"),
      /TypeError: code must be the name of one of gRPC's sixteen failures .* got "OK"/,
    ],
    [() => new RpcError(5 as unknown as Code, "x"), /TypeError: code must be .* got 5/],
    [() => new RpcError("ABORTED", undefined as unknown as string), /TypeError: text must be a string, got undefined/],
    [
      () => new RpcError("ABORTED", "x", { retryAfter: 5 } as RpcErrorOptions),
      /unknown key "retryAfter", did you mean "retryAfterMs"\?/,
    ],
    [
      () => new RpcError("ABORTED", "x", { retryAfterMs: NaN }),
      /RangeError: retryAfterMs must be a finite number of milliseconds, got NaN/,
    ],
    [() => new RpcError("ABORTED", "x", { details: [{ type: "a" }] as never }), /TypeError: details\[0\] must be/],
    [() => new RpcError("ABORTED", "x", { details: [undefined] as never }), /TypeError: details\[0\] must be/],
    [
      () => new RpcError("ABORTED", "x", { metadata: { "grpc-status": "0" } }),
      /TypeError: metadata "grpc-status" is set by the transport/,
    ],
    [() => new RpcError("ABORTED", "x", null as never), /TypeError: options must be an object, got null/],
  ];
  for (const [make, expected] of cases) assert.throws(make, (error) => expected.test(String(error)));
});

test("instanceof holds across two copies of the package, and not for what only looks alike", async () => {
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const resolved = next(specifier, context);
      return specifier === "./error.ts" ? { ...resolved, url: `${resolved.url}?copy` } : resolved;
    },
  });
  const copy = await import("./error.ts").finally(() => hooks.deregister());
  assert.notEqual(copy.RpcError, RpcError);
  assert.ok(new copy.RpcError("ABORTED", "x") instanceof RpcError);
  assert.ok(failure({ code: "ABORTED", text: "x" }) instanceof copy.RpcError);
  const foreign = new copy.RpcError("ABORTED", "x");
  assert.equal(RpcError.from(foreign), foreign);
  for (const other of [new Error("x"), { code: "ABORTED", text: "x" }, undefined, null, "x", () => {}]) {
    assert.ok(!((other as unknown) instanceof RpcError));
  }
});

test("a subclass knows its own instances from other RpcErrors", () => {
  class Special extends RpcError {}
  assert.ok(new Special("ABORTED", "x") instanceof Special);
  assert.ok(new Special("ABORTED", "x") instanceof RpcError);
  assert.ok(!(new RpcError("ABORTED", "x") instanceof Special));
});

test("anything thrown becomes an RpcError with the thrown as its cause", () => {
  const abort = new DOMException("stop", "AbortError");
  const timeout = new DOMException("late", "TimeoutError");
  assert.equal(RpcError.from(abort).code, "CANCELLED");
  assert.equal(RpcError.from(timeout).code, "DEADLINE_EXCEEDED");
  const plain = RpcError.from(new Error("boom"));
  assert.deepEqual([plain.code, plain.text], ["UNKNOWN", "boom"]);
  assert.equal(RpcError.from("boom").text, "boom");
  assert.equal(RpcError.from(undefined).code, "UNKNOWN");
  assert.equal(RpcError.from(7).cause, 7);
});

test("from never throws, whatever was thrown", () => {
  const hostile = new Error("x");
  Object.defineProperty(hostile, "message", {
    get: () => {
      throw new Error("no");
    },
  });
  for (const thrown of [hostile, null, Symbol("x"), Object.create(null), 10n]) {
    assert.equal(RpcError.from(thrown).code, "UNKNOWN");
  }
});

test("what Holdfast makes has no stack trace unless asked for, and leaves the limit as it was", () => {
  const limit = Error.stackTraceLimit;
  assert.equal(failed({}).stack, "RpcError: UNAVAILABLE: gone");
  assert.equal(Error.stackTraceLimit, limit);
  assert.match(failed({ withStack: true }).stack ?? "", /error\.test\.ts/);
  assert.match(new RpcError("ABORTED", "after a failure").stack ?? "", /error\.test\.ts/);
  assert.equal(new RpcError("ABORTED", "its own facts").code, "ABORTED");
});

test("isRepeatable follows the table of what may be repeated", () => {
  const repeatable = new Set(["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"]);
  for (const code of codesByNumber) {
    if (code === "OK") continue;
    for (const effect of ["none", "idempotent"] as const) {
      assert.equal(
        failed({ code, reached: "maybe", method: methodOf(effect) }).isRepeatable,
        repeatable.has(code),
        code,
      );
    }
    for (const effect of ["once", "unknown"] as const) {
      assert.equal(failed({ code, reached: "maybe", method: methodOf(effect) }).isRepeatable, false, code);
      assert.equal(failed({ code, reached: "no", method: methodOf(effect) }).isRepeatable, true, code);
    }
  }
});

test("RESOURCE_EXHAUSTED is repeatable only with a pushback that is not negative, and a negative one stops everything", () => {
  const method = methodOf("idempotent");
  assert.equal(failed({ code: "RESOURCE_EXHAUSTED", method }).isRepeatable, false);
  assert.equal(failed({ code: "RESOURCE_EXHAUSTED", method, retryAfterMs: 0 }).isRepeatable, true);
  assert.equal(failed({ code: "RESOURCE_EXHAUSTED", method, retryAfterMs: -1 }).isRepeatable, false);
  assert.equal(failed({ code: "UNAVAILABLE", method, retryAfterMs: -1 }).isRepeatable, false);
  assert.equal(failed({ reached: "no", retryAfterMs: -1 }).isRepeatable, false);
});

test("detail decodes by type, and gives undefined for what is absent or malformed", () => {
  const value = toBinary(DurationSchema, create(DurationSchema, { seconds: 7n }));
  const error = new RpcError("ABORTED", "x", {
    details: [
      { type: "a.B", value: Uint8Array.of(9) },
      { type: "google.protobuf.Duration", value },
    ],
  });
  assert.equal(error.detail(DurationSchema)?.seconds, 7n);
  assert.equal(error.detail(TimestampSchema), undefined);
  const bad = new RpcError("ABORTED", "x", {
    details: [{ type: "google.protobuf.Duration", value: Uint8Array.of(0x08) }],
  });
  assert.equal(bad.detail(DurationSchema), undefined);
});

test("neither JSON, console nor enumeration shows a payload, a metadata value or a stack", () => {
  const value = Buffer.from("PAYLOAD");
  const error = failed({
    reason: "CONNECTION_LOST",
    details: [{ type: "a.B", value }],
    metadata: metadataFrom({ authorization: "SECRET" }),
    faults: [
      {
        kind: "reset",
        phase: "server",
        blame: "network",
        peer,
        attempt: 1,
        code: undefined,
        atMs: 3,
        text: "ECONNRESET",
      },
    ],
    callId: "c-1",
    method: methodOf("none"),
    withStack: true,
  });
  const shown = [JSON.stringify(error), inspect(error), inspect({ ...error }, { depth: 9 })];
  for (const text of shown) assert.doesNotMatch(text, /PAYLOAD|SECRET|80, ?65|50 41 59/);
  const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>;
  assert.deepEqual(json["details"], [{ type: "a.B", bytes: 7 }]);
  assert.equal(json["stack"], undefined);
  assert.equal((json["faults"] as { peer: string }[])[0]?.peer, "10.0.0.7:443");
  assert.match(inspect(error), /verdict: .*10\.0\.0\.7:443 reset the connection/);
  assert.match(inspect(error), /callId: c-1/);
});

test("the console shows the cause", () => {
  assert.match(inspect(new RpcError("ABORTED", "x", { cause: new Error("root of it") })), /cause: Error: root of it/);
});
