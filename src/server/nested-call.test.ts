import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Client, Interceptor } from "holdfast";
import { Bench, benchServer } from "../../test/calls/bench-service.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { createClient } from "../client/create-client.ts";
import { within } from "../client/context.ts";

const policy = { retry: false, hedge: false, throttle: false } as const;
/** One handler at once, and nobody waits. */
const ONE = { concurrencyMax: 1, queueMax: 0 } as const;
const EMPTY = framed(new Uint8Array(0));

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

describe("a call that a handler makes to a server of its own process", () => {
  it("needs no permit: its handler holds the only one; with interceptors too, and inside a scope of its own", async () => {
    const interceptor: Interceptor = (next) => (call) => next(call);
    for (const interceptors of [[], [interceptor]]) {
      const sums: number[] = [];
      const inside: Client<typeof Bench>[] = [];
      const add = async (a: number): Promise<void> => {
        for (const client of inside) sums.push((await client.add({ a, b: 1 })).result);
      };
      await using server = benchServer(
        {
          placeOrder: async (order) => {
            await add(1);
            await within({ timeoutMs: 5_000 }, () => add(2));
            return order;
          },
          add: async ({ a, b }) => (await turns(1), { result: a + b }),
        },
        { admission: ONE, interceptors },
      );
      await using own = createClient(Bench, server, { policy });
      inside.push(own);
      await using client = createClient(Bench, (await server.listen(0)).address, { policy });
      await client.placeOrder({}, { timeoutMs: 5_000 });
      assert.deepEqual(sums, [2, 3]);
      assert.deepEqual([server.status().admission?.running, server.status().calls.refused], [0, {}]);
    }
  });

  it("counts among those that run, and what its caller's rate lets it", async () => {
    const hold = gate();
    const inside: Client<typeof Bench>[] = [];
    const refused: unknown[] = [];
    await using server = benchServer(
      {
        placeOrder: async (order) => {
          for (const client of inside) {
            const calls = [1, 2, 3].map((a) => client.add({ a }));
            for (const { reason } of (await Promise.allSettled(calls)) as { reason?: { reason?: string } }[])
              if (reason !== undefined) refused.push(reason.reason);
          }
          return order;
        },
        add: async () => (await hold.opened, {}),
      },
      { admission: { ...ONE, rate: { perSecond: 0.001, burst: 2 } } },
    );
    await using own = createClient(Bench, server, { policy });
    inside.push(own);
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    const order = client.placeOrder({});
    await until(() => server.status().admission?.running === 3);
    hold.open();
    await order;
    assert.deepEqual([refused, server.status().calls.refused], [["ADMISSION_REFUSED"], { rate: 1 }]);
    assert.equal(server.status().admission?.running, 0);
  });

  it("is the only one: who is no handler needs a permit, and so does who says it from elsewhere", async () => {
    const hold = gate();
    let handled = 0;
    await using server = benchServer({ add: async () => ((handled += 1), await hold.opened, {}) }, { admission: ONE });
    await using inside = createClient(Bench, server, { policy });
    await using raw = await rawClient((await server.listen(0)).address);
    const first = inside.add({});
    await until(() => handled === 1);
    await assert.rejects(Promise.resolve(inside.add({})), /RESOURCE_EXHAUSTED/);
    const { header, trailer } = await raw.request("/bench.v1.Bench/Add", EMPTY, { "holdfast-nested": "1" });
    assert.equal({ ...header, ...trailer }["grpc-status"], "8");
    hold.open();
    await first;
    assert.equal(handled, 1);
  });
});
