import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RpcError } from "../../call/error.ts";
import type { Event } from "../../call/event.ts";
import { protect, type Protected } from "./protect.ts";
import { type Rig, rpcError, virtualRig } from "./testdata/virtual-work.ts";

interface Switchable {
  readonly call: Protected<[host?: string], unknown>;
  fault: unknown;
}

/** A function whose work goes by a switch: what it is set to, it throws. */
function switchable(rig: Rig, options: object = {}): Switchable {
  const call = protect({ name: "pay.charge", world: rig.world, ...options }, (attempt, host?: string) =>
    rig.script({ error: made.fault, value: "done", afterMs: 5 })(attempt, host),
  );
  const made: Switchable = { fault: undefined, call };
  return made;
}

async function failTimes(rig: Rig, call: () => Promise<unknown>, times: number): Promise<RpcError> {
  let last = await rig.fails(call());
  for (let i = 1; i < times; i++) last = await rig.fails(call());
  return last;
}

describe("the gate of a function's one peer", () => {
  it("is shut after five faults in a row: calls fail at once, with the reason and the time to wait", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    made.fault = new Error("disk full");
    await failTimes(rig, made.call, 5);
    const error = await rig.fails(made.call());
    assert.equal(rig.begun.length, 5, "the sixth call did not reach the work");
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reason, "NO_PEER");
    assert.equal(error.reached, "no");
    assert.equal(error.isRepeatable, true);
    assert.match(
      error.text,
      /^the gate of pay\.charge is shut for \d+ ms more: 5 faults in a row, the last: UNKNOWN \(disk full\)$/,
    );
    assert.ok((error.retryAfterMs ?? 0) > 2_400 && (error.retryAfterMs ?? 0) <= 5_000);
  });

  it("lets one probe through when its time is over: of ten calls at once nine fail, and with its success all pass", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    made.fault = rpcError("INTERNAL");
    await failTimes(rig, made.call, 5);
    await rig.sim.advance(5_001);
    made.fault = undefined;
    const outcomes = await rig.settle(Promise.allSettled(Array.from({ length: 10 }, () => made.call())));
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    assert.equal(rig.begun.length, 6);
    const refused = outcomes.find((outcome) => outcome.status === "rejected")?.reason as RpcError;
    assert.match(refused.text, /lets one call through at a time/);
    await rig.settle(Promise.all(Array.from({ length: 10 }, () => made.call())));
    assert.equal(rig.begun.length, 16);
  });

  it("is shut for twice as long when the probe fails", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    made.fault = rpcError("INTERNAL");
    await failTimes(rig, made.call, 5);
    await rig.sim.advance(5_001);
    await rig.fails(made.call());
    const { retryAfterMs } = await rig.fails(made.call());
    assert.ok((retryAfterMs ?? 0) > 4_900 && (retryAfterMs ?? 0) <= 10_000, `${retryAfterMs}`);
  });

  it("asks the next call when the probe was cancelled, by its caller's deadline for instance", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    made.fault = rpcError("INTERNAL");
    await failTimes(rig, made.call, 5);
    await rig.sim.advance(5_001);
    const outer = protect({ name: "outer", timeoutMs: 2, world: rig.world }, () => made.call());
    made.fault = undefined;
    await rig.fails(outer());
    assert.equal(await rig.settle(made.call()), "done");
  });

  it("does not hear what is the caller's fault: such answers neither shut it nor keep it shut", async () => {
    for (const code of ["NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "FAILED_PRECONDITION"] as const) {
      const rig = virtualRig();
      const made = switchable(rig);
      made.fault = rpcError(code);
      assert.equal((await failTimes(rig, made.call, 30)).code, code);
      made.fault = rpcError("INTERNAL");
      await failTimes(rig, made.call, 5);
      await rig.sim.advance(5_001);
      made.fault = rpcError(code);
      assert.equal((await rig.fails(made.call())).code, code);
      const errors = await Promise.all(Array.from({ length: 5 }, () => rig.fails(made.call())));
      assert.ok(
        errors.every((error) => error.code === code),
        "the first answer opened it for all",
      );
    }
  });

  it("does not hear refusals for overload: those are the throttle's", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { throttle: false });
    made.fault = rpcError("RESOURCE_EXHAUSTED");
    assert.equal((await failTimes(rig, made.call, 30)).code, "RESOURCE_EXHAUSTED");
  });

  it("hears the deadline only if the work had its own time: a second, or its p99", async () => {
    const impatient = virtualRig();
    const hasty = protect({ name: "a", timeoutMs: 500, world: impatient.world }, impatient.script({ afterMs: 60_000 }));
    await failTimes(impatient, hasty, 10);
    assert.equal(impatient.begun.length, 10, "nobody's fault");
    const rig = virtualRig();
    const patient = protect({ name: "a", timeoutMs: 1_500, world: rig.world }, rig.script({ afterMs: 60_000 }));
    await failTimes(rig, patient, 5);
    assert.equal((await rig.fails(patient())).reason, "NO_PEER");
  });

  it("does not hear what this process slept through: ten deadlines that passed in a stall shut nothing", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", timeoutMs: 1_500, world: rig.world }, rig.script({ afterMs: 60_000 }));
    const outcomes = Promise.all(Array.from({ length: 10 }, () => rig.fails(call())));
    await rig.sim.advance(100);
    rig.sim.freeze("here");
    await rig.sim.advance(3_000);
    rig.sim.thaw("here");
    const errors = await outcomes;
    assert.ok(errors.every(({ reason }) => reason === "DEADLINE"));
    assert.equal(errors[0]?.faults[0]?.blame, "this-process");
    assert.equal((await rig.fails(call())).reason, "DEADLINE", "the gate is open");
  });

  it("does not hear of time that a stall took in the middle of it", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", timeoutMs: 1_500, world: rig.world }, rig.script({ afterMs: 60_000 }));
    const outcome = rig.fails(call());
    await rig.sim.advance(150);
    rig.sim.freeze("here");
    await rig.sim.advance(1_000);
    rig.sim.thaw("here");
    const error = await outcome;
    assert.ok(rig.nowMs() < 1_510, "the deadline itself was in time");
    assert.equal(error.faults[0]?.blame, "this-process");
  });

  it("is none with gate false", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { gate: false });
    made.fault = rpcError("INTERNAL");
    assert.equal((await failTimes(rig, made.call, 30)).code, "INTERNAL");
    assert.equal(rig.begun.length, 30);
  });

  it("ends a call whose repeat it does not let through, with all that was tried", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { effect: "none", retry: { attemptsMax: 10 }, hedge: false });
    made.fault = rpcError("UNAVAILABLE");
    const error = await rig.fails(made.call());
    assert.equal(rig.begun.length, 5);
    assert.equal(error.reason, "NO_PEER");
    assert.equal(error.reached, "maybe", "the attempts before may have done it");
    assert.equal(error.faults.length, 5);
  });

  it("tells when it is shut, and when it is open again", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    const events: Event<"ejection">[] = [];
    using _heard = made.call.$on("ejection", (event) => events.push(event));
    made.fault = rpcError("INTERNAL");
    await failTimes(rig, made.call, 7);
    await rig.sim.advance(5_001);
    made.fault = undefined;
    await rig.settle(made.call());
    assert.deepEqual(
      events.map(({ kind, peer }) => `${kind} ${peer.id}`),
      ["ejected pay.charge", "returned pay.charge"],
    );
    assert.ok((events[0]?.untilMs ?? 0) > (events[0]?.atMs ?? Infinity));
  });
});

