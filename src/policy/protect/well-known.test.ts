/** Calls of methods that are known to cost nobody anything, and those that keep the loop. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ADMITTED, type Admission, type AdmissionOptions, QUEUED, RUNNING } from "./admission.ts";
import { HandlerFigures } from "./handler-figures.ts";
import { Principal } from "./principal.ts";
import { admissionOf, Call, heavyFigures, offeredTogether } from "./testdata/admission-call.ts";

/** An admission that knows a method whose handler takes half a millisecond and is light. */
function known(options: AdmissionOptions = {}): { admission: Admission; figures: HandlerFigures } {
  const admission = admissionOf(options);
  const figures = new HandlerFigures();
  for (let nowMs = 0; nowMs < 400; nowMs++) {
    const call = new Call(figures);
    assert.equal(admission.offer(call, nowMs), ADMITTED);
    admission.ended(call, nowMs + 0.5, true);
  }
  return { admission, figures };
}

describe("a call of a method that costs nobody anything", () => {
  it("passes without more, but for one in sixteen, by which it is seen what such calls take", () => {
    const { admission, figures } = known();
    const before = admission.snapshot(400);
    const passed = Array.from({ length: 160 }, () => {
      if (admission.passes(figures, Number.POSITIVE_INFINITY, 400)) return true;
      const call = new Call(figures);
      assert.equal(admission.offer(call, 400), ADMITTED);
      admission.ended(call, 400.5, true);
      return false;
    });
    assert.equal(passed.filter((did) => did).length, 150);
    const { admitted, running } = admission.snapshot(400);
    assert.deepEqual([admitted - before.admitted, running], [160, 0]);
  });

  it("is looked at if its method is unknown, heavy or slow, its time is over, or the limit is fixed", () => {
    const forever = Number.POSITIVE_INFINITY;
    const { admission, figures } = known();
    if (figures.isTimed) figures.passed(400);
    assert.equal(admission.passes(figures, 400.1, 400), true);
    assert.equal(admission.passes(figures, 400, 400), false, "expired");
    assert.equal(admission.passes(new HandlerFigures(), forever, 400), false, "unknown");
    const fixed = known({ isAdaptive: false, concurrencyMax: 8 });
    if (fixed.figures.isTimed) fixed.figures.passed(400);
    assert.equal(fixed.admission.passes(fixed.figures, forever, 400), false, "the limit is fixed");
    for (let i = 0; i < 20; i++) figures.timed(0.08);
    assert.equal(admission.passes(figures, forever, 400), false, "nearly heavy");
  });

  it("runs from when it outlasts its turn, and its time is what such calls take", () => {
    const { admission, figures } = known();
    const holder = new Principal("holder");
    if (figures.isTimed) figures.passed(400);
    const calls = Array.from({ length: 3 }, () => new Call(figures, { principal: holder }));
    for (const call of calls) {
      assert.equal(admission.passes(figures, call.deadlineMs, 400), true);
      admission.outlasts(call, 400);
    }
    assert.deepEqual([admission.snapshot(400).running, figures.running, holder.held], [3, 3, 3]);
    assert.deepEqual(
      calls.map((call) => call.admissionState),
      [RUNNING, RUNNING, RUNNING],
    );
    for (const call of calls) admission.ended(call, 410, true);
    assert.deepEqual([admission.snapshot(410).running, figures.running, holder.held], [0, 0, 0]);
    for (let nowMs = 500; figures.isShort && nowMs < 2_000; nowMs++) {
      const call = new Call(figures);
      if (admission.passes(figures, call.deadlineMs, nowMs)) admission.outlasts(call, nowMs);
      else admission.offer(call, nowMs);
      admission.ended(call, nowMs + 20, true);
    }
    assert.equal(figures.isShort, false, "a method that has become slow needs permits again");
  });
});

describe("the time of those that wait for the turn", () => {
  it("refuses who has waited for too long, and lets none begin that the turn has no time for", () => {
    const admission = admissionOf();
    const figures = heavyFigures();
    const calls = Array.from({ length: 4 }, () => new Call(figures));
    assert.deepEqual(offeredTogether(admission, calls), [ADMITTED, ADMITTED, QUEUED, QUEUED]);
    admission.timeCame(2);
    assert.deepEqual(calls[2]?.heard, []);
    admission.drainTurn(2);
    assert.deepEqual(calls[2]?.heard, ["admitted"]);
  });
});
