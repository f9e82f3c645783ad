import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CallbackEvent, EventQueue, onGrid } from "./event-queue.ts";

test("gives events by time, those of one time in the order in which they were added, whatever was removed", () => {
  const steps = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("add" as const), atMs: fc.integer({ min: 0, max: 20 }) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("take" as const) }) },
    ),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(steps, (all) => {
      const queue = new EventQueue();
      let model: CallbackEvent[] = [];
      for (const step of all) {
        if (step.kind === "add") {
          const event = new CallbackEvent(() => undefined);
          queue.add(event, step.atMs);
          model.push(event);
          // A stable sort by time is what the heap must be equal to.
          model.sort((left, right) => left.atMs - right.atMs);
        } else if (step.kind === "remove") {
          const event = model[step.which % Math.max(1, model.length)];
          if (event === undefined) continue;
          queue.remove(event);
          queue.remove(event);
          assert.equal(event.isQueued, false);
          model = model.filter((each) => each !== event);
        } else {
          assert.equal(queue.take(), model.shift());
        }
        assert.equal(queue.size, model.length);
        assert.equal(queue.peek(), model[0]);
      }
    }),
  );
});

test("keeps times on a grid on which sums are exact", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.integer({ min: 0, max: 1e9 }), (timeMs, startMs) => {
      const grid = onGrid(timeMs);
      assert.ok(grid >= timeMs && grid - timeMs <= 1 / 1024);
      assert.equal(startMs + grid - startMs, grid);
    }),
  );
});

test("refuses an event that is queued already", () => {
  const queue = new EventQueue();
  const event = new CallbackEvent(() => undefined);
  queue.add(event, 1);
  assert.throws(() => queue.add(event, 2), /queued already/);
});
