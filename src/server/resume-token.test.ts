import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate } from "../../test/calls/gate.ts";
import type { Interceptor } from "../call/interceptor.ts";
import type { ReplyInfo } from "../client/options.ts";
import type { HandlerCall } from "./handler-call.ts";

const textOf = (token: Uint8Array | undefined): string | undefined =>
  token === undefined ? undefined : Buffer.from(token).toString();

/** Counts from `count` on until its server drains, and says where it was. */
async function* untilDraining(
  { count }: { readonly count: number },
  call: HandlerCall,
): AsyncGenerator<{ index: number }> {
  for (let index = count; ; index++) {
    if (index === count + 2) await aborted(call.draining);
    if (call.draining.aborted) {
      call.resumeWith(String(index));
      return;
    }
    yield { index };
  }
}

describe("a stream that ends with a resume token", () => {
  it("ends well when its server drains, and goes on at another one without a gap or a double", async () => {
    await using first = await startPair({ down: untilDraining });
    await using second = await startPair({ down: untilDraining });
    const seen: number[] = [];
    const stream = first.client.down({ count: 0 });
    const began = gate();
    const reading = (async () => {
      for await (const { index } of stream) if (seen.push(index) === 2) began.open();
    })();
    await began.opened;
    assert.equal(stream.resumeToken, undefined, "it has not ended");
    const { cut, finished } = await first.server.close();
    await reading;
    assert.deepEqual([cut, finished], [[], 1]);
    assert.equal(textOf(stream.resumeToken), "2");
    for await (const { index } of second.client.down({ count: Number(textOf(stream.resumeToken)) })) {
      if (seen.push(index) === 4) break;
    }
    assert.deepEqual(seen, [0, 1, 2, 3]);
  });

  it("tells onReply too; what was yielded comes before it, and the last of several tokens counts", async () => {
    await using pair = await startPair({
      async *down(_, call) {
        yield { index: 7 };
        call.setTrailer("x-shop", "tea");
        call.resumeWith("first");
        call.resumeWith(new Uint8Array([0, 255, 1]));
      },
    });
    let info: ReplyInfo | undefined;
    const stream = pair.client.down({}, { onReply: (told) => (info = told) });
    const seen: number[] = [];
    for await (const { index } of stream) seen.push(index);
    assert.deepEqual([...(stream.resumeToken ?? [])], [0, 255, 1]);
    assert.deepEqual(seen, [7]);
    assert.deepEqual(info?.resumeToken, stream.resumeToken);
    assert.deepEqual([...(info?.trailer ?? [])], [["x-shop", "tea"]], "the token is no metadata");
  });

  it("passes interceptors on both sides", async () => {
    const passing: Interceptor = (next) => (call) => next(call);
    await using pair = await startPair(
      {
        async *down(_, call) {
          yield { index: 1 };
          call.resumeWith("here");
        },
      },
      { server: { interceptors: [passing] }, client: { interceptors: [passing] } },
    );
    const stream = pair.client.down({});
    for await (const _ of stream);
    assert.equal(textOf(stream.resumeToken), "here");
  });

  it("has none if it failed after all, was left, or came to its own end", async () => {
    await using pair = await startPair({
      async *down({ count }, call) {
        yield { index: 0 };
        if (count === 0) return;
        call.resumeWith("here");
        if (count === 1) throw new Error("a defect");
      },
    });
    const failed = pair.client.down({ count: 1 });
    await assertFails(
      (async () => {
        for await (const _ of failed);
      })(),
      "UNKNOWN",
    );
    assert.equal(failed.resumeToken, undefined);
    const whole = pair.client.down({ count: 0 });
    for await (const _ of whole);
    assert.equal(whole.resumeToken, undefined);
    const left = pair.client.down({ count: 0 });
    for await (const _ of left) break;
    assert.equal(left.resumeToken, undefined);
  });

  it("refuses a token for one reply, of no size, too large, or of another type", async () => {
    const thrown: unknown[] = [];
    const attempt = (call: HandlerCall, token: unknown): void => {
      try {
        call.resumeWith(token as string);
      } catch (error) {
        thrown.push(error);
      }
    };
    await using pair = await startPair({
      add(_, call) {
        attempt(call, "here");
        return {};
      },
      async *down(_, call) {
        for (const token of ["", new Uint8Array(4_097), 7, "x".repeat(4_096)]) attempt(call, token);
        yield {};
      },
    });
    await pair.client.add({});
    const stream = pair.client.down({});
    for await (const _ of stream);
    assert.deepEqual(
      thrown.map((error) => [error instanceof RangeError, String(error)]),
      [
        [false, "TypeError: resumeWith is for streams of replies, and /bench.v1.Bench/Add has one"],
        [true, "RangeError: a resume token must have 1..4096 bytes, got 0"],
        [true, "RangeError: a resume token must have 1..4096 bytes, got 4097"],
        [false, "TypeError: a resume token must be text or bytes, got 7"],
      ],
    );
    assert.equal(stream.resumeToken?.length, 4_096);
  });
});

describe("call.draining", () => {
  it("is one signal for each call, fires once clients were told, and gives no signal away when the call is over", async () => {
    const seen: AbortSignal[] = [];
    const release = gate();
    const began = gate();
    await using pair = await startPair({
      async add({ a }, call) {
        assert.equal(call.draining, call.draining);
        seen.push(call.draining);
        if (a === 1) {
          began.open();
          await aborted(call.draining);
          await release.opened;
        }
        return { result: a };
      },
    });
    assert.equal((await pair.client.add({ a: 0 })).result, 0);
    const reply = pair.client.add({ a: 1 });
    await began.opened;
    const [over, running] = seen;
    assert.notEqual(over, running);
    const closing = pair.server.close();
    const reason = await aborted(running as AbortSignal);
    assert.match(String(reason), /takes no more calls/);
    assert.equal(over?.aborted, false, "its call was over");
    release.open();
    assert.equal((await reply).result, 1);
    assert.deepEqual((await closing).cut, []);
  });
});
