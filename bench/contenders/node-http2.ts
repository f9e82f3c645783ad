/**
 * A hand-written gRPC echo on node:http2: gRPC's message framing, headers and trailers, protobuf-es, and nothing else (no
 * deadlines, interceptors, retries). What one gets from Node's own HTTP/2 without a gRPC library.
 */
import { readFileSync } from "node:fs";
import { connect as connectHttp2, createSecureServer, createServer } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { serverHost, tlsServerName, type BenchClient, type Contender, type Item } from "../contender.ts";
import type { ConnectOptions, ServeOptions, Tally } from "../contender.ts";
import { AddReplySchema, AddRequestSchema, BlobSchema, CountRequestSchema } from "../gen/bench/v1/bench_pb.ts";
import { ItemSchema, OrderSchema } from "../gen/bench/v1/bench_pb.ts";
import { numberedItems } from "../items.ts";
import { order } from "../order.ts";

export const contender: Contender = { serve, connect };

const windowBytes = 4 * 1024 * 1024;
const servicePath = "/bench.v1.Bench/";
const prefixBytes = 5;

function serve({ tls, received }: ServeOptions): Promise<number> {
  const options = { settings: { initialWindowSize: windowBytes, maxConcurrentStreams: 10_000 } };
  const server =
    tls === undefined
      ? createServer(options)
      : createSecureServer({ ...options, cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) });
  server.on("session", (session) => session.setLocalWindowSize(windowBytes));
  server.on("stream", (stream, headers) => answer(stream, String(headers[":path"]), received));
  return new Promise((resolve) => {
    server.listen(0, serverHost, () => resolve((server.address() as AddressInfo).port));
  });
}

function answer(stream: ServerHttp2Stream, path: string, received: Tally): void {
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  switch (path.slice(servicePath.length)) {
    case "Add":
      return readOne(stream, AddRequestSchema, ({ a, b }) => stream.end(frame(AddReplySchema, { result: a + b })));
    case "PlaceOrder":
      return readOne(stream, OrderSchema, (message) => stream.end(frame(OrderSchema, message)));
    case "Echo":
      return readOne(stream, BlobSchema, (message) => stream.end(frame(BlobSchema, message)));
    case "Down":
      return readOne(stream, CountRequestSchema, ({ count, size }) => writeAll(stream, numberedItems(count, size)));
    case "Up": {
      let result = 0;
      readAll(stream, (item) => {
        received.items += 1;
        result += item.index;
      });
      stream.on("end", () => stream.end(frame(AddReplySchema, { result })));
      return;
    }
    case "Both": {
      let frames: Buffer[] = [];
      const take = (item: Item): void => {
        received.items += 1;
        frames.push(frame(ItemSchema, item));
      };
      readAll(stream, take, () => {
        if (frames.length > 0) writeOrPause(stream, Buffer.concat(frames));
        frames = [];
      });
      stream.on("end", () => stream.end());
      return;
    }
    default:
      stream.close();
  }
}

function connect({ port, tls }: ConnectOptions): Promise<BenchClient> {
  const url = `${tls === undefined ? "http" : "https"}://${serverHost}:${port}`;
  const session = connectHttp2(url, {
    settings: { initialWindowSize: windowBytes },
    ...(tls === undefined ? undefined : { ca: readFileSync(tls.caFile), servername: tlsServerName }),
  });
  const client: BenchClient = {
    add: (request) => unary(session, "Add", frame(AddRequestSchema, request), AddReplySchema),
    placeOrder: () => unary(session, "PlaceOrder", frame(OrderSchema, order), OrderSchema),
    echo: (request) => unary(session, "Echo", frame(BlobSchema, request), BlobSchema),
    down: (request, onItem) =>
      new Promise((resolve, reject) => {
        const stream = open(session, "Down", resolve, reject);
        readAll(stream, onItem);
        stream.end(frame(CountRequestSchema, request));
      }),
    up: (items) =>
      new Promise((resolve, reject) => {
        let reply: MessageShape<typeof AddReplySchema> | undefined;
        const stream = open(
          session,
          "Up",
          () => (reply === undefined ? reject(new Error("no reply")) : resolve(reply)),
          reject,
        );
        readOne(stream, AddReplySchema, (message) => (reply = message));
        writeAll(stream, items[Symbol.iterator]());
      }),
    both: (items, onItem) =>
      new Promise((resolve, reject) => {
        const stream = open(session, "Both", resolve, reject);
        readAll(stream, onItem);
        writeAll(stream, items[Symbol.iterator]());
      }),
  };
  return new Promise((resolve, reject) => {
    session.once("error", reject);
    session.once("remoteSettings", () => {
      session.setLocalWindowSize(windowBytes);
      resolve(client);
    });
  });
}

