import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecentIds } from "./recent-ids.ts";
import { Http2Stream, StreamTable } from "./stream.ts";

const newStream = (id: number): Http2Stream => new Http2Stream(id, 0, 0, 0, 0);

test("the stream table finds what a Map would, however long some streams live", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(300)), { maxLength: 300, size: "max" }), (steps) => {
      const table = new StreamTable();
      const model = new Map<number, Http2Stream>();
      let next = 1;
      for (const [what, n] of steps) {
        if (what < 5) {
          next += what === 0 ? 2 * n + 2 : 2;
          const stream = newStream(next);
          table.add(stream);
          model.set(next, stream);
        } else {
          const stream = [...model.values()][n % Math.max(1, model.size)];
          if (stream === undefined) continue;
          // Twice, since a stream may be let go of from two sides.
          table.delete(stream);
          table.delete(stream);
          model.delete(stream.id);
        }
        assert.equal(table.count, model.size);
        assert.equal(table.get(next), model.get(next));
        assert.equal(table.get(n), model.get(n));
      }
      assert.deepEqual(
        table.all().map((stream) => stream.id),
        [...model.keys()].sort((x, y) => x - y),
      );
      for (const [id, stream] of model) assert.equal(table.get(id), stream);
    }),
    { numRuns: 300 },
  );
});

test("the stream table holds more streams than it has slots, and ids up to the last", () => {
  const table = new StreamTable();
  const streams = Array.from({ length: 10_000 }, (_, i) => newStream(2 ** 31 - 1 - i * 2));
  for (const stream of streams) table.add(stream);
  assert.equal(table.count, 10_000);
  for (const stream of streams) assert.equal(table.get(stream.id), stream);
  assert.equal(table.get(1), undefined);
  for (const stream of streams) table.delete(stream);
  assert.equal(table.count, 0);
  assert.deepEqual(table.all(), []);
});

test("the most recent ids are known, as many as there is room for", () => {
  const recent = new RecentIds(4);
  assert.equal(recent.has(0), false);
  for (let id = 1; id <= 11; id += 2) recent.add(id);
  assert.deepEqual(
    [1, 3, 5, 7, 9, 11, 13].map((id) => recent.has(id)),
    [false, false, true, true, true, true, false],
  );
});
