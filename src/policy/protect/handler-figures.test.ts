import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { FRESH_MS, HandlerFigures, HEAVY_MS } from "./handler-figures.ts";

function fed(
  figures: HandlerFigures,
  count: number,
  facts: { fromMs: number; tookMs: () => number; mayRise?: boolean },
): number {
  let nowMs = facts.fromMs;
  for (let i = 0; i < count; i++) figures.sample(facts.tookMs(), (nowMs += 1), facts.mayRise ?? true);
  return nowMs;
}

describe("what a handler takes when nothing holds it up", () => {
  it("is not known at first", () => {
    assert.ok(Number.isNaN(new HandlerFigures().baseMs));
  });

  it("is not lowered by chance where times vary", () => {
    for (const seed of [1, 2, 3]) {
      const random = seededRandom(seed);
      const figures = new HandlerFigures();
      fed(figures, 50_000, { fromMs: 0, tookMs: () => -Math.log(1 - random.float()) * 10, mayRise: false });
      assert.ok(figures.baseMs > 6.5 && figures.baseMs < 11, `${figures.baseMs}`);
    }
  });

  it("falls at once when the handler becomes faster", () => {
    const figures = new HandlerFigures();
    const nowMs = fed(figures, 200, { fromMs: 0, tookMs: () => 40 });
    fed(figures, 64, { fromMs: nowMs, tookMs: () => 10 });
    assert.ok(Math.abs(figures.baseMs - 10) < 0.01, `${figures.baseMs}`);
  });

  it("rises slowly, and not at all while the limit holds calls back: a standing queue does not become normal", () => {
    const figures = new HandlerFigures();
    let nowMs = fed(figures, 200, { fromMs: 0, tookMs: () => 10 });
    nowMs = fed(figures, 10_000, { fromMs: nowMs, tookMs: () => 40, mayRise: false });
    assert.ok(Math.abs(figures.baseMs - 10) < 0.01, `${figures.baseMs}`);
    fed(figures, 2_000, { fromMs: nowMs, tookMs: () => 40 });
    assert.ok(figures.baseMs > 11 && figures.baseMs < 16, `${figures.baseMs}`);
  });
});

describe("a short handler", () => {
  it("is one once it is known, if it takes 5 ms at most", () => {
    const figures = new HandlerFigures();
    assert.equal(figures.isShort, false);
    fed(figures, 64, { fromMs: 0, tookMs: () => 5 });
    assert.equal(figures.isShort, true);
    const slow = new HandlerFigures();
    fed(slow, 64, { fromMs: 0, tookMs: () => 6 });
    assert.equal(slow.isShort, false);
  });

  it("stays one when the process stood still for a moment, and is none once it has been slow for 50 ms", () => {
    const figures = new HandlerFigures();
    let nowMs = fed(figures, 640, { fromMs: 0, tookMs: () => 1 });
    // All that ended when the process went on, at one moment.
    for (let i = 0; i < 200; i++) figures.sample(300, nowMs, true);
    nowMs = fed(figures, 64, { fromMs: nowMs, tookMs: () => 1 });
    assert.equal(figures.isShort, true);
    fed(figures, 128, { fromMs: nowMs, tookMs: () => 20 });
    assert.equal(figures.isShort, false);
  });

  it("is one again 10 s after it was slow or held back last", () => {
    const figures = new HandlerFigures();
    let nowMs = fed(figures, 640, { fromMs: 0, tookMs: () => 1 });
    nowMs = fed(figures, 128, { fromMs: nowMs, tookMs: () => 20 });
    nowMs = fed(figures, 9_000, { fromMs: nowMs, tookMs: () => 1 });
    assert.equal(figures.isShort, false);
    figures.heldBack(nowMs);
    nowMs = fed(figures, 9_000, { fromMs: nowMs, tookMs: () => 1 });
    assert.equal(figures.isShort, false);
    fed(figures, 2_000, { fromMs: nowMs, tookMs: () => 1 });
    assert.equal(figures.isShort, true);
  });

  it("is no longer for being held back while it is short", () => {
    const figures = new HandlerFigures();
    figures.heldBack(0);
    const nowMs = fed(figures, 64, { fromMs: 0, tookMs: () => 1 });
    figures.heldBack(nowMs);
    fed(figures, 64, { fromMs: nowMs, tookMs: () => 1 });
    assert.equal(figures.isShort, true);
  });
});

describe("the best of late", () => {
  it("is about the tenth percentile of 32 samples", () => {
    const figures = new HandlerFigures();
    let ms = 0;
    fed(figures, 32, { fromMs: 0, tookMs: () => (ms += 1) });
    assert.ok(figures.best(32) >= 2 && figures.best(32) <= 5, `${figures.best(32)}`);
  });

  it("is unknown, so 0, with fewer than eight samples, and when they are older than 10 s", () => {
    const figures = new HandlerFigures();
    let nowMs = fed(figures, 7, { fromMs: 0, tookMs: () => 50 });
    assert.equal(figures.best(nowMs), 0);
    nowMs = fed(figures, 8, { fromMs: nowMs, tookMs: () => 50 });
    assert.equal(figures.best(nowMs), 50);
    assert.equal(figures.best(nowMs + FRESH_MS + 1), 0);
  });

  it("follows new samples", () => {
    const figures = new HandlerFigures();
    let nowMs = fed(figures, 32, { fromMs: 0, tookMs: () => 50 });
    assert.equal(figures.best(nowMs), 50);
    nowMs = fed(figures, 16, { fromMs: nowMs, tookMs: () => 5 });
    assert.equal(figures.best(nowMs), 5);
  });
});

describe("how long a begin keeps the loop", () => {
  it("is timed for the first call, then for one in sixteen while light", () => {
    const figures = new HandlerFigures();
    let timed = 0;
    for (let i = 0; i < 160; i++) {
      if (figures.isTimed) {
        timed += 1;
        figures.timed(0.01);
      }
      figures.began(i);
    }
    assert.equal(timed, 10);
    assert.equal(figures.isHeavy, false);
  });

  it("is that of a light handler again after one more call, when another process had the processor for 20 ms", () => {
    const figures = new HandlerFigures();
    for (let i = 0; i < 10; i++) figures.timed(0.003);
    figures.timed(20);
    figures.timed(0.003);
    assert.equal(figures.isHeavy, false);
    const fresh = new HandlerFigures();
    fresh.timed(20);
    assert.equal(fresh.isHeavy, true);
    fresh.timed(0.003);
    assert.equal(fresh.isHeavy, false);
  });

  it("is timed for each call of a heavy handler, which is known after one long begin", () => {
    const figures = new HandlerFigures();
    figures.timed(1);
    assert.ok(figures.costMs >= HEAVY_MS);
    assert.ok(figures.isHeavy);
    for (let i = 0; i < 20; i++) {
      assert.ok(figures.isTimed);
      figures.began(i);
    }
  });

  it("forgets that it was heavy once it is no more", () => {
    const figures = new HandlerFigures();
    for (let i = 0; i < 10; i++) figures.timed(2);
    for (let i = 0; i < 40; i++) figures.timed(0.01);
    assert.equal(figures.isHeavy, false);
  });
});
