import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { type FreshCall, FreshCalls } from "./fresh-calls.ts";

class Call implements FreshCall {
  isFresh = true;
  readonly name: number;
  readonly told: number[];
  constructor(name: number, told: number[]) {
    this.name = name;
    this.told = told;
  }
  turnEnded(): void {
    this.told.push(this.name);
  }
}

/** A clock that moves when told to, and an end of turn that comes when told to. */
function manual(): { fresh: FreshCalls; at: (ms: number) => void; readings: () => number; endTurn: () => void } {
  let nowMs = 0;
  let readings = 0;
  const waiting: (() => void)[] = [];
  const clock = {
    monotonicMs: () => {
      readings += 1;
      return nowMs;
    },
    wallMs: () => 0,
  };
  const timers = {
    schedule: () => ({ cancel: () => {} }),
    hold: () => ({ cancel: () => {} }),
    afterTurn: (callback: () => void) => void waiting.push(callback),
  };
  return {
    fresh: new FreshCalls(clock, timers),
    at: (ms) => {
      nowMs = ms;
    },
    readings: () => readings,
    endTurn: () => {
      for (const callback of waiting.splice(0)) callback();
    },
  };
}

it("tells the calls that are still open at the end of the turn, in order and once, and no others", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat()), { maxLength: 400 }), (steps) => {
      const { fresh, endTurn } = manual();
      const told: number[] = [];
      const calls: Call[] = [];
      for (const [isAdd, pick] of steps) {
        if (isAdd) {
          const call = new Call(calls.length, told);
          calls.push(call);
          fresh.add(call);
          continue;
        }
        const call = calls[pick % Math.max(1, calls.length)];
        if (call !== undefined) call.isFresh = false;
      }
      endTurn();
      assert.deepEqual(
        told,
        calls.filter(({ isFresh }) => isFresh).map(({ name }) => name),
      );
      endTurn();
      assert.equal(told.length, calls.filter(({ isFresh }) => isFresh).length, "told twice");
    }),
  );
});

it("looks through many open calls only now and then", () => {
  const { fresh, readings } = manual();
  for (let i = 0; i < 1_000; i++) fresh.add(new Call(i, []));
  assert.ok(readings() <= 17, `${readings()} looks for 1,000 calls`);
});

it("does not tell a call that ends while the turn's end is told", () => {
  const { fresh, endTurn } = manual();
  const told: number[] = [];
  const second = new Call(2, told);
  const first = new Call(1, told);
  first.turnEnded = () => {
    second.isFresh = false;
  };
  fresh.add(first);
  fresh.add(second);
  endTurn();
  assert.deepEqual(told, []);
});

it("keeps no call that is over for longer than 64 calls and a turn, however many a turn has", () => {
  const { fresh, endTurn } = manual();
  const open = new Call(-1, []);
  fresh.add(open);
  for (let i = 0; i < 10_000; i++) {
    const call = new Call(i, []);
    fresh.add(call);
    call.isFresh = false;
  }
  assert.ok(fresh.size <= 66, `${fresh.size} calls are held`);
  endTurn();
  assert.equal(fresh.size, 0);
});

it("reads the clock once a turn, and again after 64 calls", () => {
  const { fresh, at, readings, endTurn } = manual();
  const begin = (): void => {
    const call = new Call(0, []);
    fresh.add(call);
    call.isFresh = false;
  };
  at(10);
  begin();
  at(20);
  for (let i = 0; i < 63; i++) begin();
  assert.equal(fresh.nowMs, 10);
  assert.equal(readings(), 1);
  begin();
  assert.equal(fresh.nowMs, 20);
  at(30);
  endTurn();
  assert.equal(fresh.nowMs, 30);
  at(40);
  begin();
  assert.equal(fresh.nowMs, 40, "the first call of a turn reads it");
});
