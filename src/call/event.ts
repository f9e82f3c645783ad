/**
 * Events: what clients, channels and servers say while they work. A closed catalogue, typed by name; one that nobody hears costs a
 * branch.
 */
import { channel } from "node:diagnostics_channel";
import type { CodeOrOk } from "./code.ts";
import type { DrainReport } from "./drain-report.ts";
import type { Fault } from "./fault.ts";
import type { MethodInfo, Priority } from "./method.ts";
import { describeValue, resolveOptions, wordOption } from "./options.ts";
import type { Peer } from "./peer.ts";

/** Why an attempt was made: the call's first, after a failure, beside one that is overdue, one of many at once, by an interceptor. */
export type AttemptWhy = "first" | "retry" | "hedge" | "copy" | "interceptor";

/** What made a call succeed that would have failed, or would have been late. */
export type SavedBy = "retry" | "hedge" | "fallback" | "cache" | "dedup";

/** How a client sees a peer. */
export type PeerHealth =
  | "idle"
  | "connecting"
  | "ready"
  | "suspect"
  | "ejected"
  | "not-serving"
  | "draining"
  | "failed"
  | "closed";

/**
 * Where the time of a call went: until a peer was given its first attempt; in earlier attempts and the waits between them; from the beginning
 * of the attempt that decided until the first sign of its answer; from there to the end; and what of all these this process stood still.
 */
export type CallPhase = "queue" | "earlier" | "server" | "receive" | "stall";

/** One attempt of a call that has ended. */
export interface AttemptRecord {
  /** Undefined if no peer had been picked. */
  readonly peer: Peer | undefined;
  readonly why: AttemptWhy;
  /** Milliseconds from the beginning of the call. */
  readonly startMs: number;
  readonly tookMs: number;
  readonly code: CodeOrOk;
  /** Undefined if nothing went wrong; a cancelled loser has none either. */
  readonly fault: Fault | undefined;
}

/** What happened to one call, for people and for logs. Holds no payload. */
export interface CallRecord {
  /** The same on every attempt, in every record, and on the server. */
  readonly callId: string;
  /** W3C trace id, 32 hex digits; undefined without a trace. */
  readonly traceId: string | undefined;
  readonly method: MethodInfo;
  readonly side: "client" | "server";
  readonly code: CodeOrOk;
  readonly tookMs: number;
  /** The time that the call was given at its beginning; Infinity if it had no deadline. */
  readonly deadlineMs: number;
  /** Where the time went, in milliseconds; they add up to `tookMs`. A phase that was not measured is absent. */
  readonly phasesMs: Readonly<Partial<Record<CallPhase, number>>>;
  /** In the order in which they were started. */
  readonly attempts: readonly AttemptRecord[];
  /** Undefined if nothing had to save it, or nothing could. */
  readonly savedBy: SavedBy | undefined;
  /** One sentence: what happened, whose part it was, what may be done. */
  readonly verdict: string;
}

/**
 * Every event and what it carries. Closed: {@link eventCatalogue} has a line for each, and docs/events.md a row.
 */
export interface EventMap {
  "call.ended": { readonly record: CallRecord };
  "attempt.ended": {
    readonly callId: string;
    readonly peer: Peer;
    readonly code: CodeOrOk;
    readonly tookMs: number;
    readonly fault: Fault | undefined;
  };
  retry: {
    readonly callId: string;
    readonly method: MethodInfo;
    /** The number of the attempt that is to come; the first of a call is 1. */
    readonly attempt: number;
    /** How long it waits before it starts; 0 for at once. */
    readonly delayMs: number;
    /** Repeats that the budget still has, this one taken. */
    readonly budgetLeft: number;
    /** Whose failure is repeated; undefined if no peer had been picked. */
    readonly peer: Peer | undefined;
  };
  hedge: {
    readonly callId: string;
    readonly method: MethodInfo;
    /** How long the youngest attempt had been waited for. */
    readonly afterMs: number;
    /** Who gets the copy. */
    readonly peer: Peer;
  };
  throttled: {
    readonly method: MethodInfo;
    /** The share of calls that the throttle refuses now, 0..1. */
    readonly refusedShare: number;
  };
  "peer.changed": { readonly peer: Peer; readonly health: PeerHealth; readonly why: string };
  "peers.resolved": {
    /** Addresses. */
    readonly added: readonly string[];
    readonly removed: readonly string[];
    /** The resolver's list shrank so much at once that it is not believed yet. */
    readonly isHeldBack: boolean;
  };
  "connection.changed": {
    readonly peer: Peer;
    /** "closed" also if it was never made: `why` says so. */
    readonly state: "open" | "closed";
    readonly why: string;
  };
  "admission.refused": {
    readonly method: MethodInfo;
    readonly priority: Priority;
    /** Why, in one word of docs/admission.md. */
    readonly why: string;
  };
  stall: { readonly stallMs: number };
  suspected: {
    readonly peer: Peer;
    /** How long nothing came from it while an answer was due. */
    readonly silentMs: number;
  };
  condemned: { readonly peer: Peer; readonly silentMs: number };
  poisoned: { readonly callId: string; readonly method: MethodInfo };
  ejection: {
    readonly peer: Peer;
    readonly kind: "ejected" | "returned";
    readonly why: string;
    /** When it may return, on the clock of `atMs`; for "returned" that time is over. */
    readonly untilMs: number;
    /** False while the detector only observes: it would have been (gRFC A91's unenforced ejections). */
    readonly isEnforced: boolean;
  };
  "budget.empty": { readonly method: MethodInfo };
  drain: {
    readonly state: "started" | "ended";
    /** How it went; undefined when it starts. */
    readonly report: DrainReport | undefined;
  };
  observed: {
    /** The mechanism that `createSwitches` lets decide and do nothing. */
    readonly mechanism: string;
    /** What it would have done, in a few words. */
    readonly what: string;
    /** Undefined if it was not about one call. */
    readonly callId: string | undefined;
    /** Undefined if it was not about one peer. */
    readonly peer: Peer | undefined;
  };
}

