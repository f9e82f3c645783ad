import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, defineError, type Interceptor, RpcError } from "holdfast";
import { all, type BenchClient, type BenchHandlers, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import type { CallRecord } from "../call/event.ts";
import { ErrorInfoSchema, QuotaFailureSchema } from "../schema/details.ts";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";

const EMPTY = framed(new Uint8Array(0));
const plain: Interceptor = (next) => (call) => next(call);

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

async function* none(): AsyncGenerator<object> {
  yield {};
}
/** A call of each kind that ends when its handler has thrown. */
const KINDS: readonly ((client: BenchClient) => Promise<unknown>)[] = [
  (client) => client.add({}),
  (client) => all(client.down({})),
  (client) => client.up(none()),
  (client) => all(client.both(none())),
];

/** Handlers of all kinds that throw this. */
function throwing(make: () => unknown): Partial<BenchHandlers> {
  const fail = (): never => {
    throw make();
  };
  return {
    add: fail,
    *down() {
      yield fail();
    },
    up: () => Promise.reject(make() as Error),
    async *both() {
      yield fail();
    },
  };
}

describe("a handler that ignores its signal", () => {
  it("costs its own call: its slot is free 5 s after the deadline, it is counted as overdue, and others are served", async () => {
    const world = manualWorld();
    const hold = gate();
    let began = 0;
    await using pair = await startPair(
      { add: async ({ a }) => ((began += 1), a === 1 && (await hold.opened), { result: a }) },
      { server: { world, admission: { concurrencyMax: 2 } }, client: { world } },
    );
    await assertFails(world.settle(pair.client.add({ a: 1 }, { timeoutMs: 100 })), "DEADLINE_EXCEEDED");
    const calls = () => pair.server.status().calls;
    assert.deepEqual([began, calls().open, calls().overdue], [1, 1, 0]);
    assert.equal((await pair.client.add({ a: 2 })).result, 2);
    world.advance(4_700);
    assert.deepEqual([calls().open, calls().overdue], [1, 0]);
    world.advance(500);
    assert.deepEqual([calls().open, calls().overdue, pair.server.status().admission?.running], [0, 1, 0]);
    assert.equal((await pair.client.add({ a: 3 })).result, 3);
    hold.open();
    await until(() => calls().overdue === 0);
    // The client's timer for the same deadline may be the first.
    const { DEADLINE_EXCEEDED = 0, CANCELLED = 0 } = pair.server.status().methods[0]?.failed ?? {};
    assert.equal(DEADLINE_EXCEEDED + CANCELLED, 1);
  });
});

describe("a client that vanishes", () => {
  it("leaves nothing behind: signals fire, iterators are returned, finally runs, permits come back", async () => {
    for (const interceptors of [[], [plain]]) {
      const ended: string[] = [];
      let began = 0;
      const untilGone = (signal: AbortSignal): Promise<void> =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      await using server = benchServer(
        {
          async add(_, { signal }) {
            began += 1;
            try {
              await untilGone(signal);
              return {};
            } finally {
              ended.push("add");
            }
          },
          async *down() {
            began += 1;
            try {
              for (;;) yield { text: "x".repeat(1_000) };
            } finally {
              ended.push("down");
            }
          },
          async up(items) {
            began += 1;
            try {
              for await (const _ of items);
              return {};
            } finally {
              ended.push("up");
            }
          },
          async *both(items) {
            began += 1;
            try {
              for await (const item of items) yield item;
            } finally {
              ended.push("both");
            }
          },
        },
        { interceptors },
      );
      const raw = await rawClient((await server.listen(0)).address);
      const calls = [
        raw.request("/bench.v1.Bench/Add", EMPTY),
        raw.request("/bench.v1.Bench/Down", EMPTY),
        raw.request("/bench.v1.Bench/Up", undefined),
        raw.request("/bench.v1.Bench/Both", undefined),
      ];
      await until(() => began === 4);
      assert.equal(server.status().calls.open, 4);
      await raw[Symbol.asyncDispose]();
      await Promise.allSettled(calls);
      await until(() => ended.length === 4);
      await until(() => server.status().calls.open === 0 && server.status().connections === 0);
      assert.deepEqual(ended.toSorted(), ["add", "both", "down", "up"]);
      const { admission, methods, calls: counts } = server.status();
      assert.deepEqual([admission?.running, counts.overdue], [0, 0]);
      assert.deepEqual(
        methods.map(({ failed, inFlight }) => [failed, inFlight]),
        methods.map(() => [{ CANCELLED: 1 }, 0]),
      );
    }
  });
});

describe("a handler that never ends its replies", () => {
  it("waits for its reader, stops when that leaves, and holds up no other call, though it never awaits", async () => {
    let given = 0;
    let isOver = false;
    await using pair = await startPair({
      *down() {
        try {
          for (;;) yield { index: given++, text: "x".repeat(10_000) };
        } finally {
          isOver = true;
        }
      },
    });
    for await (const { index } of pair.client.down({})) {
      assert.equal((await pair.client.add({ a: 1, b: 2 })).result, 3);
      if (index === 20) break;
    }
    await until(() => isOver);
    assert.ok(given < 2_000, `${given} replies of 10 kB were made for a reader of 20`);
    await until(() => pair.server.status().calls.open === 0);
  });
});

describe("whatever a handler throws", () => {
  const frozen = Object.freeze(new Error("secret"));
  const { proxy: revoked, revoke } = Proxy.revocable(new Error("secret"), {});
  revoke();
  const trap = new Proxy(
    {},
    {
      get: () => {
        throw new Error("secret");
      },
      getPrototypeOf: () => {
        throw new Error("secret");
      },
    },
  );
  const liar = Object.assign(Object.create(RpcError.prototype) as object, { text: 5 });
  const noText = {
    toString: () => {
      throw new Error("secret");
    },
  };
  const thrown: readonly unknown[] = [
    undefined,
    null,
    0,
    "secret",
    Symbol("secret"),
    12n,
    () => "secret",
    [],
    noText,
    new Error("secret", { cause: new Error("secret") }),
    frozen,
    revoked,
    trap,
    liar,
    new AggregateError([new Error("secret")], "secret"),
  ];

  it("ends its own call, with nothing in the answer but the call's id; for all kinds, and behind interceptors", async () => {
    for (const interceptors of [[], [plain]]) {
      for (const value of thrown) {
        await using pair = await startPair(
          throwing(() => value),
          { server: { interceptors } },
        );
        for (const call of KINDS) {
          const error = await assertFails(call(pair.client), "UNKNOWN");
          assert.match(error.text, /^the handler failed \(call [0-9a-f]{32}\)$/);
          assert.deepEqual([error.details, [...error.metadata]], [[], []]);
        }
        assert.equal((await pair.client.placeOrder({ id: "7" })).id, "7");
        assert.equal(pair.server.status().calls.open, 0);
      }
    }
  });

  it("stays in the server's record", async () => {
    await using pair = await startPair(throwing(() => new Error("the pool is empty")));
    const records: CallRecord[] = [];
    using _ = pair.server.on("call.ended", ({ record }) => records.push(record));
    const error = await assertFails(pair.client.add({}), "UNKNOWN");
    assert.deepEqual([records.length, records[0]?.code, records[0]?.side], [1, "UNKNOWN", "server"]);
    assert.match(records[0]?.verdict ?? "", /the pool is empty/);
    assert.ok(error.text.includes(records[0]?.callId ?? "?"), "the caller can name the call");
  });

  it("is seen by nobody when it comes too late", async () => {
    const world = manualWorld();
    let rejected = 0;
    for (const interceptors of [[], [plain]]) {
      const late = gate();
      const failsLate = async (): Promise<never> => {
        await late.opened;
        rejected += 1;
        throw new Error("secret");
      };
      await using pair = await startPair(
        {
          add: failsLate,
          async *down() {
            yield await failsLate();
          },
        },
        { server: { world, interceptors }, client: { world } },
      );
      await assertFails(world.settle(pair.client.add({}, { timeoutMs: 20 })), "DEADLINE_EXCEEDED");
      await assertFails(world.settle(all(pair.client.down({}, { timeoutMs: 20 }))), "DEADLINE_EXCEEDED");
      late.open();
      await until(() => pair.server.status().calls.open === 0);
    }
    // An unhandled rejection would end this test.
    await turns(5);
    assert.equal(rejected, 4);
  });

  it("in its finally ends nothing but its call", async () => {
    let ended = 0;
    await using pair = await startPair({
      async *down() {
        try {
          for (;;) yield {};
        } finally {
          ended += 1;
          await Promise.reject(new Error("secret"));
        }
      },
    });
    for await (const _ of pair.client.down({})) break;
    await until(() => ended === 1);
    await until(() => pair.server.status().calls.open === 0);
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });
});

describe("what a handler gives that is no answer", () => {
  it("is an error that tells its caller nothing of it", async () => {
    const fails = async (call: Promise<unknown>, value: unknown): Promise<void> => {
      const error = await call.then(
        (reply) => assert.fail(`${String(value)}: ${JSON.stringify(reply)}`),
        (failed: RpcError) => failed,
      );
      assert.match(error.text, /^the handler('s reply cannot be sent| failed) \(call [0-9a-f]{32}\)$/);
      assert.ok(["INTERNAL", "UNKNOWN"].includes(error.code), error.message);
    };
    for (const value of [null, 5, "secret", { result: "secret" }, { result: Number.NaN }]) {
      await using pair = await startPair({ add: () => value as object });
      await fails(pair.client.add({}), value);
    }
    for (const value of [null, 5, "secret", { index: "secret" }]) {
      await using pair = await startPair({
        *down() {
          yield value as object;
        },
      });
      await fails(all(pair.client.down({})), value);
    }
    for (const value of [undefined, null, 5, {}]) {
      await using pair = await startPair({ down: () => value as never });
      const error = await assertFails(all(pair.client.down({})), "UNKNOWN");
      assert.match(error.text, /^the handler failed \(call/);
    }
  });
});

describe("reply metadata", () => {
  it("that is set too late is a TypeError where it is set, and harms no other call", async () => {
    const said: unknown[] = [];
    await using pair = await startPair({
      async *down(_, call) {
        yield {};
        try {
          call.setHeader("x-late", "1");
        } catch (error) {
          said.push(error);
        }
        call.setTrailer("x-end", "1");
      },
    });
    assert.equal((await all(pair.client.down({}))).length, 1);
    assert.ok(said[0] instanceof TypeError);
    assert.match(String(said[0]), /header "x-late" was set after the first message/);
  });

  it("with a reserved or malformed name is a TypeError, and no header leaves", async () => {
    const said: unknown[] = [];
    await using pair = await startPair({
      add(_, call) {
        for (const name of ["holdfast-not-run", "grpc-status", ":status", "a b", ""]) {
          for (const set of [call.setHeader.bind(call), call.setTrailer.bind(call)]) {
            try {
              set(name, "1");
            } catch (error) {
              said.push(error);
            }
          }
        }
        return {};
      },
    });
    await pair.client.add({});
    assert.equal(said.length, 10);
    assert.ok(said.every((error) => error instanceof TypeError));
  });
});

describe("typed errors", () => {
  const Quota = defineError("google.rpc.QuotaFailure", "RESOURCE_EXHAUSTED", QuotaFailureSchema);
  const violations = [{ subject: "user:ann", description: "3 of 3 used" }];

  it("arrive with code, text, details and metadata, from all kinds, and behind interceptors", async () => {
    for (const interceptors of [[], [plain]]) {
      const make = (): RpcError => Quota({ violations }, "no more today");
      await using pair = await startPair(throwing(make), { server: { interceptors } });
      for (const call of KINDS) {
        const error = await assertFails(call(pair.client), "RESOURCE_EXHAUSTED");
        assert.equal(error.text, "no more today");
        assert.deepEqual(
          Quota.read(error)?.violations.map(({ subject, description }) => ({ subject, description })),
          violations,
        );
        assert.equal(error.detail(ErrorInfoSchema), undefined);
        assert.equal(error.reached, "yes");
      }
    }
  });
});

describe("a check that fails", () => {
  it("tells nobody outside why: its text stands in status() alone", async () => {
    const world = manualWorld();
    const database = (): never => {
      throw new Error("password secret of db.internal");
    };
    await using server = benchServer({}, { world, checks: { database, disk: { check: database, isEssential: true } } });
    const { address } = await server.listen(0);
    for (let second = 0; second < 5; second++) {
      await turns(1);
      world.advance(1_200);
    }
    assert.match(server.status().checks[0]?.why ?? "", /secret/);
    await using raw = await rawClient(address);
    await using health = createClient(Health, address, { world });
    const answers = [
      await raw.request("/bench.v1.Bench/Add", EMPTY),
      await raw.request("/grpc.health.v1.Health/Check", EMPTY),
      await raw.request("/grpc.health.v1.Health/List", EMPTY),
      await health.check({ service: "" }),
    ];
    assert.equal(answers.length, 4);
    assert.doesNotMatch(JSON.stringify(answers), /secret|internal|database/);
  });
});
