import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, it } from "node:test";
import { Bench, benchServer } from "../../test/calls/bench-service.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { createClient } from "../client/create-client.ts";
import { currentCall } from "../client/context.ts";

const policy = { retry: false, hedge: false, throttle: false } as const;

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

describe("a handler's async context", () => {
  it("is not that of the handler whose end let it begin", async () => {
    const whose = new AsyncLocalStorage<string>();
    const hold = gate();
    const seen: (string | undefined)[] = [];
    const ids: (string | undefined)[] = [];
    await using server = benchServer(
      {
        add: async ({ a }) => {
          seen.push(whose.getStore());
          ids.push(currentCall()?.id);
          whose.enterWith(`call ${a}`);
          await hold.opened;
          ids.push(currentCall()?.id);
          return { result: a };
        },
      },
      { admission: { concurrencyMax: 1 } },
    );
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    const first = client.add({ a: 1 });
    await until(() => seen.length === 1);
    const second = client.add({ a: 2 });
    await until(() => server.status().admission?.queued.normal === 1);
    hold.open();
    assert.deepEqual([(await first).result, (await second).result], [1, 2]);
    assert.deepEqual(seen, [undefined, undefined]);
    assert.deepEqual([ids[0] === ids[1], ids[2] === ids[3], ids[0] === ids[2]], [true, true, false]);
  });

  it("is its connection's, whatever a handler before it there entered", async () => {
    const whose = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    await using server = benchServer({
      add: ({ a }) => {
        seen.push(whose.getStore());
        whose.enterWith(`call ${a}`);
        return { result: a };
      },
    });
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    for (let a = 1; a <= 3; a++) await client.add({ a });
    await Promise.all([4, 5, 6].map((a) => client.add({ a })));
    assert.deepEqual(seen, new Array(6).fill(undefined));
  });
});
