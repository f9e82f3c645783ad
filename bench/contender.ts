/**
 * What a contender must bring: a server and a client of `bench.v1.Bench`, each as a knowledgeable engineer would write
 * it with that library. The harness owns the load, the clock and the counting.
 */

/** Certificates as files, the same for every contender; the client verifies the server's. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Every contender's server listens here. */
export const serverHost = "127.0.0.1";
/** The name in the servers' certificate, which a client asks for and verifies. */
export const tlsServerName = "localhost";

export interface ServeOptions {
  readonly tls: TlsFiles | undefined;
  /** Handlers of request streams add 1 for each item they receive. */
  readonly received: Tally;
}
export interface Tally {
  items: number;
}

export interface ConnectOptions {
  readonly port: number;
  readonly tls: TlsFiles | undefined;
}

export interface AddRequest {
  readonly a: number;
  readonly b: number;
}
export interface AddReply {
  readonly result: number;
}
export interface Blob {
  readonly data: Uint8Array<ArrayBuffer>;
}
export interface CountRequest {
  readonly count: number;
  readonly size: number;
}
export interface Item {
  readonly index: number;
  readonly text: string;
}
/** What the harness looks at in the order that comes back; the contender's own codec decoded the rest as well. */
export interface OrderReply {
  readonly id: string;
  readonly items: readonly unknown[];
}

/** One client with one connection (or the pool that its library makes by default). */
export interface BenchClient {
  add(request: AddRequest): Promise<AddReply>;
  /** Sends the order of `order.ts`, in the library's own shape of a message. */
  placeOrder(): Promise<OrderReply>;
  echo(request: Blob): Promise<{ readonly data: Uint8Array }>;
  /** Reads a whole reply stream and hands over each item. */
  down(request: CountRequest, onItem: (item: Item) => void): Promise<void>;
  /** Sends all items as a request stream; resolves to the server's sum of their indexes. */
  up(items: Iterable<Item>): Promise<AddReply>;
  /** Sends all items and hands over each that comes back, both at once. */
  both(items: Iterable<Item>, onItem: (item: Item) => void): Promise<void>;
}

export interface Contender {
  /** Listens on loopback, any port; resolves to the port. Lives until its process ends. */
  serve(options: ServeOptions): Promise<number>;
  connect(options: ConnectOptions): Promise<BenchClient>;
}

/** Contenders by name, in the order in which a round measures them. Loaded only in the processes that need them. */
export const contenders = {
  holdfast: {
    notes:
      "public API with its defaults on: all policies, deadline, call id, traceparent per call, AsyncLocalStorage; its own codec",
    load: async () => (await import("./contenders/holdfast.ts")).contender,
  },
  "holdfast-none": {
    notes: "the same with policy none: one attempt, no hedge, throttle, gate or checksums",
    load: async () => (await import("./contenders/holdfast.ts")).contenderWithoutPolicy,
  },
  "grpc-js": {
    notes: "codec protobufjs by @grpc/proto-loader, no deadline; a callback wrapped in one promise; streams by events",
    load: async () => (await import("./contenders/grpc-js.ts")).contender,
  },
  "connect-node": {
    notes: "gRPC transport on node:http2, codec protobuf-es, no deadline, windows of 4 MiB, no compression",
    load: async () => (await import("./contenders/connect-node.ts")).contender,
  },
  "node-http2": {
    notes: "hand-written on node:http2, gRPC framing and trailers, codec protobuf-es, no deadline, windows of 4 MiB",
    load: async () => (await import("./contenders/node-http2.ts")).contender,
  },
  "socket-floor": {
    notes:
      "length-prefixed frames on node:net, codec protobuf-es, batched writes; no headers, errors, deadlines, streams",
    load: async () => (await import("./contenders/socket-floor.ts")).contender,
  },
} satisfies Readonly<Record<string, { readonly notes: string; load(): Promise<Contender> }>>;

export type ContenderName = keyof typeof contenders;
export const contenderNames = Object.keys(contenders) as readonly ContenderName[];
