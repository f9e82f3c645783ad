/** Calls of methods that are known to be short and light, at the whole server. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "holdfast";
import { Bench, benchServer } from "../calls/bench-service.ts";
import { gate, turns } from "../calls/gate.ts";
import { framed, rawClient } from "../calls/raw-peer.ts";
import { createClient } from "../../src/client/create-client.ts";

const policy = { retry: false, hedge: false, throttle: false } as const;
const EMPTY = framed(new Uint8Array(0));
const WARM_CALLS = 400;

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

async function warm(client: Client<typeof Bench>): Promise<void> {
  for (let i = 0; i < WARM_CALLS; i++) await client.add({ a: 1 });
}

describe("a call of a method that is known to be short and light", () => {
  it("counts among those that run once it has outlasted its turn, until it ends, however it does", async () => {
    const hold = gate();
    const isHeld = { now: false };
    await using server = benchServer({
      add: async () => {
        if (isHeld.now) await hold.opened;
        return {};
      },
    });
    const running = (): number => server.status().admission?.running ?? -1;
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    await using raw = await rawClient((await server.listen(0)).address);
    await warm(client);
    assert.equal(running(), 0);
    isHeld.now = true;
    const controller = new AbortController();
    const ends = [
      ...Array.from({ length: 20 }, () => client.add({}, { signal: controller.signal })),
      ...Array.from({ length: 20 }, () => client.add({}, { timeoutMs: 60 })),
      ...Array.from({ length: 20 }, () => raw.request("/bench.v1.Bench/Add", EMPTY)),
    ].map((call) => Promise.resolve(call).catch(() => undefined));
    await until(() => running() === 60);
    controller.abort();
    raw.session.destroy();
    await Promise.all(ends);
    assert.equal(running(), 60, "their handlers go on");
    hold.open();
    await until(() => running() === 0);
    assert.deepEqual(server.status().calls.refused, {});
  });

  it("whose schema takes its time counts too, and its record says how long it took", async () => {
    const took: number[] = [];
    const slow = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => {
          const isSlow = (value as { readonly a: number }).a === 2;
          return isSlow ? delay(30).then(() => ({ value })) : { value };
        },
      },
    } as const;
    await using server = benchServer({ add: () => ({}) }, {}, { validate: { add: slow } });
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    await warm(client);
    using _ = server.on("call.ended", ({ record }) => took.push(record.tookMs));
    const calls = Array.from({ length: 40 }, () => client.add({ a: 2 }));
    await until(() => server.status().admission?.running === 40);
    await Promise.all(calls);
    await until(() => took.length === 40);
    assert.ok(Math.min(...took) >= 29, `${took.join(" ")}`);
    assert.equal(server.status().admission?.running, 0);
  });

  it("is measured from its last bytes on: a body that comes late is not its handler's time", async () => {
    const took: number[] = [];
    const hold = gate();
    const isHeld = { now: false };
    await using server = benchServer({ add: async () => (await (isHeld.now ? hold.opened : turns(1)), {}) });
    const { address } = await server.listen(0);
    await using client = createClient(Bench, address, { policy });
    await warm(client);
    using _ = server.on("call.ended", ({ record }) => took.push(record.tookMs));
    await using raw = await rawClient(address);
    const late = async (): Promise<void> => {
      const stream = raw.session.request({
        ":method": "POST",
        ":path": "/bench.v1.Bench/Add",
        "content-type": "application/grpc+proto",
        te: "trailers",
      });
      stream.resume();
      await delay(60);
      stream.end(EMPTY);
      await new Promise((resolve) => stream.once("close", resolve));
    };
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 48 }, late));
    assert.ok(took.length >= 144 && Math.min(...took) >= 20, "the record has all of it");
    // Were it the handler's time, the method would need permits, of which there are fewer.
    isHeld.now = true;
    const calls = Array.from({ length: 200 }, () => client.add({}));
    await until(() => server.status().admission?.running === 200);
    hold.open();
    await Promise.all(calls);
  });
});
