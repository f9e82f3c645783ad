/**
 * The reply that interceptors see, on both sides: its messages are a stream, be they one or many.
 */
import type { Outcome, Reply, Source } from "./interceptor.ts";
import { type Metadata, metadataFrom, type MetadataInit } from "./metadata.ts";

export type Change = (message: unknown) => unknown;

export class StreamReply implements Reply {
  readonly #messages: Source<unknown>;
  readonly #header: Metadata;
  readonly #changes: readonly Change[];
  readonly done: Promise<Outcome>;

  constructor(messages: Source<unknown>, header: Metadata, done: Promise<Outcome>, changes: readonly Change[]) {
    this.#messages = messages;
    this.#header = header;
    this.#changes = changes;
    this.done = done;
  }
  get header(): Metadata {
    return this.#header;
  }
  map(change: Change): Reply {
    return new StreamReply(this.#messages, this.#header, this.done, [...this.#changes, change]);
  }
  withHeader(header: MetadataInit): Reply {
    return new StreamReply(this.#messages, metadataFrom(header), this.done, this.#changes);
  }
  /** The reply messages, changed. */
  messages(): AsyncIterable<unknown> {
    return changedMessages(this.#messages, this.#changes);
  }
}

/** Each message after all changes, which may be asynchronous. */
export async function* changedMessages(source: Source<unknown>, changes: readonly Change[]): AsyncGenerator<unknown> {
  for await (const message of source) {
    let changed = message;
    for (const change of changes) changed = await change(changed);
    yield changed;
  }
}
