/**
 * What flows through user code: the current call, bounded scopes, and work that outlives its call.
 */
import type { Call } from "../call/call.ts";
import type { Priority } from "../call/method.ts";
import { numberOption, type Options, anyOption, resolveOptions, wordOption } from "../call/options.ts";
import { CallScope, copyTrace, type ScopeChild, scopes } from "../call/scope.ts";
import { failure } from "../call/error.ts";
import { nodeWorld } from "../world/node.ts";

const withinShape = {
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
  signal: anyOption<AbortSignal>(),
  priority: wordOption(["critical", "normal", "sheddable"]),
};

/** The call being handled here, or undefined. Its deadline, signal, priority and trace are inherited by calls made now. */
export function currentCall(): Call | undefined {
  return scopes.getStore()?.call;
}

/**
 * Bounds every call made inside `work`: a deadline in milliseconds (1..86400000), a signal, a priority; what is not given is
 * inherited. Does not race `work` itself, which gets the signal to pass on. RangeError or TypeError for a wrong bound.
 */
export async function within<T>(
  scope: Options<{ timeoutMs: number; signal: AbortSignal; priority: Priority }>,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { timeoutMs, signal, priority } = resolveOptions("", scope, withinShape);
  const parent = scopes.getStore();
  const inner = new BoundScope(parent);
  if (priority !== undefined) inner.priority = priority;
  const { timers } = nodeWorld;
  const ownMs = timeoutMs === undefined ? Infinity : inner.clock.monotonicMs() + timeoutMs;
  inner.deadlineMs = Math.min(inner.deadlineMs, ownMs);
  const timer =
    ownMs === Infinity
      ? undefined
      : timers.schedule(timeoutMs as number, () =>
          inner.cancel(
            failure({ code: "DEADLINE_EXCEEDED", text: `the scope's ${timeoutMs} ms have passed`, reason: "DEADLINE" }),
          ),
        );
  const aborted = (): void => inner.cancel(signal?.reason);
  if (signal?.aborted === true) aborted();
  else signal?.addEventListener("abort", aborted, { once: true });
  parent?.addChild(inner);
  try {
    return await scopes.run(inner, () => work(inner.signal));
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", aborted);
    parent?.removeChild(inner);
  }
}

/** Runs `work` outside the current call: no inherited deadline or cancellation; the trace stays linked. */
export function detach<T>(work: () => T): T {
  const parent = scopes.getStore();
  if (parent === undefined) return work();
  const inner = new CallScope(parent.clock);
  copyTrace(parent, inner);
  return scopes.run(inner, work);
}

/** A scope that is no call of its own. */
class BoundScope extends CallScope implements ScopeChild {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  readonly #parent: CallScope | undefined;

  constructor(parent: CallScope | undefined) {
    super(parent?.clock ?? nodeWorld.clock);
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.#parent = parent;
    if (parent === undefined) return;
    this.deadlineMs = parent.deadlineMs - parent.reserveMs;
    this.priority = parent.priority;
    this.mayRepeat = parent.mayRepeat;
    copyTrace(parent, this);
    if (parent.isCancelled) this.cancel(parent.cancelReason);
  }
  override get call(): Call | undefined {
    return this.#parent?.call;
  }
  scopeCancelled(reason: unknown): void {
    this.cancel(reason);
  }
}
