import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";

describe("handlers that outlive their deadlines", () => {
  it("by far are counted, and a thousand of them let the server refuse new calls until one has ended", async () => {
    const world = manualWorld();
    const release = gate();
    const firstRelease = gate();
    let began = 0;
    await using pair = await startPair(
      {
        async add({ a }) {
          began += 1;
          if (a === 1) await firstRelease.opened;
          if (a >= 1) await release.opened;
          return { result: a };
        },
      },
      { isInProcess: true, server: { world, limits: { streamsPerConnectionMax: 5_000 } }, client: { world } },
    );
    const calls = Array.from({ length: 1_000 }, (_, i) =>
      assertFails(pair.client.add({ a: i + 1 }, { timeoutMs: 100 }), "DEADLINE_EXCEEDED"),
    );
    while (began < 1_000) await turns(1);
    world.advance(101);
    await Promise.all(calls);
    assert.equal((await pair.client.add({})).result, 0, "late, but within the grace of 5 s");
    world.advance(5_200);
    const error = await assertFails(world.settle(pair.client.add({})), "RESOURCE_EXHAUSTED");
    assert.match(error.text, /too many handlers have outlived their deadlines/);
    assert.equal(error.reached, "no");
    release.open();
    firstRelease.open();
    await turns(5);
    assert.equal((await pair.client.add({})).result, 0);
    assert.deepEqual((await pair.server.close({ timeoutMs: 0 })).cut, []);
  });
});
