import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Code } from "../../call/code.ts";
import { RpcError } from "../../call/error.ts";
import { CallScope, scopes } from "../../call/scope.ts";
import type { Event } from "../../call/event.ts";
import type { Effect } from "../../call/method.ts";
import { protect } from "./protect.ts";
import { rpcError, virtualRig } from "./testdata/virtual-work.ts";

/** How often work runs that always fails so, for each effect. */
async function runsOf(effect: Effect, error: unknown, policy: object = {}): Promise<number> {
  const rig = virtualRig();
  await rig.fails(protect({ name: "a", effect, world: rig.world, ...policy }, rig.script({ error }))());
  return rig.begun.length;
}

describe("repeats", () => {
  it("are of effects none, idempotent and once, and of no unknown one", async () => {
    const error = rpcError("UNAVAILABLE");
    assert.equal(await runsOf("none", error), 3);
    assert.equal(await runsOf("idempotent", error), 3);
    assert.equal(await runsOf("once", error), 3);
    assert.equal(await runsOf("unknown", error), 1);
  });

  it("are after UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS and DEADLINE_EXCEEDED, and no other code", async () => {
    const repeated: Code[] = ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"];
    for (const code of repeated) assert.equal(await runsOf("none", rpcError(code)), 3, code);
    const final: Code[] = [
      "ABORTED",
      "NOT_FOUND",
      "INVALID_ARGUMENT",
      "CANCELLED",
      "RESOURCE_EXHAUSTED",
      "UNAUTHENTICATED",
    ];
    for (const code of final) assert.equal(await runsOf("none", rpcError(code)), 1, code);
    assert.equal(await runsOf("none", rpcError("INTERNAL"), { retry: { codes: ["UNAVAILABLE"] } }), 1);
  });

  it("are as many as the policy says", async () => {
    const error = rpcError("UNAVAILABLE");
    assert.equal(await runsOf("none", error, { retry: { attemptsMax: 5 } }), 5);
    assert.equal(await runsOf("none", error, { retry: false }), 1);
    assert.equal(await runsOf("none", error, { mode: "failfast" }), 1);
    assert.equal(await runsOf("none", error, { preset: "none" }), 1);
  });

  it("of what was not reached are one for free, then charged, three attempts in all", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", world: rig.world, classify: (result) => ("error" in result ? "unreached" : undefined) },
      rig.script({ error: new Error("refused") }),
    );
    const error = await rig.fails(call());
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reached, "no");
    assert.equal(error.isRepeatable, true);
    assert.match(error.verdict, /a did not happen; it is safe to repeat/);
    assert.equal(rig.begun.length, 4, "the first, a free one, and two of three");
  });

  it("wait between attempts: full jitter within 50 and 100 ms, and what a test asks for", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rig = virtualRig(seed);
      await rig.fails(
        protect({ name: "a", effect: "none", world: rig.world }, rig.script({ error: rpcError("INTERNAL") }))(),
      );
      const [first = NaN, second = NaN, third = NaN] = rig.begun.map(({ atMs }) => atMs);
      assert.ok(second - first <= 52 && third - second <= 102, `${first}, ${second}, ${third}`);
      assert.ok(third > first, "no wait at all");
    }
    const rig = virtualRig();
    const backoff = { kind: "constant", baseMs: 500, jitter: "none" } as const;
    const call = protect(
      { name: "a", effect: "none", retry: { backoff }, world: rig.world },
      rig.script({ error: rpcError("INTERNAL") }),
    );
    await rig.fails(call());
    assert.deepEqual(
      rig.begun.map(({ atMs }) => Math.floor(atMs / 10)),
      [0, 50, 100],
    );
  });

  it("after an attempt's timeout wait by the rule for timeouts", async () => {
    const rig = virtualRig();
    const timeout = { kind: "constant", baseMs: 300, jitter: "none" } as const;
    const failure = { kind: "constant", baseMs: 1_000, jitter: "none" } as const;
    const options = {
      name: "a",
      effect: "none",
      attemptTimeoutMs: 100,
      retry: { backoff: { timeout, failure } },
    } as const;
    const call = protect(
      { ...options, world: rig.world },
      rig.script({ afterMs: 5_000 }, { error: rpcError("INTERNAL") }, { value: 1 }),
    );
    await rig.settle(call());
    const times = rig.begun.map(({ atMs }) => Math.floor(atMs / 10) * 10);
    assert.deepEqual(times, [0, 400, 1_400]);
    assert.ok(
      rig.aborted[0] instanceof RpcError && rig.aborted[0].code === "DEADLINE_EXCEEDED",
      "the late one was told",
    );
  });

  it("wait as long as they are asked to, and RESOURCE_EXHAUSTED is repeated then only", async () => {
    const rig = virtualRig();
    const work = rig.script({ error: rpcError("RESOURCE_EXHAUSTED", 700) }, { value: 1 });
    await rig.settle(protect({ name: "a", effect: "none", world: rig.world }, work)());
    assert.equal(Math.floor((rig.begun[1]?.atMs ?? 0) / 10), 70);
    assert.equal(await runsOf("none", rpcError("RESOURCE_EXHAUSTED")), 1);
    assert.equal(await runsOf("none", rpcError("UNAVAILABLE", -1)), 1, "asked never to");
  });

  it("that could only begin after the deadline are none: the failure is told at once", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", effect: "none", timeoutMs: 5_000, world: rig.world },
      rig.script({ error: rpcError("UNAVAILABLE", 60_000) }),
    );
    const error = await rig.fails(call());
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.retryAfterMs, 60_000);
    assert.ok(rig.nowMs() < 100);
  });

  it("end with the deadline that passes between two attempts", async () => {
    const rig = virtualRig();
    const backoff = { kind: "constant", baseMs: 400, jitter: "none" } as const;
    const options = { name: "a", effect: "none", timeoutMs: 1_000, retry: { backoff, attemptsMax: 10 } } as const;
    const error = await rig.fails(
      protect({ ...options, world: rig.world }, rig.script({ afterMs: 50, error: rpcError("INTERNAL") }))(),
    );
    // 0, 450, 900; the next could only begin at 1,350.
    assert.equal(rig.begun.length, 3);
    assert.equal(error.code, "INTERNAL");
    assert.equal(error.faults.length, 3);
  });

  it("are bounded by the budget, also without end of attempts: then the error says so", async () => {
    const rig = virtualRig();
    const names: string[] = [];
    const call = protect(
      { name: "a", effect: "none", retry: { attemptsMax: Infinity }, gate: false, world: rig.world },
      rig.script({ error: rpcError("UNAVAILABLE") }),
    );
    using _heard = call.$on("budget.empty", ({ name }) => names.push(name));
    const error = await rig.fails(call());
    assert.equal(error.reason, "BUDGET_EMPTY");
    assert.equal(error.code, "UNAVAILABLE");
    assert.ok(rig.begun.length >= 10 && rig.begun.length <= 60, `${rig.begun.length} attempts of one call`);
    assert.deepEqual(names, ["budget.empty"]);
  });

  it("are none with an empty budget, and a first attempt is never charged", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", effect: "none", gate: false, budget: { share: 0, perSecondMin: 0 }, world: rig.world },
      rig.script({ error: rpcError("UNAVAILABLE") }),
    );
    for (let i = 0; i < 5; i++) assert.equal((await rig.fails(call())).reason, "BUDGET_EMPTY");
    assert.equal(rig.begun.length, 5);
  });

  it("keep the process alive while they wait, and no longer", async () => {
    const rig = virtualRig();
    let held = 0;
    const hold = (): { cancel: () => void } => {
      held += 1;
      return { cancel: () => void (held -= 1) };
    };
    const world = { ...rig.world, timers: { ...rig.world.timers, hold } };
    const call = protect(
      { name: "a", effect: "none", world },
      rig.script({ error: rpcError("UNAVAILABLE", 500) }, { afterMs: 500, value: 1 }),
    );
    const given = call();
    await rig.sim.advance(100);
    assert.equal(held, 1);
    await rig.sim.advance(500);
    assert.equal(held, 0, "the work itself is what the process waits for");
    await rig.settle(given);
    const scope = new CallScope(rig.world.clock);
    const cancelled = scopes.run(scope, () =>
      protect({ name: "b", effect: "none", world }, () => Promise.reject(rpcError("UNAVAILABLE", 500)))(),
    );
    const outcome = rig.fails(cancelled);
    await rig.sim.advance(100);
    assert.equal(held, 1);
    scope.cancel("gone");
    await outcome;
    assert.equal(held, 0);
  });

  it("are none of what was repeated below already", async () => {
    const rig = virtualRig();
    const inner = protect(
      { name: "inner", effect: "none", gate: false, world: rig.world },
      rig.script({ error: rpcError("UNAVAILABLE") }),
    );
    const outer = protect({ name: "outer", effect: "none", gate: false, world: rig.world }, () => inner());
    const error = await rig.fails(outer());
    assert.equal(rig.begun.length, 3, "and not nine");
    assert.equal(error.code, "UNAVAILABLE");
  });

  it("of a repeat are none below: inside a second attempt nothing that was reached is repeated", async () => {
    const rig = virtualRig();
    const inner = protect(
      { name: "inner", effect: "none", gate: false, world: rig.world },
      rig.script({ error: rpcError("INTERNAL") }),
    );
    let outers = 0;
    const outer = protect({ name: "outer", effect: "none", gate: false, world: rig.world }, async () => {
      outers += 1;
      if (outers === 1) throw rpcError("UNAVAILABLE");
      await inner();
    });
    await rig.fails(outer());
    assert.equal(rig.begun.length, 2, "once in the second attempt, once in the third");
  });
});

