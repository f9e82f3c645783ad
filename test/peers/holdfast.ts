/** Holdfast's public API as a peer: the probe and the interop services as a server, any call as a client. */
import { setTimeout as delay } from "node:timers/promises";
import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import { type CallOptions, type Code, createChannel, createServer, type HandlerCall, RpcError } from "holdfast";
import type {
  CallingPeer,
  CallOutcome,
  CallPlan,
  Fields,
  PeerClient,
  PeerClientOptions,
  PeerServer,
  PeerServerOptions,
  ServingPeer,
} from "../interop/peer.ts";
import { TestService } from "./gen/grpc/testing/test_pb.js";
import { Probe } from "./gen/holdfast/interop/v1/probe_pb.js";
import { OpenRcaService } from "./gen/xds/service/orca/v3/orca_pb.js";
import { createProbeService, echoed, type ProbeCall, ProbeFailure } from "./probe-service.ts";
import { createTestService, type TestCall } from "./test-service.ts";

export const holdfast: CallingPeer & ServingPeer = {
  name: "Holdfast",
  startServer,
  createClient: async (options) => createClient(options),
};

/** gRPC's codes; the index is the number. */
const CODES: readonly ("OK" | Code)[] = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];
const TYPE_PREFIX = "type.googleapis.com/";

// ---------------------------------------------------------------------------------------------------------- server

async function startServer({ tls }: PeerServerOptions): Promise<PeerServer> {
  const probe = createProbeService();
  const tests = createTestService();
  const server = createServer({ drain: { signals: [] } })
    .service(Probe, {
      unary: (request, call) => settle(() => probe.unary(request, open(call))),
      upload: (requests, call) => settle(() => probe.upload(requests, open(call))),
      download: (request, call) => stream(probe.download(request, open(call))),
      chat: (requests, call) => stream(probe.chat(requests, open(call))),
      seen: (request) => probe.seen(request),
      missing: unimplemented,
    })
    .service(TestService, {
      emptyCall: () => tests.emptyCall(),
      unaryCall: (request, call) => settle(async () => tests.unaryCall(request, openTest(call))),
      cacheableUnaryCall: (request, call) => settle(async () => tests.unaryCall(request, openTest(call))),
      streamingInputCall: (requests) => tests.streamingInputCall(requests),
      streamingOutputCall: (request, call) => stream(tests.streamingOutputCall(request, openTest(call))),
      fullDuplexCall: (requests, call) => stream(tests.fullDuplexCall(requests, openTest(call))),
      halfDuplexCall: (requests, call) => stream(tests.halfDuplexCall(requests, openTest(call))),
      unimplementedMethod: unimplemented,
    })
    .service(OpenRcaService, {
      streamCoreMetrics: (request, call) => stream(tests.streamCoreMetrics(request, call.signal)),
    });
  const { port } = await server.listen(
    0,
    tls === undefined ? {} : { tls: { certFile: tls.certFile, keyFile: tls.keyFile } },
  );
  return {
    port,
    async close() {
      await server.close({ timeoutMs: 0 });
    },
  };
}

function unimplemented(): never {
  throw new RpcError("UNIMPLEMENTED", "left out on purpose");
}

function open(call: HandlerCall): ProbeCall {
  const metadata = [...call.metadata];
  for (const [name, value] of echoed(metadata, "header")) call.setHeader(name, value);
  for (const [name, value] of echoed(metadata, "trailer")) call.setTrailer(name, value);
  return {
    signal: call.signal,
    remainingMs() {
      const remainingMs = call.deadline.remainingMs();
      return Number.isFinite(remainingMs) ? remainingMs : -1;
    },
  };
}

function openTest(call: HandlerCall): TestCall {
  return {
    metadata: [...call.metadata],
    signal: call.signal,
    setHeader: (name, value) => call.setHeader(name, value),
    setTrailer: (name, value) => call.setTrailer(name, value),
  };
}

async function settle<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toRpcError(error);
  }
}

async function* stream<T>(replies: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    yield* replies;
  } catch (error) {
    throw toRpcError(error);
  }
}

