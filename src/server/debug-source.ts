/**
 * What the debug service is fed with: plain figures of a process's servers, connections and channels, taken when somebody asks.
 */

/** Calls of a server, channel or peer. */
export interface DebugCalls {
  readonly started: number;
  /** Ended with OK. */
  readonly succeeded: number;
  /** Ended otherwise. */
  readonly failed: number;
  /** When the last one began, in milliseconds since 1970; undefined if none has, or if that is not kept. */
  readonly lastAtMs: number | undefined;
}

export interface DebugServer extends DebugCalls {
  readonly id: number;
  /** For people. */
  readonly name: string;
  readonly doors: readonly { readonly id: number; readonly address: string }[];
}

export interface DebugSocket {
  readonly id: number;
  /** The server that accepted it; undefined for a client's. */
  readonly serverId: number | undefined;
  /** `host:port` or a path; "" where there is none. */
  readonly localAddress: string;
  readonly remoteAddress: string;
  /** As the handshake found (`TLSv1.3`); undefined for plaintext. */
  readonly tls: string | undefined;
  readonly streamsStarted: number;
  readonly streamsSucceeded: number;
  readonly streamsFailed: number;
  readonly messagesSent?: number | undefined;
  readonly messagesReceived?: number | undefined;
  readonly pingsSent?: number | undefined;
  /** When bytes came last, in milliseconds since 1970; undefined if that is not kept. */
  readonly receivedAtMs: number | undefined;
  /** Bytes that the other end allows this one to send; undefined if that is not kept. */
  readonly sendWindowBytes: number | undefined;
  /** Bytes that this end allows the other one to send. */
  readonly receiveWindowBytes: number | undefined;
}

/** gRPC's connectivity states, by our words. */
export type DebugChannelState = "idle" | "connecting" | "ready" | "failed" | "closed";

export interface DebugPeer extends DebugCalls {
  readonly id: number;
  readonly address: string;
  readonly state: DebugChannelState;
  readonly socketIds: readonly number[];
}

export interface DebugChannel extends DebugCalls {
  readonly id: number;
  readonly target: string;
  readonly state: DebugChannelState;
  readonly peers: readonly DebugPeer[];
}

/** Asked at each question; it need be in no order. */
export interface DebugSource {
  servers(): readonly DebugServer[];
  sockets(): readonly DebugSocket[];
  channels(): readonly DebugChannel[];
}

/** Gives things their numbers: positive, each its own, the same whenever it is asked, and no reason for a thing to stay in memory. */
export class DebugIds {
  readonly #ids: WeakMap<object, number>;
  #last: number;

  constructor() {
    this.#ids = new WeakMap();
    this.#last = 0;
  }

  of(thing: object): number {
    let id = this.#ids.get(thing);
    if (id === undefined) {
      id = ++this.#last;
      this.#ids.set(thing, id);
    }
    return id;
  }
}
