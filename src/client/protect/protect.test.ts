import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, it } from "node:test";
import { RpcError } from "../../call/error.ts";
import { protect } from "./protect.ts";
import { turns } from "../../../test/calls/gate.ts";
import { rpcError, virtualRig } from "./testdata/virtual-work.ts";

describe("a protected function", () => {
  it("gives what the work gives, and hands its arguments on", async () => {
    const { world, settle } = virtualRig();
    const join = protect({ name: "text.join", world }, ({ number }, a: string, b: string) =>
      Promise.resolve(`${a}${b}${number}`),
    );
    assert.equal(await settle(join("x", "y")), "xy1");
    assert.equal(join.name, "join");
  });

  it("has a deadline of 30 s by default: the signal aborts, the caller hears what happened", async () => {
    const rig = virtualRig();
    const slow = protect({ name: "pay.charge", world: rig.world }, rig.script({ afterMs: 60_000 }));
    const error = await rig.fails(slow());
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(error.reason, "DEADLINE");
    assert.equal(error.reached, "maybe");
    assert.match(error.text, /^the deadline passed after 30000 ms while pay\.charge was at work$/);
    assert.match(error.verdict, /charge may have happened; repeat it only if doing it twice does no harm/);
    assert.ok(rig.nowMs() >= 30_000 && rig.nowMs() < 30_010);
    assert.equal(rig.aborted.length, 1);
    assert.ok(rig.aborted[0] instanceof RpcError);
    assert.equal(rig.aborted[0].reason, "DEADLINE");
  });

  it("tells its work how much time is left", async () => {
    const rig = virtualRig();
    const left: number[] = [];
    const call = protect({ name: "a", timeoutMs: 1_000, attemptTimeoutMs: 400, world: rig.world }, async (attempt) => {
      left.push(attempt.deadline.remainingMs());
      await new Promise<void>((resolve) => void rig.world.timers.schedule(100, resolve));
      left.push(attempt.deadline.remainingMs());
    });
    await rig.settle(call());
    assert.deepEqual(left, [400, 300]);
  });

  it("has no deadline where its policy says Infinity", async () => {
    const rig = virtualRig();
    let left = 0;
    const call = protect({ name: "a", timeoutMs: Infinity, world: rig.world }, (attempt) => {
      left = attempt.deadline.remainingMs();
      return rig.script({ afterMs: 1_000_000, value: 7 })(attempt);
    });
    assert.equal(await rig.settle(call()), 7);
    assert.equal(left, Infinity);
  });

  it("gives every attempt the same id, another one to every call", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", effect: "once", world: rig.world },
      rig.script({ error: rpcError("UNAVAILABLE") }, { value: 1 }),
    );
    await rig.settle(call());
    await rig.settle(call());
    const ids = rig.begun.map(({ attempt }) => attempt.callId);
    assert.equal(ids.length, 3);
    assert.equal(ids[0], ids[1]);
    assert.notEqual(ids[1], ids[2]);
    assert.match(ids[0] ?? "", /^[0-9a-f]{32}$/);
    assert.deepEqual(
      rig.begun.map(({ attempt }) => attempt.number),
      [1, 2, 1],
    );
  });

  it("rejects with an RpcError whose cause is what was thrown", async () => {
    const rig = virtualRig();
    const thrown = new Error("no such table");
    const call = protect({ name: "db.read", world: rig.world }, rig.script({ error: thrown }));
    const error = await rig.fails(call());
    assert.equal(error.code, "UNKNOWN");
    assert.equal(error.text, "no such table");
    assert.equal(error.cause, thrown);
    assert.equal(error.reached, "maybe");
    assert.equal(error.faults.length, 1);
    assert.equal(error.faults[0]?.blame, "peer");
  });

  it("keeps code, details, metadata and pushback of an RpcError that the work threw", async () => {
    const rig = virtualRig();
    const thrown = new RpcError("NOT_FOUND", "no order 7", { metadata: { "x-shard": "3" } });
    const error = await rig.fails(protect({ name: "a", world: rig.world }, rig.script({ error: thrown }))());
    assert.equal(error.code, "NOT_FOUND");
    assert.equal(error.metadata.get("x-shard"), "3");
    assert.equal(error.reason, undefined);
    assert.equal(error.cause, thrown);
  });

  for (const context of [undefined, false] as const) {
    it(`finds the async context of its caller in every attempt, those that a timer starts too (context ${context})`, async () => {
      const rig = virtualRig();
      const user = new AsyncLocalStorage<string>();
      const seen: (string | undefined)[] = [];
      const note = (): undefined => void seen.push(user.getStore());
      const options = { name: "a", effect: "idempotent", attemptTimeoutMs: 50, context, classify: note } as const;
      const call = protect({ ...options, world: rig.world }, (attempt) => {
        note();
        // The first runs out of its time, the second fails, the third succeeds.
        const afterMs = attempt.number === 1 ? 100 : 1;
        const error = attempt.number === 3 ? undefined : rpcError("INTERNAL");
        return rig.script({ afterMs, error, value: 1 })(attempt);
      });
      const first = user.run("alice", () => call());
      const second = user.run("bob", () => call());
      await rig.settle(Promise.all([first, second]));
      assert.equal(seen.filter((name) => name === "alice").length, 5, "three times the work, twice classify");
      assert.equal(seen.filter((name) => name === "bob").length, 5);
      assert.equal(seen.length, 10);
      assert.equal(user.getStore(), undefined);
    });
  }
});