/** What a handler throws for a failure that its request asks for; anything else is returned as it is. */
export function toRpcError(error: unknown): unknown {
  if (!(error instanceof ProbeFailure)) return error;
  const { code, text, details } = error.failure;
  const known = CODES[code];
  if (known === undefined || known === "OK") return new TypeError(`${code} is no failure of gRPC`);
  return new RpcError(known, text, {
    details: details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(TYPE_PREFIX.length), value })),
  });
}

// ---------------------------------------------------------------------------------------------------------- client

function createClient({ host = "localhost", port, tls, messageBytesMax }: PeerClientOptions): PeerClient {
  const options = { messageBytesMax, ...(tls === undefined ? {} : { tls }) };
  const target = `${host}:${port}`;
  const plain = createChannel(target, options);
  const compressing = createChannel(target, { ...options, compress: "gzip" });
  return {
    call: (plan) => run(plan.isCompressed === true ? compressing : plain, plan),
    async close() {
      await Promise.all([plain.close({ timeoutMs: 0 }), compressing.close({ timeoutMs: 0 })]);
    },
  };
}

type AnyMethod = (request: unknown, options: CallOptions) => Promise<unknown> | AsyncIterable<unknown>;

async function run<M extends DescMethod>(
  channel: ReturnType<typeof createChannel>,
  plan: CallPlan<M>,
): Promise<CallOutcome<M>> {
  const controller = new AbortController();
  const replies: MessageShape<M["output"]>[] = [];
  let header: Fields = [];
  let trailer: Fields = [];
  let wake = (): void => {};
  let isOver = false;
  const options: CallOptions = {
    signal: controller.signal,
    timeoutMs: plan.timeoutMs ?? Infinity,
    metadata: metadataOf(plan.metadata ?? []),
    onReply(info) {
      header = [...info.header];
      trailer = [...info.trailer];
    },
  };
  void plan.cancelWhen?.then(() => controller.abort());
  const arrive = async (count: number): Promise<void> => {
    while (plan.isLockstep === true && replies.length < count && !isOver) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  async function* source(): AsyncGenerator<unknown> {
    for (const [index, request] of plan.requests.entries()) {
      await arrive(index);
      if (plan.requestDelayMs !== undefined) await delay(plan.requestDelayMs);
      yield request;
    }
    await arrive(plan.requests.length);
    plan.onAllSent?.();
    if (plan.keepsOpen === true && !controller.signal.aborted) {
      await new Promise<void>((resolve) => controller.signal.addEventListener("abort", () => resolve()));
    }
  }
  const collect = async (stream: AsyncIterable<unknown>): Promise<void> => {
    for await (const reply of stream) {
      replies.push(reply as MessageShape<M["output"]>);
      wake();
      if (replies.length === plan.cancelAfterReplies) controller.abort();
    }
  };
  const { method } = plan;
  const client = channel.client(method.parent) as unknown as Readonly<Record<string, AnyMethod>>;
  const takesMany = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const givesMany = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  try {
    const result = client[method.localName]?.(takesMany ? source() : plan.requests[0], options);
    if (!takesMany) plan.onAllSent?.();
    if (givesMany) await collect(result as AsyncIterable<unknown>);
    else replies.push((await result) as MessageShape<M["output"]>);
    return { replies, header, trailer, code: 0, text: "", details: [] };
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    const details = error.details.map(({ type, value }) => ({ typeUrl: `${TYPE_PREFIX}${type}`, value }));
    return { replies, header, trailer, code: CODES.indexOf(error.code), text: error.text, details };
  } finally {
    isOver = true;
    wake();
  }
}

type MetadataRecord = Record<string, string[] | Uint8Array[]>;

function metadataOf(fields: Fields): NonNullable<CallOptions["metadata"]> {
  const record: Record<string, (string | Uint8Array)[]> = {};
  for (const [name, value] of fields) record[name] = [...(record[name] ?? []), value];
  return record as MetadataRecord as NonNullable<CallOptions["metadata"]>;
}
