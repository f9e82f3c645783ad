/** The service under test, apart from any RPC library: answers as each request's response definition says. */
import { setTimeout as delay } from "node:timers/promises";
import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import type { Fields } from "../interop/peer.ts";
import { ProbeFailure } from "../peers/probe-service.ts";
import { failureOf } from "../peers/status-details.ts";
import {
  type BidiStreamRequest,
  BidiStreamRequestSchema,
  type BidiStreamResponse,
  BidiStreamResponseSchema,
  type ClientStreamRequest,
  ClientStreamRequestSchema,
  type ClientStreamResponse,
  ClientStreamResponseSchema,
  type ConformancePayload,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  ConformancePayloadSchema,
  type Error as ConformanceError,
  type Header,
  type IdempotentUnaryRequest,
  IdempotentUnaryRequestSchema,
  type IdempotentUnaryResponse,
  IdempotentUnaryResponseSchema,
  type ServerStreamRequest,
  ServerStreamRequestSchema,
  type ServerStreamResponse,
  ServerStreamResponseSchema,
  type StreamResponseDefinition,
  type UnaryRequest,
  UnaryRequestSchema,
  type UnaryResponse,
  type UnaryResponseDefinition,
  UnaryResponseSchema,
} from "./gen/connectrpc/conformance/v1/service_pb.js";
import { fieldsOf, headersOf } from "./headers.ts";

export interface ConformanceCall {
  readonly metadata: Fields;
  /** Infinity: none. */
  remainingMs(): number;
  /** Adds a value. */
  setHeader(name: string, value: string | Uint8Array): void;
  setTrailer(name: string, value: string | Uint8Array): void;
}

/** Failures are thrown as ProbeFailure. `unimplemented` is left out on purpose. */
export const conformanceHandlers = {
  async unary(request: UnaryRequest, call: ConformanceCall): Promise<UnaryResponse> {
    return create(UnaryResponseSchema, {
      payload: await single(request.responseDefinition, call, [anyPack(UnaryRequestSchema, request)]),
    });
  },
  async idempotentUnary(request: IdempotentUnaryRequest, call: ConformanceCall): Promise<IdempotentUnaryResponse> {
    const payload = await single(request.responseDefinition, call, [anyPack(IdempotentUnaryRequestSchema, request)]);
    return create(IdempotentUnaryResponseSchema, { payload });
  },
  async clientStream(
    requests: AsyncIterable<ClientStreamRequest>,
    call: ConformanceCall,
  ): Promise<ClientStreamResponse> {
    const all: Any[] = [];
    let definition: UnaryResponseDefinition | undefined;
    for await (const request of requests) {
      if (all.length === 0) definition = request.responseDefinition;
      all.push(anyPack(ClientStreamRequestSchema, request));
    }
    return create(ClientStreamResponseSchema, { payload: await single(definition, call, all) });
  },
  serverStream(request: ServerStreamRequest, call: ConformanceCall): AsyncGenerator<ServerStreamResponse> {
    const { responseDefinition } = request;
    setMetadata(responseDefinition, call);
    return many(ServerStreamResponseSchema, responseDefinition, 0, call, [anyPack(ServerStreamRequestSchema, request)]);
  },
  async *bidiStream(
    requests: AsyncIterable<BidiStreamRequest>,
    call: ConformanceCall,
  ): AsyncGenerator<BidiStreamResponse> {
    let definition: StreamResponseDefinition | undefined;
    let isFullDuplex = false;
    let isFirst = true;
    let unanswered: Any[] = [];
    let sent = 0;
    for await (const request of requests) {
      unanswered.push(anyPack(BidiStreamRequestSchema, request));
      if (isFirst) {
        isFirst = false;
        definition = request.responseDefinition;
        isFullDuplex = request.fullDuplex;
        setMetadata(definition, call);
      }
      if (!isFullDuplex) continue;
      const data = definition?.responseData[sent];
      if (definition === undefined || data === undefined) break;
      await pause(definition.responseDelayMs);
      const requestInfo =
        sent === 0 ? infoOf(call, unanswered) : create(ConformancePayload_RequestInfoSchema, { requests: unanswered });
      yield create(BidiStreamResponseSchema, { payload: { data, requestInfo } });
      sent += 1;
      unanswered = [];
    }
    yield* many(BidiStreamResponseSchema, definition, sent, call, unanswered);
  },
} as const;

async function single(
  definition: UnaryResponseDefinition | undefined,
  call: ConformanceCall,
  requests: Any[],
): Promise<ConformancePayload> {
  setMetadata(definition, call);
  const requestInfo = infoOf(call, requests);
  await pause(definition?.responseDelayMs ?? 0);
  if (definition?.response.case === "error") throw failureWith(definition.response.value, requestInfo);
  const data = definition?.response.case === "responseData" ? definition.response.value : new Uint8Array();
  return create(ConformancePayloadSchema, { data, requestInfo });
}

/** The replies from `sent` on, then the error, if one is defined. */
async function* many<D extends DescMessage>(
  schema: D,
  definition: StreamResponseDefinition | undefined,
  sent: number,
  call: ConformanceCall,
  requests: Any[],
): AsyncGenerator<MessageShape<D>> {
  if (definition === undefined) return;
  for (const [index, data] of definition.responseData.entries()) {
    if (index < sent) continue;
    await pause(definition.responseDelayMs);
    const payload = index === 0 ? { data, requestInfo: infoOf(call, requests) } : { data };
    yield create(schema, { payload } as unknown as MessageInitShape<D>);
  }
  if (definition.error === undefined) return;
  throw failureWith(
    definition.error,
    sent === 0 && definition.responseData.length === 0 ? infoOf(call, requests) : undefined,
  );
}

function setMetadata(
  definition: { readonly responseHeaders: readonly Header[]; readonly responseTrailers: readonly Header[] } | undefined,
  call: ConformanceCall,
): void {
  for (const [name, value] of fieldsOf(definition?.responseHeaders ?? [])) call.setHeader(name, value);
  for (const [name, value] of fieldsOf(definition?.responseTrailers ?? [])) call.setTrailer(name, value);
}

function infoOf(call: ConformanceCall, requests: Any[]): ConformancePayload_RequestInfo {
  const remainingMs = call.remainingMs();
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: headersOf(call.metadata),
    requests,
    ...(Number.isFinite(remainingMs) ? { timeoutMs: BigInt(Math.max(0, Math.round(remainingMs))) } : {}),
  });
}

function failureWith(error: ConformanceError, info: ConformancePayload_RequestInfo | undefined): ProbeFailure {
  const details =
    info === undefined ? error.details : [...error.details, anyPack(ConformancePayload_RequestInfoSchema, info)];
  return new ProbeFailure(failureOf(error.code, error.message ?? "", details));
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await delay(ms);
}
