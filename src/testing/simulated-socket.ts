/**
 * One end of a simulated stream: what its process sees (the {@link Socket} port) and what its kernel knows. Events are
 * made in the I/O phase of the process's turns only, one per call of `runOne`, so never from inside a method.
 *
 * The same invariants as the real one: `closed` is the last event and comes once; after `destroy` only `closed` comes; a
 * handler that throws cuts its socket, and `closed` carries what it threw.
 */
import type { NetworkError, NetworkPhase, Socket, SocketEvents, TlsFacts } from "../world/network.ts";
import { HANDLER_THREW } from "../world/node-socket.ts";
import { CallbackEvent } from "./event-queue.ts";
import type { Host } from "./host.ts";
import type { Link } from "./link.ts";
import type { Pipe, StreamWord } from "./pipe.ts";
import type { IoTask, Process } from "./process.ts";
import type { SimulatedListener } from "./simulated-listener.ts";
import { answerHello, clientHelloBytes, type TlsAnswer, type TlsHello } from "./simulated-tls.ts";

/** What a process reads at once, as libuv does. */
const readBytesMax = 64 * 1024;

/** What both ends know of their stream. */
export interface StreamWays {
  readonly out: Pipe;
  /** The pipe whose bytes arrive here. */
  readonly incoming: Pipe;
  readonly peer: SimulatedSocket;
  readonly link: Link;
}

export class SimulatedSocket implements Socket, IoTask {
  readonly id: number;
  readonly host: Host;
  readonly process: Process;
  localAddress: string;
  remoteAddress: string;
  tls: TlsFacts | undefined = undefined;
  isPosted = false;
  /** What the kernel knows: "gone" after the machine went down and forgot it. */
  kernel: "connecting" | "open" | "closed" | "gone" = "connecting";
  /** For a client: what its handshake says. */
  hello: TlsHello | undefined = undefined;
  /** For a server: whom it was accepted by, and what its host proves. */
  listener: SimulatedListener | undefined = undefined;
  serverIdentities: readonly string[] = [];
  /** Called when a socket that still connects is given up. */
  onGivenUp: (() => void) | undefined = undefined;

  private readonly target: string;
  private ways: StreamWays | undefined = undefined;
  private events: SocketEvents | undefined;
  private phase: NetworkPhase;
  private error: NetworkError | undefined = undefined;
  private isOpenDue = false;
  private isOpen = false;
  private isAcceptDue = false;
  private isHandshakeDone = false;
  private isPaused = false;
  private isEnding = false;
  private isEndSent = false;
  private isDestroyed = false;
  private isClosedTold = false;
  private isEndReceived = false;
  private isEndedTold = false;
  private isErrorDue = false;
  private queue: Buffer[] = [];
  private queueBytes = 0;
  private received: Buffer[] = [];
  private receivedBytes = 0;
  private words: StreamWord[] = [];

  /** `target` is what errors name. */
  constructor(id: number, process: Process, target: string, localAddress: string, events: SocketEvents | undefined) {
    this.id = id;
    this.process = process;
    this.host = process.host;
    this.target = target;
    this.localAddress = localAddress;
    this.remoteAddress = target;
    this.events = events;
    this.phase = events === undefined ? "open" : "connect";
    this.host.sockets.add(this);
  }

  // ---------------------------------------------------------------------------------------------- for the process

  get queuedBytes(): number {
    return this.queueBytes;
  }

  write(bytes: Buffer): void {
    this.enqueue(bytes);
    this.ways?.out.pump();
  }

  writeAll(chunks: readonly Buffer[]): void {
    for (const bytes of chunks) this.enqueue(bytes);
    this.ways?.out.pump();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.process.post(this);
  }

  end(): void {
    if (this.isDestroyed || this.isClosedTold) return;
    this.isEnding = true;
    this.process.post(this);
  }

  destroy(): void {
    if (this.isDestroyed || this.isClosedTold) return;
    this.isDestroyed = true;
    this.letGo();
    this.process.post(this);
  }