function unary<D extends DescMessage>(
  session: ClientHttp2Session,
  method: string,
  request: Buffer,
  schema: D,
): Promise<MessageShape<D>> {
  return new Promise((resolve, reject) => {
    let reply: MessageShape<D> | undefined;
    const finish = (): void => (reply === undefined ? reject(new Error("no reply")) : resolve(reply));
    const stream = open(session, method, finish, reject);
    readOne(stream, schema, (message) => (reply = message));
    stream.end(request);
  });
}

/** Opens a call's stream; `finish` once all was read and the trailers said OK. */
function open(
  session: ClientHttp2Session,
  method: string,
  finish: () => void,
  reject: (error: Error) => void,
): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": servicePath + method,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let status: unknown;
  stream.on("trailers", (trailers) => (status = trailers["grpc-status"]));
  stream.on("end", () => (status === "0" ? finish() : reject(new Error(`grpc-status ${String(status)}`))));
  stream.on("error", reject);
  return stream;
}

function frame<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  const message = toBinary(schema, create(schema, init));
  const bytes = Buffer.allocUnsafe(prefixBytes + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefixBytes);
  return bytes;
}

type Readable = ClientHttp2Stream | ServerHttp2Stream;

/** Takes the one message as soon as it is whole. */
function readOne<D extends DescMessage>(stream: Readable, schema: D, take: (message: MessageShape<D>) => void): void {
  let chunks: Buffer[] | undefined;
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
    const first = chunks?.[0] ?? chunk;
    if (length < prefixBytes || length < prefixBytes + first.readUInt32BE(1)) {
      if (chunks === undefined) chunks = [chunk];
      else chunks.push(chunk);
      return;
    }
    const bytes = chunks === undefined ? chunk : Buffer.concat([...chunks, chunk], length);
    take(fromBinary(schema, bytes.subarray(prefixBytes)));
  });
}

function readAll(stream: Readable, take: (item: Item) => void, endOfChunk?: () => void): void {
  let rest: Buffer | undefined;
  stream.on("data", (chunk: Buffer) => {
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= prefixBytes) {
      const end = at + prefixBytes + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      take(fromBinary(ItemSchema, bytes.subarray(at + prefixBytes, end)));
      at = end;
    }
    rest = at === bytes.length ? undefined : bytes.subarray(at);
    endOfChunk?.();
  });
}

/** The messages of one go leave in one write: node:http2 pays for each. */
const writeTargetBytes = 16 * 1024;

function writeAll(stream: Readable, items: Iterator<Item>): void {
  for (;;) {
    const frames: Buffer[] = [];
    let bytes = 0;
    let isDone = false;
    while (bytes < writeTargetBytes && !isDone) {
      const next = items.next();
      if (next.done === true) isDone = true;
      else {
        const message = frame(ItemSchema, next.value);
        frames.push(message);
        bytes += message.length;
      }
    }
    const hasRoom = stream.write(Buffer.concat(frames, bytes));
    if (isDone) {
      stream.end();
      return;
    }
    if (!hasRoom) {
      stream.once("drain", () => writeAll(stream, items));
      return;
    }
  }
}

function writeOrPause(stream: Readable, bytes: Buffer): void {
  if (stream.write(bytes)) return;
  stream.pause();
  stream.once("drain", () => stream.resume());
}
