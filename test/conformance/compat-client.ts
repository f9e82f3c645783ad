/** The client under test: reads calls to make, makes some at once over the given peer, writes what came of each. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { CallingPeer, CallPlan, ClientTlsFiles, PeerClient } from "../interop/peer.ts";
import { readMessages, writeMessage } from "./framing.ts";
import {
  type ClientCompatRequest,
  ClientCompatRequestSchema,
  type ClientCompatResponse,
  ClientCompatResponseSchema,
  type ClientResponseResult,
  ClientResponseResultSchema,
} from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { Compression, StreamType } from "./gen/connectrpc/conformance/v1/config_pb.js";
import {
  type ConformancePayload,
  ConformancePayloadSchema,
  ConformanceService,
} from "./gen/connectrpc/conformance/v1/service_pb.js";
import { fieldsOf, headersOf } from "./headers.ts";

/** More at once would measure how many TLS handshakes the machine does within a call's deadline. */
const CALLS_AT_ONCE = 16;

/** Until stdin ends and all calls are over. */
export async function runCompatClient(peer: CallingPeer): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-conformance-"));
  const clients = new Map<string, Promise<PeerClient>>();
  const files = new Map<string, string>();
  /** The file that holds these bytes. */
  const fileOf = (content: Uint8Array): string => {
    const key = Buffer.from(content).toString("latin1");
    const file = files.get(key) ?? join(directory, `${files.size}.pem`);
    if (!files.has(key)) writeFileSync(file, content, { mode: 0o600 });
    files.set(key, file);
    return file;
  };
  const tlsOf = ({ serverTlsCert, clientTlsCreds }: ClientCompatRequest): ClientTlsFiles | undefined =>
    serverTlsCert.length === 0
      ? undefined
      : {
          caFile: fileOf(serverTlsCert),
          ...(clientTlsCreds === undefined
            ? {}
            : { certFile: fileOf(clientTlsCreds.cert), keyFile: fileOf(clientTlsCreds.key) }),
        };
  const clientOf = (request: ClientCompatRequest): Promise<PeerClient> => {
    const { host, port, messageReceiveLimit } = request;
    const options = {
      host,
      port,
      tls: tlsOf(request),
      messageBytesMax: messageReceiveLimit === 0 ? undefined : messageReceiveLimit,
    };
    const key = JSON.stringify(options);
    const client = clients.get(key) ?? peer.createClient(options);
    clients.set(key, client);
    return client;
  };
  const running = new Set<Promise<void>>();
  for await (const bytes of readMessages(process.stdin)) {
    while (running.size >= CALLS_AT_ONCE) await Promise.race(running);
    const request = fromBinary(ClientCompatRequestSchema, bytes);
    const answer = clientOf(request)
      .then((client) => perform(client, request))
      .then((result): ClientCompatResponse["result"] => ({ case: "response", value: result }))
      .catch((error: unknown): MessageInitShape<typeof ClientCompatResponseSchema>["result"] => ({
        case: "error",
        value: { message: error instanceof Error ? (error.stack ?? error.message) : String(error) },
      }))
      .then((result) => {
        const response = create(ClientCompatResponseSchema, { testName: request.testName, result: result as never });
        writeMessage(process.stdout, toBinary(ClientCompatResponseSchema, response));
      });
    running.add(answer);
    void answer.then(() => running.delete(answer));
  }
  await Promise.all(running);
  for (const client of clients.values()) await (await client).close();
  rmSync(directory, { recursive: true, force: true });
}

async function perform(client: PeerClient, request: ClientCompatRequest): Promise<ClientResponseResult> {
  const method = methodOf(request);
  const requests = request.requestMessages.map((any) => {
    const message = anyUnpack(any, method.input);
    if (message === undefined) throw new Error(`a request is a ${any.typeUrl}, not a ${method.input.typeName}`);
    return message as MessageInitShape<typeof method.input>;
  });
  const takesOne = method.methodKind === "unary" || method.methodKind === "server_streaming";
  if (takesOne && requests.length !== 1) throw new Error(`${method.name} takes one request, not ${requests.length}`);
  const plan: CallPlan = {
    method,
    requests,
    metadata: fieldsOf(request.requestHeaders),
    timeoutMs: request.timeoutMs,
    requestDelayMs: request.requestDelayMs === 0 ? undefined : request.requestDelayMs,
    isLockstep: request.streamType === StreamType.FULL_DUPLEX_BIDI_STREAM,
    isCompressed: request.compression === Compression.GZIP,
    ...cancellationOf(request),
  };
  const outcome = await client.call(plan);
  const payloads = outcome.replies.map(
    (reply) => (reply as MessageShape<DescMethod["output"]> & { payload?: ConformancePayload }).payload,
  );
  return create(ClientResponseResultSchema, {
    responseHeaders: headersOf(outcome.header),
    responseTrailers: headersOf(outcome.trailer),
    // A reply of no bytes is one too.
    payloads: payloads.map((payload) => payload ?? create(ConformancePayloadSchema)),
    ...(outcome.code === 0
      ? {}
      : {
          error: {
            code: outcome.code,
            message: outcome.text,
            details: outcome.details.map(({ typeUrl, value }) => ({ typeUrl, value })),
          },
        }),
  });
}

function methodOf({ service, method: name }: ClientCompatRequest): DescMethod {
  const method = ConformanceService.methods.find((candidate) => candidate.name === name);
  if (service !== ConformanceService.typeName || method === undefined)
    throw new Error(`no method ${service}/${name} is known`);
  return method;
}

function cancellationOf({
  cancel,
  requestMessages,
}: ClientCompatRequest): Pick<CallPlan, "cancelWhen" | "cancelAfterReplies" | "onAllSent" | "keepsOpen"> {
  if (cancel === undefined) return {};
  const timing = cancel.cancelTiming;
  if (timing.case === "afterNumResponses") return { cancelAfterReplies: timing.value };
  const sent = Promise.withResolvers<void>();
  // Where nothing is sent, nothing is waited for.
  if (requestMessages.length === 0) sent.resolve();
  if (timing.case === "beforeCloseSend")
    return { cancelWhen: sent.promise, onAllSent: () => sent.resolve(), keepsOpen: true };
  const afterMs = timing.value ?? 0;
  return { cancelWhen: sent.promise.then(() => delay(afterMs)), onAllSent: () => sent.resolve() };
}
