import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { MessageCodec } from "../grpc/message-codec.ts";
import { type InboxOwner, type InboxProblem, MessageInbox } from "./message-inbox.ts";

/** Messages are texts; one that begins with "!" cannot be decoded. */
const codec = {
  typeName: "test.Text",
  decode(bytes: Buffer, start: number, end: number): string {
    const text = bytes.toString("latin1", start, end);
    if (text.startsWith("!")) throw new Error("unreadable");
    return text;
  },
} as MessageCodec<string>;

class Owner implements InboxOwner {
  consumed = 0;
  readonly problems: InboxProblem[] = [];

  inboxConsumed(bytes: number): void {
    this.consumed += bytes;
  }
  inboxExpects(bytes: number): boolean {
    assert.ok(bytes > 0);
    return bytes % 2 === 0;
  }
  inboxBroken(problem: InboxProblem): unknown {
    this.problems.push(problem);
    return new Error(problem);
  }
}

function framed(text: string, flag = 0): Buffer {
  const payload = flag === 1 ? gzipSync(text) : Buffer.from(text, "latin1");
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}

function inboxOf(bytesMax = 1_000): { readonly owner: Owner; readonly inbox: MessageInbox<string> } {
  const owner = new Owner();
  return { owner, inbox: new MessageInbox(owner, codec, bytesMax) };
}

async function readAll(inbox: MessageInbox<string>): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const { done, value } = await inbox.next();
    if (done === true) return texts;
    texts.push(value);
  }
}

describe("an inbox", () => {
  it("gives the same messages however they are cut, whenever they are read, and reports each byte once", async () => {
    const texts = fc.array(fc.stringMatching(/^[a-z]{0,40}$/), { maxLength: 12 });
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });
    const reads = fc.array(fc.boolean(), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(texts, cuts, reads, async (given, sizes, readsFirst) => {
        const { owner, inbox } = inboxOf();
        const bytes = Buffer.concat(given.map((text) => framed(text)));
        const got: string[] = [];
        let pending: Promise<IteratorResult<string>> | undefined;
        let at = 0;
        for (let i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + (sizes[i % sizes.length] as number));
          if (readsFirst[i % readsFirst.length] === true) pending ??= inbox.next();
          // As the socket's chunk is: the inbox may not keep it.
          const chunk = Buffer.from(bytes.subarray(at, end));
          inbox.push(chunk, 0, chunk.length);
          if (pending !== undefined && !inbox.isAwaited) {
            got.push((await pending).value as string);
            pending = undefined;
          }
          chunk.fill("#");
          at = end;
        }
        inbox.end();
        if (pending !== undefined) {
          const { done, value } = await pending;
          if (done !== true) got.push(value);
        }
        got.push(...(await readAll(inbox)));
        assert.deepEqual(got, given);
        assert.equal(owner.consumed, bytes.length);
        assert.deepEqual(owner.problems, []);
      }),
    );
  });

  it("does not report what nobody has read: that is the backpressure", async () => {
    const { owner, inbox } = inboxOf();
    const bytes = Buffer.concat([framed("one"), framed("two"), framed("three")]);
    inbox.push(bytes, 0, bytes.length);
    assert.equal(owner.consumed, 0);
    await inbox.next();
    assert.equal(owner.consumed, 8);
    await inbox.next();
    assert.equal(owner.consumed, 16);
    inbox.stop();
    assert.equal(owner.consumed, bytes.length, "what is dropped returns its window");
    assert.deepEqual(await inbox.next(), { value: undefined, done: true });
  });

  for (const [name, bytes, problem] of [
    ["too large", framed("x".repeat(1_001)), "too-large"],
    ["with a bad flag", framed("x", 9), "bad-flag"],
    ["cut short", framed("long").subarray(0, 7), "truncated"],
    ["with half a prefix", framed("long").subarray(0, 3), "truncated"],
    ["compressed without an encoding", framed("x", 1), "compressed-without-encoding"],
    ["that cannot be decoded", framed("!x"), "invalid"],
  ] as const) {
    it(`breaks on a message ${name}, after those before it, whether or not somebody waits; never a clean end`, async () => {
      for (const isAwaited of [false, true]) {
        const { owner, inbox } = inboxOf();
        const before = framed("good");
        if (!isAwaited) inbox.push(before, 0, before.length);
        const first = inbox.next();
        if (isAwaited) inbox.push(before, 0, before.length);
        assert.equal((await first).value, "good");
        const second = isAwaited ? inbox.next() : undefined;
        inbox.push(bytes, 0, bytes.length);
        inbox.end();
        await assert.rejects(second ?? inbox.next(), { message: problem });
        await assert.rejects(inbox.next(), { message: problem }, "and stays broken");
        assert.deepEqual(owner.problems, [problem]);
        const more = framed("more");
        inbox.push(more, 0, more.length);
        assert.equal(owner.consumed, before.length + bytes.length + more.length, "all windows return");
      }
    });
  }

  it("decompresses within its limit, and breaks on a bomb and on noise", async () => {
    for (const [bytes, problem] of [
      [framed("x".repeat(2_000), 1), "too-large"],
      [Buffer.concat([Buffer.from([1, 0, 0, 0, 3]), Buffer.from("abc")]), "corrupt"],
    ] as const) {
      const { inbox } = inboxOf();
      inbox.encoding = "gzip";
      const good = framed("text", 1);
      inbox.push(good, 0, good.length);
      assert.equal((await inbox.next()).value, "text");
      inbox.push(bytes, 0, bytes.length);
      await assert.rejects(inbox.next(), { message: problem });
    }
  });

  it("that fails gives what came before, unless the reader ended it itself", async () => {
    for (const isNow of [false, true]) {
      const { owner, inbox } = inboxOf();
      const bytes = framed("kept");
      inbox.push(bytes, 0, bytes.length);
      inbox.fail(new Error("lost"), isNow);
      inbox.fail(new Error("second"), true);
      if (!isNow) assert.equal((await inbox.next()).value, "kept");
      await assert.rejects(inbox.next(), /lost/);
      assert.equal(owner.consumed, bytes.length);
    }
    const { inbox } = inboxOf();
    const waiting = inbox.next();
    inbox.fail(new Error("lost"), false);
    await assert.rejects(waiting, /lost/);
  });

  it("is read one message at a time", async () => {
    const { inbox } = inboxOf();
    const first = inbox.next();
    await assert.rejects(inbox.next(), { name: "TypeError", message: /one message at a time/ });
    inbox.end();
    assert.equal((await first).done, true);
  });
});

