/** Admission before a server whose methods differ: many short calls, and a slow method that waits behind a pool. In virtual time, seeds fixed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { HandlerFigures } from "./handler-figures.ts";
import { Principals } from "./principal.ts";
import type { PriorityRank } from "./refusal.ts";
import { ModelCall, PooledServer, poisson } from "./testdata/overloaded-server.ts";
import { isAnswered, tookQuantile } from "./testdata/overload-scenarios.ts";

const SHORT_MS = 0.3;
const SPIKE_MS = 3_000;
const END_MS = 6_000;

/** Short handlers have nothing to do with the pool. */
class MixedServer extends PooledServer {
  readonly short = new HandlerFigures();

  override begin(call: ModelCall, nowMs: number): void {
    if (call.handlerFigures !== this.short) super.begin(call, nowMs);
    else
      this.agenda.at(nowMs + SHORT_MS, (endMs) => {
        call.answeredAtMs = endMs;
        this.admission.ended(call, endMs, true);
        this.onEnd(call, endMs);
      });
  }
}

/** Rates in calls a millisecond. From 3 s on four times as many sheddable calls of the slow method come as its pool can do. */
function mixed(facts: {
  readonly seed: number;
  readonly shortPerMs: number;
  readonly isKnown: boolean;
  readonly workers: number;
  readonly serviceMs: number;
}): { readonly short: ModelCall[]; readonly critical: ModelCall[]; readonly sheddable: ModelCall[] } {
  const { shortPerMs, isKnown, workers, serviceMs } = facts;
  const random = seededRandom(facts.seed);
  const principals = new Principals();
  const slow = new HandlerFigures();
  const server = new MixedServer({ random, workers, serviceMs: () => serviceMs });
  const capacity = workers / serviceMs;
  const calls = { short: [] as ModelCall[], critical: [] as ModelCall[], sheddable: [] as ModelCall[] };
  const make = (sentAtMs: number, figures: HandlerFigures, key: string, rank: PriorityRank): ModelCall =>
    new ModelCall({ sentAtMs, figures, principal: principals.of(key), rank, deadlineMs: sentAtMs + 1_000 });
  const perMs = (nowMs: number): number =>
    shortPerMs + (nowMs >= SPIKE_MS ? 4.15 * capacity : isKnown ? 0.15 * capacity : 0);
  const next = (sentAtMs: number): ModelCall => {
    const at = random.float() * perMs(sentAtMs);
    const key = `${random.uint32() % 4}`;
    if (at < shortPerMs) calls.short.push(make(sentAtMs, server.short, `s${key}`, 1));
    else if (at < shortPerMs + 0.15 * capacity) calls.critical.push(make(sentAtMs, slow, "main", 0));
    else calls.sheddable.push(make(sentAtMs, slow, `b${key}`, 2));
    const kind = at < shortPerMs ? calls.short : at < shortPerMs + 0.15 * capacity ? calls.critical : calls.sheddable;
    return kind.at(-1) as ModelCall;
  };
  server.play(poisson(random, END_MS, perMs, next));
  return calls;
}

const IN_TIME_MS = 1_000;
function inTime(calls: readonly ModelCall[]): number {
  return calls.filter((call) => isAnswered(call) && call.tookMs <= IN_TIME_MS).length;
}

describe("a slow method that is overloaded beside short calls", () => {
  for (const [shortPerMs, workers, serviceMs, isKnown] of [
    [8, 4, 20, true],
    [30, 4, 20, true],
    [0.1, 10, 50, true],
    [8, 10, 50, true],
    [8, 10, 50, false],
    [30, 10, 50, false],
  ] as const) {
    const name = isKnown ? "was called before" : "comes with the overload";
    it(`${shortPerMs} short calls a millisecond, ${workers} workers of ${serviceMs} ms, the slow method ${name}`, () => {
      for (const seed of [1, 2, 3]) {
        const { short, critical, sheddable } = mixed({ seed, shortPerMs, workers, serviceMs, isKnown });
        assert.equal(inTime(short), short.length);
        assert.ok(inTime(critical) >= 0.95 * critical.length, `${inTime(critical)} of ${critical.length} critical`);
        const capacity = ((END_MS - SPIKE_MS) * workers) / serviceMs;
        const spiked = (calls: readonly ModelCall[]): number =>
          inTime(calls.filter(({ sentAtMs }) => sentAtMs >= SPIKE_MS));
        const good = spiked(critical) + spiked(sheddable);
        assert.ok(good >= 0.9 * capacity, `seed ${seed}: ${good} of ${capacity}`);
      }
    });
  }
});

describe("short calls behind a pool of their own", () => {
  for (const seed of [1, 2, 3]) {
    it(`seed ${seed}: are limited once they are no longer short, at twice what the pool can do`, () => {
      const random = seededRandom(seed);
      const figures = new HandlerFigures();
      const principals = new Principals();
      const server = new PooledServer({ random, workers: 10, serviceMs: () => 2 });
      const calls: ModelCall[] = [];
      const make = (sentAtMs: number): ModelCall => {
        const principal = principals.of(`p${random.uint32() % 20}`);
        const call = new ModelCall({ sentAtMs, figures, principal, deadlineMs: sentAtMs + 1_000 });
        calls.push(call);
        return call;
      };
      server.play(poisson(random, 14_000, (nowMs) => (nowMs < 1_000 ? 3 : 10), make));
      const late = calls.filter(({ sentAtMs }) => sentAtMs > 2_000);
      const good = late.filter((call) => isAnswered(call) && call.tookMs <= 100).length;
      assert.ok(good >= 0.9 * 5 * 12_000, `${good}`);
      assert.ok(tookQuantile(late, 0.99) <= 100, `${tookQuantile(late, 0.99)}`);
      assert.ok(calls.filter(({ sentAtMs }) => sentAtMs < 1_000).every(isAnswered));
    });
  }
});
