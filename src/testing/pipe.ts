/**
 * One direction of a simulated TCP stream, as two kernels keep it: a bounded send buffer, segments on the wire, a
 * receive window, and sending again what was lost. Bytes come out in order or not at all. Processes may be frozen or
 * dead; the pipe is the kernels' and goes on.
 */
import { crc32 } from "node:zlib";
import { ScheduledEvent } from "./event-queue.ts";
import type { Link, SegmentFault } from "./link.ts";
import type { SimulatedSocket } from "./simulated-socket.ts";
import type { Universe } from "./universe.ts";

/** What a sending kernel holds before it refuses more. */
const sendBufferBytesMax = 128 * 1024;
/** What a receiver has not read, and what is on the way to it: at most so much. */
const receiveWindowBytes = 256 * 1024;
/** The receiver tells of room when so much has become free. */
const windowUpdateBytes = receiveWindowBytes / 4;
/** Linux's TCP_RTO_MIN and TCP_RTO_MAX. */
const retryMsMin = 200;
const retryMsMax = 120_000;
/** Linux gives up after tcp_retries2 = 15: 924.6 s of silence. */
const retryTotalMsMax = 924_600;

/** What travels in order: bytes, a word between the kernels or their TLS, or the end. */
interface Segment {
  readonly bytes: Buffer | undefined;
  /** What arrives if `bytes` is undefined; neither: the end of the stream. */
  readonly word: StreamWord | undefined;
  readonly afterwards: "reset" | "truncate" | undefined;
  sentAtMs: number;
  arriveAtMs: number;
  isLost: boolean;
}

/** A word in a stream that its user does not see. */
export interface StreamWord {
  readonly kind: "accept" | "hello" | "facts" | "finished" | "refusal";
  readonly payload: unknown;
}

export class Pipe {
  private readonly universe: Universe;
  private readonly link: Link;
  private readonly back: Link;
  private readonly source: SimulatedSocket;
  private readonly target: SimulatedSocket;
  private isDead = false;

  // The sending kernel.
  private readonly waiting: Buffer[] = [];
  private waitingOffset = 0;
  private waitingBytes = 0;
  private readonly words: { readonly atByte: number; readonly word: StreamWord }[] = [];
  private takenBytes = 0;
  private isEndWanted = false;
  private isEndSent = false;
  private sentBytes = 0;
  private windowEdge = receiveWindowBytes;
  private freeAtMs = 0;
  private readonly pumpEvent: PipeEvent;

  // The wire.
  private wire: Segment[] = [];
  private wireHead = 0;
  private lastArrivalMs = 0;
  private retryMs = 0;
  private stalledSinceMs = -1;
  private readonly arrivalEvent: PipeEvent;
  private readonly retryEvent: PipeEvent;

  // The receiving kernel.
  private consumedBytes = 0;
  private toldBytes = 0;
  private updateBytes = 0;
  private updateRetryMs = 0;
  private readonly updateEvent: PipeEvent;

  constructor(universe: Universe, link: Link, back: Link, source: SimulatedSocket, target: SimulatedSocket) {
    this.universe = universe;
    this.link = link;
    this.back = back;
    this.source = source;
    this.target = target;
    this.pumpEvent = new PipeEvent(() => this.pump());
    this.arrivalEvent = new PipeEvent(() => this.arrive());
    this.retryEvent = new PipeEvent(() => this.retry());
    this.updateEvent = new PipeEvent(() => this.updateArrived());
  }

  /** Room in the sending kernel's buffer. */
  get room(): number {
    return this.isDead ? 0 : sendBufferBytesMax - this.waitingBytes;
  }

  /** Takes bytes, of which the caller has checked that there is {@link room} for them. */
  send(bytes: Buffer): void {
    if (this.isDead || bytes.length === 0) return;
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.takenBytes += bytes.length;
  }

  /** Sends a word after all bytes taken so far. */
  say(kind: StreamWord["kind"], payload: unknown): void {
    if (this.isDead) return;
    this.words.push({ atByte: this.takenBytes, word: { kind, payload } });
    this.pump();
  }

  /** The end follows what was taken. */
  end(): void {
    this.isEndWanted = true;
    this.pump();
  }

  /** Nothing is sent any more: what was taken is lost; with `wire`, also what is on the way. */
  stop(wire: "wire" | "kernel"): void {
    this.isDead = true;
    this.waiting.length = 0;
    this.waitingBytes = 0;
    this.words.length = 0;
    this.universe.cancel(this.pumpEvent);
    this.universe.cancel(this.retryEvent);
    this.universe.cancel(this.updateEvent);
    if (wire === "kernel") return;
    this.universe.cancel(this.arrivalEvent);
    this.wire = [];
    this.wireHead = 0;
  }

  /** The time before which nothing sent now can be told apart from what is on the way. */
  get arrivalFloorMs(): number {
    return this.lastArrivalMs;
  }

  /** The receiving process has read so many bytes more. */
  consumed(bytes: number): void {
    this.consumedBytes += bytes;
    this.tellRoom();
  }