describe("an inbox that nobody reads any more", () => {
  it("reports what still comes as consumed at once and keeps none of it", async () => {
    const { owner, inbox } = inboxOf(10_000_000);
    const part = framed("abc").subarray(0, 6);
    inbox.push(part, 0, part.length);
    const waiting = inbox.next();
    inbox.stop();
    assert.equal((await waiting).done, true);
    assert.equal(owner.consumed, part.length);
    const allocate = mock.method(Buffer, "allocUnsafeSlow");
    const chunk = Buffer.alloc(16_384);
    for (let i = 1; i <= 100; i++) {
      inbox.push(chunk, 0, chunk.length);
      assert.equal(owner.consumed, part.length + i * chunk.length);
    }
    inbox.end();
    assert.equal(allocate.mock.callCount(), 0);
    allocate.mock.restore();
    assert.equal((await inbox.next()).done, true, "half a message is no fault of a stream that was left");
    assert.deepEqual(owner.problems, []);
  });
});

describe("an inbox's spare buffer", () => {
  it("is used again for the next messages, and not kept above 64 KiB", async () => {
    for (const [bytes, isKept] of [
      [10_000, true],
      [1_000_000, false],
    ] as const) {
      const { inbox } = inboxOf(10_000_000);
      const message = framed("a".repeat(bytes));
      inbox.push(message, 0, message.length);
      await inbox.next();
      const waiting = inbox.next();
      inbox.push(framed("b"), 0, 6);
      assert.equal((await waiting).value, "b");
      const allocate = mock.method(Buffer, "allocUnsafeSlow");
      inbox.push(framed("c"), 0, 6);
      assert.equal(allocate.mock.callCount(), isKept ? 0 : 1);
      allocate.mock.restore();
      assert.equal((await inbox.next()).value, "c");
    }
  });
});
