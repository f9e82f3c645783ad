import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { ConcurrencyLimit, LIMIT_START } from "./concurrency-limit.ts";

/**
 * A server in steps: all permits are used, `tookMs` says what a call takes with so many running, and after that time as many have ended. Returns the
 * permits after each step.
 */
function driven(
  limit: ConcurrencyLimit,
  facts: { steps: number; fromMs?: number; baseMs: number; demand?: number; tookMs: (running: number) => number },
): { readonly permits: number[]; readonly nowMs: number } {
  const permits: number[] = [];
  let nowMs = facts.fromMs ?? 0;
  for (let step = 0; step < facts.steps; step++) {
    const demand = facts.demand ?? Number.POSITIVE_INFINITY;
    const running = Math.min(limit.permits, demand);
    const beganAtMs = nowMs;
    nowMs += facts.tookMs(running);
    for (let i = 0; i < running; i++) {
      limit.sample(nowMs, beganAtMs, facts.baseMs, running, running, demand > running);
    }
    permits.push(limit.permits);
  }
  return { permits, nowMs };
}

/**
 * Ten workers whose times are exponential, and always more calls than permits: the mean over `forMs` of how many workers have work.
 */
function busyWorkers(limit: ConcurrencyLimit, seed: number, meanMs: number, fromMs: number, forMs: number): number {
  const random = seededRandom(seed);
  const freeAtMs = new Array<number>(10).fill(fromMs);
  const running: { readonly beganAtMs: number; readonly endsAtMs: number; readonly runningThen: number }[] = [];
  let nowMs = fromMs;
  let workMs = 0;
  while (nowMs < fromMs + forMs) {
    while (running.length < limit.permits) {
      const worker = freeAtMs.indexOf(Math.min(...freeAtMs));
      const tookMs = -Math.log(1 - random.float()) * meanMs;
      freeAtMs[worker] = Math.max(freeAtMs[worker] as number, nowMs) + tookMs;
      workMs += tookMs;
      running.push({ beganAtMs: nowMs, endsAtMs: freeAtMs[worker] as number, runningThen: running.length + 1 });
    }
    running.sort((one, other) => one.endsAtMs - other.endsAtMs);
    const ended = running.shift();
    if (ended === undefined) break;
    nowMs = ended.endsAtMs;
    limit.sample(nowMs, ended.beganAtMs, 10, ended.runningThen, running.length + 1, true);
  }
  return workMs / forMs;
}

