import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, it } from "node:test";
import { RpcError } from "../../call/error.ts";
import { CallScope, type ScopeChild, scopes } from "../../call/scope.ts";
import { detach } from "../context.ts";
import { protect } from "./protect.ts";
import { type Rig, rpcError, virtualRig } from "./testdata/virtual-work.ts";

/** Runs inside a scope of the rig's world, as a handler does. */
function inScope<T>(
  rig: Rig,
  change: (scope: CallScope) => void,
  work: () => T,
): { readonly scope: CallScope; readonly result: T } {
  const scope = new CallScope(rig.world.clock);
  change(scope);
  return { scope, result: scopes.run(scope, work) };
}

describe("a protected call inherits", () => {
  it("a deadline that is sooner than its own, less what is kept for the way back", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, rig.script({ afterMs: 60_000 }));
    const { result } = inScope(
      rig,
      (scope) => {
        scope.deadlineMs = rig.world.clock.monotonicMs() + 1_000;
        scope.reserveMs = 100;
      },
      () => call(),
    );
    const error = await rig.fails(result);
    assert.equal(error.reason, "DEADLINE");
    assert.ok(rig.nowMs() >= 900 && rig.nowMs() < 905, `${rig.nowMs()}`);
  });

  it("no deadline that is later than its own", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", timeoutMs: 200, world: rig.world }, rig.script({ afterMs: 60_000 }));
    const change = (scope: CallScope): void => {
      scope.deadlineMs = rig.world.clock.monotonicMs() + 1_000;
    };
    await rig.fails(inScope(rig, change, () => call()).result);
    assert.ok(rig.nowMs() < 205);
  });

  it("a deadline that is over: the work does not begin", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, rig.script({ value: 1 }));
    const change = (scope: CallScope): void => {
      scope.deadlineMs = rig.world.clock.monotonicMs();
    };
    const error = await rig.fails(inScope(rig, change, () => call()).result);
    assert.equal(error.text, "the inherited deadline left no time for this call");
    assert.equal(error.reached, "no");
    assert.equal(rig.begun.length, 0);
  });

  it("cancellation: the attempt's signal aborts, and nothing is repeated, not in a backoff either", async () => {
    for (const step of [{ afterMs: 60_000 }, { error: rpcError("UNAVAILABLE", 10_000) }]) {
      const rig = virtualRig();
      const call = protect(
        { name: "a", effect: "idempotent", fallback: () => "fallback", world: rig.world },
        rig.script(step),
      );
      const { scope, result } = inScope(
        rig,
        () => {},
        () => call(),
      );
      const outcome = rig.fails(result);
      await rig.sim.advance(500);
      scope.cancel(new Error("the caller hung up"));
      const error = await outcome;
      assert.equal(error.code, "CANCELLED");
      assert.equal(error.reason, "CANCELLED_BY_CALLER", "and no fallback for one who is not there");
      await rig.sim.advance(60_000);
      assert.equal(rig.begun.length, 1);
    }
  });

  it("a scope that was cancelled before", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, rig.script({ value: 1 }));
    const error = await rig.fails(
      inScope(
        rig,
        (scope) => scope.cancel(new Error("gone")),
        () => call(),
      ).result,
    );
    assert.equal(error.code, "CANCELLED");
    assert.equal(rig.begun.length, 0);
  });

  it("that what belongs to an end of time is no cancellation but a deadline", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, rig.script({ afterMs: 60_000 }));
    const { scope, result } = inScope(
      rig,
      () => {},
      () => call(),
    );
    const inner = protect({ name: "b", timeoutMs: 1, world: rig.world }, rig.script({ afterMs: 60_000 }));
    const outcome = rig.fails(result);
    scope.cancel(await rig.fails(inner()));
    assert.equal((await outcome).code, "DEADLINE_EXCEEDED");
  });

  it("that nobody may repeat: then it does not", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", effect: "none", world: rig.world }, rig.script({ error: rpcError("INTERNAL") }));
    const change = (scope: CallScope): void => {
      scope.mayRepeat = false;
    };
    await rig.fails(inScope(rig, change, () => call()).result);
    assert.equal(rig.begun.length, 1);
  });
});

