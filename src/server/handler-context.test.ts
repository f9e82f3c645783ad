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
  it("is not that of the handler whose end let it begin, on the same connection or on another", async () => {
    for (const connections of [1, 2]) {
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
      const { address } = await server.listen(0);
      await using one = createClient(Bench, address, { policy });
      await using other = createClient(Bench, address, { policy });
      const first = one.add({ a: 1 });
      await until(() => seen.length === 1);
      const client = connections === 1 ? one : other;
      const second = client.add({ a: 2 });
      await until(() => server.status().admission?.queued.normal === 1);
      hold.open();
      assert.deepEqual([(await first).result, (await second).result], [1, 2]);
      await client.add({ a: 3 });
      assert.deepEqual(seen, [undefined, undefined, undefined], `${connections} connections`);
      assert.deepEqual([ids[0] === ids[1], ids[2] === ids[3], ids[0] === ids[2]], [true, true, false]);
    }
  });

  it("is that in which its server was told to listen, whatever a handler before it entered", async () => {
    const whose = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    await using server = benchServer({
      add: ({ a }) => {
        seen.push(whose.getStore());
        whose.enterWith(`call ${a}`);
        return { result: a };
      },
    });
    const { address } = await whose.run("the door's", () => server.listen(0));
    await using client = createClient(Bench, address, { policy });
    for (let a = 1; a <= 3; a++) await client.add({ a });
    await Promise.all([4, 5, 6].map((a) => client.add({ a })));
    assert.deepEqual(seen, new Array(6).fill("the door's"));
  });

  it("is not its caller's where both are of one process, nor what `authenticate` entered", async () => {
    const whose = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    await using server = benchServer(
      { add: async (_, call) => (seen.push([call.principal?.id, whose.getStore()]), {}) },
      {
        authenticate: async ({ metadata }) => {
          const id = metadata.get("user") ?? "nobody";
          whose.enterWith(id);
          await turns(1);
          return { id };
        },
      },
    );
    await using inside = createClient(Bench, server, { policy });
    await using outside = createClient(Bench, (await server.listen(0)).address, { policy });
    for (const client of [inside, outside]) {
      for (const user of ["ann", "bob"]) {
        await whose.run("the caller's", () => client.add({}, { metadata: { user } }));
      }
    }
    assert.deepEqual(
      seen,
      ["ann", "bob", "ann", "bob"].map((id) => [id, undefined]),
    );
  });
});
