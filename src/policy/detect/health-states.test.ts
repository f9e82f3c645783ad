import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HEALTH_UNKNOWN, type HealthEvent, type HealthState, type HealthStep, healthStep } from "./health-states.ts";

/** The last step of a story that begins with a new connection. */
function after(...events: readonly HealthEvent[]): HealthStep {
  let state: HealthState = HEALTH_UNKNOWN;
  let last: HealthStep | undefined;
  for (const event of events) {
    last = healthStep(state, event, 0.5);
    state = last.state;
  }
  assert.ok(last !== undefined);
  return last;
}

describe("what a peer says of its health (A17)", () => {
  it("is not serving before it says so", () => {
    assert.equal(HEALTH_UNKNOWN.isServing, false);
  });

  it("follows the messages of the Watch, which stays open", () => {
    const steps = [after("serving"), after("serving", "notServing"), after("serving", "notServing", "serving")];
    assert.deepEqual(
      steps.map(({ isServing, act, delayMs }) => ({ isServing, act, delayMs })),
      [
        { isServing: true, act: "watch", delayMs: 0 },
        { isServing: false, act: "watch", delayMs: 0 },
        { isServing: true, act: "watch", delayMs: 0 },
      ],
    );
  });

  it("takes an unknown service for not serving, and goes on watching for it to appear", () => {
    const { isServing, act } = after("unknownService");
    assert.deepEqual([isServing, act], [false, "watch"]);
    assert.equal(after("unknownService", "serving").isServing, true);
  });

  it("takes a server without the health service for healthy, and never asks again", () => {
    const { isServing, act } = after("unimplemented");
    assert.deepEqual([isServing, act], [true, "stop"]);
    for (const late of ["notServing", "streamFailed", "retryDue"] as const) {
      const step = after("unimplemented", late);
      assert.deepEqual([step.isServing, step.act], [true, "stop"], late);
    }
  });

  it("opens a Watch that had brought a message again at once, and is not serving meanwhile", () => {
    const { isServing, act, delayMs } = after("serving", "streamFailed");
    assert.deepEqual([isServing, act, delayMs], [false, "watch", 0]);
    const second = after("serving", "streamFailed", "streamFailed");
    assert.deepEqual([second.act, second.delayMs], ["wait", 1_000]);
  });

  it("waits longer with each Watch that fails without a message: 1 s x 1.6 up to 120 s, 20 % to both sides", () => {
    const delays: number[] = [];
    let state: HealthState = HEALTH_UNKNOWN;
    for (let i = 0; i < 14; i += 1) {
      const failed = healthStep(state, "streamFailed", 0.5);
      assert.equal(failed.act, "wait");
      delays.push(Math.round(failed.delayMs));
      const due = healthStep(failed.state, "retryDue", 0.5);
      assert.deepEqual([due.act, due.isServing], ["watch", false]);
      state = due.state;
    }
    assert.deepEqual(delays.slice(0, 4), [1_000, 1_600, 2_560, 4_096]);
    assert.equal(delays.at(-1), 120_000);
    assert.equal(healthStep(HEALTH_UNKNOWN, "streamFailed", 0).delayMs, 800);
    assert.ok(healthStep(HEALTH_UNKNOWN, "streamFailed", 0.999_999).delayMs < 1_200);
  });

  it("begins the wait anew after a message", () => {
    const { delayMs } = after("streamFailed", "retryDue", "streamFailed", "retryDue", "notServing", "streamFailed");
    assert.equal(delayMs, 0);
    assert.equal(after("streamFailed", "retryDue", "serving", "streamFailed", "streamFailed").delayMs, 1_000);
  });

  it("serves only after a message or without the health service, waits only after a failure, and never throws", () => {
    const event = fc.constantFrom<HealthEvent>(
      "serving",
      "notServing",
      "unknownService",
      "unimplemented",
      "streamFailed",
      "retryDue",
    );
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (events, chance) => {
          let state: HealthState = HEALTH_UNKNOWN;
          const hasStopped = events.includes("unimplemented");
          for (const one of events) {
            const step = healthStep(state, one, chance);
            assert.equal(step.isServing, step.state.isServing);
            if (step.act === "wait")
              assert.ok(one === "streamFailed" && step.delayMs >= 800 && step.delayMs <= 144_000);
            else assert.equal(step.delayMs, 0);
            state = step.state;
          }
          const said = events.findLast((one) => one !== "retryDue");
          assert.equal(state.isServing, hasStopped || said === "serving");
        },
      ),
    );
  });
});
