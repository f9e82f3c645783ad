import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, it } from "node:test";
import { all, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate } from "../../test/calls/gate.ts";
import type { Interceptor } from "../call/interceptor.ts";
import type { Call } from "../call/call.ts";
import { RpcError } from "../call/error.ts";
import { currentCall, detach, within } from "./context.ts";

const names = new AsyncLocalStorage<string>();

describe("the context of user code", () => {
  it("has the call being handled, in every step of a handler, and none outside", async () => {
    const seen: (Call | undefined)[] = [];
    await using pair = await startPair({
      async add(_, call) {
        seen.push(currentCall());
        await Promise.resolve();
        assert.equal(currentCall(), call);
        assert.equal(
          detach(() => currentCall()),
          undefined,
        );
        return within({}, async () => {
          assert.equal(currentCall(), call);
          return {};
        });
      },
      async *down(_, call) {
        for (let index = 0; index < 3; index++) {
          assert.equal(currentCall(), call);
          yield { index };
        }
      },
      async up(items, call) {
        for await (const _ of items) assert.equal(currentCall(), call);
        return {};
      },
    });
    await pair.client.add({});
    assert.equal((await all(pair.client.down({}))).length, 3);
    await pair.client.up([{}, {}]);
    assert.equal(seen[0]?.method.path, "/bench.v1.Bench/Add");
    assert.equal(currentCall(), undefined);
  });

  it("of a request source is its caller's, whoever opened the connection", async () => {
    await using pair = await startPair();
    const seen: (string | undefined)[] = [];
    async function* source(): AsyncGenerator<{ index: number }> {
      for (let index = 0; index < 3; index++) {
        seen.push(names.getStore());
        yield { index };
      }
    }
    // The connection is made in the context of the first; the second waits for it.
    const first = names.run("first", () => pair.client.up([]));
    const second = names.run("second", () => pair.client.up(source()));
    await Promise.all([first, second]);
    assert.deepEqual([...new Set(seen)], ["second"]);
  });

  it("of a token is that of its call: it survives the end of the call that opened the connection", async () => {
    await using issuer = await startPair();
    const token = async (): Promise<string> => `token-${(await issuer.client.add({ a: 1 })).result}`;
    await using below = await startPair({}, { client: { token } });
    const controller = new AbortController();
    const connected = gate();
    await using above = await startPair({
      async add() {
        await below.client.add({});
        connected.open();
        return {};
      },
    });
    const first = above.client.add({}, { signal: controller.signal });
    await connected.opened;
    await first.catch(() => {});
    controller.abort();
    assert.equal((await below.client.add({ a: 2 })).result, 2);
    assert.equal((await below.client.add({ a: 3 }, { timeoutMs: 5_000 })).result, 3);
  });

  it("of an interceptor holds across next and in every step of the handler's stream", async () => {
    const seen: (string | undefined)[] = [];
    const naming: Interceptor = (next) => (call) => names.run(call.method.name, () => next(call));
    await using pair = await startPair(
      {
        async add() {
          await Promise.resolve();
          seen.push(names.getStore());
          return {};
        },
        async *down() {
          seen.push(names.getStore());
          yield {};
          seen.push(names.getStore());
          yield {};
          seen.push(names.getStore());
        },
      },
      { server: { interceptors: [naming] } },
    );
    await pair.client.add({});
    await all(pair.client.down({}));
    assert.deepEqual(seen, ["add", "down", "down", "down"]);
  });

  it("carries priority and trace into nested calls, and detach keeps the trace", async () => {
    const inner: Call[] = [];
    await using below = await startPair({ add: (_, call) => (inner.push(call), {}) });
    await using above = await startPair({
      async add(request) {
        await below.client.add(request);
        await below.client.add(request, { priority: "sheddable" });
        return detach(() => below.client.add(request));
      },
    });
    await above.client.add({}, { priority: "critical" });
    assert.deepEqual(
      inner.map(({ priority }) => priority),
      ["critical", "sheddable", "normal"],
    );
    await within({ priority: "sheddable" }, () => above.client.add({}));
    assert.equal(inner[3]?.priority, "sheddable");
  });
});

describe("within", () => {
  it("gives what its work gives, and passes on what it throws", async () => {
    assert.equal(await within({}, async () => 5), 5);
    await assert.rejects(
      within({ timeoutMs: 1_000 }, () => Promise.reject(new Error("mine"))),
      /mine/,
    );
    await assert.rejects(
      within({}, () => {
        throw new Error("sync");
      }),
      /sync/,
    );
  });

  it("aborts its signal when its time has passed, with DEADLINE_EXCEEDED as the reason", async () => {
    const reason = await within({ timeoutMs: 5 }, (signal) => {
      return new Promise<unknown>((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));
    });
    assert.ok(reason instanceof RpcError);
    assert.deepEqual([reason.code, reason.reason], ["DEADLINE_EXCEEDED", "DEADLINE"]);
  });

  it("refuses wrong bounds at once", async () => {
    const work = async (): Promise<number> => 1;
    await assert.rejects(within({ timeoutMs: 0 }, work), /timeoutMs must be 1\.\.86_400_000 or Infinity, got 0/);
    await assert.rejects(within({ timeout: 5 } as object, work), /unknown key "timeout", did you mean "timeoutMs"/);
    await assert.rejects(within({ priority: "high" as "critical" }, work), /priority/);
    await assert.rejects(within({ signal: {} as AbortSignal }, work), TypeError);
    assert.equal(await within({ timeoutMs: Infinity }, work), 1);
  });

  it("nested in another is bounded by it, and its end does not end the outer", async () => {
    await using pair = await startPair({ add: ({ a }) => (a === 1 ? new Promise(() => {}) : { result: a }) });
    await within({ timeoutMs: 5_000 }, async (outer) => {
      await assertFails(
        within({ timeoutMs: 10 }, () => pair.client.add({ a: 1 })),
        "DEADLINE_EXCEEDED",
      );
      assert.equal(outer.aborted, false);
      assert.equal((await pair.client.add({ a: 2 })).result, 2);
    });
  });
});
