import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Output } from "./output.ts";

type Write = { readonly who: number; readonly length: number; readonly how: "in place" | "append" | "take" };

const writes = fc.array(
  fc.record({
    who: fc.nat(2),
    length: fc.oneof(fc.nat(300), fc.nat(9_000), fc.nat(70_000)),
    how: fc.constantFrom("in place", "append", "append", "take"),
  }) as fc.Arbitrary<Write>,
  { maxLength: 60, size: "max" },
);

test("what several outputs are given comes out in order, and what was taken is never written again", () => {
  fc.assert(
    fc.property(writes, (steps) => {
      const outputs = [new Output(), new Output(), new Output()];
      const given: Buffer[][] = [[], [], []];
      const taken: { chunks: Buffer[]; copy: Buffer }[] = [];
      steps.forEach(({ who, length, how }, step) => {
        const output = outputs[who] as Output;
        const payload = Buffer.alloc(length, step + 1);
        if (how === "take") {
          const chunks = output.take();
          const expected = Buffer.concat(given[who] as Buffer[]);
          taken.push({ chunks, copy: expected });
          given[who] = [];
          assert.equal(output.length, 0);
        } else if (how === "append") {
          output.append(payload, 0, length);
          given[who]?.push(payload);
        } else {
          output.reserve(length);
          output.bytes.set(payload, output.at);
          output.at += length;
          given[who]?.push(payload);
        }
        const waiting = (given[who] as Buffer[]).reduce((sum, part) => sum + part.length, 0);
        assert.equal(output.length, waiting);
      });
      for (const { chunks, copy } of taken) assert.ok(Buffer.concat(chunks).equals(copy));
    }),
    { numRuns: 300 },
  );
});

test("a large payload is sent from where it lies, and a part of one is that part", () => {
  const output = new Output();
  const payload = Buffer.alloc(10_000, 7);
  output.append(payload, 100, 9_100);
  const [chunk] = output.take();
  assert.equal(chunk?.length, 9_000);
  assert.equal(chunk?.buffer, payload.buffer);
});

test("an output from which all was taken holds no slab", () => {
  const output = new Output();
  output.reserve(10);
  output.at += 10;
  output.take();
  assert.equal(output.bytes.length, 0);
  assert.deepEqual(output.take(), []);
});
