/**
 * The HTTP/2 engine behind the smallest of handlers: any request is answered, once it has ended, with 200 and its own body, or
 * with a fixed text if it had none. The limits are those of a real server.
 */
import { DEFAULT_HTTP2_LIMITS } from "../../src/wire/http2/limits.ts";
import type { FieldSection } from "../../src/wire/http2/field.ts";
import type { HpackEncoder } from "../../src/wire/http2/hpack-encoder.ts";
import type { HeaderSource, Http2Stream } from "../../src/wire/http2/stream.ts";
import { Connection, type StreamOwner } from "../../src/wire/transport/connection.ts";
import { type Runtime, runtimeOf } from "../../src/wire/transport/runtime.ts";
import type { Socket } from "../../src/world/network.ts";
import { nodeWorld } from "../../src/world/node.ts";

const GREETING = Buffer.from("an HTTP/2 engine that answers\n");

/** Listens on a free port of 127.0.0.1, in plain text. */
export async function startEchoServer(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const runtime = runtimeOf(nodeWorld);
  const connections = new Set<EchoConnection>();
  const listener = await nodeWorld.network.listen({
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    tls: undefined,
    alpn: ["h2"],
    handshakeTimeoutMs: 10_000,
    accept(socket) {
      const connection = new EchoConnection(runtime, socket, () => connections.delete(connection));
      connections.add(connection);
      return connection;
    },
    failed(error) {
      throw new Error(error.text);
    },
  });
  if (listener.address.kind !== "tcp") throw new Error("a TCP listener has a TCP address");
  return {
    port: listener.address.port,
    async close() {
      for (const connection of connections) connection.destroy("the server ends");
      await listener.close();
    },
  };
}

class EchoConnection extends Connection {
  readonly #onClosed: () => void;

  constructor(runtime: Runtime, socket: Socket, onClosed: () => void) {
    super(runtime, "server", DEFAULT_HTTP2_LIMITS);
    this.socket = socket;
    this.#onClosed = onClosed;
    this.engine.start();
    this.scheduleFlush();
  }

  opened(): void {
    // An accepted socket is open from the start.
  }
  protected streamOpened(stream: Http2Stream, section: FieldSection, ends: boolean): void {
    const exchange = new EchoExchange(this, stream);
    stream.owner = exchange;
    exchange.onHeaders(section, ends);
  }
  protected settingsArrived(): void {
    // Nothing waits for them.
  }
  protected pingAnswered(): void {
    // None is sent.
  }
  protected goAwayArrived(): void {
    // The client opens no more streams; those it has are answered.
  }
  protected turnRead(): void {
    // Nothing is gathered per turn.
  }
  protected connectionClosed(): void {
    this.#onClosed();
  }
}

class EchoExchange implements StreamOwner, HeaderSource {
  readonly #connection: EchoConnection;
  readonly #stream: Http2Stream;
  readonly #body: Buffer[];

  constructor(connection: EchoConnection, stream: Http2Stream) {
    this.#connection = connection;
    this.#stream = stream;
    this.#body = [];
  }

  onHeaders(_section: FieldSection, ends: boolean): void {
    if (ends) this.#answer();
  }
  onData(bytes: Buffer, start: number, end: number, ends: boolean): void {
    this.#body.push(bytes.subarray(start, end));
    this.#connection.engine.consume(this.#stream, end - start, this.#connection.receivedAtMs);
    if (ends) this.#answer();
  }
  onReset(): void {
    this.#connection.engine.release(this.#stream);
  }
  onWritable(): void {
    // The whole body was queued at once.
  }

  headerBytesMax(): number {
    return 64;
  }
  encodeHeaders(encoder: HpackEncoder, out: Buffer, at: number): number {
    return encoder.field(":status", "200", out, at);
  }

  #answer(): void {
    const { engine } = this.#connection;
    const body = Buffer.concat(this.#body);
    engine.sendHeaders(this.#stream, this, false);
    engine.sendData(this.#stream, body.length === 0 ? GREETING : body, true);
    engine.release(this.#stream);
    this.#connection.scheduleFlush();
  }
}
