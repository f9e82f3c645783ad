/**
 * A server in this process as a target: two ends of a byte stream in memory, so that the same engines, frames and limits
 * are at work, without a socket.
 */
import type { NetworkError, Socket, SocketEvents } from "../../world/network.ts";
import type { World } from "../../world/world.ts";
import { HANDLER_THREW } from "./connection.ts";

/** How a client reaches a server of its own process. */
export const inProcessDial: unique symbol = Symbol.for("holdfast.inProcessDial") as never;

/** A server in this process is itself a target. */
export interface InProcess {
  /** Connects to it; for clients of this package. */
  readonly [inProcessDial]: (events: SocketEvents) => Socket;
}

export function isInProcess(value: unknown): value is InProcess {
  return typeof value === "object" && value !== null && inProcessDial in value;
}

/** Makes a connected pair. The first end's `opened` is called at the end of this turn. */
export function connectInProcess(world: World, events: SocketEvents, accept: (socket: Socket) => SocketEvents): Socket {
  const near = new MemorySocket(world, events);
  const far = new MemorySocket(world, undefined);
  near.peer = far;
  far.peer = near;
  far.events = accept(far);
  world.timers.afterTurn(() => near.open());
  return near;
}

/**
 * One end. As on a real socket, what was written before a `destroy` still arrives, and a handler that throws costs its own
 * pair alone.
 */
class MemorySocket implements Socket {
  readonly localAddress = "in-process";
  readonly remoteAddress = "in-process";
  readonly tls = undefined;
  peer: MemorySocket | undefined;
  events: SocketEvents | undefined;
  isClosed: boolean;
  readonly #world: World;
  readonly #received: Buffer[];
  #isDelivering: boolean;
  #isPaused: boolean;
  #hasEnded: boolean;
  #peerEnded: boolean;
  #toldEnded: boolean;
  #isDrainDue: boolean;
  /** The other end is gone: this one closes when it has read what came before. */
  #isPeerGone: boolean;

  constructor(world: World, events: SocketEvents | undefined) {
    this.peer = undefined;
    this.events = events;
    this.isClosed = false;
    this.#world = world;
    this.#received = [];
    this.#isDelivering = false;
    this.#isPaused = false;
    this.#hasEnded = false;
    this.#peerEnded = false;
    this.#toldEnded = false;
    this.#isDrainDue = false;
    this.#isPeerGone = false;
  }

  /** What the other end has not read yet. */
  get queuedBytes(): number {
    const waiting = this.peer?.waitingBytes ?? 0;
    if (waiting > 0) this.#isDrainDue = true;
    return waiting;
  }
  get waitingBytes(): number {
    let bytes = 0;
    if (this.#isPaused) for (const chunk of this.#received) bytes += chunk.length;
    return bytes;
  }

  write(bytes: Buffer): void {
    if (this.isClosed || this.#hasEnded || this.peer === undefined) return;
    this.peer.#received.push(bytes);
    this.peer.#deliverLater();
  }
  writeAll(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) this.write(chunk);
  }
  pause(): void {
    this.#isPaused = true;
  }
  resume(): void {
    this.#isPaused = false;
    this.#deliverLater();
  }
  end(): void {
    if (this.isClosed || this.#hasEnded) return;
    this.#hasEnded = true;
    const peer = this.peer;
    if (peer !== undefined) {
      peer.#peerEnded = true;
      peer.#deliverLater();
    }
    this.#deliverLater();
  }
  destroy(): void {
    const peer = this.peer;
    this.#closeLater(undefined);
    if (peer !== undefined) peer.#loseLater();
  }

  /** Tells the end that connected. */
  open(): void {
    if (this.isClosed) return;
    try {
      this.events?.opened();
    } catch (cause) {
      this.#threw(cause);
    }
  }

  tellDrained(): void {
    if (!this.#isDrainDue || this.isClosed) return;
    this.#isDrainDue = false;
    try {
      this.events?.drained();
    } catch (cause) {
      this.#threw(cause);
    }
  }

  #deliverLater(): void {
    if (this.#isDelivering || this.isClosed) return;
    this.#isDelivering = true;
    this.#world.timers.afterTurn(() => this.#deliver());
  }

  #deliver(): void {
    this.#isDelivering = false;
    try {
      this.#tell();
    } catch (cause) {
      this.#threw(cause);
    }
  }

  #tell(): void {
    while (!this.#isPaused && !this.isClosed) {
      const chunk = this.#received.shift();
      if (chunk === undefined) break;
      this.events?.data(chunk);
    }
    if (this.#isPaused && this.#isPeerGone) this.#closeLater(undefined);
    if (this.isClosed || this.#isPaused) return;
    this.peer?.tellDrained();
    if (this.#peerEnded && !this.#toldEnded) {
      this.#toldEnded = true;
      this.events?.ended();
    }
    if (this.#isPeerGone || (this.#peerEnded && this.#hasEnded)) this.#closeLater(undefined);
  }

  /** The other end was destroyed. */
  #loseLater(): void {
    this.#isPeerGone = true;
    // Who has stopped reading might never start again.
    if (this.#isPaused) this.#closeLater(undefined);
    else this.#deliverLater();
  }

  #threw(cause: unknown): void {
    const words = cause instanceof Error ? cause.message : String(cause);
    const text = `${this.remoteAddress}: the socket's owner threw: ${words}`;
    this.#closeLater({ phase: "open", code: HANDLER_THREW, text, cause });
    const peer = this.peer;
    if (peer !== undefined) peer.#loseLater();
  }

  #closeLater(error: NetworkError | undefined): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#received.length = 0;
    const events = this.events;
    this.#world.timers.afterTurn(() => events?.closed(error));
  }
}
