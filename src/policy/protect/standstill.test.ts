/** Admission in a process that other processes keep from the processor: what that makes late is no sign of too much work. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { ADMITTED, Admission, QUEUED } from "./admission.ts";
import { HandlerFigures } from "./handler-figures.ts";
import { Principal } from "./principal.ts";
import { ModelCall, type ModelServer } from "./testdata/overloaded-server.ts";

/** Calls of one method that all came at once, and how many of them have begun. */
function burst(admission: Admission, count: number, onBegin: (call: ModelCall) => void): BurstState {
  const figures = new HandlerFigures();
  const principal = new Principal("somebody");
  const state = { calls: [] as ModelCall[], begun: 0, refused: 0 };
  const server: ModelServer = {
    begin: (call) => {
      state.begun += 1;
      onBegin(call);
    },
    refusedOne: () => (state.refused += 1),
  };
  for (let i = 0; i < count; i++) {
    const call = new ModelCall({ sentAtMs: 0, figures, principal });
    call.server = server;
    state.calls.push(call);
  }
  return state;
}

interface BurstState {
  readonly calls: readonly ModelCall[];
  begun: number;
  refused: number;
}

describe("a process that stood still", () => {
  const onePermit = { concurrencyMax: 1, isAdaptive: false } as const;

  it("takes on what waits for it, however old that has become meanwhile", () => {
    const admission = new Admission(onePermit, seededRandom(1));
    const state = burst(admission, 51, (call) => admission.ended(call, 300, true));
    for (const call of state.calls) admission.offer(call, 0);
    // It looks when the oldest has waited for longer than it should, and then has no processor for 290 ms.
    admission.drainTurn(admission.nextDueMs);
    admission.drainTurn(300);
    admission.ended(state.calls[0] as ModelCall, 300, true);
    assert.deepEqual([state.begun, state.refused], [50, 0]);
  });

  it("refuses if it looks, and they still wait", () => {
    const admission = new Admission(onePermit, seededRandom(1));
    const state = burst(admission, 51, () => {});
    for (const call of state.calls) admission.offer(call, 0);
    for (let nowMs = 0; nowMs <= 100; nowMs += 20) admission.drainTurn(nowMs);
    assert.ok(state.refused > 40, `${state.refused}`);
  });

  it("does not take a method for one that computes, because it was interrupted in the midst of its first call", () => {
    const admission = new Admission({ turnBudgetMs: 2 }, seededRandom(1));
    const state = burst(admission, 60, (call) => {
      admission.timed(call, 0.003);
      admission.ended(call, 20, true);
    });
    const [first, ...others] = state.calls as [ModelCall, ...ModelCall[]];
    assert.equal(admission.offer(first, 0), ADMITTED);
    admission.timed(first, 20);
    for (const call of others) assert.equal(admission.offer(call, 0), QUEUED);
    admission.drainTurn(20);
    assert.deepEqual([state.begun, state.refused], [59, 0]);
  });
});