describe("work that misbehaves", () => {
  it("throws synchronously: a rejection like any other", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, () => {
      throw new Error("at once");
    });
    const error = await rig.fails(call());
    assert.equal(error.text, "at once");
  });

  it("ignores its signal: the call ends at its deadline all the same, and the late answer is nobody's", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", timeoutMs: 100, world: rig.world },
      rig.script({ afterMs: 500, isDeaf: true, value: 1 }),
    );
    const error = await rig.fails(call());
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(rig.begun[0]?.attempt.signal.aborted, true, "a signal that is read later is aborted");
    await rig.sim.advance(1_000);
    assert.equal(rig.begun.length, 1);
  });

  it("rejects after it was aborted: nothing is repeated, nothing is left unhandled", async () => {
    const rig = virtualRig();
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    const call = protect(
      { name: "a", effect: "idempotent", timeoutMs: 100, hedge: false, world: rig.world },
      rig.script({ afterMs: 200, isDeaf: true, error: new Error("late") }),
    );
    await rig.fails(call());
    await rig.sim.advance(500);
    await turns(2);
    process.off("unhandledRejection", note);
    assert.deepEqual(unhandled, []);
    assert.equal(rig.begun.length, 1);
  });

  it("gives a thenable that resolves, rejects and resolves again: the first counts", async () => {
    const rig = virtualRig();
    const thenable = {
      then(resolve: (value: number) => void, reject: (error: unknown) => void): void {
        resolve(1);
        reject(new Error("second thoughts"));
        resolve(2);
      },
    };
    const call = protect({ name: "a", world: rig.world }, () => thenable as unknown as Promise<number>);
    assert.equal(await rig.settle(call()), 1);
  });

  it("gives no promise at all: the value is the result", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", world: rig.world }, () => 5 as unknown as Promise<number>);
    assert.equal(await rig.settle(call()), 5);
  });

  it("throws undefined, or an object that cannot be read", async () => {
    const rig = virtualRig();
    const evil = { [Symbol.toStringTag]: "x", toString: () => assert.fail("read") };
    for (const thrown of [undefined, null, evil]) {
      const call = protect({ name: "a", world: rig.world }, () => Promise.reject(thrown));
      const error = await rig.fails(call());
      assert.equal(error.code, "UNKNOWN");
    }
  });

  it("never settles and has no deadline: no timer is left behind either", async () => {
    const rig = virtualRig();
    const call = protect({ name: "a", timeoutMs: Infinity, world: rig.world }, () => new Promise<void>(() => {}));
    let isSettled = false;
    call().then(
      () => (isSettled = true),
      () => (isSettled = true),
    );
    await rig.sim.advance(10_000_000);
    assert.equal(isSettled, false);
  });
});

