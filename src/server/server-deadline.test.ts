import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { RpcError } from "../call/error.ts";
import { detach, within } from "../client/context.ts";

const forever = (): Promise<never> => new Promise(() => {});

describe("a deadline", () => {
  it("ends a call whose handler does not: DEADLINE_EXCEEDED that says where, and the handler is told", async () => {
    const began = gate<AbortSignal>();
    await using pair = await startPair({
      add(_, call) {
        began.open(call.signal);
        return forever();
      },
    });
    const reply = pair.client.add({}, { timeoutMs: 50 });
    const error = await assertFails(reply, "DEADLINE_EXCEEDED");
    assert.equal(error.reason, "DEADLINE");
    assert.match(error.text, /after \d+ ms while (waiting for|.* was answering)/);
    await aborted(await began.opened);
  });

  it("is enforced by the server for a client that does not", async () => {
    const began = gate<AbortSignal>();
    await using pair = await startPair({
      add(_, call) {
        began.open(call.signal);
        return forever();
      },
    });
    await using raw = await rawClient(pair.address);
    const { header } = await raw.request("/bench.v1.Bench/Add", framed(new Uint8Array(0)), { "grpc-timeout": "30m" });
    assert.equal(header["grpc-status"], "4");
    const reason = await aborted(await began.opened);
    assert.ok(reason instanceof RpcError);
    assert.equal(reason.code, "DEADLINE_EXCEEDED");
  });

  it("is enforced by the server for a request that never arrives whole", async () => {
    let calls = 0;
    await using pair = await startPair({ add: () => (calls++, {}) });
    await using raw = await rawClient(pair.address);
    const { header } = await raw.request("/bench.v1.Bench/Add", undefined, { "grpc-timeout": "30m" });
    assert.equal(header["grpc-status"], "4");
    assert.equal(calls, 0);
    const report = await pair.server.close({ timeoutMs: 0 });
    assert.deepEqual(report.cut, []);
  });

  it("is seen by the handler: 30 s where nothing is said, none for reply streams, and what the caller says", async () => {
    const world = manualWorld();
    const left: number[] = [];
    await using pair = await startPair(
      {
        add: (_, { deadline }) => (left.push(deadline.remainingMs()), {}),
        *down(_, { deadline }) {
          left.push(deadline.remainingMs());
          yield {};
        },
      },
      { isInProcess: true, server: { world }, client: { world } },
    );
    await pair.client.add({});
    await all(pair.client.down({}));
    await pair.client.add({}, { timeoutMs: 1_234 });
    await all(pair.client.down({}, { timeoutMs: 77 }));
    await pair.client.add({}, { timeoutMs: Infinity });
    await pair.client.add({}, { timeoutMs: 86_400_000 });
    assert.deepEqual(left, [30_000, Infinity, 1_234, 77, Infinity, 86_400_000]);
  });

  it("of a client overrides the 30 s of unary calls and leaves streams without one", async () => {
    const world = manualWorld();
    const left: number[] = [];
    await using pair = await startPair(
      {
        add: (_, { deadline }) => (left.push(deadline.remainingMs()), {}),
        *down(_, { deadline }) {
          left.push(deadline.remainingMs());
          yield {};
        },
      },
      { isInProcess: true, server: { world }, client: { world, policy: { timeoutMs: 100 } } },
    );
    await pair.client.add({});
    await all(pair.client.down({}));
    assert.deepEqual(left, [100, Infinity]);
  });

  it("bounds the calls that the handler makes, less 5 ms for the way back, whatever they ask for", async () => {
    const world = manualWorld();
    const left: number[] = [];
    const options = { isInProcess: true, server: { world }, client: { world } };
    await using below = await startPair({ add: (_, { deadline }) => (left.push(deadline.remainingMs()), {}) }, options);
    await using above = await startPair(
      {
        async add(request) {
          await below.client.add(request);
          await below.client.add(request, { timeoutMs: 10_000 });
          return below.client.add(request, { timeoutMs: 20 });
        },
      },
      options,
    );
    await above.client.add({}, { timeoutMs: 1_000 });
    assert.deepEqual(left, [995, 995, 20]);
  });

  it("that leaves no time for a nested call fails it before anything is sent", async () => {
    const world = manualWorld();
    let calls = 0;
    const options = { isInProcess: true, server: { world }, client: { world } };
    await using below = await startPair({ add: () => (calls++, {}) }, options);
    const seen = gate<unknown>();
    await using above = await startPair(
      { add: (request) => below.client.add(request).catch((error: unknown) => (seen.open(error), {})) },
      options,
    );
    await above.client.add({}, { timeoutMs: 4 });
    const error = await seen.opened;
    assert.ok(error instanceof RpcError);
    assert.deepEqual([error.code, error.reason, error.reached], ["DEADLINE_EXCEEDED", "DEADLINE", "no"]);
    assert.equal(calls, 0);
  });

  it("within bounds all calls made inside, and detach leaves it and the call behind", async () => {
    const world = manualWorld();
    const left: number[] = [];
    const options = { isInProcess: true, server: { world }, client: { world } };
    await using below = await startPair({ add: (_, { deadline }) => (left.push(deadline.remainingMs()), {}) }, options);
    await using above = await startPair(
      { add: (request) => detach(() => below.client.add(request)), echo: () => below.client.add({}).then(() => ({})) },
      options,
    );
    await above.client.add({}, { timeoutMs: 500 });
    await above.client.echo({}, { timeoutMs: 500 });
    assert.deepEqual(left, [30_000, 495]);
  });

  it("has its handler's slot for 5 s more; then it counts as overdue and the slot is free", async () => {
    const world = manualWorld();
    const began: AbortSignal[] = [];
    const release = gate();
    await using pair = await startPair(
      {
        async add({ a }, call) {
          began.push(call.signal);
          if (a === 1) await release.opened;
          return { result: a };
        },
      },
      {
        isInProcess: true,
        server: { world, limits: { streamsPerConnectionMax: 1 } },
        client: { world, policy: {}, connections: { perPeerMax: 1 } },
      },
    );
    const stuck = assertFails(pair.client.add({ a: 1 }, { timeoutMs: 100 }), "DEADLINE_EXCEEDED");
    while (began.length === 0) await turns(1);
    world.advance(101);
    await stuck;
    await aborted(began[0] as AbortSignal);
    // The client's stream is free at once; the handler's is not, so that a second call finds no room.
    const refused = pair.client.add({ a: 2 }, { timeoutMs: 200 }).then(
      () => "served",
      (error: unknown) => (error as RpcError).code,
    );
    assert.notEqual(await world.settle(refused), "served");
    assert.equal(began.length, 1);
    world.advance(5_100);
    await turns(5);
    assert.equal((await world.settle(pair.client.add({ a: 3 }))).result, 3);
    release.open();
    await turns(5);
    assert.equal((await pair.client.add({ a: 4 })).result, 4);
  });
});

