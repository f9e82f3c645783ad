/**
 * One connection through a fault proxy: two sockets, two lanes between them. The shell around the lanes: it reads, writes, pauses and
 * waits as they say. Nothing that a network does makes it throw.
 */
import type { NetworkError, Socket, SocketAddress, SocketEvents } from "../world/network.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import { breakOff } from "./break-off.ts";
import { FaultLane } from "./fault-lane.ts";
import { laneConditions, type MetFault } from "./lane-conditions.ts";

/** What became of connections; the proxy counts it. */
export type ConnectionFate = "reset" | "limited" | "half-open" | "unreachable";

/** Who owns the connection. */
export interface ConnectionOwner {
  readonly world: World;
  readonly target: SocketAddress;
  readonly bufferBytesMax: number;
  /** Something happened to it. */
  befell(fate: ConnectionFate): void;
  /** Both its sockets are closed: the last that is heard of it. */
  gone(connection: ProxiedConnection): void;
}

/** Bytes that wait in a socket before the lane stops writing to it. */
const SOCKET_BYTES_MAX = 65_536;
/** What a socket may still bring after it was told to pause. */
const READ_BYTES_MAX = 65_536;
/** How long a side that was ended may take to end as well. */
const LINGER_MS = 1_000;

/** One of the two sockets, as the connection sees it. */
interface Side {
  socket: Socket | undefined;
  isClosed: boolean;
  isPaused: boolean;
}

/** From one side to the other. */
interface Way {
  readonly lane: FaultLane;
  readonly from: Side;
  readonly to: Side;
  timer: Timer | undefined;
}

export class ProxiedConnection {
  readonly id: number;
  /** The client's `host:port`. */
  readonly client: string;
  /** The kinds of faults that it met. */
  met: readonly string[] = [];
  isHalfOpen = false;
  private readonly owner: ConnectionOwner;
  private readonly clientSide: Side;
  private readonly targetSide: Side;
  private readonly up: Way;
  private readonly down: Way;
  private isGone = false;
  private isEnding = false;
  private linger: Timer | undefined;

  constructor(owner: ConnectionOwner, id: number, client: Socket) {
    this.owner = owner;
    this.id = id;
    this.client = client.remoteAddress;
    this.clientSide = { socket: client, isClosed: false, isPaused: false };
    this.targetSide = { socket: undefined, isClosed: true, isPaused: false };
    const heldBytesMax = owner.bufferBytesMax - READ_BYTES_MAX;
    this.up = {
      lane: new FaultLane(heldBytesMax),
      from: this.clientSide,
      to: this.targetSide,
      timer: undefined,
    };
    this.down = {
      lane: new FaultLane(heldBytesMax),
      from: this.targetSide,
      to: this.clientSide,
      timer: undefined,
    };
  }

  get upBytes(): number {
    return this.up.lane.passedBytes;
  }

  get downBytes(): number {
    return this.down.lane.passedBytes;
  }

  /** Bytes that wait in it, both ways. */
  get heldBytes(): number {
    return this.up.lane.heldBytes + this.down.lane.heldBytes;
  }

  get lostBytes(): number {
    return this.up.lane.lostBytes + this.down.lane.lostBytes;
  }

  get flippedBits(): number {
    return this.up.lane.flippedBits + this.down.lane.flippedBits;
  }

  /** Begins, with the faults it meets; gives back who listens to the client's socket. */
  open(met: readonly MetFault[]): SocketEvents {
    if (!isHalfOpenMet(met)) {
      const { world, target } = this.owner;
      this.targetSide.isClosed = false;
      this.targetSide.socket = world.network.connect(
        target,
        { tls: undefined, alpn: [] },
        this.eventsOf(this.down, this.up),
      );
    }
    this.meet(met);
    return this.eventsOf(this.up, this.down);
  }

  /** From now on it has these faults and no others. */
  meet(met: readonly MetFault[]): void {
    if (this.isEnding) return;
    this.met = met.map(({ fault }) => fault.kind);
    if (isHalfOpenMet(met)) {
      this.becomeHalfOpen();
      return;
    }
    if (this.isHalfOpen) {
      this.reset();
      return;
    }
    const nowMs = this.now();
    this.up.lane.change(laneConditions(met, "up"), nowMs);
    this.down.lane.change(laneConditions(met, "down"), nowMs);
    if (this.up.lane.isTorn || this.down.lane.isTorn) {
      this.reset();
      return;
    }
    this.pump(this.up);
    this.pump(this.down);
  }

