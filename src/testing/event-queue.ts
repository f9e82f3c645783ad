/**
 * What happens next in virtual time: a binary heap ordered by (time, order of scheduling), from which anything can be
 * taken out again, so that cancelled timers cost no memory until their time.
 */

/** Virtual time is counted in 1/1024 ms: sums and differences of such numbers are exact in a double. */
const ticksPerMs = 1024;

/** The next grid point at or after `timeMs`. */
export function onGrid(timeMs: number): number {
  return Math.ceil(timeMs * ticksPerMs) / ticksPerMs;
}

/** Something that will happen. An instance can be queued once at a time, and again after it fired. */
export abstract class ScheduledEvent {
  atMs = 0;
  order = 0;
  heapIndex = -1;

  get isQueued(): boolean {
    return this.heapIndex >= 0;
  }

  /** Called at its time, taken out of the queue before. */
  abstract fire(): void;
}

/** An event made of a function, for what happens seldom. */
export class CallbackEvent extends ScheduledEvent {
  private readonly callback: () => void;

  constructor(callback: () => void) {
    super();
    this.callback = callback;
  }

  fire(): void {
    this.callback();
  }
}

export class EventQueue {
  private readonly heap: ScheduledEvent[] = [];
  private orderNext = 0;

  get size(): number {
    return this.heap.length;
  }

  peek(): ScheduledEvent | undefined {
    return this.heap[0];
  }

  /** Queues an event that is not queued, at the grid point at or after `atMs`. */
  add(event: ScheduledEvent, atMs: number): void {
    if (event.heapIndex >= 0) throw new Error("the event is queued already");
    event.atMs = onGrid(atMs);
    event.order = this.orderNext++;
    this.heap.push(event);
    this.up(event, this.heap.length - 1);
  }

  /** Takes an event out; one that is not queued stays as it is. */
  remove(event: ScheduledEvent): void {
    const index = event.heapIndex;
    if (index < 0) return;
    event.heapIndex = -1;
    const last = this.heap.pop();
    if (last === undefined || last === event) return;
    this.up(last, index);
    this.down(last, last.heapIndex);
  }

  /** Takes the earliest event out. */
  take(): ScheduledEvent | undefined {
    const first = this.heap[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  private up(event: ScheduledEvent, from: number): void {
    const heap = this.heap;
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex] as ScheduledEvent;
      if (isBefore(parent, event)) break;
      heap[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    heap[index] = event;
    event.heapIndex = index;
  }

  private down(event: ScheduledEvent, from: number): void {
    const heap = this.heap;
    const size = heap.length;
    let index = from;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= size) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && isBefore(right, heap[childIndex] as ScheduledEvent)) childIndex++;
      const child = heap[childIndex] as ScheduledEvent;
      if (isBefore(event, child)) break;
      heap[index] = child;
      child.heapIndex = index;
      index = childIndex;
    }
    heap[index] = event;
    event.heapIndex = index;
  }
}

function isBefore(left: ScheduledEvent, right: ScheduledEvent): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}