  /** Sends what may be sent: window and bandwidth allow it. */
  pump(): void {
    if (this.isDead) return;
    const universe = this.universe;
    for (;;) {
      this.sendWords();
      if (this.waitingBytes === 0) break;
      const roomBytes = this.windowEdge - this.sentBytes;
      if (roomBytes <= 0) return;
      if (this.freeAtMs > universe.nowMs) {
        if (!this.pumpEvent.isQueued) universe.schedule(this.pumpEvent, this.freeAtMs);
        return;
      }
      const bytes = this.takeSegment(Math.min(roomBytes, this.link.conditions.segmentBytesMax));
      this.sentBytes += bytes.length;
      this.freeAtMs = universe.nowMs + (bytes.length / this.link.conditions.bytesPerSecond) * 1000;
      this.depart(bytes, undefined, this.freeAtMs);
      this.source.sendBufferShrank();
      if (this.isDead) return;
    }
    if (this.isEndWanted && !this.isEndSent) {
      this.isEndSent = true;
      this.depart(undefined, undefined, Math.max(this.freeAtMs, universe.nowMs));
    }
  }

  private sendWords(): void {
    for (;;) {
      const next = this.words[0];
      if (next === undefined || next.atByte > this.sentBytes) return;
      this.words.shift();
      this.depart(undefined, next.word, Math.max(this.freeAtMs, this.universe.nowMs));
    }
  }

  /** Cuts the next segment off what waits, copied as a kernel copies, at most up to the next word. */
  private takeSegment(bytesMax: number): Buffer {
    const random = this.link.random;
    const nextWord = this.words[0];
    let size = Math.min(
      bytesMax,
      this.waitingBytes,
      nextWord === undefined ? bytesMax : nextWord.atByte - this.sentBytes,
    );
    const splitShare = this.link.conditions.splitShare;
    if (splitShare > 0 && size > 1 && random.float() < splitShare) size = 1 + (random.uint32() % (size - 1));
    const bytes = Buffer.allocUnsafe(size);
    let filled = 0;
    let taken = 0;
    while (filled < size) {
      const chunk = this.waiting[taken] as Buffer;
      const part = Math.min(chunk.length - this.waitingOffset, size - filled);
      chunk.copy(bytes, filled, this.waitingOffset, this.waitingOffset + part);
      filled += part;
      this.waitingOffset += part;
      if (this.waitingOffset === chunk.length) {
        this.waitingOffset = 0;
        taken++;
      }
    }
    if (taken > 0) this.waiting.splice(0, taken);
    this.waitingBytes -= size;
    return bytes;
  }

  private depart(bytes: Buffer | undefined, word: StreamWord | undefined, atMs: number): void {
    const link = this.link;
    let delayMs = 0;
    let payload = bytes;
    let isLost = link.loses();
    let afterwards: Segment["afterwards"];
    if (link.faults.length > 0 && bytes !== undefined) {
      for (const fault of link.faults) {
        if (fault.random.float() >= fault.share) continue;
        if (fault.effect === "delay") delayMs += fault.delayMs;
        else if (fault.effect === "drop") isLost = true;
        else if (fault.effect === "corrupt") payload = corrupted(bytes, fault);
        else {
          afterwards = fault.effect;
          payload = fault.effect === "reset" ? undefined : bytes.subarray(0, fault.random.uint32() % bytes.length);
        }
      }
    }
    const arriveAtMs = Math.max(this.lastArrivalMs, atMs + link.travelMs() + delayMs);
    this.lastArrivalMs = arriveAtMs;
    this.wire.push({ bytes: payload, word, afterwards, sentAtMs: atMs, arriveAtMs, isLost });
    this.awaitArrival();
  }

  private awaitArrival(): void {
    const head = this.wire[this.wireHead];
    if (head === undefined) {
      this.wire.length = 0;
      this.wireHead = 0;
    } else if (!this.arrivalEvent.isQueued && !this.retryEvent.isQueued) {
      this.universe.schedule(this.arrivalEvent, head.arriveAtMs);
    }
  }

  private arrive(): void {
    for (;;) {
      const head = this.wire[this.wireHead];
      if (head === undefined || head.arriveAtMs > this.universe.nowMs) break;
      if (head.isLost || this.link.cuts > 0 || !this.link.to.isUp) {
        this.logLoss(head);
        this.sendLater(head);
        return;
      }
      if (this.isAnsweredByReset(head)) {
        // Not acknowledged: if the reset is lost, the next try brings another one.
        this.target.resetPeer();
        this.sendLater(head);
        return;
      }
      this.wireHead++;
      this.retryMs = 0;
      this.stalledSinceMs = -1;
      if (!this.hand(head)) return;
    }
    if (this.wireHead > 64 && this.wireHead * 2 > this.wire.length) {
      this.wire.splice(0, this.wireHead);
      this.wireHead = 0;
    }
    this.awaitArrival();
  }

  private logLoss(head: Segment): void {
    const { universe, link } = this;
    const length = head.bytes?.length ?? 0;
    universe.log.add("lose", universe.nowMs, link.from.index, link.to.index, this.source.id, length, 0);
  }

