import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ManualWorld, manualWorld } from "../../test/calls/manual-world.ts";
import { Call, heavyFigures } from "../policy/protect/testdata/admission-call.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { AdmissionGate } from "./admission-gate.ts";

/** A gate in a world whose turns end when the test says so: all that waits for it is called in one go, as Node does. */
function rig(): {
  gate: AdmissionGate;
  world: ManualWorld;
  endTurn: () => void;
  atTurnsEnd: (work: () => void) => void;
} {
  const waiting: (() => void)[] = [];
  const real = manualWorld();
  const world: ManualWorld = { ...real, timers: { ...real.timers, afterTurn: (work) => void waiting.push(work) } };
  const gate = new AdmissionGate({ admission: {}, loopDelayMsMax: undefined, rate: undefined }, runtimeOf(world));
  return {
    gate,
    world,
    endTurn: () => {
      for (const work of waiting.splice(0)) work();
    },
    atTurnsEnd: (work) => void waiting.push(work),
  };
}

/** Heavy calls, of which two begin at once and end; `begun` is called when one of the others does. */
function offered(gate: AdmissionGate, nowMs: number, begun: () => void): readonly Call[] {
  const figures = heavyFigures();
  return Array.from({ length: 6 }, () => {
    const call = new Call(figures);
    call.onAdmitted = begun;
    if (gate.offer(call, nowMs)) {
      gate.timed(call, 1);
      gate.leave(call, true, Number.NaN);
    }
    return call;
  });
}

describe("the gate", () => {
  it("lets those that wait for the turn begin after all that the turn is to write, also what was asked for later", async () => {
    const { gate, world, endTurn, atTurnsEnd } = rig();
    const told: string[] = [];
    atTurnsEnd(() => told.push("write before"));
    offered(gate, world.clock.monotonicMs(), () => told.push("begin"));
    atTurnsEnd(() => told.push("write after"));
    endTurn();
    await Promise.resolve();
    assert.deepEqual(told, ["write before", "write after", "begin", "begin"]);
    endTurn();
    await Promise.resolve();
    assert.equal(told.filter((what) => what === "begin").length, 4);
  });

  it("opens no new turn when an age is reached, and knows the hour then too", () => {
    const { gate, world } = rig();
    let begun = 0;
    const calls = offered(gate, world.clock.monotonicMs(), () => (begun += 1));
    assert.ok(gate.isArmed, "an age is due");
    for (let i = 0; i < 50; i++) {
      gate.expired(world.clock.monotonicMs() + i);
      assert.equal(begun, 0);
    }
    assert.equal(calls.filter(({ heard }) => heard.includes("admitted")).length, 0);
    assert.equal(gate.admission.hour, Math.floor(world.clock.wallMs() / 3_600_000));
  });
});