  /** Resets both sides now. */
  reset(): void {
    if (this.isEnding) return;
    this.owner.befell("reset");
    this.finish(breakOff);
  }

  /** Cuts both sides now, without being counted. */
  close(): void {
    this.finish(destroy);
    this.destroyBoth();
  }

  private now(): number {
    return this.owner.world.clock.monotonicMs();
  }

  /** Who listens to the socket from which `out` leads away and to which `back` leads. */
  private eventsOf(out: Way, back: Way): SocketEvents {
    return {
      opened: () => undefined,
      data: (bytes) => {
        if (this.isEnding) return;
        // The chunk is gone when this returns.
        out.lane.take(Buffer.from(bytes), this.now());
        this.pump(out);
      },
      drained: () => this.pump(back),
      ended: () => {
        // Nobody will ever answer it, and it waits for nothing: letting go leaves no descriptor behind.
        if (this.isHalfOpen) this.finish(destroy);
        out.lane.sourceDone(false, this.now());
        this.pump(out);
      },
      closed: (error) => this.closed(out, back, error),
    };
  }

  private closed(out: Way, back: Way, error: NetworkError | undefined): void {
    out.from.isClosed = true;
    if (this.clientSide.isClosed && this.targetSide.isClosed) {
      this.goneNow();
      return;
    }
    if (this.isEnding || this.isHalfOpen) return;
    if (out === this.down && error !== undefined && error.phase !== "open") this.owner.befell("unreachable");
    // What still comes for the closed side has nowhere to go; it is read, so that its sender's end is noticed.
    back.lane.stop();
    this.resume(back.from);
    out.lane.sourceDone(true, this.now());
    this.pump(out);
  }

  /** Does what the lane says until there is nothing to do now. */
  private pump(way: Way): void {
    way.timer?.cancel();
    way.timer = undefined;
    while (!this.isEnding && !this.isHalfOpen) {
      const { socket } = way.to;
      if (socket === undefined || socket.queuedBytes >= SOCKET_BYTES_MAX) break;
      const step = way.lane.step(this.now());
      if (step.kind === "idle") break;
      if (step.kind === "wait") {
        const delayMs = Math.max(0, step.untilMs - this.now());
        way.timer = this.owner.world.timers.schedule(delayMs, () => this.pump(way));
        break;
      }
      if (step.kind === "pass") socket.write(step.bytes);
      else if (step.kind === "end") socket.end();
      else if (step.kind === "break") breakOff(socket);
      else if (step.kind === "reset") this.reset();
      else this.limited();
    }
    this.press(way);
  }

  /** Makes the source feel how full its lane is. */
  private press({ lane, from }: Way): void {
    if (lane.isFull && !from.isPaused) {
      from.isPaused = true;
      from.socket?.pause();
    } else if (lane.hasRoom) {
      this.resume(from);
    }
  }

  private resume(side: Side): void {
    if (!side.isPaused) return;
    side.isPaused = false;
    side.socket?.resume();
  }

  private limited(): void {
    this.owner.befell("limited");
    // In order: the ends come after what the limit let pass. What still arrives is read, for unread bytes would make a reset of it.
    this.finish((socket) => socket.end());
    this.resume(this.clientSide);
    this.resume(this.targetSide);
    this.linger = this.owner.world.timers.schedule(LINGER_MS, () => this.destroyBoth());
  }

  private becomeHalfOpen(): void {
    if (this.isHalfOpen) return;
    this.isHalfOpen = true;
    this.owner.befell("half-open");
    this.stopWays();
    if (!this.targetSide.isClosed) this.targetSide.socket?.destroy();
    this.resume(this.clientSide);
  }

  private finish(end: (socket: Socket) => void): void {
    if (this.isEnding) return;
    this.isEnding = true;
    this.stopWays();
    for (const { socket, isClosed } of [this.clientSide, this.targetSide]) {
      if (socket !== undefined && !isClosed) end(socket);
    }
  }

  private destroyBoth(): void {
    for (const { socket, isClosed } of [this.clientSide, this.targetSide]) if (!isClosed) socket?.destroy();
  }

  private stopWays(): void {
    for (const way of [this.up, this.down]) {
      way.timer?.cancel();
      way.timer = undefined;
      way.lane.stop();
    }
  }

  private goneNow(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.isEnding = true;
    this.linger?.cancel();
    this.stopWays();
    this.owner.gone(this);
  }
}

function isHalfOpenMet(met: readonly MetFault[]): boolean {
  return met.some(({ fault }) => fault.kind === "half-open");
}

function destroy(socket: Socket): void {
  socket.destroy();
}
