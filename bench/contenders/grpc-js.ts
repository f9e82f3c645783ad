/**
 * grpc-js with its documented set-up: the .proto loaded by @grpc/proto-loader, whose codec is protobufjs. Unary calls
 * take a callback; the harness awaits calls, so each is wrapped in one promise and nothing else.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Client,
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type requestCallback,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { serverHost, tlsServerName, type Contender } from "../contender.ts";
import type { AddReply, AddRequest, BenchClient, Blob, ConnectOptions, CountRequest, Item } from "../contender.ts";
import type { OrderReply, ServeOptions } from "../contender.ts";
import { numberedItems } from "../items.ts";
import { orderWithNumbers } from "../order.ts";

interface GrpcClient extends Client {
  add(request: AddRequest, callback: requestCallback<AddReply>): unknown;
  placeOrder(request: typeof orderWithNumbers, callback: requestCallback<OrderReply>): unknown;
  echo(request: Blob, callback: requestCallback<Blob>): unknown;
  down(request: CountRequest): ClientReadableStream<Item>;
  up(callback: requestCallback<AddReply>): ClientWritableStream<Item>;
  both(): ClientDuplexStream<Item, Item>;
}

export const contender: Contender = { serve, connect };

const definition = loadSync(fileURLToPath(new URL("../proto/bench/v1/bench.proto", import.meta.url)));
const root = loadPackageDefinition(definition) as unknown as { bench: { v1: { Bench: ServiceClientConstructor } } };
const Bench = root.bench.v1.Bench;

function serve({ tls, received }: ServeOptions): Promise<number> {
  const add: handleUnaryCall<AddRequest, AddReply> = (call, callback) => {
    callback(null, { result: call.request.a + call.request.b });
  };
  const placeOrder: handleUnaryCall<unknown, unknown> = (call, callback) => callback(null, call.request);
  const echo: handleUnaryCall<Blob, Blob> = (call, callback) => callback(null, call.request);
  const down: handleServerStreamingCall<CountRequest, Item> = (call) => {
    writeAll(call, numberedItems(call.request.count, call.request.size));
  };
  const up: handleClientStreamingCall<Item, AddReply> = (call, callback) => {
    let result = 0;
    call.on("data", (item: Item) => {
      received.items += 1;
      result += item.index;
    });
    call.on("end", () => callback(null, { result }));
  };
  const both: handleBidiStreamingCall<Item, Item> = (call) => {
    call.on("data", (item: Item) => {
      received.items += 1;
      if (!call.write(item)) {
        call.pause();
        call.once("drain", () => call.resume());
      }
    });
    call.on("end", () => call.end());
  };
  const server = new Server();
  server.addService(Bench.service, { add, placeOrder, echo, down, up, both });
  const security =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { cert_chain: readFileSync(tls.certFile), private_key: readFileSync(tls.keyFile) },
        ]);
  return new Promise((resolve, reject) => {
    server.bindAsync(`${serverHost}:0`, security, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

function connect({ port, tls }: ConnectOptions): Promise<BenchClient> {
  const security = tls === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(tls.caFile));
  // Without the option all clients of a process share one connection to a server.
  const client = new Bench(`${serverHost}:${port}`, security, {
    "grpc.use_local_subchannel_pool": 1,
    ...(tls === undefined ? undefined : { "grpc.ssl_target_name_override": tlsServerName }),
  }) as unknown as GrpcClient;
  return Promise.resolve({
    add: (request) => new Promise((resolve, reject) => client.add(request, settle(resolve, reject))),
    placeOrder: () => new Promise((resolve, reject) => client.placeOrder(orderWithNumbers, settle(resolve, reject))),
    echo: (request) => new Promise((resolve, reject) => client.echo(request, settle(resolve, reject))),
    down: (request, onItem) =>
      new Promise((resolve, reject) => {
        client.down(request).on("data", onItem).on("error", reject).on("end", resolve);
      }),
    up: (items) =>
      new Promise((resolve, reject) => {
        writeAll(client.up(settle(resolve, reject)), items[Symbol.iterator]());
      }),
    both: (items, onItem) =>
      new Promise((resolve, reject) => {
        const call = client.both();
        call.on("data", onItem).on("error", reject).on("end", resolve);
        writeAll(call, items[Symbol.iterator]());
      }),
  });
}

function settle<T>(resolve: (reply: T) => void, reject: (error: Error) => void): requestCallback<T> {
  return (error, reply) => {
    if (error === null && reply !== undefined) resolve(reply);
    else reject(error ?? new Error("neither an error nor a reply"));
  };
}

interface ItemSink {
  write(item: Item): boolean;
  once(name: "drain", listener: () => void): unknown;
  end(): unknown;
}

/** Writes until the stream asks to wait; goes on when it has drained. */
function writeAll(sink: ItemSink, items: Iterator<Item>): void {
  for (let next = items.next(); next.done !== true; next = items.next()) {
    if (!sink.write(next.value)) {
      sink.once("drain", () => writeAll(sink, items));
      return;
    }
  }
  sink.end();
}