describe("peers by key", () => {
  it("have a gate each", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { peer: (host: string) => host });
    made.fault = rpcError("INTERNAL");
    await failTimes(rig, () => made.call("a.example"), 6);
    made.fault = undefined;
    assert.match((await rig.fails(made.call("a.example"))).text, /^the gate of a\.example is shut/);
    assert.equal(await rig.settle(made.call("b.example")), "done");
  });

  it("10,000 of them: a thousand are remembered, and calls to forgotten ones go on", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { peer: (host: string) => host });
    const values = await rig.settle(Promise.all(Array.from({ length: 10_000 }, (_, i) => made.call(`host-${i}`))));
    assert.equal(values.length, 10_000);
    const text = String(made.call.$explain());
    assert.match(text, /peers\s+known 1000 /);
  });
});

describe("the throttle", () => {
  it("refuses here what the peer would refuse for overload, and lets go when it accepts again", async () => {
    const rig = virtualRig();
    const made = switchable(rig);
    made.fault = rpcError("RESOURCE_EXHAUSTED");
    const outcomes: (string | undefined)[] = [];
    for (let i = 0; i < 400; i++) {
      outcomes.push((await rig.fails(made.call())).reason);
      await rig.sim.advance(5);
    }
    const refused = outcomes.filter((reason) => reason === "THROTTLED").length;
    assert.ok(refused > 200 && refused < 320, `${refused} of 400 were refused here`);
    made.fault = undefined;
    await rig.sim.advance(10_000);
    for (let i = 0; i < 30; i++) await rig.settle(made.call().catch(() => undefined));
    assert.equal(await rig.settle(made.call()), "done");
  });

  it("is final, and safe: nothing was begun", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { effect: "none", throttle: undefined });
    made.fault = rpcError("RESOURCE_EXHAUSTED");
    let error = await rig.fails(made.call());
    for (let i = 0; error.reason !== "THROTTLED" && i < 500; i++) error = await rig.fails(made.call());
    assert.equal(error.reason, "THROTTLED");
    assert.equal(error.code, "RESOURCE_EXHAUSTED");
    assert.equal(error.retryAfterMs, -1);
    assert.equal(error.reached, "no");
    assert.match(error.text, /^\d+ % of normal calls are refused here, as pay\.charge would refuse them$/);
  });

  it("is none with throttle false", async () => {
    const rig = virtualRig();
    const made = switchable(rig, { throttle: false });
    made.fault = rpcError("RESOURCE_EXHAUSTED");
    for (let i = 0; i < 300; i++) assert.equal((await rig.fails(made.call())).reason, undefined);
    assert.equal(rig.begun.length, 300);
  });
});