describe("copies", () => {
  const after = { afterMs: 100 } as const;

  it("start beside an attempt that is overdue: the first to answer wins, and the loser is told", async () => {
    const rig = virtualRig();
    const events: string[] = [];
    const call = protect(
      { name: "a", effect: "idempotent", hedge: after, world: rig.world },
      rig.script({ afterMs: 5_000, value: "slow" }, { afterMs: 20, value: "fast" }),
    );
    using _heard = call.$on("*", ({ name }) => events.push(name));
    assert.equal(await rig.settle(call()), "fast");
    assert.deepEqual(
      rig.begun.map(({ atMs }) => Math.floor(atMs / 10)),
      [0, 10],
    );
    assert.equal(rig.aborted.length, 1);
    assert.ok(rig.aborted[0] instanceof RpcError && rig.aborted[0].code === "CANCELLED");
    assert.equal(rig.begun[1]?.attempt.signal.aborted, false, "the winner's signal never aborts");
    assert.deepEqual(events, ["hedge", "attempt.ended", "attempt.ended", "call.ended"]);
  });

  for (const retry of [{ attemptsMax: 3 }, false] as const) {
    it(`are as many as allowed, ${retry === false ? "without repeats" : "where repeats would be fewer"} too, as of a client's calls`, async () => {
      const rig = virtualRig();
      const hedge = { afterMs: 100, copiesMax: 3 };
      let ms = 1;
      const options = { name: "a", effect: "none", hedge, retry, budget: { copyShareMax: 1, share: 1 } } as const;
      const call = protect({ ...options, world: rig.world }, (attempt) =>
        rig.script({ afterMs: ms, value: 1 })(attempt),
      );
      await rig.settle(Promise.all(Array.from({ length: 100 }, () => call())));
      ms = 5_000;
      await rig.settle(Promise.all(Array.from({ length: 10 }, () => call())));
      assert.equal(rig.begun.length, 140, "the first and three copies");
    });
  }

  it("stay within their share of the calls", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", effect: "none", hedge: after, world: rig.world },
      rig.script({ afterMs: 150, value: 1 }),
    );
    for (let i = 0; i < 50; i++) await rig.settle(Promise.all(Array.from({ length: 10 }, () => call())));
    assert.ok(rig.begun.length > 500, "no copies at all");
    assert.ok(rig.begun.length <= 511, `${rig.begun.length - 500} copies of 500 calls`);
  });

  it("are awaited when the first to finish failed, and repeat nothing meanwhile", async () => {
    const rig = virtualRig();
    const work = rig.script({ afterMs: 150, error: rpcError("UNAVAILABLE") }, { afterMs: 200, value: "copy" });
    const call = protect({ name: "a", effect: "idempotent", hedge: after, world: rig.world }, work);
    assert.equal(await rig.settle(call()), "copy");
    assert.equal(rig.begun.length, 2);
  });

  it("are the last when one was told never to try again, though another fails for a reason that is repeated", async () => {
    const rig = virtualRig();
    const work = rig.script(
      { afterMs: 150, error: rpcError("UNAVAILABLE", -1) },
      { afterMs: 100, error: rpcError("INTERNAL") },
    );
    const error = await rig.fails(protect({ name: "a", effect: "idempotent", hedge: after, world: rig.world }, work)());
    assert.equal(error.code, "INTERNAL");
    assert.equal(rig.begun.length, 2);
  });

  it("are not awaited after an answer that they would give too", async () => {
    const rig = virtualRig();
    const work = rig.script({ afterMs: 150, error: rpcError("NOT_FOUND") }, { afterMs: 5_000, value: "copy" });
    const error = await rig.fails(protect({ name: "a", effect: "idempotent", hedge: after, world: rig.world }, work)());
    assert.equal(error.code, "NOT_FOUND");
    assert.ok(rig.nowMs() < 200);
    assert.equal(rig.begun[1]?.attempt.signal.aborted, true, "the copy was told");
  });

  it("start when the work's own latency says so, from 100 calls on", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", effect: "none", world: rig.world }, (attempt) =>
      rig.script({ afterMs: attempt.number > 1 || rig.begun.length < 120 ? 10 : 2_000, value: 1 })(attempt),
    );
    for (let i = 0; i < 120; i++) await rig.settle(call());
    const startMs = rig.nowMs();
    const events: Event<"hedge">[] = [];
    using _heard = call.$on("hedge", (event) => events.push(event));
    await rig.settle(call());
    const [{ afterMs } = { afterMs: NaN }] = events;
    assert.ok(afterMs >= 14 && afterMs <= 18, `1.5 x p99 of 10 ms, got ${afterMs}`);
    assert.ok(rig.nowMs() - startMs < 40);
  });

  it("start at once where the mode says so", async () => {
    const rig = virtualRig();
    const mode = { kind: "forking", copies: 3 } as const;
    const call = protect(
      { name: "a", effect: "none", mode, world: rig.world },
      rig.script({ afterMs: 50 }, { afterMs: 10, value: "second" }, { afterMs: 30 }),
    );
    assert.equal(await rig.settle(call()), "second");
    assert.deepEqual(
      rig.begun.map(({ atMs }) => Math.floor(atMs)),
      [0, 0, 0],
    );
    assert.equal(rig.aborted.length, 2);
  });

  it("stand down when the work as a whole became slow", async () => {
    const rig = virtualRig();
    let ms = 10;
    const options = { name: "a", effect: "none", hedge: after, budget: { share: 1, copyShareMax: 1 } } as const;
    const call = protect({ ...options, world: rig.world }, (attempt) => rig.script({ afterMs: ms, value: 1 })(attempt));
    for (let i = 0; i < 300; i++) await rig.settle(call());
    ms = 200;
    for (let i = 0; i < 40; i++) await rig.settle(call());
    const begun = rig.begun.length;
    assert.ok(begun > 342, "at first there were copies");
    for (let i = 0; i < 20; i++) await rig.settle(call());
    assert.equal(rig.begun.length - begun, 20, "copies of work that is slow for all");
  });

  it("leave their losers in the statistics, at the age that they had: else all that is slow would be forgotten", async () => {
    const rig = virtualRig();
    let isSlow = false;
    const options = { name: "a", effect: "none", budget: { share: 1, copyShareMax: 1 } } as const;
    const call = protect({ ...options, world: rig.world }, (attempt) =>
      rig.script({ afterMs: isSlow && attempt.number === 1 ? 5_000 : 10, value: 1 })(attempt),
    );
    for (let i = 0; i < 120; i++) await rig.settle(call());
    isSlow = true;
    for (let i = 0; i < 10; i++) await rig.settle(call());
    const values = call.$explain().layers.flatMap(({ values: each }) => each);
    const learned = values.find(({ path, origin }) => path === "hedge.afterMs" && origin === "learned")?.value;
    assert.ok(Number(learned) > 30, `1.5 x p99 with losers of 25 ms, got ${String(learned)}`);
  });

  it("do not start, and cost nothing, while the gate is shut", async () => {
    const rig = virtualRig();
    const hedges: unknown[] = [];
    let fault: unknown;
    const call = protect(
      { name: "a", effect: "none", hedge: after, retry: { attemptsMax: 2 }, world: rig.world },
      (attempt) => rig.script({ afterMs: fault === undefined ? 1_000 : 1, error: fault, value: 1 })(attempt),
    );
    using _heard = call.$on("hedge", (event) => hedges.push(event));
    const slow = call();
    fault = rpcError("INTERNAL");
    const failed = Promise.allSettled([call(), call(), call(), call(), call()]);
    await rig.sim.advance(2);
    fault = undefined;
    await rig.settle(failed);
    assert.equal(await rig.settle(slow), 1);
    assert.deepEqual(hedges, []);
  });
});