  reset(): void {
    if (this.isDestroyed || this.isClosedTold) return;
    this.isDestroyed = true;
    this.letGo("reset");
    this.process.post(this);
  }

  // ----------------------------------------------------------------------------------------------- for the kernels

  /** The stream exists: both ways are there. */
  connected(ways: StreamWays, localAddress: string, remoteAddress: string): void {
    this.ways = ways;
    this.kernel = "open";
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
    this.onGivenUp = undefined;
    if (this.events === undefined) return;
    ways.out.say("accept", undefined);
    if (this.hello === undefined) {
      this.isOpenDue = true;
      this.process.post(this);
    } else {
      this.phase = "tls";
      ways.out.say("hello", this.hello);
    }
  }

  /** The server's end died while the client still connected: it is there only to answer with a reset. */
  diedBeforeOpen(ways: StreamWays): void {
    this.ways = ways;
    this.kernel = "gone";
  }

  /** Bytes arrived. */
  receive(bytes: Buffer): void {
    this.received.push(bytes);
    this.receivedBytes += bytes.length;
    this.process.post(this);
  }

  /** The peer's end arrived. */
  receiveEnd(): void {
    this.isEndReceived = true;
    this.process.post(this);
  }

  receiveWord(word: StreamWord): void {
    if (word.kind === "accept") {
      this.acceptable();
    } else if (word.kind === "hello" && this.listener?.request.tls === undefined) {
      this.receive(Buffer.from(clientHelloBytes));
    } else {
      this.words.push(word);
      this.process.post(this);
    }
  }

  /** The kernel has room again for what the process still holds. */
  sendBufferShrank(): void {
    if (this.queueBytes > 0) this.process.post(this);
  }

  /** The stream is broken: its process is told once it has read what arrived before. */
  failed(code: string, text?: string, phase?: NetworkPhase): void {
    if (this.kernel === "closed" || this.kernel === "gone") {
      this.ways?.out.stop("wire");
      return;
    }
    const { universe } = this.host;
    universe.log.add("reset", universe.nowMs, this.host.index, this.host.index, this.id, 0, 0);
    this.kernel = "closed";
    this.host.sockets.delete(this);
    this.onGivenUp = undefined;
    this.ways?.out.stop("kernel");
    const named = phase ?? this.phase;
    this.error = { phase: named, code, text: text ?? `${this.target}: ${named}: ${code}` };
    this.queue = [];
    this.queueBytes = 0;
    this.process.post(this);
  }

  /** The stream breaks: both sides hear of it at once, or (`end`) the peer hears an end, in the middle of anything. */
  break(how: "reset" | "end"): void {
    const peer = this.ways?.peer;
    if (this.kernel !== "open" || peer === undefined) return;
    this.ways?.out.stop("wire");
    if (how === "reset") peer.failed("ECONNRESET");
    else if (peer.kernel === "open") peer.receiveEnd();
    this.failed("ECONNRESET");
  }

  /** The process was killed: the kernel closes for it. */
  ownerDied(): void {
    this.isClosedTold = true;
    this.letGo();
  }

  /** The machine went down: nothing is left and nobody is told. */
  machineDied(): void {
    this.isClosedTold = true;
    this.kernel = "gone";
    this.ways?.out.stop("kernel");
    this.onGivenUp?.();
  }

  /** Sends the peer a reset, which is not sent again if it is lost. */
  resetPeer(): void {
    const ways = this.ways;
    const { universe } = this.host;
    if (ways === undefined || ways.link.loses()) return;
    const atMs = Math.max(universe.nowMs + ways.link.travelMs(), ways.out.arrivalFloorMs);
    const arrived = (): void => {
      if (ways.link.cuts === 0 && ways.link.to.isUp) ways.peer.failed("ECONNRESET");
    };
    universe.schedule(new CallbackEvent(arrived), atMs);
  }

  // ------------------------------------------------------------------------------------------------- the I/O phase

  runOne(): boolean {
    if (this.isClosedTold) return false;
    try {
      return this.tellNext();
    } catch (cause) {
      this.handlerThrew(cause);
      return true;
    }
  }

