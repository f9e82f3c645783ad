/**
 * The way to one peer: at most one connection that takes new calls, others that are draining, and the wait between two
 * dials. Every state but idle and ready has a timer.
 */
import type { Http2Limits } from "../http2/limits.ts";
import { ClientConnection, type ClientConnectionOwner, type Dial } from "./client-connection.ts";
import { reconnectDelayMs } from "./reconnect.ts";
import type { Runtime } from "./runtime.ts";
import { WheelEntry } from "./timer-wheel.ts";

export type LinkState = "idle" | "connecting" | "ready" | "backoff" | "closed";

export interface LinkOptions {
  readonly connectTimeoutMs: number;
  /** "adaptive": 330 s, above what every gRPC server allows, doubled when a server objects. */
  readonly keepaliveMs: number | "adaptive";
  readonly limits: Http2Limits;
  readonly isTls: boolean;
}

/** What went wrong when a link could not be made, for people and for reasons. */
export interface LinkFailure {
  readonly phase: "resolve" | "connect" | "tls" | "open";
  readonly text: string;
}

export interface LinkOwner {
  /** A connection of this link takes calls now. */
  linkReady(link: PeerLink): void;
  /** The last dial failed, or the connection was lost; it will be tried again. */
  linkFailed(link: PeerLink): void;
  /** Streams have become free. */
  linkHasRoom(link: PeerLink): void;
  /** Any peer is ready. */
  readonly isAnyReady: boolean;
}

const KEEPALIVE_TIMEOUT_MS = 20_000;
const ADAPTIVE_KEEPALIVE_MS = 330_000;

export class PeerLink extends WheelEntry implements ClientConnectionOwner {
  readonly runtime: Runtime;
  readonly address: string;
  state: LinkState;
  /** The connection for new calls, when ready. */
  connection: ClientConnection | undefined;
  failure: LinkFailure | undefined;
  /** When it was ready last, if it is not now. */
  readyUntilMs: number;
  readonly #owner: LinkOwner;
  readonly #options: LinkOptions;
  readonly #dial: Dial;
  /** Being dialled, to take the place of `connection`. */
  #next: ClientConnection | undefined;
  /** A dial that failed while `connection` went on is not repeated before this. */
  #nextDialMs: number;
  readonly #draining: Set<ClientConnection>;
  #failures: number;
  #dialledAtMs: number;
  #keepaliveMs: number;

  constructor(runtime: Runtime, address: string, dial: Dial, owner: LinkOwner, options: LinkOptions) {
    super();
    this.runtime = runtime;
    this.address = address;
    this.state = "idle";
    this.connection = undefined;
    this.failure = undefined;
    this.readyUntilMs = -Infinity;
    this.#owner = owner;
    this.#options = options;
    this.#dial = dial;
    this.#next = undefined;
    this.#nextDialMs = -Infinity;
    this.#draining = new Set();
    this.#failures = 0;
    this.#dialledAtMs = -Infinity;
    this.#keepaliveMs = options.keepaliveMs === "adaptive" ? ADAPTIVE_KEEPALIVE_MS : options.keepaliveMs;
  }

  /** A call may start on `connection` now. */
  get canStart(): boolean {
    return this.connection?.canStart === true;
  }

  /** Dials, unless it is ready, dialling or waiting. */
  connect(): void {
    if (this.state === "idle") this.#dialNow();
  }

  /** Ends it: calls in flight are lost unless `isGentle`, which lets them end. May be called again to cut those. */
  close(isGentle: boolean): void {
    this.state = "closed";
    this.runtime.wheel.cancel(this);
    if (this.connection !== undefined) this.#draining.add(this.connection);
    if (this.#next !== undefined) this.#draining.add(this.#next);
    this.connection = undefined;
    this.#next = undefined;
    for (const connection of [...this.#draining]) {
      if (isGentle) connection.drain();
      else connection.destroy("the client was closed");
    }
  }

  /** The wait between two dials is over. */
  expired(): void {
    if (this.state === "backoff") this.#dialNow();
  }

  connectionReady(connection: ClientConnection): void {
    this.#failures = 0;
    this.failure = undefined;
    const before = this.connection;
    this.connection = connection;
    this.#next = undefined;
    this.state = "ready";
    if (before !== undefined && before !== connection) {
      this.#draining.add(before);
      before.drain();
    }
    this.#owner.linkReady(this);
  }

  connectionHasRoom(connection: ClientConnection): void {
    if (connection !== this.connection) return;
    if (connection.engine.isNearEndOfIds) this.#dialSuccessor();
    this.#owner.linkHasRoom(this);
  }

  connectionDraining(connection: ClientConnection, isTooManyPings: boolean): void {
    // gRFC A8: a server that is pinged too often says so; half as often, then.
    if (isTooManyPings && this.#options.keepaliveMs === "adaptive") this.#keepaliveMs *= 2;
    if (connection !== this.connection || this.state === "closed") return;
    this.readyUntilMs = this.runtime.world.clock.monotonicMs();
    this.connection = undefined;
    this.#draining.add(connection);
    this.#reconnect();
  }

  connectionGone(connection: ClientConnection, text: string, phase: LinkFailure["phase"]): void {
    this.#draining.delete(connection);
    if (this.state === "closed") return;
    if (connection === this.connection) {
      this.readyUntilMs = this.runtime.world.clock.monotonicMs();
      this.connection = undefined;
      this.failure = { phase, text };
      this.#reconnect();
      this.#owner.linkFailed(this);
    } else if (connection === this.#next) {
      this.#next = undefined;
      this.#failures += 1;
      if (this.connection !== undefined) {
        this.#nextDialMs = this.#dueMs();
        return;
      }
      this.failure = { phase, text };
      this.#reconnect();
      this.#owner.linkFailed(this);
    }
  }

  /** Dials again: at once after a connection that lived, else when the backoff is over. */
  #reconnect(): void {
    if (this.#next !== undefined) {
      // One is underway already: what it was to take the place of has ended before it was there.
      this.state = "connecting";
      return;
    }
    const dueMs = this.#dueMs();
    if (dueMs <= this.runtime.world.clock.monotonicMs()) {
      this.#dialNow();
    } else {
      this.state = "backoff";
      this.runtime.wheel.arm(this, dueMs);
    }
  }

  /** When the backoff that began with the last dial is over. */
  #dueMs(): number {
    const { random } = this.runtime.world;
    const delayMs = reconnectDelayMs(Math.max(1, this.#failures), this.#owner.isAnyReady, random.float());
    return this.#dialledAtMs + delayMs;
  }

  /** Dials a connection that takes over while the present one goes on. Asked at every turn, so it keeps its own pace. */
  #dialSuccessor(): void {
    if (this.#next !== undefined || this.runtime.world.clock.monotonicMs() < this.#nextDialMs) return;
    this.#dialNext();
  }

  #dialNow(): void {
    this.state = "connecting";
    this.#dialNext();
  }

  #dialNext(): void {
    this.#dialledAtMs = this.runtime.world.clock.monotonicMs();
    this.#next = new ClientConnection(this.runtime, this.address, this.#dial, this, {
      connectTimeoutMs: this.#options.connectTimeoutMs,
      keepaliveMs: this.#keepaliveMs,
      keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS,
      limits: this.#options.limits,
      isTls: this.#options.isTls,
    });
  }
}