describe("the concurrency limit", () => {
  it("starts at 8, or at its maximum if that is less", () => {
    assert.equal(new ConcurrencyLimit(1_000, true).permits, LIMIT_START);
    assert.equal(new ConcurrencyLimit(3, true).permits, 3);
  });

  it("is its maximum, and stays so, if it is not adaptive", () => {
    const limit = new ConcurrencyLimit(20, false);
    driven(limit, { steps: 50, baseMs: 10, tookMs: (running) => running * 10 });
    assert.equal(limit.permits, 20);
    assert.equal(limit.growsBlind(1_000_000), false);
    assert.equal(limit.blindDueMs, Number.POSITIVE_INFINITY);
  });

  it("grows to its maximum while nothing gets slower, and not beyond", () => {
    const limit = new ConcurrencyLimit(500, true);
    const { permits } = driven(limit, { steps: 40, baseMs: 50, tookMs: () => 50 });
    assert.ok((permits[12] as number) >= 100, permits.join());
    assert.equal(Math.max(...permits), 500);
  });

  it("does not grow when it is not felt: nothing says that more would be well", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    driven(limit, { steps: 100, baseMs: 50, demand: 4, tookMs: () => 50 });
    assert.equal(limit.permits, LIMIT_START);
  });

  it("stays near what a bottleneck can do: ten at once, however long it lasts", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { permits } = driven(limit, { steps: 2_000, baseMs: 10, tookMs: (running) => Math.max(10, running) });
    const later = permits.slice(50);
    assert.ok(Math.max(...later) <= 20, `${Math.max(...later)}`);
    const mean = later.reduce((sum, one) => sum + one, 0) / later.length;
    assert.ok(mean >= 10 && mean <= 17, `${mean}`);
  });

  it("comes down to two behind a bottleneck of one, and never to none", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { permits } = driven(limit, { steps: 500, baseMs: 10, tookMs: (running) => 10 * running });
    assert.ok(Math.min(...permits) >= 1);
    assert.ok(Math.max(...permits.slice(100)) <= 4, permits.slice(100).join());
  });

  it("does not collapse when all becomes ten times slower for a reason of its own", () => {
    const limit = new ConcurrencyLimit(200, true);
    const { nowMs } = driven(limit, { steps: 30, baseMs: 50, tookMs: () => 50 });
    assert.equal(limit.permits, 200);
    const { permits } = driven(limit, { steps: 60, fromMs: nowMs, baseMs: 50, tookMs: () => 500 });
    assert.ok(Math.min(...permits) >= 20, permits.join());
    assert.ok(
      permits.slice(20).every((one) => one >= 150),
      permits.join(),
    );
  });

  it("does not walk down by chance behind ten workers that are four times slower, with times that vary much", () => {
    const busy = Array.from({ length: 20 }, (_, seed) => {
      const limit = new ConcurrencyLimit(1_000, true);
      busyWorkers(limit, seed, 10, 0, 5_000);
      return busyWorkers(limit, seed + 100, 40, 5_000, 10_000);
    });
    const mean = busy.reduce((sum, one) => sum + one, 0) / busy.length;
    const text = busy.map((one) => one.toFixed(1)).join(" ");
    assert.ok(mean >= 8.5, text);
    assert.ok(Math.min(...busy) >= 4, text);
  });

  it("finds the old limit again once a bottleneck is gone", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { nowMs } = driven(limit, { steps: 200, baseMs: 10, tookMs: (running) => Math.max(10, running) });
    assert.ok(limit.permits <= 20);
    const { permits } = driven(limit, { steps: 60, fromMs: nowMs, baseMs: 10, tookMs: () => 10 });
    assert.ok((permits[30] as number) >= 200, permits.join());
  });

  it("takes times below 5 ms for noise: fast handlers are never held back", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { permits } = driven(limit, { steps: 300, baseMs: 0.02, tookMs: (running) => 0.02 + running * 0.003 });
    assert.equal(Math.max(...permits), 1_000);
    assert.ok(Math.min(...permits.slice(150)) >= 700, permits.slice(150).join());
  });

  it("grows before there is an answer when demand is sudden, a little at first, while it knows nothing yet", () => {
    const grown = (limit: ConcurrencyLimit, fromMs: number): number[] =>
      Array.from({ length: 100 }, (_, ms) => {
        limit.growsBlind(fromMs + ms);
        return limit.permits;
      });
    const cold = new ConcurrencyLimit(1_000, true);
    assert.deepEqual(grown(cold, 0).slice(0, 12), [8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 32]);
    assert.equal(cold.permits, 32);
    const warm = new ConcurrencyLimit(1_000, true);
    const { nowMs } = driven(warm, { steps: 40, baseMs: 50, demand: 5, tookMs: () => 50 });
    const permits = grown(warm, nowMs);
    assert.ok((permits[99] as number) >= 512, permits.join());
  });

  it("does not grow blindly against what it sees: answers that are slow, or a bottleneck that was met", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { nowMs } = driven(limit, { steps: 200, baseMs: 10, tookMs: (running) => Math.max(10, running) });
    const before = limit.permits;
    for (let ms = 1; ms < 1_000; ms++) limit.growsBlind(nowMs + ms);
    assert.ok(limit.permits <= before * 2, `${before} to ${limit.permits}`);
  });

  it("comes down slowly when it is not used", () => {
    const limit = new ConcurrencyLimit(1_000, true);
    const { nowMs } = driven(limit, { steps: 40, baseMs: 50, tookMs: () => 50 });
    assert.equal(limit.permits, 1_000);
    driven(limit, { steps: 500, fromMs: nowMs, baseMs: 50, demand: 10, tookMs: () => 50 });
    assert.ok(limit.permits >= 40 && limit.permits <= 50, `${limit.permits}`);
  });
});
