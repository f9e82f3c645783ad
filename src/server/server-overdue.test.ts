import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Interceptor } from "../call/interceptor.ts";
import { all, type BenchClient, type BenchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { type ManualWorld, manualWorld } from "../../test/calls/manual-world.ts";
import { createClient } from "../client/create-client.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../schema/gen/grpc/health/v1/health_pb.ts";

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
      {
        isInProcess: true,
        server: { world, admission: false, limits: { streamsPerConnectionMax: 5_000 } },
        client: { world, policy: {}, connections: { perPeerMax: 1 } },
      },
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
    assert.deepEqual([error.reached, error.reason], ["no", "ADMISSION_REFUSED"]);
    assert.ok((error.retryAfterMs ?? -1) >= 0, "it may come again");
    const health = createClient(Health, pair.server, { world, policy: {} });
    const { status } = await world.settle(health.check({ service: "" }));
    assert.equal(status, HealthCheckResponse_ServingStatus.SERVING, "built-ins are not refused for the handlers");
    await health.$close({ timeoutMs: 0 });
    const { overdue, open, refused } = pair.server.status().calls;
    assert.deepEqual([overdue, open, Object.keys(refused)], [1_000, 0, ["overdue"]]);
    release.open();
    firstRelease.open();
    await turns(5);
    assert.equal((await pair.client.add({})).result, 0);
    assert.deepEqual((await pair.server.close({ timeoutMs: 0 })).cut, []);
  });
});

describe("a handler that outlives its call", () => {
  /** Two streams at once, so that two handlers that never end hold up a third call until the grace of 5 s is over. */
  async function holdUp(
    handlers: Partial<BenchHandlers>,
    leave: (client: BenchClient, number: number, world: ManualWorld) => Promise<unknown>,
    interceptors: readonly Interceptor[] = [],
  ): Promise<void> {
    const world = manualWorld();
    await using pair = await startPair(handlers, {
      isInProcess: true,
      server: { world, interceptors, limits: { streamsPerConnectionMax: 2 } },
      client: { world, policy: {}, connections: { perPeerMax: 1 } },
    });
    await Promise.all([leave(pair.client, 1, world), leave(pair.client, 2, world)]);
    await turns(5);
    let isServed = false;
    const third = pair.client.placeOrder({}).then(() => {
      isServed = true;
    });
    await turns(10);
    world.advance(4_800);
    await turns(10);
    assert.equal(isServed, false, "the handlers' slots are theirs");
    world.advance(300);
    await turns(10);
    assert.equal(isServed, true, "their grace is over");
    await third;
  }
  const forever = (): Promise<never> => new Promise(() => {});

  it("whose caller left, with no deadline, gives up its slot 5 s later", async () => {
    const began = [gate(), gate(), gate()];
    await holdUp({ add: ({ a }) => (began[a]?.open(), forever()) }, async (client, number) => {
      const abort = new AbortController();
      const failed = assertFails(client.add({ a: number }, { timeoutMs: Infinity, signal: abort.signal }), "CANCELLED");
      await began[number]?.opened;
      abort.abort();
      await failed;
    });
  });

  it("whose caller left, with a deadline an hour away, gives up its slot 5 s later", async () => {
    const began = [gate(), gate(), gate()];
    await holdUp({ add: ({ a }) => (began[a]?.open(), forever()) }, async (client, number) => {
      const abort = new AbortController();
      const failed = assertFails(
        client.add({ a: number }, { timeoutMs: 3_600_000, signal: abort.signal }),
        "CANCELLED",
      );
      await began[number]?.opened;
      abort.abort();
      await failed;
    });
  });

  it("whose request was broken gives up its slot 5 s later", async () => {
    await holdUp(
      {
        async *both(items) {
          try {
            await all(items);
          } catch {
            // A handler that does not end, though its reader was told.
          }
          yield await forever();
        },
      },
      async (client) => {
        async function* items(): AsyncGenerator<object> {
          yield {};
          yield { text: "x".repeat(5_000_000) };
        }
        await assertFails(all(client.both(items())), "RESOURCE_EXHAUSTED");
      },
    );
  });

  it("because an interceptor gave up on it keeps its slot until it ends, at most 5 s", async () => {
    const hasty: Interceptor = (next) => (call) =>
      call.method.name === "placeOrder" ? next(call) : next(call.with({ timeoutMs: 100 }));
    async function* stuck(): AsyncGenerator<object> {
      yield await forever();
    }
    const calls: readonly ((client: BenchClient) => Promise<unknown>)[] = [
      (client) => client.add({}, { timeoutMs: Infinity }),
      (client) => all(client.down({})),
    ];
    for (const call of calls) {
      await holdUp(
        { add: forever, down: stuck },
        async (client, _, world) => {
          await assertFails(world.settle(call(client)), "DEADLINE_EXCEEDED");
        },
        [hasty],
      );
    }
  });

  it("because an interceptor gave up on it frees its slot when it ends", async () => {
    const world = manualWorld();
    const release = gate();
    const hasty: Interceptor = (next) => (call) => next(call.with({ timeoutMs: 100 }));
    await using pair = await startPair(
      { add: async ({ a }) => (a === 1 && (await release.opened), {}) },
      {
        isInProcess: true,
        server: { world, interceptors: [hasty], limits: { streamsPerConnectionMax: 1 } },
        client: { world, policy: {}, connections: { perPeerMax: 1 } },
      },
    );
    await assertFails(world.settle(pair.client.add({ a: 1 }, { timeoutMs: Infinity })), "DEADLINE_EXCEEDED");
    const second = pair.client.add({}, { timeoutMs: Infinity });
    let isServed = false;
    void second.then(() => {
      isServed = true;
    });
    await turns(10);
    assert.equal(isServed, false);
    release.open();
    await world.settle(second);
  });
});
