/**
 * Hot path: one attempt at a function's work: what the work is given, and the scope of the calls that it makes.
 */
import type { AsyncResource } from "node:async_hooks";
import type { Call } from "../../call/call.ts";
import type { Deadline } from "../../call/deadline.ts";
import { CallScope, copyTrace, scopes } from "../../call/scope.ts";
import type { AttemptWhy } from "../call-attempt.ts";
import type { ProtectedCall } from "./protected-call.ts";

/** What the work sees when it prints what it was given. */
export const inspectCustom: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;

/** What the work is given. It must pass on `signal`: a timeout that does not stop the work is a leak. */
export interface Attempt {
  /** The same on every attempt of a call: an idempotency key for whoever takes one. 32 hex digits. */
  readonly callId: string;
  /** From 1; copies count too. */
  readonly number: number;
  /** Aborts when the call's deadline or the attempt's own time is over, when the caller is gone, and when another attempt has won. Made when first read. */
  readonly signal: AbortSignal;
  /** When `signal` aborts for time. */
  readonly deadline: Deadline;
}

/** An attempt as its call sees it. The first of a call is the call itself: one object less for each call that needs no other. */
export interface AnyAttempt extends Attempt {
  readonly why: AttemptWhy;
  /** The gate's: handed back with the attempt's end. */
  readonly ticket: number;
  /** Undefined: within the turn of the call, which is not over. */
  startedMs: number | undefined;
  /** Nobody waits for it: it has ended, or was stopped. */
  isDone: boolean;
  /** Holds its signal; and the calls that the work makes, unless they are to inherit nothing. Undefined while nobody needs it. */
  inner: CallScope | undefined;
}

/** An attempt after the first. */
export class LaterAttempt implements AnyAttempt, Deadline {
  readonly number: number;
  readonly why: AttemptWhy;
  readonly ticket: number;
  startedMs: number | undefined;
  isDone: boolean;
  inner: CallScope | undefined;
  readonly #call: ProtectedCall;

  constructor(call: ProtectedCall, number: number, why: AttemptWhy, ticket: number) {
    this.number = number;
    this.why = why;
    this.ticket = ticket;
    this.startedMs = undefined;
    this.isDone = false;
    this.inner = undefined;
    this.#call = call;
  }

  get callId(): string {
    return this.#call.callId;
  }
  get signal(): AbortSignal {
    return this.#call.innerOf(this).signal;
  }
  get deadline(): Deadline {
    return this;
  }
  remainingMs(): number {
    return this.#call.leftMs(this);
  }
  [inspectCustom](): object {
    return { callId: this.callId, number: this.number };
  }
}

/** What calls made inside an attempt inherit. */
export class AttemptScope extends CallScope {
  readonly #parent: CallScope | undefined;

  constructor(call: ProtectedCall, deadlineMs: number, mayRepeat: boolean) {
    super(call.plan.protection.runtime.world.clock);
    const parent = call.scope;
    this.#parent = parent;
    this.deadlineMs = deadlineMs;
    this.priority = call.priority;
    this.mayRepeat = mayRepeat;
    if (parent !== undefined) copyTrace(parent, this);
  }

  override get call(): Call | undefined {
    return this.#parent?.call;
  }
}

/** Runs `work` inside `scope`. As `scopes.run`, which makes two maps of all stores where this makes one: it is half of what a call costs. */
export function runInside<A extends readonly unknown[]>(
  scope: CallScope,
  context: AsyncResource,
  work: (attempt: Attempt, ...args: A) => unknown,
  attempt: Attempt,
  args: A,
): unknown {
  return context.runInAsyncScope(enter as typeof enter<A>, undefined, scope, work, attempt, args);
}

function enter<A extends readonly unknown[]>(
  scope: CallScope,
  work: (attempt: Attempt, ...args: A) => unknown,
  attempt: Attempt,
  args: A,
): unknown {
  // Ends with the context's own scope.
  scopes.enterWith(scope);
  return work(attempt, ...args);
}