describe("calls inside the work inherit", () => {
  it("the attempt's deadline, priority, trace, and that a repeat is not to be repeated", async () => {
    const rig = virtualRig();
    const seen: { leftMs: number; priority: string; mayRepeat: boolean; trace0: number }[] = [];
    const options = {
      name: "a",
      effect: "none",
      timeoutMs: 1_000,
      attemptTimeoutMs: 300,
      priority: "sheddable",
    } as const;
    const call = protect({ ...options, world: rig.world }, async () => {
      // Also behind an await.
      await Promise.resolve();
      const scope = scopes.getStore() ?? assert.fail("no scope");
      const { priority, mayRepeat, trace0 } = scope;
      seen.push({ leftMs: scope.deadlineMs - rig.world.clock.monotonicMs(), priority, mayRepeat, trace0 });
      if (seen.length === 1) throw rpcError("UNAVAILABLE", 800);
    });
    const change = (scope: CallScope): void => {
      scope.trace0 = 7;
    };
    await rig.settle(inScope(rig, change, () => call()).result);
    assert.deepEqual(seen[0], { leftMs: 300, priority: "sheddable", mayRepeat: true, trace0: 7 });
    assert.ok((seen[1]?.leftMs ?? 0) > 198 && (seen[1]?.leftMs ?? 0) <= 200, "what is left of the call");
    assert.equal(seen[1]?.mayRepeat, false);
  });

  it("cancellation of their attempt, when it has run out of time, and when another has won", async () => {
    const rig = virtualRig();
    const inner = protect({ name: "inner", world: rig.world }, rig.script({ afterMs: 60_000 }));
    const codes: string[] = [];
    const note = async (work: Promise<unknown>): Promise<unknown> => {
      try {
        return await work;
      } catch (error) {
        codes.push(RpcError.from(error).code);
        throw error;
      }
    };
    const slow = protect({ name: "slow", timeoutMs: 100, world: rig.world }, () => note(inner()));
    await rig.fails(slow());
    const hedged = protect(
      { name: "hedged", effect: "none", hedge: { afterMs: 50 }, world: rig.world },
      ({ number }) => (number === 1 ? note(inner()) : Promise.resolve("copy")),
    );
    assert.equal(await rig.settle(hedged()), "copy");
    await rig.sim.advance(1);
    assert.deepEqual(codes, ["DEADLINE_EXCEEDED", "CANCELLED"]);
  });

  it("cancellation of an attempt that has failed: what it did not wait for ends with it", async () => {
    const rig = virtualRig();
    const inner = protect({ name: "inner", world: rig.world }, rig.script({ afterMs: 60_000 }));
    const left: Promise<RpcError>[] = [];
    const call = protect({ name: "a", world: rig.world }, () => {
      left.push(rig.fails(inner()));
      return Promise.reject(new Error("half of it failed"));
    });
    await rig.fails(call());
    assert.equal((await left[0])?.code, "CANCELLED");
    assert.ok(rig.nowMs() < 10);
  });

  it("nothing with context false, and the caller's scope is theirs then", async () => {
    const rig = virtualRig();
    const seen: unknown[] = [];
    const call = protect({ name: "a", context: false, world: rig.world }, () => {
      seen.push(scopes.getStore());
      return Promise.resolve(1);
    });
    await rig.settle(call());
    const { scope, result } = inScope(
      rig,
      () => {},
      () => call(),
    );
    await rig.settle(result);
    assert.deepEqual(seen, [undefined, scope]);
  });

  it("nothing where the work has left its call with detach", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", timeoutMs: 100, world: rig.world }, () => {
      const outside = detach(() => scopes.getStore());
      return Promise.resolve(outside?.deadlineMs);
    });
    assert.equal(await rig.settle(call()), Infinity);
  });
});

it("a call leaves no trace in its caller's context, and the work sees the caller's own stores", async () => {
  const rig = virtualRig();
  const user = new AsyncLocalStorage<string>();
  const call = protect({ name: "a", world: rig.world }, async () => {
    await Promise.resolve();
    return user.getStore();
  });
  await user.run("alice", async () => {
    const before = scopes.getStore();
    assert.equal(await rig.settle(call()), "alice");
    assert.equal(scopes.getStore(), before);
    assert.equal(user.getStore(), "alice");
  });
});

it("a scope's list is empty when its calls are over, however they ended", async () => {
  const rig = virtualRig();
  const good = protect({ name: "a", world: rig.world }, rig.script({ value: 1 }));
  const bad = protect({ name: "b", world: rig.world }, rig.script({ error: new Error("no") }));
  const { scope, result } = inScope(
    rig,
    () => {},
    () => [good(), bad().catch(() => 0)],
  );
  await rig.settle(Promise.all(result));
  const left: unknown[] = [];
  const child: ScopeChild = {
    scopePrevious: undefined,
    scopeNext: undefined,
    scopeCancelled: (reason) => left.push(reason),
  };
  scope.addChild(child);
  assert.equal(child.scopeNext, undefined, "a call that is over is still in the list");
  scope.cancel("end");
  assert.deepEqual(left, ["end"]);
});
