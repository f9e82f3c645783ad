import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, type BenchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate } from "../../test/calls/gate.ts";

for (const isInProcess of [false, true]) {
  describe(`calls ${isInProcess ? "in process" : "over a loopback socket"}`, () => {
    const start = (
      handlers: Partial<BenchHandlers> = {},
      limits?: { readonly messageBytesMax: number },
      messageBytesMax?: number,
    ): ReturnType<typeof startPair> =>
      startPair(handlers, { isInProcess, server: { limits }, client: { messageBytesMax } });

    it("carry all four kinds", async () => {
      await using pair = await start();
      const { client } = pair;
      assert.equal((await client.add({ a: 2, b: 3 })).result, 5);
      assert.deepEqual(
        (await all(client.down({ count: 3, size: 2 }))).map(({ index, text }) => [index, text]),
        [
          [0, "xx"],
          [1, "xx"],
          [2, "xx"],
        ],
      );
      assert.equal((await client.up([{ index: 1 }, { index: 2 }, { index: 4 }])).result, 7);
      const echoed = await all(client.both([{ index: 1, text: "a" }, { text: "b" }]));
      assert.deepEqual(
        echoed.map(({ index, text }) => [index, text]),
        [
          [1, "a"],
          [0, "b"],
        ],
      );
    });

    it("carry streams without a single message, and empty messages", async () => {
      await using pair = await start();
      const { client } = pair;
      assert.deepEqual(await all(client.down({ count: 0 })), []);
      assert.equal((await client.up([])).result, 0);
      assert.deepEqual(await all(client.both([])), []);
      assert.equal((await client.add({})).result, 0);
      assert.equal((await client.echo({})).data.length, 0);
      assert.equal((await all(client.both([{}, {}, {}]))).length, 3);
    });

    it("carry hundreds of calls at once, each with its own answer", async () => {
      await using pair = await start();
      const numbers = Array.from({ length: 500 }, (_, i) => i);
      const replies = await Promise.all(numbers.map((a) => pair.client.add({ a, b: 1 })));
      assert.deepEqual(
        replies.map(({ result }) => result),
        numbers.map((a) => a + 1),
      );
    });

    it("carry messages far larger than a frame and a window, both ways", async () => {
      await using pair = await start();
      const data = Buffer.alloc(3 * 1_048_576, 7);
      const replies = await Promise.all([1, 2, 3].map(() => pair.client.echo({ data })));
      for (const reply of replies) assert.ok(data.equals(reply.data));
    });

    it("take a request of exactly the server's limit and refuse one byte more, unary", async () => {
      await using pair = await start({ echo: () => ({}) }, { messageBytesMax: 1_000 });
      // A field's tag and a length of two bytes come on top.
      await pair.client.echo({ data: Buffer.alloc(997) });
      const error = await assertFails(pair.client.echo({ data: Buffer.alloc(998) }), "RESOURCE_EXHAUSTED");
      assert.match(error.text, /larger than 1000 bytes/);
      assert.equal((await pair.client.echo({})).data.length, 0, "the connection lives on");
    });

    it("take a reply of exactly the client's limit and refuse one byte more, unary", async () => {
      const reply = ({ data }: { readonly data: Uint8Array }): { data: Buffer } => ({
        data: Buffer.alloc(data[0] === 1 ? 998 : 997),
      });
      await using pair = await start({ echo: reply }, undefined, 1_000);
      assert.equal((await pair.client.echo({})).data.length, 997);
      const error = await assertFails(pair.client.echo({ data: Buffer.from([1]) }), "RESOURCE_EXHAUSTED");
      assert.equal(error.reason, "MESSAGE_TOO_LARGE");
      assert.equal((await pair.client.echo({})).data.length, 997, "the connection lives on");
    });

    it("refuse a streamed request over the limit, and its handler never sees a clean end", async () => {
      const seen = gate<unknown>();
      const counts: number[] = [];
      await using pair = await start(
        {
          async up(items) {
            try {
              for await (const { index } of items) counts.push(index);
              seen.open("a clean end");
            } catch (error) {
              seen.open(error);
            }
            return {};
          },
        },
        { messageBytesMax: 100 },
      );
      const requests = [{ index: 1 }, { index: 2, text: "x".repeat(200) }, { index: 3 }];
      const error = await assertFails(pair.client.up(requests), "RESOURCE_EXHAUSTED");
      assert.match(error.text, /larger than 100 bytes/);
      assert.ok((await seen.opened) instanceof Error, `the handler saw ${String(await seen.opened)}`);
      assert.deepEqual(counts, [1]);
    });

    it("refuse a streamed reply over the limit after those before it", async () => {
      await using pair = await start(
        {
          *down() {
            yield { index: 1 };
            yield { index: 2, text: "x".repeat(200) };
            yield { index: 3 };
          },
        },
        undefined,
        100,
      );
      const indexes: number[] = [];
      const read = async (): Promise<void> => {
        for await (const { index } of pair.client.down({})) indexes.push(index);
      };
      const error = await assertFails(read(), "RESOURCE_EXHAUSTED");
      assert.equal(error.reason, "MESSAGE_TOO_LARGE");
      assert.deepEqual(indexes, [1]);
      assert.equal((await pair.client.add({ a: 1 })).result, 1);
    });
  });
}

describe("a stream's pace", () => {
  it("is the reader's: a generator is not asked for more than the windows hold", async () => {
    let made = 0;
    const closed = gate();
    await using pair = await startPair({
      *down({ count, size }) {
        try {
          for (let index = 0; index < count; index++) {
            made += 1;
            yield { index, text: "x".repeat(size) };
          }
        } finally {
          closed.open();
        }
      },
    });
    const stream = pair.client.down({ count: 10_000, size: 10_000 });
    for await (const { index } of stream) {
      assert.ok(made < 1_000, `${made} replies were made before ${index} was read`);
      if (index === 3) break;
    }
    await closed.opened;
    assert.ok(made < 1_000, `${made} replies were made for four that were read`);
  });

  it("is the handler's: a source of requests is not asked for more than the windows hold", async () => {
    let pulled = 0;
    const release = gate();
    await using pair = await startPair({
      async up(items) {
        let result = 0;
        for await (const { index } of items) {
          result = index;
          if (index === 0) await release.opened;
          if (index === 3) break;
        }
        return { result };
      },
    });
    function* source(): Generator<{ index: number; text: string }> {
      for (let index = 0; index < 10_000; index++) {
        pulled += 1;
        yield { index, text: "x".repeat(10_000) };
      }
    }
    const reply = pair.client.up(source());
    // Another call on the same connection is not slowed by the one that stands still.
    assert.equal((await pair.client.add({ a: 1, b: 1 })).result, 2);
    release.open();
    assert.equal((await reply).result, 3);
    assert.ok(pulled < 1_000, `${pulled} requests were pulled for four that were read`);
  });

  it("is reached with both directions at once: a conversation needs each answer before the next question", async () => {
    await using pair = await startPair();
    const answered: number[] = [];
    let next = gate();
    async function* questions(): AsyncGenerator<{ index: number }> {
      for (let index = 0; index < 50; index++) {
        yield { index };
        await next.opened;
        next = gate();
      }
    }
    for await (const { index } of pair.client.both(questions())) {
      answered.push(index);
      next.open();
    }
    assert.equal(answered.length, 50);
  });
});
