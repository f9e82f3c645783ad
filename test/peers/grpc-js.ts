/** The probe over @grpc/grpc-js, as server and as client. */
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type CallOptions,
  ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  compressionAlgorithms,
  type Deadline,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
} from "@grpc/grpc-js";
import {
  type CallingPeer,
  type CallOutcome,
  type CallPlan,
  type Fields,
  type PeerClient,
  type PeerClientOptions,
  type PeerServer,
  type PeerServerOptions,
  pathOf,
  type ServingPeer,
} from "../interop/peer.ts";
import {
  ProbeReplySchema,
  type ProbeReply,
  type ProbeRequest,
  ProbeRequestSchema,
  type SeenReply,
  SeenReplySchema,
  type SeenRequest,
  SeenRequestSchema,
} from "./gen/holdfast/interop/v1/probe_pb.js";
import { createProbeService, echoed, type ProbeCall, ProbeFailure } from "./probe-service.ts";
import { decodeStatusDetails, encodeStatusDetails } from "./status-details.ts";

export const grpcJs: CallingPeer & ServingPeer = {
  name: "grpc-js",
  startServer,
  createClient: async (options) => createClient(options),
};

const SERVICE = "/holdfast.interop.v1.Probe";
const encodeRequest = (request: ProbeRequest): Buffer => Buffer.from(toBinary(ProbeRequestSchema, request));
const decodeRequest = (bytes: Buffer): ProbeRequest => fromBinary(ProbeRequestSchema, bytes);
const encodeReply = (reply: ProbeReply): Buffer => Buffer.from(toBinary(ProbeReplySchema, reply));
const decodeReply = (bytes: Buffer): ProbeReply => fromBinary(ProbeReplySchema, bytes);

// ---------------------------------------------------------------------------------------------------------- server

type Surface = {
  readonly metadata: Metadata;
  cancelled: boolean;
  getDeadline(): Deadline;
  sendMetadata(metadata: Metadata): void;
  on(event: "cancelled", listener: () => void): unknown;
};

async function startServer({ tls }: PeerServerOptions): Promise<PeerServer> {
  const probe = createProbeService();
  const server = new Server();
  const method = {
    requestSerialize: encodeRequest,
    requestDeserialize: decodeRequest,
    responseSerialize: encodeReply,
    responseDeserialize: decodeReply,
  };
  server.addService(
    {
      unary: { path: `${SERVICE}/Unary`, requestStream: false, responseStream: false, ...method },
      download: { path: `${SERVICE}/Download`, requestStream: false, responseStream: true, ...method },
      upload: { path: `${SERVICE}/Upload`, requestStream: true, responseStream: false, ...method },
      chat: { path: `${SERVICE}/Chat`, requestStream: true, responseStream: true, ...method },
      seen: {
        path: `${SERVICE}/Seen`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (value) => Buffer.from(toBinary(SeenRequestSchema, value)),
        requestDeserialize: (bytes: Buffer) => fromBinary(SeenRequestSchema, bytes),
        responseSerialize: (value) => Buffer.from(toBinary(SeenReplySchema, value)),
        responseDeserialize: (bytes: Buffer) => fromBinary(SeenReplySchema, bytes),
      },
    },
    {
      unary: (call: ServerUnaryCall<ProbeRequest, ProbeReply>, callback: sendUnaryData<ProbeReply>) =>
        void respond(call, probe.unary(call.request, open(call)), callback),
      upload: (call: ServerReadableStream<ProbeRequest, ProbeReply>, callback: sendUnaryData<ProbeReply>) =>
        void respond(call, probe.upload(requestsOf(call), open(call)), callback),
      download: (call: ServerWritableStream<ProbeRequest, ProbeReply>) =>
        void stream(call, probe.download(call.request, open(call))),
      chat: (call: ServerDuplexStream<ProbeRequest, ProbeReply>) =>
        void stream(call, probe.chat(requestsOf(call), open(call))),
      seen: (call: ServerUnaryCall<SeenRequest, SeenReply>, callback: sendUnaryData<SeenReply>) =>
        void probe.seen(call.request).then((reply) => callback(null, reply)),
    },
  );
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          readFileSync(tls.caFile),
          [{ private_key: readFileSync(tls.keyFile), cert_chain: readFileSync(tls.certFile) }],
          false,
        );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { port, close: async () => server.forceShutdown() };
}