/** An event's name, or `"*"` for all of them. */
export type EventName = keyof EventMap | "*";

/** What a listener is given. `atMs` is on the monotonic clock: `performance.now()`, or the simulation's. */
export type Event<N extends EventName = "*"> = {
  [K in N extends "*" ? keyof EventMap : N]: K extends keyof EventMap
    ? { readonly name: K; readonly atMs: number } & EventMap[K]
    : never;
}[N extends "*" ? keyof EventMap : N];

/** What each event means, in one line for people. */
export const eventCatalogue: Readonly<Record<keyof EventMap, string>> = Object.freeze({
  "call.ended": "a call ended, well or not; the record says what happened to it",
  "attempt.ended": "one attempt of a call ended with an answer, a failure or its call's deadline",
  retry: "a failed attempt is going to be repeated",
  hedge: "an attempt is overdue, and a copy of it starts: of a client's call at another peer",
  throttled: "a call or a copy was refused here, for its service would have refused it for overload",
  "peer.changed": "a peer became one that calls may go to, or is no longer, or is thought of otherwise",
  "peers.resolved": "the resolver gave another list of peers",
  "connection.changed": "a connection to a peer opened, or was closed, or could not be made",
  "admission.refused": "a server did not let a call begin, for overload or for want of time",
  stall: "this process's event loop stood still, so that peers are not to blame for silence",
  suspected: "a peer is silent while it owes an answer: others are picked first, and it is pinged",
  condemned: "a suspected peer did not answer its ping either: its connection is destroyed",
  poisoned: "connections died under a call twice: it has failed and is not sent again",
  ejection: "a peer was ejected for its failures, its slowness or altered messages, or returned",
  "budget.empty": "a call failed that could have been repeated, but the budget for repeats was empty",
  drain: "a server began to close: health says so, and new calls are to go elsewhere; or it has closed",
  observed: "a mechanism that only observes would have acted",
});

/** At most this many listeners on one client, channel or server; one more is a RangeError. */
export const listenersMax = 1_000;

/** Where one kind of event leaves: its bit among those that are listened to (so at most 31 kinds), and its channel. */
interface Outlet {
  readonly bit: number;
  readonly channel: ReturnType<typeof channel>;
}

const names = Object.keys(eventCatalogue) as (keyof EventMap)[];
/** Made once for the process and held here, so that the channels are never collected. */
const outlets = Object.freeze(
  Object.fromEntries(names.map((name, i) => [name, { bit: 1 << i, channel: channel(`holdfast:${name}`) }])),
) as { readonly [N in keyof EventMap]: Outlet };
const everyBit = 2 ** names.length - 1;

const nameShape = { event: wordOption<EventName>([...names, "*"]) };

/**
 * Whoever listens to one client or channel. What is emitted reaches its own listeners in the order in which they came, then
 * those of its parent, then the subscribers of Node's diagnostics channel `holdfast:<name>`; all of them synchronously,
 * with one frozen object that they share.
 */
export class Events {
  private readonly parent: Events | undefined;
  /** Replaced, never changed, so that an emission under way keeps the list it began with. */
  private listeners: readonly Listener[];
  /** The union of the listeners' bits. */
  private heard: number;

  /** What is emitted here is also heard by the listeners of `parent`; a channel is its clients' parent. */
  constructor(parent?: Events) {
    this.parent = parent;
    this.listeners = [];
    this.heard = 0;
  }