describe("classify", () => {
  it("makes a failure of what was returned, and the call is repeated for it", async () => {
    const rig = virtualRig();
    const call = protect(
      {
        name: "a",
        effect: "none",
        world: rig.world,
        classify: (result) => ("value" in result && result.value === "busy" ? rpcError("UNAVAILABLE") : undefined),
      },
      rig.script({ value: "busy" }, { value: "done" }),
    );
    assert.equal(await rig.settle(call()), "done");
    assert.equal(rig.begun.length, 2);
  });

  it("says unreached, and a call of unknown effect is repeated: that and nothing else", async () => {
    const rig = virtualRig();
    const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    const options = {
      name: "a",
      world: rig.world,
      classify: (result: { readonly error: unknown } | { readonly value: unknown }) =>
        "error" in result && result.error === refused ? ("unreached" as const) : undefined,
    };
    const call = protect(options, rig.script({ error: refused }, { value: 1 }));
    assert.equal(await rig.settle(call()), 1);
    assert.equal(rig.begun.length, 2);
    const other = virtualRig();
    const again = protect({ ...options, world: other.world }, other.script({ error: new Error("lost") }, { value: 1 }));
    assert.equal((await other.fails(again())).code, "UNKNOWN");
    assert.equal(other.begun.length, 1);
  });

  it("throws, or says what it may not: the call ends, it is not repeated, and the gate is not blamed", async () => {
    for (const [classify, words] of [
      [() => assert.fail("my own bug"), /classify failed: my own bug/],
      [() => true, /classify must return an RpcError, "unreached" or undefined, got true/],
    ] as const) {
      const rig = virtualRig();
      const call = protect(
        { name: "a", effect: "none", world: rig.world, classify: classify as () => undefined },
        rig.script({ value: 1 }),
      );
      for (let i = 0; i < 8; i++) {
        const error = await rig.fails(call());
        assert.equal(error.code, "INTERNAL");
        assert.match(error.text, words);
      }
      assert.equal(rig.begun.length, 8);
    }
  });
});

describe("a fallback", () => {
  it("answers in place of a failure, with the error and the arguments", async () => {
    const rig = virtualRig();
    const call = protect(
      { name: "a", world: rig.world, fallback: (error, sku: string) => `${error.code} ${sku}` },
      (attempt, sku: string) => rig.script({ error: rpcError("INTERNAL") })(attempt, sku) as Promise<string>,
    );
    assert.equal(await rig.settle(call("a1")), "INTERNAL a1");
  });

  it("throws: its RpcError is the call's; anything else is told together with the failure", async () => {
    const rig = virtualRig();
    const own = new RpcError("NOT_FOUND", "nothing cached");
    const work = rig.script({ error: rpcError("UNAVAILABLE") });
    const first = await rig.fails(
      protect({ name: "a", world: rig.world, fallback: () => Promise.reject(own) }, work)(),
    );
    assert.equal(first, own);
    const bug = new Error("cache is down");
    const second = await rig.fails(
      protect(
        {
          name: "a",
          world: rig.world,
          fallback: () => {
            throw bug;
          },
        },
        work,
      )(),
    );
    assert.equal(second.code, "UNAVAILABLE");
    assert.match(second.text, /^the fallback failed \(cache is down\) after: UNAVAILABLE: as scripted$/);
    assert.equal(second.cause, bug);
  });

  it("runs where the call was made, though a timer ends the call", async () => {
    const rig = virtualRig();
    const user = new AsyncLocalStorage<string>();
    const call = protect(
      { name: "a", timeoutMs: 50, world: rig.world, fallback: () => user.getStore() },
      rig.script({ afterMs: 100 }),
    );
    const given = user.run("alice", () => call());
    assert.equal(await rig.settle(given), "alice");
  });
});