function open(call: Surface): ProbeCall {
  const controller = new AbortController();
  call.on("cancelled", () => controller.abort());
  if (call.cancelled) controller.abort();
  const header = echoed(fieldsOf(call.metadata), "header");
  if (header.length > 0) call.sendMetadata(metadataOf(header));
  const deadline = Number(call.getDeadline());
  return {
    signal: controller.signal,
    remainingMs: () => (Number.isFinite(deadline) ? Math.max(0, deadline - Date.now()) : -1),
  };
}

/** The status is sent through the same stream, which a plain loop would destroy when the handler fails. */
function requestsOf(call: Readable): AsyncIterable<ProbeRequest> {
  return call.iterator({ destroyOnReturn: false });
}

const trailerOf = (call: Surface): Metadata => metadataOf(echoed(fieldsOf(call.metadata), "trailer"));

async function respond(call: Surface, reply: Promise<ProbeReply>, callback: sendUnaryData<ProbeReply>): Promise<void> {
  try {
    callback(null, await reply, trailerOf(call));
  } catch (error) {
    callback(statusOf(error, trailerOf(call)));
  }
}

async function stream(
  call: ServerWritableStream<ProbeRequest, ProbeReply> | ServerDuplexStream<ProbeRequest, ProbeReply>,
  replies: AsyncGenerator<ProbeReply>,
): Promise<void> {
  const cancelled = new Promise((resolve) => call.once("cancelled", resolve));
  try {
    for await (const reply of replies) {
      if (call.cancelled) return;
      if (!call.write(reply)) await Promise.race([new Promise((go) => call.once("drain", go)), cancelled]);
    }
    call.end(trailerOf(call));
  } catch (error) {
    call.emit("error", statusOf(error, trailerOf(call)));
  }
}

function statusOf(error: unknown, metadata: Metadata): Error & { code: number; details: string; metadata: Metadata } {
  if (!(error instanceof ProbeFailure))
    return Object.assign(new Error(String(error)), { code: 2, details: String(error), metadata });
  const { code, text } = error.failure;
  if (error.failure.details.length > 0)
    metadata.set("grpc-status-details-bin", Buffer.from(encodeStatusDetails(error.failure)));
  return Object.assign(error, { code, details: text, metadata });
}

// ---------------------------------------------------------------------------------------------------------- client

function createClient({ host = "localhost", port, tls, messageBytesMax }: PeerClientOptions): PeerClient {
  const read = (file: string | undefined): Buffer | null => (file === undefined ? null : readFileSync(file));
  const credentials =
    tls === undefined
      ? ChannelCredentials.createInsecure()
      : ChannelCredentials.createSsl(readFileSync(tls.caFile), read(tls.keyFile), read(tls.certFile));
  const limits = messageBytesMax === undefined ? {} : { "grpc.max_receive_message_length": messageBytesMax };
  const plain = new Client(`${host}:${port}`, credentials, limits);
  const compressing = new Client(`${host}:${port}`, credentials, {
    ...limits,
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
    "grpc.default_compression_level": 2,
  });
  return {
    call: (plan) => run(plan.isCompressed === true ? compressing : plain, plan),
    async close() {
      plain.close();
      compressing.close();
    },
  };
}

