/**
 * grpc.health.v1.Health: Check, List (gRFC A90) and Watch, as grpc/doc/health-checking.md has them. A Watch says how a service is at once, and
 * again when that changes; what changed while its caller did not read is not kept, the latest word is. One that asks for an unknown
 * service goes on, for the service may be added. Load balancers and our own clients (gRFC A17) hold one for each connection, so a
 * Watch costs an entry in a set and no timer, and a change is worked out once for all that ask for the same service.
 */
import { failure, RpcError } from "../call/error.ts";
import { HealthCheckResponse_ServingStatus as Status } from "../schema/gen/grpc/health/v1/health_pb.ts";
import type { HealthBoard } from "./health.ts";

/** Services that List tells of; a server that has more refuses it (gRFC A90). */
export const LISTED_SERVICES_MAX = 100;
/** Watches at once: twice as many as connections, unless told otherwise, so that a peer's second one finds a place. */
export const WATCHES_MAX = 20_000;
/** Characters of a service's name. Longer ones are no names, and each Watch keeps what it asked for. */
export const NAME_LENGTH_MAX = 512;

/** What is answered. */
export interface HealthReply {
  readonly status: Status;
}

/** What a Watch needs of its call. */
export interface WatchingCall {
  /** Aborted when nobody waits for the call any more. */
  readonly signal: AbortSignal;
  /** Aborted when the call's connection, or the server, is to come to an end. */
  readonly draining?: AbortSignal | undefined;
}

const SERVING: HealthReply = Object.freeze({ status: Status.SERVING });
const NOT_SERVING: HealthReply = Object.freeze({ status: Status.NOT_SERVING });
const SERVICE_UNKNOWN: HealthReply = Object.freeze({ status: Status.SERVICE_UNKNOWN });

/** The handlers of the contract `Health`, for one server. */
export class HealthService {
  readonly #board: HealthBoard;
  readonly #topics: Map<string, Topic>;
  readonly #changes: Disposable;
  #watches: number;
  #hasEnded: boolean;

  constructor(board: HealthBoard) {
    this.#board = board;
    this.#topics = new Map();
    this.#watches = 0;
    this.#hasEnded = false;
    this.#changes = board.onChange(() => this.#changed());
  }

  /** Watches that are open. */
  get watches(): number {
    return this.#watches;
  }

  check({ service }: { readonly service: string }): HealthReply {
    const reply = this.#replyOf(service);
    if (reply !== SERVICE_UNKNOWN) return reply;
    throw new RpcError("NOT_FOUND", `service ${shortened(service)} is not known here`);
  }