  private tellNext(): boolean {
    while (this.words.length > 0 && !this.isDestroyed) this.handleWord(this.words.shift() as StreamWord);
    if (this.isDestroyed) return this.events === undefined ? false : this.tellClosed(this.error);
    if (this.isAcceptDue && this.tellAccepted()) return true;
    if (this.isOpenDue) {
      this.isOpenDue = false;
      this.isOpen = true;
      this.phase = "open";
      this.events?.opened();
      return true;
    }
    if (!this.isOpen) return this.tellFailedHandshake();
    return this.tellRead() || this.tellWritten() || this.tellEnd();
  }

  private tellRead(): boolean {
    if (this.isPaused) return false;
    if (this.receivedBytes > 0) {
      const bytes = this.takeReceived();
      this.ways?.incoming.consumed(bytes.length);
      // A copy that is overwritten afterwards: who keeps a chunk reads rubbish, as on real sockets it reads nothing.
      const own = Buffer.from(bytes);
      this.events?.data(own);
      own.fill(0xdb);
      return true;
    }
    if (!this.isEndReceived || this.isEndedTold) return false;
    this.isEndedTold = true;
    this.events?.ended();
    return true;
  }

  private tellWritten(): boolean {
    const out = this.ways?.out;
    if (out === undefined || this.kernel !== "open") return false;
    if (this.queueBytes > 0) {
      this.flush(out);
      if (this.queueBytes === 0) {
        this.events?.drained();
        return true;
      }
    }
    if (this.isEnding && !this.isEndSent && this.queueBytes === 0) {
      this.isEndSent = true;
      out.end();
    }
    return false;
  }

  private tellEnd(): boolean {
    if (this.error !== undefined && (!this.isPaused || this.isErrorDue)) return this.tellClosed(this.error);
    if (this.isEndedTold && this.isEndSent) return this.tellClosed(undefined);
    return false;
  }

  private tellFailedHandshake(): boolean {
    if (this.events === undefined) {
      // A server whose client does not speak TLS, went away or was cut: silence.
      if (this.receivedBytes > 0 || this.isEndReceived || this.error !== undefined) this.destroy();
      return false;
    }
    if (this.error !== undefined) return this.tellClosed(this.error);
    if (this.receivedBytes === 0 && !this.isEndReceived) return false;
    const text = `${this.target}: ${this.phase}: the peer does not speak TLS or went away`;
    const error: NetworkError = { phase: this.phase, code: this.isEndReceived ? "ECONNRESET" : "EPROTO", text };
    this.letGo();
    return this.tellClosed(error);
  }

  private tellClosed(error: NetworkError | undefined): boolean {
    this.isClosedTold = true;
    this.letGo();
    const { universe } = this.host;
    universe.log.add("close", universe.nowMs, this.host.index, this.host.index, this.id, 0, 0);
    const events = this.events;
    this.events = undefined;
    events?.closed(error);
    return true;
  }

  private tellAccepted(): boolean {
    const { listener } = this;
    this.isAcceptDue = false;
    if (listener === undefined) return false;
    if (!this.isHandshakeDone) listener.waiting--;
    if (listener.isClosed) {
      this.destroy();
      this.resetPeer();
      return false;
    }
    if (listener.request.tls !== undefined && !this.isHandshakeDone) {
      this.process.schedule(listener.request.handshakeTimeoutMs, () => {
        if (!this.isOpen) this.destroy();
      });
      return false;
    }
    const { universe } = this.host;
    universe.log.add("accept", universe.nowMs, this.ways?.peer.host.index ?? -1, this.host.index, this.id, 0, 0);
    this.isOpen = true;
    this.events = listener.request.accept(this);
    if (this.isDestroyed) this.process.post(this);
    return true;
  }

  // ------------------------------------------------------------------------------------------------------- private

  /** The client's kernel has said that the stream stands: it waits to be accepted. */
  private acceptable(): void {
    if (this.listener === undefined) return;
    if (this.listener.isClosed || !this.process.isAlive) {
      this.letGo();
      this.resetPeer();
      return;
    }
    this.listener.waiting++;
    this.isAcceptDue = true;
    this.process.post(this);
  }

