/**
 * The call that a server's interceptors see.
 */
import type { Deadline } from "../call/deadline.ts";
import type { InterceptedCall, Outcome, Reply, Source } from "../call/interceptor.ts";
import { type Metadata, metadataFrom, type MetadataInit } from "../call/metadata.ts";
import { type Change, changedMessages, StreamReply } from "../call/stream-reply.ts";
import type { MethodInfo, Priority } from "../call/method.ts";
import { anyOption, numberOption, type Options, resolveOptions } from "../call/options.ts";
import type { ServerCall } from "./server-call.ts";

const changeShape = {
  metadata: anyOption<MetadataInit>(),
  signal: anyOption<AbortSignal>(),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
};

/** What `with` and `map` have changed. */
export interface Changed {
  readonly metadata?: Metadata | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly deadlineMs?: number | undefined;
  readonly changes?: readonly Change[] | undefined;
}

export class InterceptedServerCall implements InterceptedCall {
  readonly #call: ServerCall;
  readonly #requests: Source<unknown>;
  readonly #done: Promise<Outcome>;
  readonly #changed: Changed;

  constructor(call: ServerCall, requests: Source<unknown>, done: Promise<Outcome>, changed: Changed) {
    this.#call = call;
    this.#requests = requests;
    this.#done = done;
    this.#changed = changed;
  }
  get id(): string {
    return this.#call.id;
  }
  get side(): "server" {
    return "server";
  }
  get method(): MethodInfo {
    return this.#call.route.plan.info;
  }
  get metadata(): Metadata {
    return this.#changed.metadata ?? this.#call.call.metadata;
  }
  get deadline(): Deadline {
    const own = this.#changed.deadlineMs;
    if (own === undefined) return this.#call.call.deadline;
    const clock = this.#call.core.runtime.world.clock;
    return { remainingMs: () => Math.max(0, Math.min(own, this.#call.deadlineMs) - clock.monotonicMs()) };
  }
  get signal(): AbortSignal {
    return this.#changed.signal ?? this.#call.signal;
  }
  get priority(): Priority {
    return this.#call.priority;
  }
  with(change: Options<{ metadata: MetadataInit; signal: AbortSignal; timeoutMs: number }>): InterceptedCall {
    const nowMs = this.#call.core.runtime.world.clock.monotonicMs();
    const { metadata, signal, timeoutMs } = resolveOptions("", change, changeShape);
    const before = this.#changed;
    return new InterceptedServerCall(this.#call, this.#requests, this.#done, {
      ...before,
      metadata: metadata === undefined ? before.metadata : metadataFrom(metadata),
      signal: signal === undefined ? before.signal : AbortSignal.any([this.signal, signal]),
      deadlineMs:
        timeoutMs === undefined ? before.deadlineMs : Math.min(before.deadlineMs ?? Infinity, nowMs + timeoutMs),
    });
  }
  map(change: Change): InterceptedCall {
    const changes = [...(this.#changed.changes ?? []), change];
    return new InterceptedServerCall(this.#call, this.#requests, this.#done, { ...this.#changed, changes });
  }
  reply(messages: Source<unknown>): Reply {
    return new StreamReply(messages, metadataFrom(undefined), this.#done, []);
  }
  /** What the handler is to see changed; undefined if it sees its call as it came. */
  get changed(): Changed | undefined {
    const { metadata, signal, deadlineMs } = this.#changed;
    return metadata === undefined && signal === undefined && deadlineMs === undefined ? undefined : this.#changed;
  }
  /** The request messages, changed. */
  requests(): AsyncIterable<unknown> {
    return changedMessages(this.#requests, this.#changed.changes ?? []);
  }
}
