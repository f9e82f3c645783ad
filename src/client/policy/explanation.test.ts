import assert from "node:assert/strict";
import { test } from "node:test";
import type { Effect, MethodInfo } from "../../call/method.ts";
import { explain } from "./explanation.ts";
import { resolveCall, resolvePolicy } from "./resolve-policy.ts";

function buy(effect: Effect): MethodInfo {
  return { service: "shop.v1.Shop", name: "buy", path: "/shop.v1.Shop/Buy", kind: "unary", effect };
}

test("prints a once method: each layer in stack order, each value with its level and its place, what was left out, what was learned", () => {
  const resolution = resolvePolicy({
    method: buy("once"),
    contractTimeoutMs: 500,
    client: { preset: "interactive", hedge: { after: "p98" } },
    own: { timeoutMs: 10_000, retry: { attemptsMax: 5, codes: ["UNAVAILABLE"] }, fallback: () => ({}) },
  });
  const learned = [
    { layer: "retry", path: "same peer only", value: "", why: "its dedup journal has scope machine" },
    { layer: "budget", path: "left", value: 12.5, why: "of 14 in 10 s" },
    { layer: "gate", path: "switch", value: "observe", why: "switches.json" },
  ];
  assert.equal(
    String(explain(resolution, learned)),
    `
shop.v1.Shop/Buy  unary, effect once
  deadline   timeoutMs 10000                       method   methods.buy.timeoutMs
  priority   the caller's, else normal             default
  fallback   given                                 method   methods.buy.fallback
  mode       failover                              preset   policy.preset "interactive"
  hedge      off                                   effect once: a copy would wait for the first
  retry      attemptsMax 5                         method   methods.buy.retry.attemptsMax
             backoff 25 x2 <= 250 ms, full jitter  preset   policy.preset "interactive"
             codes UNAVAILABLE                     method   methods.buy.retry.codes
             same peer only                        learned  its dedup journal has scope machine
  attempt    off                                   no attemptTimeoutMs: an attempt ends with its call
  budget     left 12.5                             learned  of 14 in 10 s
  throttle   on                                    preset   policy.preset "interactive"
  gate       on                                    preset   policy.preset "interactive"
             switch observe                        learned  switches.json
  wait       waitForReady true                     default
  integrity  on                                    preset   policy.preset "interactive"
  note       policy.hedge is left out (effect once: a copy would wait for the first)`.trimStart(),
  );
});

test("prints plain gRPC with every layer off and what turned it off, also for one call", () => {
  const base = resolvePolicy({ method: buy("none"), own: { fallback: () => ({}) } });
  const table = String(explain(resolveCall(base, "none")));
  for (const off of ["fallback", "hedge", "throttle", "gate", "integrity"]) {
    assert.match(table, new RegExp(`^  ${off} +off +turned off by policy "none"$`, "m"));
  }
  assert.match(table, /^ {2}retry +off +one attempt \(policy "none"\)$/m);
  assert.match(table, /^ {2}deadline +timeoutMs 30000 +preset +policy "none"$/m);
});

test("says of a mode what it does to the layers beside it", () => {
  const failfast = explain(resolvePolicy({ method: buy("none"), client: { mode: "failfast" } }));
  const why = (name: string): unknown => failfast.layers.find(({ layer }) => layer === name)?.why;
  assert.equal(why("retry"), "mode failfast: one attempt (policy.mode)");
  assert.equal(why("hedge"), "mode failfast: one attempt (policy.mode)");
  assert.equal(why("wait"), "fails at once without a peer (policy.mode)");
  const forking = explain(resolvePolicy({ method: buy("none"), client: { mode: { kind: "forking", copies: 4 } } }));
  assert.deepEqual(forking.layers.find(({ layer }) => layer === "mode")?.values[1], {
    path: "mode.copies",
    value: 4,
    origin: "client",
    where: "policy.mode",
  });
  assert.equal(forking.layers.find(({ layer }) => layer === "retry")?.values[0]?.value, 4);
});

test("each value of a copyable method has its path, value, origin and place", () => {
  const method = buy("idempotent");
  const client = { hedge: { afterMs: 40 }, retry: { backoff: { timeout: { kind: "linear", baseMs: 10, stepMs: 5 } } } };
  const { layers } = explain(resolvePolicy({ method, client, own: { attemptTimeoutMs: 900 } }));
  const values = layers.flatMap((one) => one.values);
  const of = (path: string): unknown[] => {
    const found = values.find((value) => value.path === path);
    return [found?.value, found?.origin, found?.where];
  };
  assert.deepEqual(of("hedge.afterMs"), [40, "client", "policy.hedge.afterMs"]);
  assert.deepEqual(of("hedge.copiesMax"), [1, "default", ""]);
  assert.deepEqual(of("attemptTimeoutMs"), [900, "method", "methods.buy.attemptTimeoutMs"]);
  assert.deepEqual(of("retry.backoff.failure"), ["50 x2 <= 1000 ms, full jitter", "default", ""]);
  assert.deepEqual(of("retry.backoff.timeout"), [
    "10 +5 <= 200 ms, full jitter",
    "client",
    "policy.retry.backoff.timeout",
  ]);
});

test("a method of unknown effect is shown as repeated only where it never reached a handler", () => {
  const table = String(explain(resolvePolicy({ method: buy("unknown") })));
  assert.match(table, /codes only what never reached a handler +contract +effect unknown: it is repeated only if/);
  assert.match(table, /hedge +off +effect unknown: a copy may do the work twice/);
});

test("a reply stream has no deadline of its own, a call without one says that nobody asked", () => {
  const stream: MethodInfo = { ...buy("none"), kind: "server-stream" };
  assert.match(
    String(explain(resolvePolicy({ method: stream }))),
    /deadline +off +a reply stream: its headers come within 30000 ms/,
  );
  const endless = resolvePolicy({ method: buy("none"), own: { timeoutMs: Infinity } });
  assert.match(String(explain(endless)), /deadline +off +turned off by methods\.buy\.timeoutMs/);
});

test("a learned fact can turn a layer off, and one about an unknown layer has a line of its own at the end", () => {
  const facts = [
    { layer: "hedge", path: "switch", value: "off", why: "switches.json", isOn: false },
    { layer: "weather", path: "rain", value: 3 },
  ];
  const { layers } = explain(resolvePolicy({ method: buy("none") }), facts);
  const hedge = layers.find(({ layer }) => layer === "hedge");
  assert.deepEqual([hedge?.isOn, hedge?.why, hedge?.values.at(-1)?.origin], [false, "switches.json", "learned"]);
  assert.deepEqual(layers.at(-1)?.layer, "weather");
});

test("an explanation is data: frozen, and JSON without its print", () => {
  const explanation = explain(resolvePolicy({ method: buy("none") }));
  assert.ok(
    Object.isFrozen(explanation) && Object.isFrozen(explanation.layers) && Object.isFrozen(explanation.layers[0]),
  );
  const json = JSON.parse(JSON.stringify(explanation)) as Record<string, unknown>;
  assert.deepEqual(Object.keys(json), ["method", "layers", "notes"]);
});