describe("an attempt's own time", () => {
  it("ends each attempt, and the last one the call", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", effect: "idempotent", attemptTimeoutMs: 100, hedge: false, world: rig.world },
      rig.script({ afterMs: 10_000 }),
    );
    const error = await rig.fails(call());
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(error.reason, undefined, "it is the attempt's failure, not the call's deadline");
    assert.equal(error.text, "the attempt took longer than 100 ms");
    assert.equal(rig.begun.length, 3);
    assert.equal(rig.aborted.length, 3);
    assert.deepEqual(
      error.faults.map(({ kind, blame }) => `${kind} ${blame}`),
      ["attempt-timeout caller", "attempt-timeout caller", "attempt-timeout caller"],
    );
  });

  it("is each attempt's own: a copy has its time from its own beginning", async () => {
    const rig = virtualRig();
    const options = {
      name: "a",
      effect: "none",
      attemptTimeoutMs: 100,
      hedge: { afterMs: 50 },
      retry: { attemptsMax: 2 },
    } as const;
    const error = await rig.fails(
      protect({ ...options, world: rig.world }, rig.script({ afterMs: 10_000, isDeaf: true }))(),
    );
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.ok(rig.nowMs() >= 150 && rig.nowMs() < 155, `${rig.nowMs()}`);
  });

  it("makes a late answer nobody's: the repeat's is the call's", async () => {
    const rig = virtualRig();
    const backoff = { kind: "constant", baseMs: 300, jitter: "none" } as const;
    const options = { name: "a", effect: "none", attemptTimeoutMs: 100, hedge: false, retry: { backoff } } as const;
    const work = rig.script({ afterMs: 150, isDeaf: true, value: "late" }, { afterMs: 10, value: "second" });
    assert.equal(await rig.settle(protect({ ...options, world: rig.world }, work)()), "second");
  });

  it("is not repeated for an unknown effect: the work may have been done", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", attemptTimeoutMs: 100, world: rig.world }, rig.script({ afterMs: 10_000 }));
    const error = await rig.fails(call());
    assert.equal(error.reached, "maybe");
    assert.equal(rig.begun.length, 1);
  });
});