  private handleWord(word: StreamWord): void {
    const { listener } = this;
    const tls = listener?.request.tls;
    if (word.kind === "hello" && listener !== undefined && tls !== undefined) {
      const answer = answerHello(word.payload as TlsHello, tls, listener.request.alpn, this.serverIdentities);
      this.ways?.out.say(answer.kind, answer);
      if (answer.kind === "facts") this.tls = answer.forServer;
      else this.destroy();
    } else if (word.kind === "finished" && listener !== undefined) {
      this.isHandshakeDone = true;
      this.isAcceptDue = true;
    } else if (word.kind === "facts" || word.kind === "refusal") {
      this.handshakeAnswered(word.payload as TlsAnswer);
    }
  }

  private handshakeAnswered(answer: TlsAnswer): void {
    if (answer.kind === "refusal") {
      this.failed(answer.code, `${this.target}: tls: refused by the server: ${answer.code}`, "tls");
      return;
    }
    this.tls = answer.forClient;
    this.ways?.out.say("finished", undefined);
    this.isOpenDue = true;
  }

  private enqueue(bytes: Buffer): void {
    if (bytes.length === 0 || this.isEnding || this.isDestroyed || this.isClosedTold) return;
    const out = this.ways?.out;
    if (this.error !== undefined) {
      // A write finds out what a paused reader has not seen.
      this.isErrorDue = true;
      this.process.post(this);
      return;
    }
    if (this.queueBytes === 0 && this.isOpen && out !== undefined && bytes.length <= out.room) {
      out.send(bytes);
      return;
    }
    this.queue.push(bytes);
    this.queueBytes += bytes.length;
    if (this.isOpen) this.process.post(this);
  }

  /** Moves what the process holds to the kernel, as far as there is room. */
  private flush(out: Pipe): void {
    let taken = 0;
    while (this.queueBytes > 0) {
      const chunk = this.queue[taken] as Buffer;
      const room = out.room;
      if (room === 0) break;
      const part = chunk.length <= room ? chunk : chunk.subarray(0, room);
      out.send(part);
      this.queueBytes -= part.length;
      if (part.length < chunk.length) this.queue[taken] = chunk.subarray(part.length);
      else taken++;
      out.pump();
    }
    this.queue.splice(0, taken);
  }

  private takeReceived(): Buffer {
    const first = this.received[0] as Buffer;
    let count = 1;
    let size = first.length;
    for (
      let next = this.received[count];
      next !== undefined && size + next.length <= readBytesMax;
      next = this.received[count]
    ) {
      size += next.length;
      count++;
    }
    const bytes = count === 1 ? first : Buffer.concat(this.received.slice(0, count), size);
    this.received.splice(0, count);
    this.receivedBytes -= size;
    return bytes;
  }

  /** The process has no more use for it: the kernel sends what it has taken, or resets if something was left unread, or if it is told to. */
  private letGo(how: "close" | "reset" = "close"): void {
    const wasOpen = this.kernel === "open";
    this.onGivenUp?.();
    this.onGivenUp = undefined;
    if (this.kernel !== "gone") this.kernel = "closed";
    this.host.sockets.delete(this);
    this.queue = [];
    this.queueBytes = 0;
    if (wasOpen && (how === "reset" || this.receivedBytes > 0)) {
      this.resetPeer();
      this.ways?.out.stop("kernel");
    } else if (wasOpen) {
      this.ways?.out.end();
    }
    this.received = [];
    this.receivedBytes = 0;
  }

  private handlerThrew(cause: unknown): void {
    if (this.isClosedTold) throw cause;
    const words = cause instanceof Error ? cause.message : String(cause);
    this.error ??= {
      phase: this.phase,
      code: HANDLER_THREW,
      text: `${this.remoteAddress}: the socket's owner threw: ${words}`,
      cause,
    };
    this.destroy();
  }
}
