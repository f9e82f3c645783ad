import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { playSlowPeer, type SlowPeerResult } from "./slow-peer.ts";

const seeds = [1, 2, 3, 4, 5];

describe("one of eleven servers turns from 167 ms to 2 s for 30 s, under 1,000 calls a second and a limit of 1 s", () => {
  for (const seed of seeds) {
    it(`no call fails or is late, and at most 0.1 % more attempts are sent (seed ${seed})`, async () => {
      const result = await playSlowPeer({ seed });
      assert.deepEqual(result.examples, []);
      assert.equal(result.failed + result.late, 0);
      assert.equal(result.calls, 60_000);
      assert.ok(result.extraShare <= 0.001, `${result.extraShare} extra`);
      assert.ok(result.handled - result.calls <= 0.001 * result.calls, `${result.handled} attempts arrived`);
      assert.ok(result.p999Ms < 200, `p99.9 ${result.p999Ms} ms`);
      assertBites(result);
    });
  }

  it("without any of it, in turn to each server: one call in twenty fails, as published", async () => {
    const result = await playSlowPeer({ seed: 1, policy: { preset: "none" }, server: { admission: false } });
    const successShare = 1 - (result.failed + result.late) / result.calls;
    assert.ok(successShare > 0.95 && successShare < 0.96, `${successShare}`);
    assert.ok(result.handledWhileSlow > 2_000, `${result.handledWhileSlow}`);
  });
});

/** The slow server was met, left, and is used again long after: it was not lost, nor its attempts. */
function assertBites({ handledWhileSlow, handledAtTheEnd, leftInFlight }: SlowPeerResult): void {
  assert.ok(handledWhileSlow > 0, "nobody met the slow server");
  assert.ok(handledWhileSlow < 100, `${handledWhileSlow} attempts were sent to the slow server`);
  assert.equal(leftInFlight, 0);
  assert.ok(handledAtTheEnd > 20, `${handledAtTheEnd} attempts at a server that is well again`);
}