async function run<M extends DescMethod>(client: Client, plan: CallPlan<M>): Promise<CallOutcome<M>> {
  const replies: MessageShape<M["output"]>[] = [];
  let header = new Metadata();
  let wake = (): void => {};
  const call = begin(client, plan, (reply) => replies.push(reply));
  call.on("metadata", (value: Metadata) => {
    header = value;
  });
  const ended = new Promise<StatusObject>((resolve) => call.on("status", resolve));
  void plan.cancelWhen?.then(() => call.cancel());
  const read = async (readable: ClientReadableStream<MessageShape<M["output"]>>): Promise<void> => {
    try {
      for await (const reply of readable) {
        replies.push(reply as MessageShape<M["output"]>);
        wake();
        if (replies.length === plan.cancelAfterReplies) call.cancel();
      }
    } catch {
      // The status says it.
    }
  };
  const write = async (writable: ClientWritableStream<MessageShape<M["input"]>>): Promise<void> => {
    writable.on("error", () => undefined);
    const arrive = async (count: number): Promise<void> => {
      const arrived = new Promise<void>((resolve) => {
        wake = () => replies.length >= count && resolve();
      });
      wake();
      if (plan.isLockstep === true) await Promise.race([arrived, ended]);
    };
    for (const [index, request] of plan.requests.entries()) {
      await arrive(index);
      if (plan.requestDelayMs !== undefined) await delay(plan.requestDelayMs);
      writable.write(create(plan.method.input, request) as MessageShape<M["input"]>);
    }
    await arrive(plan.requests.length);
    plan.onAllSent?.();
    if (plan.keepsOpen !== true) writable.end();
  };
  const { methodKind } = plan.method;
  const reading =
    methodKind === "server_streaming" || methodKind === "bidi_streaming" ? read(call as never) : undefined;
  if (methodKind === "client_streaming" || methodKind === "bidi_streaming") await write(call as never);
  else plan.onAllSent?.();
  const status = await ended;
  await reading;
  const details = decodeStatusDetails(status.metadata.get("grpc-status-details-bin")[0] as Uint8Array | undefined);
  return {
    replies,
    header: fieldsOf(header),
    trailer: fieldsOf(status.metadata),
    code: status.code,
    text: status.details,
    details: details.map(({ typeUrl, value }) => ({ typeUrl, value })),
  };
}

function begin<M extends DescMethod>(
  client: Client,
  plan: CallPlan<M>,
  onReply: (reply: MessageShape<M["output"]>) => void,
): Call {
  const { method } = plan;
  const encode = (request: MessageShape<M["input"]>): Buffer => Buffer.from(toBinary(method.input, request));
  const decode = (bytes: Buffer): MessageShape<M["output"]> =>
    fromBinary(method.output, bytes) as MessageShape<M["output"]>;
  const options: CallOptions = plan.timeoutMs === undefined ? {} : { deadline: Date.now() + plan.timeoutMs };
  const metadata = metadataOf(plan.metadata ?? []);
  const first = create(method.input, plan.requests[0]) as MessageShape<M["input"]>;
  const onResult = (_error: unknown, reply?: MessageShape<M["output"]>): void => {
    if (reply !== undefined) onReply(reply);
  };
  const path = pathOf(method);
  switch (method.methodKind) {
    case "unary":
      return client.makeUnaryRequest(path, encode, decode, first, metadata, options, onResult);
    case "server_streaming":
      return client.makeServerStreamRequest(path, encode, decode, first, metadata, options);
    case "client_streaming":
      return client.makeClientStreamRequest(path, encode, decode, metadata, options, onResult);
    case "bidi_streaming":
      return client.makeBidiStreamRequest(path, encode, decode, metadata, options);
  }
}

type Call =
  | ClientUnaryCall
  | ClientReadableStream<unknown>
  | ClientWritableStream<unknown>
  | ClientDuplexStream<unknown, unknown>;

function metadataOf(fields: Fields): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of fields) metadata.add(name, typeof value === "string" ? value : Buffer.from(value));
  return metadata;
}

function fieldsOf(metadata: Metadata): Fields {
  return Object.keys(metadata.getMap()).flatMap((name) => metadata.get(name).map((value) => [name, value] as const));
}
