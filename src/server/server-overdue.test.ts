import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Interceptor } from "../call/interceptor.ts";
import { all, type BenchClient, type BenchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { type ManualWorld, manualWorld } from "../../test/calls/manual-world.ts";
import { Bench, benchHandlers } from "../../test/calls/bench-service.ts";
import { createClient } from "../client/create-client.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { createServer, type ServiceOptions } from "./create-server.ts";

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

describe("the permits of calls that are over", () => {
  const forever = (): Promise<never> => new Promise(() => {});
  const plain: Interceptor = (next) => (call) => next(call);
  /** Answers itself as soon as what it asked for has begun, which goes on. */
  const racing =
    (began: Promise<void>): Interceptor =>
    (next) =>
    async (call) => {
      next(call).catch(() => {});
      await began;
      return call.reply([{ result: 9 }]);
    };

  interface Rig extends AsyncDisposable {
    readonly world: ManualWorld;
    readonly client: BenchClient;
    running(): number;
    queued(): number;
  }
  /** Two calls at once. */
  async function serve(
    handlers: Partial<BenchHandlers>,
    interceptors: readonly Interceptor[],
    validate: NonNullable<ServiceOptions<typeof Bench>["validate"]> = {},
  ): Promise<Rig> {
    const world = manualWorld();
    const server = createServer({ world, interceptors, admission: { concurrencyMax: 2 }, drain: { signals: [] } });
    server.service(Bench, { ...benchHandlers, ...handlers }, { validate });
    const client = createClient(Bench, (await server.listen(0)).address, { world, policy: {} });
    const figure = (name: "running" | "queued"): number => {
      const { admission } = server.status();
      assert.ok(admission !== undefined);
      if (name === "running") return admission.running;
      return Object.values(admission.queued).reduce((sum, count) => sum + count, 0);
    };
    return {
      world,
      client,
      running: () => figure("running"),
      queued: () => figure("queued"),
      async [Symbol.asyncDispose]() {
        await client.$close({ timeoutMs: 0 });
        await server.close({ timeoutMs: 0 });
      },
    };
  }

  it("come back 5 s later from handlers that never end, with interceptors and without", async () => {
    for (const interceptors of [[], [plain], [plain, plain]]) {
      const began = [gate(), gate(), gate()];
      await using rig = await serve({ add: ({ a }) => (began[a]?.open(), forever()) }, interceptors);
      const calls = [1, 2].map((a) => assertFails(rig.client.add({ a }, { timeoutMs: 100 }), "DEADLINE_EXCEEDED"));
      await began[1]?.opened;
      await began[2]?.opened;
      rig.world.advance(200);
      await Promise.all(calls);
      await turns(10);
      assert.equal(rig.running(), 2, "they are in their grace");
      rig.world.advance(5_200);
      await turns(10);
      assert.equal(rig.running(), 0, `${interceptors.length} interceptors`);
      await rig.world.settle(rig.client.placeOrder({}, { timeoutMs: 5_000 }));
    }
  });

  it("come back 5 s later from a handler whose interceptor has answered without it", async () => {
    const began = gate();
    await using rig = await serve({ add: () => (began.open(), forever()) }, [racing(began.opened)]);
    assert.equal((await rig.client.add({}, { timeoutMs: 60_000 })).result, 9);
    await turns(10);
    assert.equal(rig.running(), 1);
    rig.world.advance(5_200);
    await turns(10);
    assert.equal(rig.running(), 0);
  });

  it("come back once from a handler that ends after its grace", async () => {
    for (const interceptors of [[], [plain]]) {
      const [began, release] = [gate(), gate()];
      const add = async (): Promise<{ result: number }> => {
        began.open();
        await release.opened;
        return { result: 0 };
      };
      await using rig = await serve({ add }, interceptors);
      const call = assertFails(rig.client.add({}, { timeoutMs: 100 }), "DEADLINE_EXCEEDED");
      await began.opened;
      rig.world.advance(200);
      await call;
      rig.world.advance(5_200);
      await turns(10);
      assert.equal(rig.running(), 0);
      release.open();
      await turns(10);
      assert.equal(rig.running(), 0);
    }
  });

  it("come back at once from a schema that never settles, with interceptors and without, and no handler runs late", async () => {
    for (const interceptors of [[], [plain]]) {
      const asked = [gate(), gate(), gate()];
      const late = gate();
      let handled = 0;
      const validate = async ({ a }: { readonly a: number }): Promise<{ value: unknown }> => {
        asked[a]?.open();
        await late.opened;
        return { value: undefined };
      };
      await using rig = await serve({ add: () => ({ result: (handled += 1) }) }, interceptors, {
        add: { "~standard": { version: 1, vendor: "test", validate: validate as never } },
      });
      const calls = [1, 2].map((a) => assertFails(rig.client.add({ a }, { timeoutMs: 100 }), "DEADLINE_EXCEEDED"));
      await asked[1]?.opened;
      await asked[2]?.opened;
      assert.equal(rig.running(), 2);
      rig.world.advance(200);
      await Promise.all(calls);
      await turns(10);
      assert.equal(rig.running(), 0, `${interceptors.length} interceptors`);
      late.open();
      await turns(10);
      assert.deepEqual([handled, rig.running(), rig.queued()], [0, 0, 0]);
    }
  });

  it("come back at once when an interceptor answers while a schema never settles", async () => {
    const asked = gate();
    await using rig = await serve({}, [racing(asked.opened)], {
      add: { "~standard": { version: 1, vendor: "test", validate: () => (asked.open(), forever()) } },
    });
    assert.equal((await rig.client.add({}, { timeoutMs: 60_000 })).result, 9);
    await turns(10);
    assert.equal(rig.running(), 0);
  });
});