  list(): { readonly statuses: Record<string, HealthReply> } {
    const { services } = this.#board;
    if (services.length > LISTED_SERVICES_MAX) {
      throw new RpcError("RESOURCE_EXHAUSTED", `there are more than ${LISTED_SERVICES_MAX} services: ask for each`);
    }
    // fromEntries defines, so that a service of any name is a key.
    return { statuses: Object.fromEntries(["", ...services].map((name) => [name, this.#replyOf(name)])) };
  }

  watch({ service }: { readonly service: string }, call: WatchingCall): AsyncIterable<HealthReply> {
    if (service.length > NAME_LENGTH_MAX) {
      throw new RpcError("INVALID_ARGUMENT", `a service's name has at most ${NAME_LENGTH_MAX} characters`);
    }
    if (this.#watches >= WATCHES_MAX) {
      throw new RpcError("RESOURCE_EXHAUSTED", `there are ${WATCHES_MAX} health Watches already`);
    }
    let topic = this.#topics.get(service);
    if (topic === undefined) {
      topic = new Topic(service, this.#replyOf(service));
      this.#topics.set(service, topic);
    }
    this.#watches += 1;
    const watch = new Watch(topic, call, this);
    if (this.#hasEnded) watch.end(closing());
    return watch;
  }

  /**
   * Ends all Watches, which would otherwise hold a drain up until they are cut; one that is opened later ends after its first word. To be
   * called when connections are told to go away, so that the time before is time to read that the server drains.
   */
  end(): void {
    this.#hasEnded = true;
    for (const topic of [...this.#topics.values()]) for (const watch of [...topic.watches]) watch.end(closing());
  }

  /** The board is not listened to any more. */
  [Symbol.dispose](): void {
    this.#changes[Symbol.dispose]();
    this.end();
  }

  #replyOf(service: string): HealthReply {
    switch (this.#board.wordOf(service)) {
      case "SERVING":
        return SERVING;
      case "NOT_SERVING":
        return NOT_SERVING;
      case undefined:
        return SERVICE_UNKNOWN;
    }
  }

  #changed(): void {
    for (const topic of [...this.#topics.values()]) {
      const reply = this.#replyOf(topic.service);
      if (reply === topic.reply) continue;
      topic.reply = reply;
      for (const watch of topic.watches) watch.look();
    }
    if (this.#board.phase === "closed") this.end();
  }

  /** A Watch of this topic is over. */
  left(topic: Topic): void {
    this.#watches -= 1;
    if (topic.watches.size === 0 && this.#topics.get(topic.service) === topic) this.#topics.delete(topic.service);
  }
}

/** One service that is asked for, and who asks. */
class Topic {
  readonly service: string;
  readonly watches: Set<Watch>;
  reply: HealthReply;

  constructor(service: string, reply: HealthReply) {
    this.service = service;
    this.watches = new Set();
    this.reply = reply;
  }
}

/** One Watch, as the replies of its call. */
class Watch implements AsyncIterable<HealthReply>, AsyncIterator<HealthReply> {
  readonly #topic: Topic;
  readonly #call: WatchingCall;
  readonly #service: HealthService;
  #sent: HealthReply | undefined;
  #waiting: PromiseWithResolvers<IteratorResult<HealthReply>> | undefined;
  #isEnded: boolean;
  #error: RpcError | undefined;

  constructor(topic: Topic, call: WatchingCall, service: HealthService) {
    this.#topic = topic;
    this.#call = call;
    this.#service = service;
    this.#sent = undefined;
    this.#waiting = undefined;
    this.#isEnded = false;
    this.#error = undefined;
    topic.watches.add(this);
    call.signal.addEventListener("abort", this);
    call.draining?.addEventListener("abort", this);
    if (call.signal.aborted || call.draining?.aborted === true) this.handleEvent();
  }

  /** One of its signals was aborted. */
  handleEvent(): void {
    this.end(this.#call.signal.aborted ? undefined : closing());
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<HealthReply>> {
    const reply = this.#topic.reply;
    // What there is to say is said before the end, so that the first word always comes.
    if (reply !== this.#sent && (!this.#isEnded || this.#sent === undefined)) {
      this.#sent = reply;
      return Promise.resolve({ value: reply, done: false });
    }
    if (this.#isEnded) {
      const error = this.#error;
      this.#error = undefined;
      return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }
    this.#waiting ??= Promise.withResolvers();
    return this.#waiting.promise;
  }

  return(): Promise<IteratorResult<HealthReply>> {
    this.end(undefined);
    this.#error = undefined;
    return Promise.resolve({ value: undefined, done: true });
  }

  /** The word is another one. */
  look(): void {
    const reply = this.#topic.reply;
    const waiting = this.#waiting;
    if (waiting === undefined || reply === this.#sent) return;
    this.#waiting = undefined;
    this.#sent = reply;
    waiting.resolve({ value: reply, done: false });
  }

  end(error: RpcError | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#call.signal.removeEventListener("abort", this);
    this.#call.draining?.removeEventListener("abort", this);
    this.#topic.watches.delete(this);
    this.#service.left(this.#topic);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#error = error;
    else if (error === undefined) waiting.resolve({ value: undefined, done: true });
    else waiting.reject(error);
  }
}

function closing(): RpcError {
  return failure({ code: "UNAVAILABLE", text: "the server is about to end", reason: "SERVER_DRAINING" });
}

function shortened(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
