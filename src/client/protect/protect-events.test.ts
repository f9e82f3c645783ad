import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { it } from "node:test";
import type { CallRecord, Event } from "../../call/event.ts";
import { CallScope, scopes } from "../../call/scope.ts";
import { protect } from "./protect.ts";
import { rpcError, virtualRig } from "./testdata/virtual-work.ts";

it("a saved call's record tells each attempt, its time, its fault, and what saved it", async () => {
  const rig = virtualRig();
  const records: CallRecord[] = [];
  const backoff = { kind: "constant", baseMs: 100, jitter: "none" } as const;
  const options = {
    name: "pay.charge",
    effect: "idempotent",
    timeoutMs: 2_000,
    retry: { backoff },
    hedge: false,
  } as const;
  const work = rig.script({ afterMs: 50, error: rpcError("UNAVAILABLE") }, { afterMs: 20, value: 1 });
  const call = protect({ ...options, world: rig.world }, work);
  using _heard = call.$on("call.ended", ({ record }) => records.push(record));
  await rig.settle(call());
  const [record] = records;
  assert.equal(records.length, 1);
  assert.equal(record?.callId, rig.begun[0]?.attempt.callId);
  assert.deepEqual(record?.method, {
    service: "pay",
    name: "charge",
    path: "/pay/charge",
    kind: "unary",
    effect: "idempotent",
  });
  assert.equal(record?.code, "OK");
  assert.equal(record?.savedBy, "retry");
  assert.equal(record?.deadlineMs, 2_000);
  assert.deepEqual(
    record?.attempts.map(({ why, startMs, tookMs, code }) => [why, Math.round(startMs), Math.round(tookMs), code]),
    [
      ["first", 0, 50, "UNAVAILABLE"],
      ["retry", 150, 20, "OK"],
    ],
  );
  assert.equal(record?.attempts[0]?.fault?.kind, "status");
  assert.equal(record?.attempts[0]?.peer?.id, "pay.charge");
  assert.equal(Math.round(record?.tookMs ?? 0), 170);
  assert.match(record?.verdict ?? "", /^OK after 2 attempts in 170 ms: saved from pay\.charge UNAVAILABLE$/);
  const phases = Object.values(record?.phasesMs ?? {});
  assert.equal(Math.round(phases.reduce((sum, ms) => sum + ms, 0)), 170);
});

it("a failed call's record says what its error says, and belongs to the trace around it", async () => {
  const rig = virtualRig();
  const records: CallRecord[] = [];
  const call = protect({ name: "a", world: rig.world }, rig.script({ error: rpcError("NOT_FOUND") }));
  using _heard = call.$on("call.ended", ({ record }) => records.push(record));
  const scope = new CallScope(rig.world.clock);
  scope.trace3 = 0xabc;
  const error = await rig.fails(scopes.run(scope, () => call()));
  assert.equal(records[0]?.code, "NOT_FOUND");
  assert.equal(records[0]?.verdict, error.verdict);
  assert.equal(records[0]?.callId, error.callId);
  assert.equal(records[0]?.traceId, "00000000000000000000000000000abc");
});

it("a call that ends within its turn has a record too: one attempt, no time", async () => {
  const rig = virtualRig();
  const records: CallRecord[] = [];
  const call = protect({ name: "a", context: false, world: rig.world }, rig.script({ value: 1 }));
  using _heard = call.$on("call.ended", ({ record }) => records.push(record));
  await rig.settle(call());
  assert.equal(records[0]?.tookMs, 0);
  assert.equal(records[0]?.deadlineMs, 30_000);
  assert.equal(records[0]?.attempts.length, 1);
  assert.equal(records[0]?.attempts[0]?.tookMs, 0);
});

it("tells of repeats with their wait and what is left of the budget, and each attempt once", async () => {
  const rig = virtualRig();
  const retries: Event<"retry">[] = [];
  const ends: Event<"attempt.ended">[] = [];
  const call = protect(
    { name: "a", effect: "none", world: rig.world },
    rig.script({ error: rpcError("INTERNAL") }, { value: 1 }),
  );
  using _retry = call.$on("retry", (event) => retries.push(event));
  using _end = call.$on("attempt.ended", (event) => ends.push(event));
  await rig.settle(call());
  assert.equal(retries.length, 1);
  assert.equal(retries[0]?.attempt, 2);
  assert.equal(retries[0]?.budgetLeft, 9, "ten are there without any call, and one was taken");
  assert.ok((retries[0]?.delayMs ?? -1) >= 0 && (retries[0]?.delayMs ?? 51) <= 50);
  assert.deepEqual(
    ends.map(({ code, fault }) => [code, fault?.code]),
    [
      ["INTERNAL", "INTERNAL"],
      ["OK", undefined],
    ],
  );
});

it("is heard on the process's diagnostics channels, and its own listeners hear it alone", async () => {
  const rig = virtualRig();
  const heard: unknown[] = [];
  const own: unknown[] = [];
  const listen = (event: unknown): void => void heard.push((event as Event<"call.ended">).record.method.name);
  subscribe("holdfast:call.ended", listen);
  const one = protect({ name: "one", world: rig.world }, rig.script({ value: 1 }));
  const two = protect({ name: "two", world: rig.world }, rig.script({ value: 2 }));
  using _own = one.$on("*", ({ name }) => own.push(name));
  await rig.settle(two());
  await rig.settle(one());
  unsubscribe("holdfast:call.ended", listen);
  assert.deepEqual(heard, ["two", "one"]);
  assert.deepEqual(own, ["attempt.ended", "call.ended"]);
});

it("explains itself: where each value came from, and what running calls have shown", async () => {
  const rig = virtualRig();
  const call = protect(
    { name: "pay.charge", effect: "once", timeoutMs: 3_000, world: rig.world },
    rig.script({ error: rpcError("INTERNAL", -1) }),
  );
  for (let i = 0; i < 5; i++) await rig.fails(call());
  const scope = new CallScope(rig.world.clock);
  scope.cancel("gone");
  await rig.fails(scopes.run(scope, () => call()));
  const explained = call.$explain();
  const valueOf = (path: string): unknown =>
    explained.layers.flatMap(({ values }) => values).find((value) => value.path === path);
  assert.deepEqual(valueOf("timeoutMs"), { path: "timeoutMs", value: 3_000, origin: "method", where: "timeoutMs" });
  const text = String(explained);
  assert.match(text, /^pay\/charge {2}unary, effect once\n/);
  assert.match(text, /hedge +off +effect once: a copy would wait for the first/);
  assert.match(text, /gate\.pay\.charge|pay\.charge shut for \d+ ms/);
  assert.match(text, /failed 5 /);
  assert.match(text, /cancelled 1 /);
  assert.match(text, /integrity +off +a function has no wire/);
  assert.doesNotMatch(text, /methods\./);
});