describe("options that are wrong", () => {
  const work = (): Promise<number> => Promise.resolve(1);
  const cases: readonly [options: object, kind: typeof TypeError | typeof RangeError, message: string][] = [
    [{}, TypeError, "name must be a text, got undefined"],
    [{ name: "" }, RangeError, "name must have 1..256 characters, got 0"],
    [{ name: 5 }, TypeError, "name must be a text, got 5"],
    [
      { name: "a", effect: "twice" },
      RangeError,
      'effect must be "none" or "idempotent" or "once" or "unknown", got "twice"',
    ],
    [{ name: "a", timeoutMs: 0 }, RangeError, "timeoutMs must be 1..86_400_000 or Infinity, got 0"],
    [
      { name: "pay.charge", retry: { attemptsMax: 0 } },
      RangeError,
      "retry.attemptsMax must be 1..10 or Infinity, got 0",
    ],
    [{ name: "a", tiemoutMs: 5 }, TypeError, 'unknown key "tiemoutMs", did you mean "timeoutMs"?'],
    [
      { name: "a", retry: { attemptMax: 2 } },
      TypeError,
      'unknown key "retry.attemptMax", did you mean "retry.attemptsMax"?',
    ],
    [
      { name: "a", hedge: { after: "p99" } },
      RangeError,
      "hedge is refused for /a/a (effect unknown: a copy may do the work twice): declare effect none or idempotent, or leave hedge out",
    ],
    [
      { name: "a", gate: true },
      TypeError,
      "gate may only be false here, got true (on is the default, its numbers are the channel's)",
    ],
    [{ name: "a", context: true }, TypeError, "context may only be false, got true (on is the default)"],
    [{ name: "a", classify: "unreached" }, TypeError, 'classify must be a function, got "unreached"'],
    [{ name: "a", budget: { share: 2 } }, RangeError, "budget.share must be 0..1, got 2"],
    [
      { name: "a", preset: null },
      TypeError,
      "preset must not be null (leave it out, or give undefined, for the default)",
    ],
  ];
  for (const [options, Kind, message] of cases) {
    it(`are refused at once: ${message}`, () => {
      assert.throws(() => protect(options as { name: string }, work), { name: Kind.name, message });
    });
  }

  it("are refused by the compiler too, where it can see the effect", () => {
    // @ts-expect-error hedging runs a call twice: the effect is unknown
    assert.throws(() => protect({ name: "a", hedge: { after: "p99" } }, work), RangeError);
    // @ts-expect-error the same: a copy would wait for the first
    assert.throws(() => protect({ name: "a", effect: "once", hedge: { after: "p99" } }, work), RangeError);
    // @ts-expect-error codes repeat what may have reached a handler
    assert.throws(() => protect({ name: "a", retry: { codes: ["INTERNAL"] } }, work), RangeError);
    assert.doesNotThrow(() => protect({ name: "a", effect: "idempotent", hedge: { after: "p99" } }, work));
  });

  it("are refused together with work that is none", () => {
    assert.throws(() => protect({ name: "a" }, 5 as never), { message: "work must be a function, got 5" });
  });

  it("a peer that is no text, or none that throws, rejects the call", async () => {
    const { world, settle } = virtualRig();
    const call = protect({ name: "a", world, peer: (...[key]) => key as string }, (_attempt, _key: unknown) => work());
    await assert.rejects(settle(call(7)), { name: "TypeError", message: "peer must return a text, got 7" });
    await assert.rejects(settle(call("")), { message: "peer must return 1..1024 characters, got 0" });
    await assert.rejects(settle(call("x".repeat(1_025))), { message: "peer must return 1..1024 characters, got 1025" });
    const broken = protect(
      {
        name: "a",
        world,
        peer: () => {
          throw new Error("no host");
        },
      },
      work,
    );
    await assert.rejects(settle(broken()), { message: "no host" });
  });
});
