/** Holdfast as its README shows it: nothing is switched off, nothing is tuned. Without policies it is `holdfast-none`. */
import { createClient, createServer, type ClientOptions } from "holdfast";
import { serverHost, tlsServerName, type BenchClient, type Contender } from "../contender.ts";
import type { ConnectOptions, ServeOptions } from "../contender.ts";
import { Bench } from "../gen/bench/v1/bench_pb.ts";
import { numberedItems } from "../items.ts";
import { order } from "../order.ts";

export const contender: Contender = { serve, connect: (options) => connect(options, {}) };

/** The same with one attempt, no throttle, no gate, no checksums: plain gRPC. */
export const contenderWithoutPolicy: Contender = { serve, connect: (options) => connect(options, { policy: "none" }) };

async function serve({ tls, received }: ServeOptions): Promise<number> {
  const server = createServer().service(Bench, {
    add: ({ a, b }) => ({ result: a + b }),
    placeOrder: (request) => request,
    echo: (request) => request,
    down: ({ count, size }) => numberedItems(count, size),
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
  const security = tls === undefined ? {} : { tls: { certFile: tls.certFile, keyFile: tls.keyFile } };
  const { port } = await server.listen(0, security);
  return port;
}

function connect({ port, tls }: ConnectOptions, policy: ClientOptions<typeof Bench>): Promise<BenchClient> {
  const security = tls === undefined ? {} : { tls: { caFile: tls.caFile, serverName: tlsServerName } };
  const client = createClient(Bench, `${serverHost}:${port}`, { ...security, ...policy });
  return Promise.resolve({
    add: (request) => client.add(request),
    placeOrder: () => client.placeOrder(order),
    echo: (request) => client.echo(request),
    async down(request, onItem) {
      for await (const item of client.down(request)) onItem(item);
    },
    up: (items) => client.up(items),
    async both(items, onItem) {
      for await (const item of client.both(items)) onItem(item);
    },
  });
}
