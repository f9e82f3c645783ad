import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pipe } from "./pipe.ts";

async function read<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

describe("a pipe", () => {
  it("gives what was written, in order, before and after its reader came", async () => {
    const numbers = pipe<number>();
    const early = numbers.write(1);
    const reading = read(numbers);
    await early;
    await numbers.write(2);
    await numbers.write(3);
    numbers.end();
    assert.deepEqual(await reading, [1, 2, 3]);
  });

  it("resolves write only when the reader has taken the item", async () => {
    const numbers = pipe<number>();
    const taken: number[] = [];
    const writes = [1, 2].map((n) => numbers.write(n).then(() => taken.push(n)));
    const iterator = numbers[Symbol.asyncIterator]();
    await Promise.resolve();
    assert.deepEqual(taken, []);
    await iterator.next();
    await writes[0];
    assert.deepEqual(taken, [1]);
    await iterator.next();
    await writes[1];
    assert.deepEqual(taken, [1, 2]);
  });

  it("ends after the items written, and refuses more", async () => {
    const numbers = pipe<number>();
    const write = numbers.write(1);
    numbers.end();
    numbers.end();
    await assert.rejects(numbers.write(2), { name: "TypeError", message: /has ended/ });
    assert.deepEqual(await read(numbers), [1]);
    await write;
  });

  it("fails after the items written, once, and only if it had not ended", async () => {
    const failing = pipe<number>();
    void failing.write(1);
    failing.fail(new Error("mine"));
    failing.fail(new Error("second"));
    const iterator = failing[Symbol.asyncIterator]();
    assert.equal((await iterator.next()).value, 1);
    await assert.rejects(iterator.next(), /mine/);
    assert.equal((await iterator.next()).done, true);
    await assert.rejects(failing.write(2), TypeError);
    const ended = pipe<number>();
    ended.end();
    ended.fail(new Error("late"));
    assert.deepEqual(await read(ended), []);
    const waiting = pipe<number>();
    const next = waiting[Symbol.asyncIterator]().next();
    waiting.fail(new Error("awaited"));
    await assert.rejects(next, /awaited/);
  });

  it("rejects what waits when its reader leaves, and what is written after", async () => {
    const numbers = pipe<number>();
    const first = numbers.write(1);
    const second = assert.rejects(numbers.write(2), /reader has left/);
    for await (const _ of numbers) break;
    await first;
    await second;
    await assert.rejects(numbers.write(3), TypeError);
  });

  it("holds at most queueMax items: one more is refused, so that a forgotten await shows", async () => {
    const numbers = pipe<number>({ queueMax: 2 });
    const kept = [numbers.write(1), numbers.write(2)];
    await assert.rejects(numbers.write(3), { name: "RangeError", message: /holds 2 items already: await write/ });
    numbers.end();
    assert.deepEqual(await read(numbers), [1, 2]);
    await Promise.all(kept);
    for (const queueMax of [0, 1.5, 1_000_001]) assert.throws(() => pipe({ queueMax }), RangeError);
    assert.throws(() => pipe({ queuemax: 5 } as object), /did you mean "queueMax"/);
  });

  it("can be iterated once, one item at a time", async () => {
    const numbers = pipe<number>();
    const iterator = numbers[Symbol.asyncIterator]();
    assert.throws(() => numbers[Symbol.asyncIterator](), { name: "TypeError", message: /iterated once/ });
    const first = iterator.next();
    await assert.rejects(iterator.next(), { name: "TypeError", message: /one item at a time/ });
    await numbers.write(1);
    assert.equal((await first).value, 1);
  });

  it("carries undefined and null as items", async () => {
    const anything = pipe<unknown>();
    const items = [undefined, null, 0, ""];
    const writes = items.map((item) => anything.write(item));
    anything.end();
    assert.deepEqual(await read(anything), items);
    await Promise.all(writes);
  });
});
