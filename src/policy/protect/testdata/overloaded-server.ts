/**
 * Servers in virtual time, open loop, with the real admission before their handlers: one whose handlers wait behind a pool, and one whose handlers
 * keep the event loop. A discrete-event model: nothing else takes time but what is said here.
 */
import type { Random } from "../../../world/random.ts";
import type { AdmissionCall } from "../admission.ts";
import { ADMITTED, Admission, OUTSIDE, type AdmissionOptions } from "../admission.ts";
import type { HandlerFigures } from "../handler-figures.ts";
import type { Principal } from "../principal.ts";
import type { PriorityRank, RefusalWhy } from "../refusal.ts";

/** One call, from when its client sent it. */
export class ModelCall implements AdmissionCall {
  readonly priorityRank: PriorityRank;
  readonly principal: Principal;
  readonly isRepeat: boolean;
  readonly deadlineMs: number;
  readonly handlerFigures: HandlerFigures;
  readonly sentAtMs: number;
  admissionState: 0 | 1 | 2;
  queuePrevious: AdmissionCall | undefined;
  queueNext: AdmissionCall | undefined;
  queuedAtMs: number;
  admittedAtMs: number;
  runningThen: number;
  /** NaN: not yet. */
  answeredAtMs: number;
  why: RefusalWhy | undefined;
  retryAfterMs: number;
  /** Told of what becomes of it. */
  server: ModelServer | undefined;

  constructor(facts: {
    readonly sentAtMs: number;
    readonly figures: HandlerFigures;
    readonly principal: Principal;
    readonly rank?: PriorityRank;
    readonly isRepeat?: boolean;
    readonly deadlineMs?: number;
  }) {
    this.sentAtMs = facts.sentAtMs;
    this.handlerFigures = facts.figures;
    this.principal = facts.principal;
    this.priorityRank = facts.rank ?? 1;
    this.isRepeat = facts.isRepeat ?? false;
    this.deadlineMs = facts.deadlineMs ?? Number.POSITIVE_INFINITY;
    this.admissionState = OUTSIDE;
    this.queuePrevious = undefined;
    this.queueNext = undefined;
    this.queuedAtMs = 0;
    this.admittedAtMs = 0;
    this.runningThen = 0;
    this.answeredAtMs = Number.NaN;
    this.why = undefined;
    this.retryAfterMs = 0;
    this.server = undefined;
  }

  get tookMs(): number {
    return this.answeredAtMs - this.sentAtMs;
  }

  admitted(nowMs: number): void {
    this.server?.begin(this, nowMs);
  }

  refused(why: RefusalWhy, retryAfterMs: number, nowMs: number): void {
    this.why = why;
    this.retryAfterMs = retryAfterMs;
    this.server?.refusedOne(this, nowMs);
  }
}

/** What a model does with calls. */
export interface ModelServer {
  begin(call: ModelCall, nowMs: number): void;
  refusedOne(call: ModelCall, nowMs: number): void;
}

/** Where calls come from: the next one, or undefined when there are no more. In the order of `sentAtMs`. */
export type Arrivals = () => ModelCall | undefined;

/** Poisson arrivals until `untilMs` at `perMs(now)`, each made by `make`. */
export function poisson(
  random: Random,
  untilMs: number,
  perMs: (nowMs: number) => number,
  make: (sentAtMs: number) => ModelCall,
): Arrivals {
  let nowMs = 0;
  return () => {
    nowMs += -Math.log(1 - random.float()) / perMs(nowMs);
    return nowMs < untilMs ? make(nowMs) : undefined;
  };
}

/** A time with this mean, exponential. */
export function exponential(random: Random, meanMs: number): number {
  return -Math.log(1 - random.float()) * meanMs;
}

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly act: (nowMs: number) => void;
}

/** What is due, soonest first; what is due at once in the order in which it was put there. */
export class Agenda {
  private readonly heap: Due[] = [];
  private order = 0;

  get nextMs(): number {
    return this.heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  at(atMs: number, act: (nowMs: number) => void): void {
    const { heap } = this;
    heap.push({ atMs, order: this.order++, act });
    let child = heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!isSooner(heap[child] as Due, heap[parent] as Due)) break;
      this.swap(child, parent);
      child = parent;
    }
  }

  /** Does the first. */
  step(): void {
    const { heap } = this;
    const first = heap[0] as Due;
    const last = heap.pop() as Due;
    if (heap.length > 0) heap[0] = last;
    for (let parent = 0; ; ) {
      const left = 2 * parent + 1;
      let least = parent;
      for (const child of [left, left + 1]) {
        if (child < heap.length && isSooner(heap[child] as Due, heap[least] as Due)) least = child;
      }
      if (least === parent) break;
      this.swap(parent, least);
      parent = least;
    }
    first.act(first.atMs);
  }

  private swap(a: number, b: number): void {
    const kept = this.heap[a] as Due;
    this.heap[a] = this.heap[b] as Due;
    this.heap[b] = kept;
  }
}

