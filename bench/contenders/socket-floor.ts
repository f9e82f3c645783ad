/**
 * The floor: what two Node processes can do over one socket if a protocol costs next to nothing. Frames on node:net
 * (length, call id, method, message), protobuf-es, a ring of pending calls, the frames of a turn in one write. No
 * headers, flow control, deadlines, errors or cancellation: not a protocol that one could use.
 */
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { serverHost, tlsServerName, type BenchClient, type Contender } from "../contender.ts";
import type { ConnectOptions, ServeOptions } from "../contender.ts";
import { AddReplySchema, AddRequestSchema, BlobSchema, OrderSchema } from "../gen/bench/v1/bench_pb.ts";
import { order } from "../order.ts";

export const contender: Contender = { serve, connect };

const prefixBytes = 9;
const methodAdd = 0;
const methodOrder = 1;
const methodEcho = 2;

/** A larger message is handed to the socket as it is. */
const copyBytesMax = 16_384;

/** Collects the frames of a turn; one write after the turn's microtasks. */
class Writer {
  readonly #socket: Socket;
  #buffer = Buffer.allocUnsafeSlow(65_536);
  #used = 0;
  #isScheduled = false;
  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.#send();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  write(id: number, method: number, message: Uint8Array): void {
    const isLarge = message.length > copyBytesMax;
    const size = isLarge ? prefixBytes : prefixBytes + message.length;
    if (this.#used + size > this.#buffer.length) this.#send();
    const buffer = this.#buffer;
    const at = this.#used;
    putUint32(buffer, message.length, at);
    putUint32(buffer, id, at + 4);
    buffer[at + 8] = method;
    this.#used = at + size;
    if (isLarge) {
      this.#send();
      this.#socket.write(message);
      return;
    }
    buffer.set(message, at + prefixBytes);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(this.#flush);
    }
  }

  #send(): void {
    if (this.#used === 0) return;
    const buffer = this.#buffer;
    const used = this.#used;
    this.#socket.write(buffer.subarray(0, used));
    // The socket owns what it was given; the rest of a roomy buffer is filled by the next turns.
    this.#buffer = buffer.length - used >= 16_384 ? buffer.subarray(used) : Buffer.allocUnsafeSlow(65_536);
    this.#used = 0;
  }
}

type Take = (id: number, method: number, bytes: Buffer, start: number, end: number) => void;

/** Walks the frames of each chunk in place; only a frame cut by the end of a chunk is copied. */
function readFrames(socket: Socket, take: Take): void {
  let rest: Buffer | undefined;
  let parts: Buffer[] = [];
  let missing = 0;
  socket.on("data", (chunk: Buffer) => {
    let bytes = chunk;
    if (rest !== undefined) {
      parts.push(chunk);
      missing -= chunk.length;
      if (missing > 0) return;
      bytes = Buffer.concat(parts);
      parts = [];
      rest = undefined;
    }
    let at = 0;
    while (bytes.length - at >= prefixBytes) {
      const end = at + prefixBytes + getUint32(bytes, at);
      if (end > bytes.length) break;
      take(getUint32(bytes, at + 4), bytes[at + 8] ?? 0, bytes, at + prefixBytes, end);
      at = end;
    }
    if (at === bytes.length) return;
    rest = bytes.subarray(at);
    parts.push(rest);
    missing = (rest.length >= prefixBytes ? prefixBytes + getUint32(rest, 0) : prefixBytes) - rest.length;
  });
}

function serve({ tls }: ServeOptions): Promise<number> {
  const accept = (socket: Socket): void => {
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    const writer = new Writer(socket);
    readFrames(socket, (id, method, bytes, start, end) => {
      const message = bytes.subarray(start, end);
      if (method === methodAdd) {
        const { a, b } = fromBinary(AddRequestSchema, message);
        writer.write(id, method, toBinary(AddReplySchema, create(AddReplySchema, { result: a + b })));
      } else if (method === methodOrder) {
        writer.write(id, method, toBinary(OrderSchema, fromBinary(OrderSchema, message)));
      } else {
        writer.write(id, method, toBinary(BlobSchema, fromBinary(BlobSchema, message)));
      }
    });
  };
  const server =
    tls === undefined
      ? createServer(accept)
      : createTlsServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, accept);
  return new Promise((resolve) => {
    server.listen(0, serverHost, () => resolve((server.address() as AddressInfo).port));
  });
}

interface Pending {
  readonly schema: DescMessage;
  readonly resolve: (message: never) => void;
}
const ringSize = 4096;

function connect({ port, tls }: ConnectOptions): Promise<BenchClient> {
  const socket =
    tls === undefined
      ? connectTcp(port, serverHost)
      : connectTls({ port, host: serverHost, ca: readFileSync(tls.caFile), servername: tlsServerName });
  socket.setNoDelay(true);
  const writer = new Writer(socket);
  const ring: (Pending | undefined)[] = new Array<Pending | undefined>(ringSize).fill(undefined);
  let lastId = 0;
  readFrames(socket, (id, _method, bytes, start, end) => {
    const pending = ring[id % ringSize];
    if (pending === undefined) throw new Error(`no call ${id}`);
    ring[id % ringSize] = undefined;
    pending.resolve(fromBinary(pending.schema, bytes.subarray(start, end)) as never);
  });
  const call = <D extends DescMessage>(method: number, request: Uint8Array, schema: D): Promise<MessageShape<D>> => {
    const id = (lastId = (lastId + 1) >>> 0);
    if (ring[id % ringSize] !== undefined) throw new Error(`more than ${ringSize} calls in flight`);
    return new Promise((resolve) => {
      ring[id % ringSize] = { schema, resolve };
      writer.write(id, method, request);
    });
  };
  const noStreams = (): Promise<never> => Promise.reject(new Error("socket-floor has no streams"));
  const client: BenchClient = {
    add: (request) => call(methodAdd, toBinary(AddRequestSchema, create(AddRequestSchema, request)), AddReplySchema),
    placeOrder: () => call(methodOrder, toBinary(OrderSchema, create(OrderSchema, order)), OrderSchema),
    echo: (request) => call(methodEcho, toBinary(BlobSchema, create(BlobSchema, request)), BlobSchema),
    down: noStreams,
    up: noStreams,
    both: noStreams,
  };
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once(tls === undefined ? "connect" : "secureConnect", () => resolve(client));
  });
}

function putUint32(buffer: Buffer, value: number, at: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

function getUint32(buffer: Buffer, at: number): number {
  return (
    (((buffer[at] ?? 0) << 24) |
      ((buffer[at + 1] ?? 0) << 16) |
      ((buffer[at + 2] ?? 0) << 8) |
      (buffer[at + 3] ?? 0)) >>>
    0
  );
}
