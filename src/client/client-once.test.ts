import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Interceptor, RpcError } from "holdfast";
import {
  asked,
  assertUnknown,
  inProcess,
  LOST,
  ofService,
  onMachine,
  type Peers,
  saying,
  scene,
} from "../../test/calls/once-scene.ts";

describe("a once call whose connection was lost", () => {
  for (const count of [1, 2, 5]) {
    it(`goes back to the same process, which answers from its store (${count} peers)`, async () => {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("lose");
      assert.equal(await s.call({ idempotencyKey: "order-1" }), undefined);
      const [first, second] = s.log.requests;
      assert.equal(s.log.requests.length, 2);
      assert.deepEqual([first?.asks, first?.isRepeat], [undefined, false]);
      assert.deepEqual(
        [second?.host, second?.asks, second?.isRepeat, second?.callId],
        [first?.host, `${first?.host}-1`, true, "order-1"],
      );
      assert.deepEqual(s.log.effects, ["order-1"]);
      assert.deepEqual([s.records[0]?.savedBy, s.records[0]?.attempts.length], ["dedup", 2]);
    });
  }

  it("is repeated under the id that was minted for it", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("lose");
    assert.equal(await s.call(), undefined);
    assert.equal(s.log.requests[0]?.callId, s.log.requests[1]?.callId);
    assert.equal(s.records[0]?.callId, s.log.requests[0]?.callId);
  });

  it("is run by nobody if the process was restarted at the same address: the new one has another store, and says so", async () => {
    for (const count of [1, 2, 5]) {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("crash");
      const call = s.call();
      await s.simulation.runUntil(() => s.log.requests.length === 1);
      const host = s.log.requests[0]?.host ?? "";
      await s.simulation.advance(20);
      s.simulation.restart(host);
      assertUnknown(await call, LOST);
      assert.deepEqual(asked(s), [host, `${host} for ${host}-1`]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("waits for its process, and for no other, 10 s at most", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const startMs = s.simulation.nowMs;
    assertUnknown(await s.call(), LOST);
    const tookMs = s.simulation.nowMs - startMs;
    assert.ok(tookMs >= 9_900 && tookMs <= 10_200, `${tookMs} ms`);
    assert.equal(s.log.requests.length, 1);
  });

  it("ends at its deadline if that comes first", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const error = await s.call({ timeoutMs: 3_000 });
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["DEADLINE_EXCEEDED", "DEADLINE", "maybe"]);
    assert.equal(s.log.requests.length, 1);
  });

  it("is answered by the restarted process whose store is on its machine", async () => {
    await using s = scene(2, onMachine);
    await s.warm();
    s.lines.push("crash");
    const call = s.call();
    await s.simulation.runUntil(() => s.log.requests.length === 1);
    const host = s.log.requests[0]?.host ?? "";
    await s.simulation.advance(500);
    s.simulation.restart(host);
    assert.equal(await call, undefined);
    assert.deepEqual(asked(s), [host, `${host} for m${host.slice(1)}`]);
    assert.equal(s.log.effects.length, 1);
    assert.equal(s.records[0]?.savedBy, "dedup");
  });

  it("is answered by another peer of the same store, at once, when its own is gone for good", async () => {
    for (const count of [2, 5]) {
      await using s = scene(count, ofService(1));
      await s.warm();
      s.lines.push("crash");
      const startMs = s.simulation.nowMs;
      assert.equal(await s.call(), undefined);
      assert.ok(s.simulation.nowMs - startMs < 100);
      const [first, second] = s.log.requests;
      assert.equal(s.log.requests.length, 2);
      assert.notEqual(first?.host, second?.host);
      assert.equal(second?.asks, "s0");
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("goes to no peer of another store, though it is of the same service", async () => {
    for (let round = 0; round < 6; round++) {
      await using s = scene(5, ofService(2));
      await s.warm();
      for (let skipped = 0; skipped < round; skipped++) await s.call();
      s.log.requests.length = 0;
      s.lines.push("crash");
      assert.equal(await s.call(), undefined);
      const [first, second] = s.log.requests.map(({ host }) => Number(host.slice(1)) % 2);
      assert.equal(first, second);
    }
  });
});

describe("a once call that waits for the one peer that can tell", () => {
  it("holds up nobody else", async () => {
    await using s = scene(2, inProcess, { budget: { share: 1 } });
    await s.warm();
    s.lines.push(...Array.from({ length: 40 }, () => "hang" as const));
    const calls = Array.from({ length: 40 }, () => s.call({ policy: { attemptTimeoutMs: 400 } }));
    await s.simulation.runUntil(() => s.log.requests.length === 40);
    s.simulation.crash("p0");
    const other = await s.call();
    assert.equal(other, undefined);
    assert.equal(s.client.$channel.peers().length, 2);
    const errors = await Promise.all(calls);
    const atP0 = s.log.requests.slice(0, 40).filter(({ host }) => host === "p0").length;
    assert.ok(atP0 > 0 && atP0 < 40);
    assert.equal(errors.filter((error) => error?.reason === "OUTCOME_UNKNOWN").length, atP0);
    assert.equal(errors.filter((error) => error === undefined).length, 40 - atP0);
    assert.equal(new Set(s.log.effects).size, s.log.effects.length);
  });

  it("does not wait for one that its resolver names no more", async () => {
    await using s = scene(5, inProcess);
    await s.warm();
    s.lines.push("crash");
    const call = s.call();
    await s.simulation.advance(1_000);
    const startMs = s.simulation.nowMs;
    s.forget(s.log.requests[0]?.host ?? "");
    const error = await call;
    assertUnknown(error, LOST);
    assert.ok(s.simulation.nowMs - startMs < 100);
    assert.equal(s.log.requests.length, 1);
    assert.match(error?.verdict ?? "", /unary may have happened once; repeat it with the same idempotencyKey\.$/);
  });

  it("ends with its client", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const call = s.call();
    await s.simulation.advance(1_000);
    await s.simulation.settle(s.client.$close({ timeoutMs: 0 }));
    const error = await call;
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["CANCELLED", "CLIENT_CLOSED", "maybe"]);
  });
});

describe("a once call with", () => {
  it("a stream of replies is repeated like any other until its headers have come", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("lose");
    const read = async (): Promise<number> => {
      let replies = 0;
      for await (const _ of s.client.download({ replyCount: 1 })) replies += 1;
      return replies;
    };
    assert.equal(await s.simulation.settle(read()), 1);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
    assert.equal(s.log.effects.length, 1);
  });

  it("a stream of replies is not repeated where nobody has said who keeps first answers: it would be done again", async () => {
    await using s = scene(1, inProcess);
    await s.simulation.advance(1);
    s.lines.push("reset");
    const read = async (): Promise<void> => {
      for await (const _ of s.client.download({ replyCount: 1 })) assert.fail("it was answered");
    };
    await assert.rejects(s.simulation.settle(read()), (error: RpcError) => error.reached === "maybe");
    assert.deepEqual([s.log.requests.length, s.log.effects.length], [1, 1]);
  });

  it("an interceptor that calls next again asks the same store, and no peer of another", async () => {
    const twice: Interceptor = (next) => async (call) => {
      try {
        return await next(call);
      } catch {
        return await next(call);
      }
    };
    await using s = scene(5, inProcess, { interceptors: [twice], policy: { retry: { attemptsMax: 1 } } });
    await s.warm();
    s.lines.push("lose");
    assert.equal(await s.call(), undefined);
    const host = s.log.requests[0]?.host;
    assert.deepEqual(asked(s), [host, `${host} for ${host}-1`]);
    s.log.requests.length = 0;
    s.lines.push({ fails: { "grpc-status": "14" } }, { fails: { "grpc-status": "14" } });
    assert.equal((await s.call())?.code, "UNAVAILABLE");
    assert.equal(new Set(s.log.requests.map(({ host: each }) => each)).size, 1);
    assert.equal(s.log.effects.length, 2);
  });

  it("one attempt only keeps its own failure", async () => {
    await using s = scene(2, inProcess, { policy: { retry: false } });
    await s.warm();
    s.lines.push("lose");
    const error = await s.call();
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["UNAVAILABLE", "CONNECTION_LOST", "maybe"]);
  });
});

describe("$explain of a once method", () => {
  const cases: readonly [name: string, peers: Peers, line: RegExp][] = [
    ["a process", inProcess, /same peer only +learned +its dedup journal has scope process/],
    ["a machine", onMachine, /same peer only +learned +its dedup journal has scope machine/],
    ["a service", ofService(1), /peers of the same store +learned +its dedup journal has scope service/],
    [
      "no store",
      saying(() => undefined),
      /only what never reached a handler +learned +its peers keep no first answers/,
    ],
  ];
  for (const [name, peers, line] of cases) {
    it(`says where it is repeated: ${name}`, async () => {
      await using s = scene(2, peers);
      assert.match(String(s.client.$explain("unary")), /same connection only +learned +no peer has said yet/);
      await s.warm();
      assert.match(String(s.client.$explain("unary")), line);
      assert.doesNotMatch(String(s.client.$explain("seen")), /journal|first answers/);
    });
  }
});
