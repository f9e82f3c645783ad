/**
 * A call as a handler sees it after an interceptor changed it with `with`: other metadata, a further signal, a shorter deadline.
 * It is a scope of its own inside the call's, so that calls which the handler makes inherit the change.
 */
import { failure, type RpcError } from "../call/error.ts";
import type { Deadline } from "../call/deadline.ts";
import type { Metadata } from "../call/metadata.ts";
import { CallScope, copyTrace, type ScopeChild } from "../call/scope.ts";
import type { Timer } from "../world/timers.ts";
import type { Changed } from "./intercepted-call.ts";
import { HandlerView } from "./handler-view.ts";
import type { ServerCall } from "./server-call.ts";

export class ChangedCall extends CallScope implements ScopeChild {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  readonly #call: ServerCall;
  readonly #signal: AbortSignal | undefined;
  readonly #view: HandlerView;
  readonly #aborted: () => void;
  readonly #timer: Timer | undefined;
  #expire: ((error: RpcError) => void) | undefined;
  #error: RpcError | undefined;

  constructor(call: ServerCall, { metadata, signal, deadlineMs }: Changed) {
    super(call.clock);
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.#call = call;
    this.#signal = signal;
    this.#expire = undefined;
    this.#error = undefined;
    this.#view = new ChangedView(call, this, metadata);
    this.reserveMs = call.reserveMs;
    this.priority = call.priority;
    copyTrace(call, this);
    this.deadlineMs = Math.min(call.deadlineMs, deadlineMs ?? Infinity);
    call.addChild(this);
    if (call.isCancelled) this.cancel(call.cancelReason);
    this.#aborted = () => this.cancel(signal?.reason);
    if (signal?.aborted === true) this.#aborted();
    else signal?.addEventListener("abort", this.#aborted, { once: true });
    const { clock, timers } = call.core.runtime.world;
    // The call's own deadline has its own timer.
    this.#timer =
      this.deadlineMs < call.deadlineMs
        ? timers.schedule(this.deadlineMs - clock.monotonicMs(), () => this.#expired())
        : undefined;
  }

  override get call(): HandlerView {
    return this.#view;
  }
  scopeCancelled(reason: unknown): void {
    this.cancel(reason);
  }

  /** What the work gives, or the deadline's error if that comes first. */
  bounded<T>(work: T | PromiseLike<T>): T | PromiseLike<T> {
    if (this.#timer === undefined) return work;
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error);
      this.#expire = reject;
      Promise.resolve(work).then(resolve, reject);
    });
  }

  /** The handler has ended. */
  end(): void {
    this.#timer?.cancel();
    this.#signal?.removeEventListener("abort", this.#aborted);
    this.#call.removeChild(this);
  }

  #expired(): void {
    const text = "the deadline that an interceptor set passed while the handler ran";
    const method = this.#call.route.plan.info;
    this.#error = failure({ code: "DEADLINE_EXCEEDED", text, reason: "DEADLINE", method, callId: this.#call.id });
    this.cancel(this.#error);
    this.#expire?.(this.#error);
  }
}

class ChangedView extends HandlerView {
  readonly #scope: ChangedCall;
  readonly #changed: Metadata | undefined;
  readonly #ends: Deadline;

  constructor(call: ServerCall, scope: ChangedCall, metadata: Metadata | undefined) {
    super(call);
    this.#scope = scope;
    this.#changed = metadata;
    const { clock } = call.core.runtime.world;
    this.#ends = { remainingMs: () => Math.max(0, scope.deadlineMs - clock.monotonicMs()) };
  }
  override get metadata(): Metadata {
    return this.#changed ?? super.metadata;
  }
  override get deadline(): Deadline {
    return this.#ends;
  }
  override get signal(): AbortSignal {
    return this.#scope.signal;
  }
}
