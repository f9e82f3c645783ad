import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient } from "holdfast";
import { Bench } from "../../bench/gen/bench/v1/bench_pb.ts";
import { rawConnection, startLimited } from "./limited-process.ts";

const CONNECTIONS_MAX = 20;
const ATTEMPTS = 3_000;
const AT_ONCE = 100;
/** Answered while the storm goes on; it goes on until they are. */
const CALLS = 50;

describe("a server that has its connections", () => {
  it("cuts all others as they come, and a storm of them starves no call", async (t) => {
    const child = startLimited(4_096, { limits: { connectionsMax: CONNECTIONS_MAX } });
    try {
      const port = await child.ask.listen();
      await using client = createClient(Bench, `127.0.0.1:${port}`, { policy: { retry: false, hedge: false } });
      assert.equal((await client.add({ a: 1, b: 2 })).result, 3);
      const held = Array.from({ length: CONNECTIONS_MAX - 1 }, () => rawConnection(port));
      assert.deepEqual(new Set(await Promise.all(held.map(({ first }) => first))), new Set(["accepted"]));
      const tookMs: number[] = [];
      let made = 0;
      let accepted = 0;
      const storm = Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          while (made < ATTEMPTS || tookMs.length < CALLS) {
            made += 1;
            const { first, socket } = rawConnection(port);
            if ((await first) === "accepted") accepted += 1;
            socket.destroy();
          }
        }),
      );
      while (made < ATTEMPTS || tookMs.length < CALLS) {
        const startMs = performance.now();
        assert.equal((await client.add({ a: tookMs.length, b: 1 })).result, tookMs.length + 1);
        tookMs.push(performance.now() - startMs);
      }
      await storm;
      assert.equal(accepted, 0);
      assert.equal((await child.ask.facts()).connections, CONNECTIONS_MAX);
      assert.ok(
        held.every(({ isOpen }) => isOpen()),
        "who was in stayed in",
      );
      const p99Ms = tookMs.toSorted((a, b) => a - b)[Math.floor(tookMs.length * 0.99)];
      t.diagnostic(
        `${tookMs.length} calls meanwhile (by the process that makes the storm), p99 ${p99Ms?.toFixed(1)} ms`,
      );
      for (const { socket } of held) socket.destroy();
    } finally {
      child.stop();
    }
  });
});
