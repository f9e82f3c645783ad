/** Bursts of calls whose time nobody knows yet, before handlers that have no bottleneck. In virtual time, seeds fixed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { ADMITTED, Admission, QUEUED } from "./admission.ts";
import { HandlerFigures } from "./handler-figures.ts";
import { Principal } from "./principal.ts";
import { ModelCall, PooledServer, poisson } from "./testdata/overloaded-server.ts";

const principal = new Principal("p");
const BURST_AT_MS = 5_000;

/** How many of a burst are refused, and of the calls of a known method before and beside it, which takes `knownMs` (0: there are none). */
function burst(count: number, tookMs: number, knownMs: number): { readonly refused: number; readonly known: number } {
  const random = seededRandom(1);
  const [known, unknown] = [new HandlerFigures(), new HandlerFigures()];
  const serviceMs = (call: ModelCall): number => (call.handlerFigures === known ? knownMs : tookMs);
  const server = new PooledServer({ random, workers: Number.POSITIVE_INFINITY, serviceMs });
  const refused = { refused: 0, known: 0 };
  server.onEnd = (call) => {
    if (call.why !== undefined) refused[call.handlerFigures === known ? "known" : "refused"] += 1;
  };
  const make = (sentAtMs: number, figures: HandlerFigures): ModelCall =>
    new ModelCall({ sentAtMs, figures, principal, deadlineMs: sentAtMs + 30_000 });
  server.agenda.at(BURST_AT_MS, (nowMs) => {
    for (let i = 0; i < count; i++) server.offer(make(nowMs, unknown), nowMs);
  });
  const perMs = (): number => 0.5;
  server.play(knownMs === 0 ? () => undefined : poisson(random, 10_000, perMs, (sentAtMs) => make(sentAtMs, known)));
  return refused;
}

describe("a burst of calls of a method that was never called", () => {
  for (const tookMs of [50, 200, 1_000, 2_000, 5_000]) {
    it(`that take ${tookMs} ms: none is refused, neither by a fresh server nor by one whose other methods are known`, () => {
      for (const count of [64, 200]) {
        assert.deepEqual(burst(count, tookMs, 0), { refused: 0, known: 0 });
        assert.deepEqual(burst(count, tookMs, 1), { refused: 0, known: 0 });
      }
    });
  }

  it("does not make those of a known method too old that wait behind it", () => {
    assert.deepEqual(burst(64, 1_000, 50), { refused: 0, known: 0 });
  });
});

/** A burst that took all permits, of which `waiting` calls wait; none begins by the limit's own growth. */
function held(waiting: number): {
  readonly admission: Admission;
  readonly begun: ModelCall[];
  readonly refused: string[];
} {
  const admission = new Admission({ concurrencyMax: 20 }, seededRandom(1));
  const figures = new HandlerFigures();
  const begun: ModelCall[] = [];
  const refused: string[] = [];
  const server = {
    begin: (call: ModelCall) => void begun.push(call),
    refusedOne: (call: ModelCall) => void refused.push(`${call.why}`),
  };
  for (let i = 0; begun.length < 20 || i < waiting; i++) {
    const call = new ModelCall({ sentAtMs: 0, figures, principal });
    call.server = server;
    const offer = admission.offer(call, begun.length < 20 ? 4 * i : 100);
    if (offer === ADMITTED) begun.push(call);
    else if (begun.length === 20) assert.equal(offer, QUEUED);
  }
  return { admission, begun, refused };
}

describe("what is not known", () => {
  it("is so no more when eight have ended: then those that wait for long are refused, as before any bottleneck", () => {
    const { admission, begun, refused } = held(100);
    for (let nowMs = 100; nowMs < 3_000; nowMs += 20) admission.drainTurn(nowMs);
    assert.deepEqual(refused, []);
    for (let i = 0; i < 8; i++) admission.ended(begun[i] as ModelCall, 3_000, true);
    for (let nowMs = 3_000; nowMs < 6_000; nowMs += 20) admission.drainTurn(nowMs);
    assert.ok(refused.length > 40, `${refused.length}`);
  });

  it("is not known by a few whose callers left, but by very many", () => {
    const { admission, begun, refused } = held(300);
    const leave = (count: number): void => {
      for (let i = 0; i < count; i++) admission.ended(begun.shift() as ModelCall, 100, false);
    };
    leave(127);
    for (let nowMs = 100; nowMs < 3_000; nowMs += 20) admission.drainTurn(nowMs);
    assert.deepEqual(refused, []);
    leave(1);
    for (let nowMs = 3_000; nowMs < 6_000; nowMs += 20) admission.drainTurn(nowMs);
    assert.ok(refused.length > 40, `${refused.length}`);
  });

  it("is what a limit that was told is not: it refuses as ever", () => {
    const admission = new Admission({ concurrencyMax: 1, isAdaptive: false }, seededRandom(1));
    const figures = new HandlerFigures();
    const calls = Array.from({ length: 50 }, () => new ModelCall({ sentAtMs: 0, figures, principal }));
    for (const call of calls) admission.offer(call, 0);
    for (let nowMs = 0; nowMs <= 100; nowMs += 20) admission.drainTurn(nowMs);
    assert.ok(calls.filter(({ why }) => why === "too-old").length > 40);
  });
});
