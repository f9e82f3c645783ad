import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  asked,
  assertUnknown,
  inProcess,
  LOST,
  ofBalancer,
  type Peers,
  saying,
  type Scene,
  scene,
} from "../../test/calls/once-scene.ts";

describe("a peer that is not to be believed", () => {
  /** The first attempt is lost with its process for good: whoever is asked then, is asked because it was believed. */
  async function lostForGood(peers: Peers, count = 2): Promise<Scene> {
    const s = scene(count, peers);
    await s.warm();
    s.lines.push("crash");
    assertUnknown(await s.call(), LOST);
    return s;
  }

  it("says that a store reaches farther than another peer says of the same id", async () => {
    const scopes = ["process", "machine", "service"];
    for (const one of scopes) {
      for (const other of scopes.filter((scope) => scope !== one)) {
        await using s = await lostForGood(saying((index) => `x ${index === 0 ? one : other}`));
        assert.equal(s.log.requests.length, 1, `${one}, ${other}`);
      }
    }
  });

  it("has the id of another process, which no two processes have", async () => {
    await using s = await lostForGood(saying(() => "x process"));
    assert.equal(s.log.requests.length, 1);
  });

  it("announces what is no store", async () => {
    const garbage = [
      "",
      "x",
      "process",
      "x  process",
      "x galaxy",
      "x process y",
      `${"x".repeat(65)} service`,
      "é service",
    ];
    for (const text of [...garbage, "x PROCESS", "x service;q=1", undefined]) {
      await using s = scene(
        2,
        saying(() => text),
      );
      await s.warm();
      s.lines.push("lose");
      assertUnknown(await s.call(), LOST);
      assert.equal(s.log.requests.length, 1, String(text));
    }
  });

  it("is a proxy: one connection, and answers of several stores", async () => {
    let answers = 0;
    await using s = scene(
      1,
      saying(() => `x${answers++ % 2} process`),
    );
    await s.warm();
    await s.call();
    s.log.requests.length = 0;
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.requests.length, 1);
  });

  it("is a proxy that shows itself only while the call is underway", async () => {
    let answers = 0;
    await using s = scene(
      1,
      saying(() => (answers++ < 1 ? "x process" : "y process")),
    );
    await s.warm();
    s.lines.push("hang");
    const call = s.call({ policy: { attemptTimeoutMs: 500 } });
    await s.simulation.advance(100);
    await s.call();
    assertUnknown(await call, /DEADLINE_EXCEEDED/);
    assert.equal(s.log.requests.length, 2);
  });

  it("is a balancer of connections: what one of them said does not hold for the next", async () => {
    await using s = scene(1, ofBalancer);
    await s.warm();
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.deepEqual(asked(s), ["p0", "p0 for p0-2"]);
    assert.equal(s.log.effects.length, 1, "the process behind the next connection has refused it");
    s.log.requests.length = 0;
    s.lines.push("lose", "lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.effects.length, 2);
  });

  it("takes no notice of the store that it is asked for: it is not asked again", async () => {
    await using s = scene(
      2,
      saying(() => undefined, true),
    );
    await s.warm();
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.effects.length, 1);
  });
});

describe("a once call before its peer has said anything", () => {
  it("is not repeated once its connection is gone", async () => {
    for (const count of [1, 2]) {
      await using s = scene(count, inProcess);
      await s.simulation.advance(1);
      s.lines.push("lose");
      assertUnknown(await s.call(), LOST);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("is repeated on the same connection as long as that is there", async () => {
    for (const line of ["reset", "hang"] as const) {
      await using s = scene(2, inProcess);
      await s.simulation.advance(1);
      s.lines.push(line);
      assert.equal(await s.call({ policy: { attemptTimeoutMs: 200 } }), undefined, line);
      const [first, second] = s.log.requests;
      assert.deepEqual([second?.host, second?.boot, second?.asks], [first?.host, first?.boot, undefined]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("learns where to ask from an answer to another call", async () => {
    await using s = scene(1, inProcess);
    await s.simulation.advance(1);
    s.lines.push("hang");
    const call = s.call({ policy: { attemptTimeoutMs: 500 } });
    await s.simulation.advance(100);
    assert.equal(await s.call(), undefined);
    s.lines.push("lose");
    assert.equal(await call, undefined);
    assert.deepEqual(asked(s), ["p0", "p0", "p0 for p0-1", "p0 for p0-1"]);
    assert.equal(s.log.effects.length, 2);
  });
});
