import { test } from "node:test";
import fc from "fast-check";
import type { Http2Limits } from "./limits.ts";
import { EnginePair, type SideName } from "./testdata/engine-pair.ts";

/** The model is the pair itself: it knows what was sent and asserts after each step. */
type Step = fc.Command<object, EnginePair>;

function step(name: string, run: (pair: EnginePair) => void): Step {
  return {
    check: () => true,
    run: (_model, pair) => {
      run(pair);
      pair.check();
    },
    toString: () => name,
  };
}

const who = fc.constantFrom<SideName>("client", "server");
const which = fc.nat(7);
const length = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 4_000, max: 150_000 }));
const portion = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 100, max: 200_000 }));

const steps: fc.Arbitrary<Step>[] = [
  fc.constant(step("open", (pair) => pair.open())),
  fc
    .tuple(who, which, length, fc.boolean())
    .map(([name, n, bytes, ends]) =>
      step(`send(${name}, ${n}, ${bytes}, ${ends})`, (pair) => pair.send(name, n, bytes, ends)),
    ),
  fc
    .tuple(who, which, length)
    .map(([name, n, bytes]) =>
      step(`send(${name}, ${n}, ${bytes}, false)`, (pair) => pair.send(name, n, bytes, false)),
    ),
  fc
    .tuple(who, which, fc.integer({ min: 1, max: 3_000 }))
    .map(([name, n, bytes]) => step(`commit(${name}, ${n}, ${bytes})`, (pair) => pair.commit(name, n, bytes))),
  fc.tuple(who, which).map(([name, n]) => step(`end(${name}, ${n})`, (pair) => pair.end(name, n))),
  fc.tuple(who, which).map(([name, n]) => step(`reset(${name}, ${n})`, (pair) => pair.reset(name, n))),
  fc
    .tuple(who, which, portion)
    .map(([name, n, most]) => step(`consume(${name}, ${n}, ${most})`, (pair) => pair.consume(name, n, most))),
  which.map((n) => step(`release(${n})`, (pair) => pair.release(n))),
  fc
    .tuple(who, fc.constantFrom("window", "streams", "table", "frame"), fc.nat(65_535))
    .map(([name, what, value]) =>
      step(`announce(${name}, "${what}", ${value})`, (pair) => pair.announce(name, what, value)),
    ),
  who.map((name) => step(`ping(${name})`, (pair) => pair.ping(name))),
  who.map((name) => step(`flush(${name})`, (pair) => pair.flush(name))),
  fc
    .tuple(who, portion)
    .map(([name, count]) => step(`deliver(${name}, ${count})`, (pair) => pair.deliver(name, count))),
  fc.tuple(who, portion).map(([name, count]) =>
    step(`move(${name}, ${count})`, (pair) => {
      pair.flush(name);
      pair.deliver(name, count);
    }),
  ),
  fc.tuple(who, fc.boolean()).map(([name, is]) => step(`block(${name}, ${is})`, (pair) => pair.block(name, is))),
  fc.integer({ min: 1, max: 400 }).map((ms) =>
    step(`advance(${ms})`, (pair) => {
      pair.client.driven.nowMs += ms;
      pair.server.driven.nowMs += ms;
    }),
  ),
  fc.constant(
    step("quiet", (pair) => {
      pair.block("client", false);
      pair.block("server", false);
      pair.quiet();
      pair.checkAtRest();
    }),
  ),
];

const drain: fc.Arbitrary<Step> = fc.constant(step("drain", (pair) => pair.drain()));

/** Three calls have begun, so that most steps find something to do. */
function pairWithCalls(limits: Partial<Http2Limits> = {}): EnginePair {
  const pair = new EnginePair(limits);
  for (let i = 0; i < 3; i++) pair.open();
  pair.quiet();
  return pair;
}

test("two engines agree on every byte, window, table and end, whatever they are asked to do", () => {
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 70, size: "max" }), (commands) => {
      const pair = pairWithCalls();
      fc.modelRun(() => ({ model: {}, real: pair }), commands);
      pair.finish();
    }),
    { numRuns: 1_500 },
  );
});

test("they agree while the server goes away in two steps", () => {
  fc.assert(
    fc.property(fc.commands([...steps, drain], { maxCommands: 50, size: "max" }), (commands) => {
      const pair = pairWithCalls();
      fc.modelRun(() => ({ model: {}, real: pair }), commands);
      pair.finish();
    }),
    { numRuns: 400 },
  );
});

test("they agree with windows too small for a frame, and windows that may not grow", () => {
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 40, size: "max" }), (commands) => {
      const pair = pairWithCalls({ streamWindowMax: 65_535, connectionWindowMax: 65_535, framesPerTurnMax: 3 });
      fc.modelRun(() => ({ model: {}, real: pair }), commands);
      pair.finish();
    }),
    { numRuns: 400 },
  );
});
