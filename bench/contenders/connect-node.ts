/**
 * Connect's gRPC transport and adapter on node:http2, with protobuf-es. Response compression, on by default from 1 KiB,
 * is off: no contender compresses.
 */
import { readFileSync } from "node:fs";
import { createSecureServer, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { serverHost, tlsServerName, type BenchClient, type Contender, type Item } from "../contender.ts";
import type { ConnectOptions, ServeOptions } from "../contender.ts";
import { Bench } from "../gen/bench/v1/bench_pb.ts";
import { numberedItems } from "../items.ts";
import { order } from "../order.ts";

export const contender: Contender = { serve, connect };

const windowBytes = 4 * 1024 * 1024;

function serve({ tls, received }: ServeOptions): Promise<number> {
  const handler = connectNodeAdapter({
    acceptCompression: [],
    routes: (router) => {
      router.service(Bench, {
        add: ({ a, b }) => ({ result: a + b }),
        placeOrder: (request) => request,
        echo: (request) => request,
        async *down({ count, size }) {
          yield* numberedItems(count, size);
        },
        async up(items) {
          let result = 0;
          for await (const { index } of items) {
            received.items += 1;
            result += index;
          }
          return { result };
        },
        async *both(items) {
          for await (const item of items) {
            received.items += 1;
            yield item;
          }
        },
      });
    },
  });
  const options = { settings: { initialWindowSize: windowBytes, maxConcurrentStreams: 10_000 } };
  const server =
    tls === undefined
      ? createServer(options, handler)
      : createSecureServer({ ...options, cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, handler);
  server.on("session", (session) => session.setLocalWindowSize(windowBytes));
  return new Promise((resolve) => {
    server.listen(0, serverHost, () => resolve((server.address() as AddressInfo).port));
  });
}

function connect({ port, tls }: ConnectOptions): Promise<BenchClient> {
  const transport = createGrpcTransport({
    baseUrl: `${tls === undefined ? "http" : "https"}://${serverHost}:${port}`,
    acceptCompression: [],
    nodeOptions: {
      settings: { initialWindowSize: windowBytes },
      ...(tls === undefined ? undefined : { ca: readFileSync(tls.caFile), servername: tlsServerName }),
    },
  });
  const client = createClient(Bench, transport);
  return Promise.resolve({
    add: (request) => client.add(request),
    placeOrder: () => client.placeOrder(order),
    echo: (request) => client.echo(request),
    async down(request, onItem) {
      for await (const item of client.down(request)) onItem(item);
    },
    up: (items) => client.up(asynchronous(items)),
    async both(items, onItem) {
      for await (const item of client.both(asynchronous(items))) onItem(item);
    },
  });
}

async function* asynchronous(items: Iterable<Item>): AsyncGenerator<Item, undefined> {
  yield* items;
  return undefined;
}
