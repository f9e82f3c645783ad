import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { PriorityRank } from "./refusal.ts";
import type { Waiting } from "./waiting-queue.ts";
import { WaitingQueue } from "./waiting-queue.ts";

class Item implements Waiting<Item> {
  readonly priorityRank: PriorityRank;
  queuePrevious: Item | undefined = undefined;
  queueNext: Item | undefined = undefined;
  queuedAtMs = 0;

  constructor(rank: PriorityRank) {
    this.priorityRank = rank;
  }
}

function listed(queue: WaitingQueue<Item>, rank: PriorityRank): Item[] {
  const items: Item[] = [];
  for (let item = queue.oldest[rank]; item !== undefined; item = item.queueNext) items.push(item);
  return items;
}

describe("the waiting queue", () => {
  it("is a list for each priority, from the oldest to the newest, whatever comes and leaves", () => {
    const step = fc.record({ rank: fc.constantFrom<PriorityRank>(0, 1, 2), leaves: fc.boolean(), which: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const queue = new WaitingQueue<Item>();
        const model: Item[][] = [[], [], []];
        steps.forEach(({ rank, leaves, which }, nowMs) => {
          const list = model[rank] as Item[];
          if (!leaves) {
            const item = new Item(rank);
            queue.push(item, nowMs);
            list.push(item);
          } else if (list.length > 0) {
            const [item] = list.splice(which % list.length, 1);
            queue.remove(item as Item);
          }
        });
        const all = model.flat();
        assert.equal(queue.length, all.length);
        for (const rank of [0, 1, 2] as const) {
          assert.deepEqual(listed(queue, rank), model[rank]);
          assert.equal(queue.newest[rank], model[rank]?.at(-1));
          assert.equal(queue.lengths[rank], model[rank]?.length);
        }
        assert.equal(queue.oldestAtMs(), Math.min(Infinity, ...all.map(({ queuedAtMs }) => queuedAtMs)));
      }),
    );
  });

  it("gives up the oldest of the least priority, and none that is above the newcomer's", () => {
    const queue = new WaitingQueue<Item>();
    const critical = new Item(0);
    const normal = [new Item(1), new Item(1)] as const;
    queue.push(critical, 0);
    queue.push(normal[0], 1);
    queue.push(normal[1], 2);
    assert.equal(queue.worst(0), normal[0]);
    assert.equal(queue.worst(1), normal[0]);
    assert.equal(queue.worst(2), undefined);
    queue.remove(normal[0]);
    queue.remove(normal[1]);
    assert.equal(queue.worst(0), critical);
    assert.equal(queue.worst(1), undefined);
  });
});
