import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BatchWriter, type Operation, operationsOf, type Outcome, outcomesOf, packOutcomes } from "./sqlite-batch.ts";

/** With the prototype that object literals have. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const bytes = fc.uint8Array({ maxLength: 20 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  record({
    kind: fc.constant(0 as const),
    path: fc.string(),
    principal: fc.string(),
    id: fc.string(),
    mintedMs: fc.option(fc.double({ noNaN: true })),
    payloadHash: fc.string(),
    rerunUnknown: fc.boolean(),
  }),
  record({ kind: fc.constant(1 as const), seq: fc.nat(), answer: bytes }),
  record({ kind: fc.constant(2 as const), seq: fc.nat() }),
);
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  record({ kind: fc.constant("run" as const), seq: fc.nat() }),
  record({ kind: fc.constant("answer" as const), answer: bytes }),
  record({ kind: fc.constantFrom("conflict", "expired", "unknown", "full", "corrupt", "done", "taken") }),
) as fc.Arbitrary<Outcome>;

test("a batch is read as it was written, through a structured clone", () => {
  fc.assert(
    fc.property(fc.array(operation), (operations) => {
      const writer = new BatchWriter();
      for (const one of operations) write(writer, one);
      assert.equal(writer.length, operations.length);
      const batch = structuredClone(writer.take(7));
      assert.equal(batch.nowMs, 7);
      assert.deepEqual([...operationsOf(batch)], operations);
      assert.deepEqual([...operationsOf(writer.take(8))], []);
    }),
  );
});

test("so is what came of it", () => {
  fc.assert(
    fc.property(fc.array(outcome), (outcomes) => {
      const reply = structuredClone(packOutcomes(outcomes, { entries: 3, forgottenMs: -Infinity }));
      assert.deepEqual([...outcomesOf(reply)], outcomes);
      assert.deepEqual([reply.entries, reply.forgottenMs], [3, -Infinity]);
    }),
  );
});

function write(writer: BatchWriter, one: Operation): void {
  if (one.kind === 0)
    writer.claim(one.path, one.principal, one.id, one.mintedMs ?? undefined, one.payloadHash, one.rerunUnknown);
  else if (one.kind === 1) writer.finish(one.seq, one.answer);
  else writer.forget(one.seq);
}
