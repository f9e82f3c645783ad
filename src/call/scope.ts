/**
 * What calls made inside something inherit: its deadline, cancellation, priority and trace. A handler's call is a scope,
 * and so is what `within` opens. Carried by AsyncLocalStorage.
 */
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import type { Clock } from "../world/clock.ts";
import type { Call } from "./call.ts";
import type { Priority } from "./method.ts";

/** A piece of work that ends when its scope does. Linked into the scope's list without allocation. */
export interface ScopeChild {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  /** The scope was cancelled. */
  scopeCancelled(reason: unknown): void;
}

/** A W3C trace id and the span that new spans hang under, as 32-bit words; all zero: no trace. */
export interface TraceWords {
  trace0: number;
  trace1: number;
  trace2: number;
  trace3: number;
  span0: number;
  span1: number;
  traceFlags: number;
}

export class CallScope implements TraceWords {
  /** Whose clock `deadlineMs` is on. */
  readonly clock: Clock;
  /** On the monotonic clock; Infinity without one. */
  deadlineMs: number;
  /** What calls made inside leave of the deadline for the way back. */
  reserveMs: number;
  priority: Priority;
  /** False below a repeat or copy: calls made inside repeat nothing that was reached (`holdfast-repeat`). */
  mayRepeat: boolean;
  trace0: number;
  trace1: number;
  trace2: number;
  trace3: number;
  span0: number;
  span1: number;
  traceFlags: number;
  isCancelled: boolean;
  cancelReason: unknown;
  #first: ScopeChild | undefined;
  #signal: AbortController | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
    this.deadlineMs = Infinity;
    this.reserveMs = 0;
    this.priority = "normal";
    this.mayRepeat = true;
    this.trace0 = 0;
    this.trace1 = 0;
    this.trace2 = 0;
    this.trace3 = 0;
    this.span0 = 0;
    this.span1 = 0;
    this.traceFlags = 0;
    this.isCancelled = false;
    this.cancelReason = undefined;
    this.#first = undefined;
    this.#signal = undefined;
  }

  /** When calls made inside must have ended, on another clock: real code that calls into a simulation is on one of its own. */
  deadlineOn(clock: Clock): number {
    const shiftMs = this.clock === clock ? 0 : clock.monotonicMs() - this.clock.monotonicMs();
    return this.deadlineMs + shiftMs - this.reserveMs;
  }

  /** The call being handled in this scope; undefined for scopes that are no call. */
  get call(): Call | undefined {
    return undefined;
  }

  /** Made when first read. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#signal = new AbortController();
      if (this.isCancelled) this.#signal.abort(this.cancelReason);
    }
    return this.#signal.signal;
  }

  /** Cancels everything in the scope, once. */
  cancel(reason: unknown): void {
    if (this.isCancelled) return;
    this.isCancelled = true;
    this.cancelReason = reason;
    // Cancelling one child may end others, which then leave the list: always take the one that is first now.
    while (this.#first !== undefined) {
      const child: ScopeChild = this.#first;
      this.removeChild(child);
      child.scopeCancelled(reason);
    }
    this.#signal?.abort(reason);
  }

  addChild(child: ScopeChild): void {
    child.scopeNext = this.#first;
    child.scopePrevious = undefined;
    if (this.#first !== undefined) this.#first.scopePrevious = child;
    this.#first = child;
  }

  removeChild(child: ScopeChild): void {
    if (child.scopePrevious !== undefined) child.scopePrevious.scopeNext = child.scopeNext;
    else if (this.#first === child) this.#first = child.scopeNext;
    if (child.scopeNext !== undefined) child.scopeNext.scopePrevious = child.scopePrevious;
    child.scopePrevious = undefined;
    child.scopeNext = undefined;
  }
}

/** Where the current scope is found. One for the process: context flows by it through user code. */
export const scopes: AsyncLocalStorage<CallScope | undefined> = new AsyncLocalStorage();

const MANUAL = Object.freeze({ requireManualDestroy: true });

/** The async context as it is here, to go back to from wherever: a user's own AsyncLocalStorage must not notice what else the process does. */
export function contextHere(name: string): AsyncResource {
  return new AsyncResource(name, MANUAL);
}

/**
 * Runs `work` in that context, inside `scope`. As `scopes.run`, which makes two maps of all stores where this makes one, and in the context of
 * whoever happens to be at work.
 */
export function runInContext<S extends CallScope, T, R>(
  context: AsyncResource,
  scope: S,
  work: (scope: S, given: T) => R,
  given: T,
): R {
  return context.runInAsyncScope(enter as typeof enter<S, T, R>, undefined, scope, work, given);
}

function enter<S extends CallScope, T, R>(scope: S, work: (scope: S, given: T) => R, given: T): R {
  // Ends with the context's own scope.
  scopes.enterWith(scope);
  return work(scope, given);
}

/** Lets `to` go on in the trace of `from`. */
export function copyTrace(from: TraceWords, to: TraceWords): void {
  to.trace0 = from.trace0;
  to.trace1 = from.trace1;
  to.trace2 = from.trace2;
  to.trace3 = from.trace3;
  to.span0 = from.span0;
  to.span1 = from.span1;
  to.traceFlags = from.traceFlags;
}