  /**
   * Whether anything at all is heard here: by a listener of this or of a parent, or on a diagnostics channel. To be read
   * before an event's payload is made. Without listeners it costs about 4 ns.
   */
  get isHeard(): boolean {
    if (this.heard !== 0) return true;
    for (let above = this.parent; above !== undefined; above = above.parent) if (above.heard !== 0) return true;
    return isAnySubscribed();
  }

  /** The same for one kind of event. */
  hears(name: keyof EventMap): boolean {
    const outlet = outlets[name];
    if ((this.heard & outlet.bit) !== 0) return true;
    for (let above = this.parent; above !== undefined; above = above.parent)
      if ((above.heard & outlet.bit) !== 0) return true;
    return outlet.channel.hasSubscribers;
  }

  /**
   * Calls `listener` with each event of that name from now on, until what is returned is disposed of. It is called where
   * the event happens, before anything else goes on: what takes long, or calls back, should wait for a later turn.
   *
   * A listener that throws, or whose promise rejects, is removed, and the error is thrown on by itself in a microtask, where it is an
   * uncaught exception. One that is added during an emission hears the next; one that is removed hears nothing more.
   *
   * TypeError for what is not a function; RangeError for an unknown name, and for more than {@link listenersMax} listeners.
   */
  on<N extends EventName>(name: N, listener: (event: Event<N>) => void): Disposable {
    const { event } = resolveOptions("", { event: name }, nameShape);
    if (event === undefined) throw new TypeError('event must be the name of an event, or "*", got undefined');
    if (typeof listener !== "function")
      throw new TypeError(`listener must be a function, got ${describeValue(listener)}`);
    if (this.listeners.length >= listenersMax)
      throw new RangeError(`listeners must be at most ${listenersMax}, got one more: dispose of those that are done`);
    const bits = event === "*" ? everyBit : outlets[event].bit;
    const added = new Listener(this, bits, listener as (event: Event) => unknown);
    this.listeners = [...this.listeners, added];
    this.heard |= bits;
    return added;
  }

  /** Tells everyone who listens. The payload is read only if there is someone. */
  emit<N extends keyof EventMap>(name: N, atMs: number, payload: EventMap[N]): void {
    if (!this.hears(name)) return;
    const { bit, channel: outside } = outlets[name];
    const event = Object.freeze({ name, atMs, ...payload }) as unknown as Event;
    this.tell(bit, event);
    if (outside.hasSubscribers) outside.publish(event);
  }

  /** A listener's own, when it is disposed of. */
  remove(gone: Disposable): void {
    this.listeners = this.listeners.filter((listener) => listener !== gone);
    this.heard = this.listeners.reduce((bits, listener) => bits | listener.bits, 0);
  }

  private tell(bit: number, event: Event): void {
    if ((this.heard & bit) !== 0) for (const listener of this.listeners) listener.tell(bit, event);
    this.parent?.tell(bit, event);
  }
}

class Listener implements Disposable {
  readonly bits: number;
  private readonly listen: (event: Event) => unknown;
  /** Undefined once it is removed. */
  private owner: Events | undefined;

  constructor(owner: Events, bits: number, listen: (event: Event) => unknown) {
    this.owner = owner;
    this.bits = bits;
    this.listen = listen;
  }

  tell(bit: number, event: Event): void {
    // It may have been removed by a listener before it in the same emission.
    if ((this.bits & bit) === 0 || this.owner === undefined) return;
    try {
      const result = this.listen(event);
      if (result instanceof Promise) result.catch((error: unknown) => this.failed(error));
    } catch (error) {
      this.failed(error);
    }
  }

  [Symbol.dispose](): void {
    this.owner?.remove(this);
    this.owner = undefined;
  }

  private failed(error: unknown): void {
    this[Symbol.dispose]();
    // Thrown here it would end the call that told of the event, and take the listeners after this one with it.
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Written out, for V8 folds each of these constants into a check of the channel's shape: 3 ns in place of 9 for a loop. */
function isAnySubscribed(): boolean {
  return (
    outlets["call.ended"].channel.hasSubscribers ||
    outlets["attempt.ended"].channel.hasSubscribers ||
    outlets.retry.channel.hasSubscribers ||
    outlets.hedge.channel.hasSubscribers ||
    outlets.throttled.channel.hasSubscribers ||
    outlets["peer.changed"].channel.hasSubscribers ||
    outlets["peers.resolved"].channel.hasSubscribers ||
    outlets["connection.changed"].channel.hasSubscribers ||
    outlets["admission.refused"].channel.hasSubscribers ||
    outlets.stall.channel.hasSubscribers ||
    outlets.suspected.channel.hasSubscribers ||
    outlets.condemned.channel.hasSubscribers ||
    outlets.poisoned.channel.hasSubscribers ||
    outlets.ejection.channel.hasSubscribers ||
    outlets["budget.empty"].channel.hasSubscribers ||
    outlets.drain.channel.hasSubscribers ||
    outlets.observed.channel.hasSubscribers
  );
}
