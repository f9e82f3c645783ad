import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { asked, inProcess, saying, scene } from "../../test/calls/once-scene.ts";

describe("what a once call was answered", () => {
  const unavailable = { "grpc-status": "14", "grpc-message": "later" };

  it("is final, a failure too: the server keeps it", async () => {
    for (const status of ["2", "13", "14", "15", "4", "5"]) {
      await using s = scene(2, inProcess);
      await s.warm();
      s.lines.push({ fails: { ...unavailable, "grpc-status": status } });
      const error = await s.call();
      assert.deepEqual([error?.reason, error?.reached, error?.text], [undefined, "yes", "later"], status);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("is final also without a store, as it was", async () => {
    await using s = scene(
      2,
      saying(() => undefined),
    );
    await s.warm();
    s.lines.push({ fails: unavailable });
    const error = await s.call();
    assert.deepEqual([error?.code, error?.reason, s.log.requests.length], ["UNAVAILABLE", undefined, 1]);
  });

  it("is a proxy's word if the store is not named: the store is asked", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ isProxied: unavailable });
    assert.equal(await s.call(), undefined);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
    assert.equal(s.log.effects.length, 1);
  });

  it("is asked for again when the server says after how long", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ refuses: { "grpc-status": "8", "grpc-retry-pushback-ms": "300" } });
    const startMs = s.simulation.nowMs;
    assert.equal(await s.call(), undefined);
    assert.ok(s.simulation.nowMs - startMs >= 300);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
  });

  it("is nothing if no handler ran: any peer takes it then, whatever its store", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ refuses: { ...unavailable, "holdfast-not-run": "1" } });
    assert.equal(await s.call(), undefined);
    const [first, second] = s.log.requests;
    assert.notEqual(first?.host, second?.host);
    assert.equal(second?.asks, undefined);
  });

  it("is nothing if no handler ran, but an earlier attempt's may have: then only the same store takes it", async () => {
    for (const count of [2, 5]) {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("lose", { refuses: { ...unavailable, "holdfast-not-run": "1" } });
      assert.equal(await s.call(), undefined);
      const host = s.log.requests[0]?.host;
      assert.deepEqual(asked(s), [host, `${host} for ${host}-1`, `${host} for ${host}-1`]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("is not asked for elsewhere if its key was used with another request, though no handler ran", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    const refuses = { "grpc-status": "9", "holdfast-not-run": "1", "holdfast-reason": "KEY_CONFLICT" };
    s.lines.push({ refuses });
    const error = await s.call({ idempotencyKey: "order-1" });
    assert.deepEqual(
      [error?.code, error?.reason, s.log.requests.length, s.log.effects.length],
      ["FAILED_PRECONDITION", "KEY_CONFLICT", 1, 0],
    );
    assert.equal(s.client.$channel.peers()[0]?.health, "ready");
  });

  it("may be that the server cannot tell: nobody else is asked, marked as not run or not", async () => {
    for (const mark of [{}, { "holdfast-not-run": "1" }]) {
      await using s = scene(2, inProcess);
      await s.warm();
      s.lines.push({ refuses: { "grpc-status": "10", "holdfast-reason": "OUTCOME_UNKNOWN", ...mark } });
      const error = await s.call();
      assert.deepEqual([error?.code, error?.reason, error?.reached], ["ABORTED", "OUTCOME_UNKNOWN", "maybe"]);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("names its reason in words that a server can know, and in no others", async () => {
    const words = ["ADMISSION_REFUSED", "DOOMED", "SERVER_DRAINING", "CLIENT_CLOSED", "NO_PEER", "toString", ""];
    await using s = scene(1, inProcess);
    await s.warm();
    const heard: (string | undefined)[] = [];
    for (const word of words) {
      s.lines.push({ refuses: { "grpc-status": "9", "holdfast-reason": word } });
      heard.push((await s.call())?.reason);
    }
    assert.deepEqual(heard, [
      "ADMISSION_REFUSED",
      "DOOMED",
      "SERVER_DRAINING",
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
