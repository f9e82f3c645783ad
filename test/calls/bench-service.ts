/**
 * The benchmarks' service as tests use it: handlers of which each test replaces what it is about, and a client and a server
 * that are closed with the test.
 */
import {
  type Client,
  type ClientOptions,
  type ChannelOptions,
  createClient,
  createServer,
  type Handlers,
  type Server,
  type ServerOptions,
} from "holdfast";
import type { ServiceOptions } from "../../src/server/create-server.ts";
import { Bench } from "../../bench/gen/bench/v1/bench_pb.ts";

export { Bench };
export type BenchHandlers = Handlers<typeof Bench>;
export type BenchClient = Client<typeof Bench>;

/** What the benchmarks' handlers do. */
export const benchHandlers: BenchHandlers = {
  add: ({ a, b }) => ({ result: a + b }),
  placeOrder: (order) => order,
  echo: ({ data }) => ({ data }),
  *down({ count, size }) {
    for (let index = 0; index < count; index++) yield { index, text: "x".repeat(size) };
  },
  async up(items) {
    let result = 0;
    for await (const { index } of items) result += index;
    return { result };
  },
  async *both(items) {
    for await (const { index, text } of items) yield { index, text };
  },
};

export interface PairOptions {
  readonly server?: ServerOptions | undefined;
  readonly client?: (ClientOptions & ChannelOptions) | undefined;
  /** Without a socket. Default a loopback port that the system chooses. */
  readonly isInProcess?: boolean | undefined;
}

/** A server, a client of it, and the server's address; closed, and calls cut, when disposed. */
export interface Pair extends AsyncDisposable {
  readonly server: Server;
  readonly client: BenchClient;
  readonly address: string;
}

/** A server that listens to no signal of the process. */
export function benchServer(
  handlers: Partial<BenchHandlers> = {},
  options: ServerOptions = {},
  service: ServiceOptions<typeof Bench> = {},
): Server {
  const drain = { signals: [], ...options.drain };
  return createServer({ ...options, drain }).service(Bench, { ...benchHandlers, ...handlers }, service);
}

export async function startPair(handlers: Partial<BenchHandlers> = {}, options: PairOptions = {}): Promise<Pair> {
  const server = benchServer(handlers, options.server);
  const address = options.isInProcess === true ? "in-process" : (await server.listen(0)).address;
  // One attempt, so that a test sees what one attempt does; those about several say so.
  const policy = { retry: false, hedge: false } as const;
  const client = createClient(Bench, options.isInProcess === true ? server : address, { policy, ...options.client });
  return {
    server,
    client,
    address,
    async [Symbol.asyncDispose]() {
      await client.$close({ timeoutMs: 0 });
      await server.close({ timeoutMs: 0 });
    },
  };
}

/** All messages of a stream. */
export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const messages: T[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}