describe("cancellation", () => {
  it("of a caller reaches the calls that its handler makes, and theirs", async () => {
    const deep = gate<AbortSignal>();
    await using bottom = await startPair({
      add(_, call) {
        deep.open(call.signal);
        return forever();
      },
    });
    await using middle = await startPair({ add: (request) => bottom.client.add(request) });
    await using top = await startPair({
      async *down() {
        yield {};
        await middle.client.add({});
      },
    });
    for await (const _ of top.client.down({})) {
      await deep.opened;
      break;
    }
    const reason = await aborted(await deep.opened);
    assert.ok(reason instanceof RpcError);
    assert.equal(reason.code, "CANCELLED");
  });

  it("of a scope with a signal, a timeout, or its parent's end reaches the calls inside", async () => {
    await using pair = await startPair({ add: forever });
    const controller = new AbortController();
    const work = within({ signal: controller.signal }, () => pair.client.add({}));
    controller.abort("stop");
    assert.equal((await assertFails(work, "CANCELLED")).cause, "stop");
    await assertFails(
      within({ timeoutMs: 20 }, () => pair.client.add({})),
      "DEADLINE_EXCEEDED",
    );
    const outer = new AbortController();
    const nested = within({ signal: outer.signal }, () => within({}, () => pair.client.add({})));
    outer.abort("outer");
    assert.equal((await assertFails(nested, "CANCELLED")).cause, "outer");
    const early = within({ signal: AbortSignal.abort("before") }, () => pair.client.add({}));
    assert.equal((await assertFails(early, "CANCELLED")).cause, "before");
  });

  it("of a handler's caller leaves what the handler detached alone", async () => {
    const release = gate();
    const done = gate<number>();
    await using below = await startPair({
      async add({ a }) {
        await release.opened;
        return { result: a };
      },
    });
    const began = gate();
    await using above = await startPair({
      async add(request, call) {
        void detach(() => below.client.add(request)).then(({ result }) => done.open(result));
        began.open();
        await aborted(call.signal);
        return {};
      },
    });
    const controller = new AbortController();
    const reply = above.client.add({ a: 7 }, { signal: controller.signal });
    await began.opened;
    controller.abort();
    await assertFails(reply, "CANCELLED");
    release.open();
    assert.equal(await done.opened, 7);
  });
});
