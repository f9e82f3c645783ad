/** The probe over @connectrpc/connect-node in gRPC, as server and as client. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, createSecureServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Code,
  ConnectError,
  type ConnectRouter,
  createClient as createConnectClient,
  type HandlerContext,
  type Transport,
} from "@connectrpc/connect";
import {
  compressionGzip,
  connectNodeAdapter,
  createGrpcTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
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

export const connectNode: CallingPeer & ServingPeer = {
  name: "connect-node",
  joinsBytes: true,
  losesRepliesOverTls: true,
  startServer,
  createClient: async (options) => createClient(options),
};

const MESSAGE_BYTES_MAX = 4 * 1_048_576;

// ---------------------------------------------------------------------------------------------------------- server

async function startServer({ tls, isCompressed }: PeerServerOptions): Promise<PeerServer> {
  const probe = createProbeService();
  const tests = createTestService();
  const handler = connectNodeAdapter({
    grpc: true,
    connect: false,
    grpcWeb: false,
    readMaxBytes: MESSAGE_BYTES_MAX,
    compressMinBytes: isCompressed === true ? 0 : Number.MAX_SAFE_INTEGER,
    acceptCompression: [compressionGzip],
    routes(router: ConnectRouter) {
      router.service(Probe, {
        unary: (request, context) => settle(() => probe.unary(request, open(context))),
        upload: (requests, context) => settle(() => probe.upload(requests, open(context))),
        download: (request, context) => stream(probe.download(request, open(context))),
        chat: (requests, context) => stream(probe.chat(requests, open(context))),
        seen: (request) => probe.seen(request),
      });
      router.service(TestService, {
        emptyCall: () => tests.emptyCall(),
        unaryCall: (request, context) => settle(async () => tests.unaryCall(request, openTest(context))),
        streamingInputCall: (requests) => tests.streamingInputCall(requests),
        streamingOutputCall: (request, context) => stream(tests.streamingOutputCall(request, openTest(context))),
        fullDuplexCall: (requests, context) => stream(tests.fullDuplexCall(requests, openTest(context))),
        halfDuplexCall: (requests, context) => stream(tests.halfDuplexCall(requests, openTest(context))),
      });
      router.service(OpenRcaService, {
        streamCoreMetrics: (request, context) => stream(tests.streamCoreMetrics(request, context.signal)),
      });
    },
  });
  const server: Http2Server =
    tls === undefined
      ? createServer(handler)
      : createSecureServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

function open(context: HandlerContext): ProbeCall {
  for (const [name, value] of echoed(fieldsOf(context.requestHeader), "header"))
    context.responseHeader.append(name, textOf(value));
  for (const [name, value] of echoed(fieldsOf(context.requestHeader), "trailer"))
    context.responseTrailer.append(name, textOf(value));
  return { signal: context.signal, remainingMs: () => context.timeoutMs() ?? -1 };
}

function openTest(context: HandlerContext): TestCall {
  return {
    metadata: fieldsOf(context.requestHeader),
    signal: context.signal,
    setHeader: (name, value) => context.responseHeader.set(name, value),
    setTrailer: (name, value) => context.responseTrailer.set(name, textOf(value)),
  };
}

async function settle<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw errorOf(error);
  }
}

async function* stream<T>(replies: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    yield* replies;
  } catch (error) {
    throw errorOf(error);
  }
}

function errorOf(error: unknown): unknown {
  if (!(error instanceof ProbeFailure)) return error;
  const connectError = new ConnectError(error.failure.text, error.failure.code as Code);
  connectError.details = error.failure.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return connectError;
}

// ---------------------------------------------------------------------------------------------------------- client

function createClient({
  host = "localhost",
  port,
  tls,
  messageBytesMax = MESSAGE_BYTES_MAX,
}: PeerClientOptions): PeerClient {
  const baseUrl = `${tls === undefined ? "http" : "https"}://${host}:${port}`;
  const read = (file: string | undefined): Buffer | undefined => (file === undefined ? undefined : readFileSync(file));
  const nodeOptions =
    tls === undefined ? {} : { ca: read(tls.caFile), cert: read(tls.certFile), key: read(tls.keyFile) };
  const sessionManager = new Http2SessionManager(baseUrl, {}, nodeOptions);
  const shared = { baseUrl, sessionManager, readMaxBytes: messageBytesMax };
  const plain = createGrpcTransport(shared);
  const compressing = createGrpcTransport({ ...shared, sendCompression: compressionGzip, compressMinBytes: 0 });
  return {
    call: (plan) => run(plan.isCompressed === true ? compressing : plain, plan),
    async close() {
      sessionManager.abort();
    },
  };
}

async function run<M extends DescMethod>(transport: Transport, plan: CallPlan<M>): Promise<CallOutcome<M>> {
  type Reply = MessageShape<M["output"]>;
  const controller = new AbortController();
  const replies: Reply[] = [];
  let header: Fields = [];
  let trailer: Fields = [];
  const options: CallOptions = {
    signal: controller.signal,
    headers: (plan.metadata ?? []).map(([name, value]) => [name, textOf(value)] as [string, string]),
    ...(plan.timeoutMs === undefined ? {} : { timeoutMs: plan.timeoutMs }),
    onHeader: (headers) => {
      header = fieldsOf(headers);
    },
    onTrailer: (trailers) => {
      trailer = fieldsOf(trailers);
    },
  };
  void plan.cancelWhen?.then(() => controller.abort());
  let isOver = false;
  let wake = (): void => {};
  async function* source(): AsyncGenerator<unknown> {
    const arrive = async (count: number): Promise<void> => {
      while (plan.isLockstep === true && replies.length < count && !isOver) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    for (const [index, request] of plan.requests.entries()) {
      await arrive(index);
      if (plan.requestDelayMs !== undefined) await delay(plan.requestDelayMs);
      yield request;
    }
    await arrive(plan.requests.length);
    plan.onAllSent?.();
    if (plan.keepsOpen === true) await once(controller.signal, "abort");
  }
  const collect = async (stream: AsyncIterable<Reply>): Promise<void> => {
    for await (const reply of stream) {
      replies.push(reply);
      wake();
      if (replies.length === plan.cancelAfterReplies) controller.abort();
    }
  };
  const { method } = plan;
  const takesMany = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const client = createConnectClient(method.parent, transport) as Record<
    string,
    (request: unknown, options: CallOptions) => unknown
  >;
  try {
    const result = client[method.localName]?.(takesMany ? source() : plan.requests[0], options);
    if (!takesMany) plan.onAllSent?.();
    if (method.methodKind === "unary" || method.methodKind === "client_streaming")
      replies.push((await result) as Reply);
    else await collect(result as AsyncIterable<Reply>);
    return { replies, header, trailer, code: 0, text: "", details: [] };
  } catch (error) {
    const { code, rawMessage, details, metadata } = ConnectError.from(error);
    const incoming = details.flatMap((detail) =>
      "type" in detail ? [{ typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value }] : [],
    );
    return { replies, header, trailer: fieldsOf(metadata), code, text: rawMessage, details: incoming };
  } finally {
    isOver = true;
    wake();
  }
}

/** Fetch's Headers hold one text per name: values joined, bytes as base64. */
function textOf(value: string | Uint8Array): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("base64").replace(/=+$/, "");
}

function fieldsOf(headers: Headers): Fields {
  const valuesOf = (name: string, text: string): readonly (string | Uint8Array)[] =>
    name.endsWith("-bin") ? text.split(",").map((part) => Buffer.from(part.trim(), "base64")) : [text];
  return [...headers].flatMap(([name, text]) => valuesOf(name, text).map((value) => [name, value] as const));
}
