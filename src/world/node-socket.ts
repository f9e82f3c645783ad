/**
 * Hot path: one byte stream on a node:net or node:tls socket. Per received chunk one call of the owner, per write one
 * write of Node's.
 *
 * Invariants: events are never made from inside a method; `closed` is the last and comes once; after `destroy` only
 * `closed` comes. A handler that throws cuts its socket, and `closed` carries what it threw: its owner's state cannot be
 * trusted any more, and no other connection is harmed.
 */
import type { Socket as NetSocket } from "node:net";
import { TLSSocket } from "node:tls";
import type { NetworkError, NetworkPhase, Socket, SocketEvents, TlsFacts } from "./network.ts";
import { hostPort, networkErrorOf } from "./node-network-error.ts";
import { tlsFactsOf } from "./node-tls.ts";

/** The `code` of the {@link NetworkError} that `closed` carries when the owner's own handler threw. */
export const HANDLER_THREW = "HANDLER_THREW";

export class NodeSocket implements Socket {
  tls: TlsFacts | undefined;
  localAddress: string;
  remoteAddress: string;

  private readonly stream: NetSocket;
  private readonly target: string;
  private readonly onWritten: (error?: Error | null) => void;
  private events: SocketEvents | undefined;
  private phase: NetworkPhase;
  private error: NetworkError | undefined;
  /** No more writes: ended or cut. */
  private isEnded: boolean;
  /** No more events but `closed`. */
  private isCut: boolean;
  private isClosed: boolean;
  private isPauseWanted: boolean;
  /** queuedBytes was seen above 0 and `drained` is owed. */
  private isDrainOwed: boolean;

  /** `target` is what errors name: the address asked for, or the path of the listener that accepted. */
  constructor(stream: NetSocket, target: string, phase: NetworkPhase) {
    this.stream = stream;
    this.target = target;
    this.phase = phase;
    this.tls = undefined;
    this.localAddress = "";
    this.remoteAddress = target;
    this.events = undefined;
    this.error = undefined;
    this.isEnded = false;
    this.isCut = false;
    this.isClosed = false;
    this.isPauseWanted = false;
    this.isDrainOwed = false;
    this.onWritten = (error) => this.written(error);
    // At once and for good: an 'error' that nobody hears would end the process.
    stream.on("error", (cause) => this.failed(cause));
    stream.on("close", () => this.close());
    if (phase === "open") this.learn();
  }

  get queuedBytes(): number {
    return this.isClosed ? 0 : this.stream.writableLength;
  }

  write(bytes: Buffer): void {
    if (this.isEnded || bytes.length === 0) return;
    this.stream.write(bytes, this.onWritten);
    if (this.stream.writableLength > 0) this.isDrainOwed = true;
  }

  writeAll(chunks: readonly Buffer[], spent?: readonly Buffer[]): void {
    if (this.isEnded) return;
    this.stream.cork();
    const last = spent === undefined ? -1 : chunks.length - 1;
    for (let i = 0; i < chunks.length; i++) {
      const bytes = chunks[i] as Buffer;
      if (i === last) this.stream.write(bytes, (error) => this.writtenLast(spent, error));
      else if (bytes.length > 0) this.stream.write(bytes, this.onWritten);
    }
    this.stream.uncork();
    if (this.stream.writableLength > 0) this.isDrainOwed = true;
  }

  pause(): void {
    // Before the handshake is over the stream must go on reading.
    this.isPauseWanted = true;
    if (this.phase === "open" && !this.isCut) this.stream.pause();
  }

