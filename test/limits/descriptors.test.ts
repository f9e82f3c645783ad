import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "node:test";
import { createClient } from "holdfast";
import { Bench } from "../../bench/gen/bench/v1/bench_pb.ts";
import { type RawConnection, rawConnection, startLimited } from "./limited-process.ts";

const DESCRIPTORS = 128;
/** An eighth is not for connections. */
const FOR_CONNECTIONS = 112;
/** No loop that spins leaves the CPU this much; one that stands uses a hundredth of it. */
const SPINS_SHARE = 0.5;

const skip = process.platform === "linux" ? false : "the limit of descriptors is read from /proc";

async function firstOf(connections: readonly RawConnection[]): Promise<readonly RawConnection[]> {
  const firsts = await Promise.all(connections.map(({ first }) => first));
  return connections.filter((_, index) => firsts[index] === "accepted");
}

describe("a server whose descriptors run out", { skip }, () => {
  it("serves who is there, keeps some for itself, stands still, and lets the next one in when there are some again", async () => {
    const child = startLimited(DESCRIPTORS);
    try {
      const port = await child.ask.listen();
      await using client = createClient(Bench, `127.0.0.1:${port}`, { policy: { retry: false, hedge: false } });
      assert.equal((await client.add({ a: 1, b: 2 })).result, 3);
      const crowd = Array.from({ length: 2 * DESCRIPTORS }, () => rawConnection(port));
      const accepted = await firstOf(crowd);
      const before = await child.ask.facts();
      assert.ok(
        accepted.length > FOR_CONNECTIONS / 2 && accepted.length < FOR_CONNECTIONS,
        `${accepted.length} got in`,
      );
      assert.equal(before.connections, accepted.length + 1);
      assert.match(before.warnings.join("\n"), /could not be accepted.*descriptors are in use/);
      // What is left is the server's own: files, look-ups, dials.
      const { taken } = await child.ask.takeFiles();
      assert.ok(taken >= (DESCRIPTORS - FOR_CONNECTIONS) / 2, `it could open ${taken} files`);
      await child.ask.giveFiles();
      const beganAtMs = performance.now();
      for (let call = 0; call < 20; call += 1) {
        assert.equal((await client.add({ a: call, b: 1 })).result, call + 1);
        await sleep(20);
      }
      const after = await child.ask.facts();
      const share = (after.cpuMs - before.cpuMs) / (performance.now() - beganAtMs);
      assert.ok(share < SPINS_SHARE, `it used ${share.toFixed(2)} of a CPU`);
      for (const { socket } of accepted.slice(0, 10)) socket.destroy();
      while ((await child.ask.facts()).connections > accepted.length - 9) await sleep(5);
      assert.equal(await rawConnection(port).first, "accepted", "descriptors are there again");
      for (const { socket } of crowd) socket.destroy();
    } finally {
      child.stop();
    }
  });

  it("survives that all of them are gone", async () => {
    const child = startLimited(DESCRIPTORS);
    try {
      const port = await child.ask.listen();
      await using client = createClient(Bench, `127.0.0.1:${port}`, { policy: { retry: false, hedge: false } });
      assert.equal((await client.add({ a: 1, b: 2 })).result, 3);
      assert.equal((await child.ask.takeFiles()).code, "EMFILE");
      assert.deepEqual(await firstOf(Array.from({ length: 20 }, () => rawConnection(port))), []);
      assert.equal((await client.add({ a: 2, b: 2 })).result, 4);
      await child.ask.giveFiles();
      assert.equal(await rawConnection(port).first, "accepted");
    } finally {
      child.stop();
    }
  });
});
