import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import type { RpcError } from "../call/error.ts";

/** How a caller whose limit is 1,000 bytes fares when one of three peers gives replies of `bytes`: forty calls one after the other. */
async function fails(bytes: number): Promise<{ errors: RpcError[]; ejections: number; served: number[] }> {
  await using cluster = createCluster();
  const served: number[] = [];
  cluster.serve("shop", 3, (server, index) =>
    probe(server, { unary: () => (served.push(index), { body: Buffer.alloc(index === 0 ? bytes : 1) }) }),
  );
  const client = cluster.client(Probe, "shop", { messageBytesMax: 1_000 });
  let ejections = 0;
  client.$on("ejection", () => (ejections += 1));
  await cluster.settle(client.$channel.ready());
  const errors: RpcError[] = [];
  for (let count = 0; count < 40; count++) {
    const call = client.unary({}).then(
      () => undefined,
      (error: unknown) => error as RpcError,
    );
    const error = await cluster.settle(call);
    if (error !== undefined) errors.push(error);
    await cluster.advance(20);
  }
  // Detectors look at what they counted every second or so.
  await cluster.advance(15_000);
  return { errors, ejections, served };
}

describe("a reply over the caller's own limit", () => {
  it("is the caller's: a peer that gives five of them and more is not ejected, and none is repeated", async () => {
    const { errors, ejections, served } = await fails(1_500);
    assert.ok(errors.length >= 5, `${errors.length} calls met the peer`);
    for (const { code, reason, faults } of errors) {
      assert.deepEqual([code, reason], ["RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"]);
      assert.deepEqual(
        faults.map(({ kind, blame }) => [kind, blame]),
        [["unreadable", "caller"]],
      );
    }
    assert.equal(ejections, 0);
    assert.equal(served.length, 40, "one attempt a call");
  });

  it("differs from one within it", async () => {
    const { errors, ejections } = await fails(900);
    assert.deepEqual([errors.length, ejections], [0, 0]);
  });
});