  resume(): void {
    this.isPauseWanted = false;
    if (this.phase === "open" && !this.isCut) this.stream.resume();
  }

  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.stream.end();
  }

  destroy(): void {
    this.isEnded = true;
    this.isCut = true;
    this.stream.destroy();
  }

  reset(): void {
    // Node throws for what is not a plain TCP socket, and lets one that connects go on until it has.
    if (this.phase !== "open" || this.tls !== undefined || this.stream.remotePort === undefined) {
      this.destroy();
      return;
    }
    this.isEnded = true;
    this.isCut = true;
    this.stream.resetAndDestroy();
  }

  /** Tells `events` from now on. Called once, by the network that made this socket. */
  listen(events: SocketEvents): void {
    this.events = events;
    this.stream.on("data", (bytes: Buffer) => this.received(bytes));
    this.stream.on("end", () => this.peerEnded());
    if (this.isPauseWanted && this.phase === "open") this.stream.pause();
  }

  /** The phase changed, which is what an error that comes now will name. */
  enter(phase: NetworkPhase): void {
    this.phase = phase;
  }

  /** Connected, and the handshake is done. */
  open(): void {
    this.phase = "open";
    this.learn();
    if (this.isPauseWanted) this.stream.pause();
    if (this.isCut) return;
    try {
      this.events?.opened();
    } catch (error) {
      this.handlerThrew(error);
    }
  }

  private learn(): void {
    const { stream } = this;
    if (stream.remoteAddress !== undefined && stream.remotePort !== undefined) {
      this.remoteAddress = hostPort(stream.remoteAddress, stream.remotePort);
    }
    this.localAddress =
      stream.localAddress !== undefined && stream.localPort !== undefined
        ? hostPort(stream.localAddress, stream.localPort)
        : this.target;
    if (stream instanceof TLSSocket) this.tls = tlsFactsOf(stream);
  }

  private received(bytes: Buffer): void {
    if (this.isCut) return;
    try {
      this.events?.data(bytes);
      release(bytes);
    } catch (error) {
      this.handlerThrew(error);
    }
  }

  /** Written without an error: of a write that failed the kernel may still hold the memory. */
  private writtenLast(spent: readonly Buffer[] | undefined, error: Error | null | undefined): void {
    if (!error && spent !== undefined) for (const bytes of spent) release(bytes);
    this.written(error);
  }

  private written(error: Error | null | undefined): void {
    // Node's 'drain' comes only after a write above the high-water mark; this one comes whenever bytes had to wait.
    if (error || !this.isDrainOwed || this.isCut || this.stream.writableLength > 0) return;
    this.isDrainOwed = false;
    try {
      this.events?.drained();
    } catch (cause) {
      this.handlerThrew(cause);
    }
  }

  private peerEnded(): void {
    // An end during the handshake is told by node:tls as an error.
    if (this.isCut || this.phase !== "open") return;
    try {
      this.events?.ended();
    } catch (error) {
      this.handlerThrew(error);
    }
  }

  private failed(cause: unknown): void {
    if (this.isCut) return;
    this.isCut = true;
    this.isEnded = true;
    this.error = networkErrorOf(cause, this.phase, this.target);
    // node:tls only emits an alert that comes after the handshake; a half-open socket would then never close.
    this.stream.destroy();
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isCut = true;
    this.isEnded = true;
    try {
      this.events?.closed(this.error);
    } catch (error) {
      // Nothing is left to tell it to; as an uncaught exception it is at least seen.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  private handlerThrew(cause: unknown): void {
    const words = cause instanceof Error ? cause.message : String(cause);
    const text = `${this.remoteAddress}: the socket's owner threw: ${words}`;
    this.error ??= { phase: this.phase, code: HANDLER_THREW, text, cause };
    this.destroy();
  }
}

/** Freeing smaller chunks by hand costs more than it saves. */
const RELEASE_BYTES_MIN = 4_096;

/**
 * Gives the memory of a chunk that was read, or of a message that was sent, back at once. Left to the collector, the chunks of a busy connection are what makes it run: freed
 * by hand, the next read finds memory that is still in the cache (docs/decisions/read-chunks.md).
 */
function release(bytes: Buffer): void {
  const memory = bytes.buffer;
  if (bytes.length < RELEASE_BYTES_MIN || memory.byteLength !== bytes.length || !(memory instanceof ArrayBuffer))
    return;
  memory.transfer(0);
}
