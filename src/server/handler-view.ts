/**
 * Hot path: what a handler sees of its call.
 */
import type { Call } from "../call/call.ts";
import type { Deadline } from "../call/deadline.ts";
import { emptyMetadata, type Metadata, metadataFromPairs } from "../call/metadata.ts";
import type { MethodInfo } from "../call/method.ts";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";
import type { HandlerCall } from "./handler-call.ts";
import type { ServerCall } from "./server-call.ts";

/** What a handler sees of its call. */
export class HandlerView implements HandlerCall {
  readonly #call: ServerCall;
  #metadata: Metadata | undefined;
  #deadline: Deadline | undefined;
  #draining: AbortSignal | undefined;

  constructor(call: ServerCall) {
    this.#call = call;
    this.#metadata = undefined;
    this.#deadline = undefined;
    this.#draining = undefined;
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
    const pairs = this.#call.requestPairs;
    this.#metadata ??= pairs === undefined ? emptyMetadata : metadataFromPairs(pairs);
    return this.#metadata;
  }
  get deadline(): Deadline {
    const call = this.#call;
    this.#deadline ??= {
      remainingMs: () => Math.max(0, call.deadlineMs - call.core.runtime.world.clock.monotonicMs()),
    };
    return this.#deadline;
  }
  get signal(): AbortSignal {
    return this.#call.signal;
  }
  get priority(): Call["priority"] {
    return this.#call.priority;
  }
  get peer(): Peer {
    return this.#call.core.peerOf(this.#call.exchange.connection);
  }
  get principal(): Principal | undefined {
    return this.#call.principal;
  }
  setHeader(name: string, value: string | Uint8Array): void {
    this.#call.setHeader(name, value);
  }
  setTrailer(name: string, value: string | Uint8Array): void {
    this.#call.setTrailer(name, value);
  }
  /** Seen in types only where the journal has transactions. */
  transact<R>(work: (tx: unknown) => R | Promise<R>): Promise<R> {
    return this.#call.transact(work);
  }
  get draining(): AbortSignal {
    const { exchange } = this.#call;
    this.#draining ??= exchange.connection.drainingOf(exchange.stream);
    return this.#draining;
  }
  resumeWith(token: string | Uint8Array): void {
    this.#call.resumeWith(token);
  }
}