  /** A machine that was started anew knows nothing of the stream; one that goes on answers a late end with nothing. */
  private isAnsweredByReset({ bytes }: Segment): boolean {
    const { kernel } = this.target;
    return kernel === "gone" || (kernel !== "open" && bytes !== undefined);
  }

  /** What arrives waits until the sender's timer has expired and it was sent again. */
  private sendLater(head: Segment): void {
    const { universe, link } = this;
    if (this.isDead) {
      this.stop("wire");
      return;
    }
    const roundTripMs = link.conditions.latencyMs + this.back.conditions.latencyMs;
    this.retryMs = this.retryMs === 0 ? Math.max(retryMsMin, 2 * roundTripMs) : Math.min(this.retryMs * 2, retryMsMax);
    if (this.stalledSinceMs < 0) this.stalledSinceMs = head.sentAtMs;
    if (head.sentAtMs + this.retryMs - this.stalledSinceMs > retryTotalMsMax) {
      this.stop("wire");
      this.source.failed("ETIMEDOUT");
      return;
    }
    universe.schedule(this.retryEvent, head.sentAtMs + this.retryMs);
  }

  /** Sends the first segment again; with it goes what else was found missing behind it. */
  private retry(): void {
    const { universe, link } = this;
    for (let index = this.wireHead; index < this.wire.length; index++) {
      const segment = this.wire[index] as Segment;
      if (segment.arriveAtMs > universe.nowMs) break;
      segment.isLost = false;
    }
    const head = this.wire[this.wireHead];
    if (head === undefined) return;
    universe.log.add("retransmit", universe.nowMs, link.from.index, link.to.index, this.source.id, 0, 0);
    head.sentAtMs = universe.nowMs;
    head.isLost = link.loses();
    head.arriveAtMs = universe.nowMs + link.travelMs();
    this.lastArrivalMs = Math.max(this.lastArrivalMs, head.arriveAtMs);
    universe.schedule(this.arrivalEvent, head.arriveAtMs);
  }

  /** Gives a segment to the receiving kernel; false when that was the last. */
  private hand(segment: Segment): boolean {
    const { universe, link, target } = this;
    const { bytes, word } = segment;
    // A late end that finds the other side closed.
    if (target.kernel !== "open") return true;
    if (word !== undefined) {
      target.receiveWord(word);
      return true;
    }
    if (bytes !== undefined && bytes.length > 0) {
      universe.log.add(
        "deliver",
        universe.nowMs,
        link.from.index,
        link.to.index,
        this.source.id,
        bytes.length,
        crc32(bytes),
      );
      target.receive(bytes);
    }
    if (segment.afterwards === "reset") {
      target.failed("ECONNRESET");
      this.source.failed("ECONNRESET");
      return false;
    }
    if (bytes !== undefined && segment.afterwards === undefined) return true;
    universe.log.add("end", universe.nowMs, link.from.index, link.to.index, this.source.id, 0, 0);
    target.receiveEnd();
    if (segment.afterwards === undefined) return true;
    this.stop("wire");
    this.source.failed("ECONNRESET");
    return false;
  }

  private tellRoom(): void {
    if (this.isDead || this.isEndSent || this.updateEvent.isQueued) return;
    if (this.consumedBytes - this.toldBytes < windowUpdateBytes) return;
    this.updateBytes = this.consumedBytes;
    this.toldBytes = this.consumedBytes;
    this.updateRetryMs = 0;
    this.universe.schedule(this.updateEvent, this.universe.nowMs + this.back.travelMs());
  }

  private updateArrived(): void {
    if (this.target.kernel !== "open" && this.link.to.isUp) {
      // Nobody is left to read: the sender's window probes are answered by resets, until one arrives.
      this.target.resetPeer();
      this.probeLater();
      return;
    }
    if (this.back.cuts > 0 || !this.link.from.isUp || !this.link.to.isUp) {
      // The sender's window probe finds it out later.
      this.probeLater();
      return;
    }
    this.windowEdge = this.updateBytes + receiveWindowBytes;
    this.pump();
    this.tellRoom();
  }

  private probeLater(): void {
    this.updateRetryMs = this.updateRetryMs === 0 ? retryMsMin : Math.min(this.updateRetryMs * 2, retryMsMax);
    this.universe.schedule(this.updateEvent, this.universe.nowMs + this.updateRetryMs);
  }
}

/** A pipe has four of them for its life. */
class PipeEvent extends ScheduledEvent {
  private readonly callback: () => void;

  constructor(callback: () => void) {
    super();
    this.callback = callback;
  }

  fire(): void {
    this.callback();
  }
}

/** One bit is not what it was. */
function corrupted(bytes: Buffer, fault: SegmentFault): Buffer {
  const changed = Buffer.from(bytes);
  const at = fault.random.uint32() % changed.length;
  changed[at] = (changed[at] ?? 0) ^ (1 << (fault.random.uint32() & 7));
  return changed;
}