function isSooner(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Handlers that wait for one of `workers` places, first come first served, and then for their service time. The loop itself takes no time. */
export class PooledServer implements ModelServer {
  readonly admission: Admission;
  readonly agenda: Agenda;
  workers: number;
  serviceMs: (call: ModelCall, nowMs: number) => number;
  onEnd: (call: ModelCall, nowMs: number) => void;
  inside: number;
  private busy: number;
  private readonly pool: ModelCall[];
  private wakeAtMs: number;

  constructor(facts: {
    readonly random: Random;
    readonly workers: number;
    readonly serviceMs: (call: ModelCall, nowMs: number) => number;
    readonly options?: AdmissionOptions;
  }) {
    this.admission = new Admission(facts.options, facts.random);
    this.agenda = new Agenda();
    this.workers = facts.workers;
    this.serviceMs = facts.serviceMs;
    this.onEnd = () => {};
    this.inside = 0;
    this.busy = 0;
    this.pool = [];
    this.wakeAtMs = Number.POSITIVE_INFINITY;
  }

  /** Plays all arrivals and, after them, everything that they caused. */
  play(arrivals: Arrivals): void {
    this.schedule(arrivals);
    while (this.agenda.nextMs < Number.POSITIVE_INFINITY) this.agenda.step();
  }

  offer(call: ModelCall, nowMs: number): void {
    call.server = this;
    if (this.admission.offer(call, nowMs) === ADMITTED) this.begin(call, nowMs);
    this.wake();
  }

  begin(call: ModelCall, nowMs: number): void {
    this.inside += 1;
    this.pool.push(call);
    this.work(nowMs);
  }

  refusedOne(call: ModelCall, nowMs: number): void {
    this.onEnd(call, nowMs);
  }

  private schedule(arrivals: Arrivals): void {
    const call = arrivals();
    if (call === undefined) return;
    this.agenda.at(call.sentAtMs, (nowMs) => {
      this.offer(call, nowMs);
      this.schedule(arrivals);
    });
  }

  private work(nowMs: number): void {
    while (this.busy < this.workers && this.pool.length > 0) {
      const call = this.pool.shift() as ModelCall;
      this.busy += 1;
      this.agenda.at(nowMs + this.serviceMs(call, nowMs), (endMs) => {
        this.busy -= 1;
        this.inside -= 1;
        call.answeredAtMs = endMs;
        this.work(endMs);
        this.admission.ended(call, endMs, true);
        this.onEnd(call, endMs);
        this.wake();
      });
    }
  }

  /** The server's one timer for admission. */
  private wake(): void {
    const dueMs = this.admission.nextDueMs;
    if (dueMs >= this.wakeAtMs) return;
    this.wakeAtMs = dueMs;
    this.agenda.at(dueMs, (nowMs) => {
      // An earlier one took its place.
      if (nowMs !== this.wakeAtMs) return;
      this.wakeAtMs = Number.POSITIVE_INFINITY;
      this.admission.drainTurn(nowMs);
      this.wake();
    });
  }
}

/** Handlers that keep the loop: it reads all that has arrived, then drains what waits, and so on. A refusal and a turn cost time of the same loop. */
export class LoopServer implements ModelServer {
  readonly admission: Admission;
  onEnd: (call: ModelCall, nowMs: number) => void;
  nowMs: number;
  private readonly costMs: (call: ModelCall) => number;
  private readonly refusalMs: number;
  private readonly turnMs: number;

  constructor(facts: {
    readonly random: Random;
    readonly costMs: (call: ModelCall) => number;
    readonly refusalMs: number;
    readonly turnMs: number;
    readonly options?: AdmissionOptions;
  }) {
    this.admission = new Admission(facts.options, facts.random);
    this.onEnd = () => {};
    this.nowMs = 0;
    this.costMs = facts.costMs;
    this.refusalMs = facts.refusalMs;
    this.turnMs = facts.turnMs;
  }

  play(arrivals: Arrivals): void {
    let next = arrivals();
    for (;;) {
      const { admission } = this;
      const dueMs = admission.isTurnDue ? this.nowMs : admission.nextDueMs;
      const wakeMs = Math.min(next?.sentAtMs ?? Number.POSITIVE_INFINITY, dueMs);
      if (wakeMs === Number.POSITIVE_INFINITY) return;
      this.nowMs = Math.max(this.nowMs, wakeMs) + this.turnMs;
      // The poll phase: what had arrived when it began.
      const polledMs = this.nowMs;
      while (next !== undefined && next.sentAtMs <= polledMs) {
        const call = next;
        call.server = this;
        if (admission.offer(call, this.nowMs) === ADMITTED) this.begin(call, this.nowMs);
        next = arrivals();
      }
      if (admission.isTurnDue || this.nowMs >= admission.nextDueMs) admission.drainTurn(this.nowMs);
    }
  }

  begin(call: ModelCall, nowMs: number): void {
    const costMs = this.costMs(call);
    // A handler that is begun in a loop of admission's own sees the time at which that began: the loop's clock has gone on.
    this.nowMs = Math.max(this.nowMs, nowMs) + costMs;
    this.admission.timed(call, costMs);
    call.answeredAtMs = this.nowMs;
    this.admission.ended(call, this.nowMs, true);
    this.onEnd(call, this.nowMs);
  }

  refusedOne(call: ModelCall, nowMs: number): void {
    this.nowMs = Math.max(this.nowMs, nowMs) + this.refusalMs;
    this.onEnd(call, this.nowMs);
  }
}
