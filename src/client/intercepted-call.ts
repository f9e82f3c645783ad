/**
 * The call that a client's interceptors see.
 */
import { callIdText, type IdWords } from "../call/ids.ts";
import type { Deadline } from "../call/deadline.ts";
import type { InterceptedCall, Outcome, Reply, Source } from "../call/interceptor.ts";
import { emptyMetadata, type Metadata, metadataFrom, type MetadataInit } from "../call/metadata.ts";
import type { MethodInfo, Priority } from "../call/method.ts";
import { anyOption, numberOption, type Options, resolveOptions } from "../call/options.ts";
import { scopes } from "../call/scope.ts";
import { type Change, changedMessages, StreamReply } from "../call/stream-reply.ts";
import type { World } from "../world/world.ts";
import { priorityOf } from "./call-base.ts";
import type { ClientMethod } from "./client-method.ts";
import type { CallOptions, ReplyInfo } from "./options.ts";

const changeShape = {
  metadata: anyOption<MetadataInit>(),
  signal: anyOption<AbortSignal>(),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000, infinity: true }),
};

interface Facts extends CallOptions {
  readonly deadlineMs: number;
  readonly changes: readonly Change[];
  readonly signal: AbortSignal;
}

export class InterceptedClientCall implements InterceptedCall {
  readonly #world: World;
  readonly #method: ClientMethod;
  readonly #id: IdWords;
  readonly #requests: Source<unknown>;
  readonly #facts: Facts;

  constructor(world: World, method: ClientMethod, id: IdWords, requests: Source<unknown>, facts: Facts) {
    this.#world = world;
    this.#method = method;
    this.#id = id;
    this.#requests = requests;
    this.#facts = facts;
  }
  get id(): string {
    return this.#facts.idempotencyKey ?? callIdText(this.#id);
  }
  get side(): "client" {
    return "client";
  }
  get method(): MethodInfo {
    return this.#method.plan.info;
  }
  get metadata(): Metadata {
    return this.#facts.metadata === undefined ? emptyMetadata : metadataFrom(this.#facts.metadata);
  }
  get deadline(): Deadline {
    const { deadlineMs } = this.#facts;
    const parentMs = scopes.getStore()?.deadlineMs ?? Infinity;
    return { remainingMs: () => Math.max(0, Math.min(deadlineMs, parentMs) - this.#world.clock.monotonicMs()) };
  }
  get signal(): AbortSignal {
    return this.#facts.signal;
  }
  get priority(): Priority {
    return priorityOf(this.#facts.priority, this.#method.policy.priority, scopes.getStore());
  }
  with(change: Options<{ metadata: MetadataInit; signal: AbortSignal; timeoutMs: number }>): InterceptedCall {
    const facts = this.#facts;
    const { metadata, signal, timeoutMs } = resolveOptions("", change, changeShape);
    const ownMs = timeoutMs === undefined ? Infinity : this.#world.clock.monotonicMs() + timeoutMs;
    return this.#changed({
      ...facts,
      metadata: metadata === undefined ? facts.metadata : metadataFrom(metadata),
      signal: signal === undefined ? facts.signal : AbortSignal.any([facts.signal, signal]),
      deadlineMs: Math.min(facts.deadlineMs, ownMs),
    });
  }
  map(change: Change): InterceptedCall {
    return this.#changed({ ...this.#facts, changes: [...this.#facts.changes, change] });
  }
  reply(messages: Source<unknown>): Reply {
    const outcome: Outcome = { code: "OK", error: undefined, trailer: emptyMetadata, tookMs: 0 };
    return new StreamReply(messages, emptyMetadata, Promise.resolve(outcome), []);
  }

  /** The request messages, changed. */
  requests(): AsyncIterable<unknown> {
    return changedMessages(this.#requests, this.#facts.changes);
  }
  /** Options for one execution, from now on. */
  optionsNow(onReply: (info: ReplyInfo) => void): CallOptions {
    const { metadata, signal, priority, idempotencyKey, deadlineMs } = this.#facts;
    const leftMs = deadlineMs - this.#world.clock.monotonicMs();
    return { metadata, signal, priority, idempotencyKey, onReply, timeoutMs: Math.max(1, leftMs) };
  }

  #changed(facts: Facts): InterceptedCall {
    return new InterceptedClientCall(this.#world, this.#method, this.#id, this.#requests, facts);
  }
}
