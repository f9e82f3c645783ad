/**
 * grpc.testing.TestService, the server of gRPC's interop test descriptions, apart from any RPC library; and the two ways
 * of load reports that its cases ask for (gRFC A51).
 */
import { setTimeout as delay } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Fields, valuesOf } from "../interop/peer.ts";
import { type Empty, EmptySchema } from "./gen/grpc/testing/empty_pb.js";
import {
  type EchoStatus,
  type SimpleRequest,
  type SimpleResponse,
  SimpleResponseSchema,
  type StreamingInputCallRequest,
  type StreamingInputCallResponse,
  StreamingInputCallResponseSchema,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponse,
  StreamingOutputCallResponseSchema,
  type TestOrcaReport,
} from "./gen/grpc/testing/messages_pb.js";
import { type OrcaLoadReport, OrcaLoadReportSchema } from "./gen/xds/data/orca/v3/orca_load_report_pb.js";
import type { OrcaLoadReportRequest } from "./gen/xds/service/orca/v3/orca_pb.js";
import { ProbeFailure } from "./probe-service.ts";
import { failureOf } from "./status-details.ts";

export interface TestCall {
  readonly metadata: Fields;
  readonly signal: AbortSignal;
  setHeader(name: string, value: string): void;
  setTrailer(name: string, value: Uint8Array): void;
}

/** Failures are thrown as ProbeFailure. */
export interface TestServiceHandlers {
  emptyCall(): Empty;
  unaryCall(request: SimpleRequest, call: TestCall): SimpleResponse;
  streamingOutputCall(request: StreamingOutputCallRequest, call: TestCall): AsyncGenerator<StreamingOutputCallResponse>;
  streamingInputCall(requests: AsyncIterable<StreamingInputCallRequest>): Promise<StreamingInputCallResponse>;
  fullDuplexCall(
    requests: AsyncIterable<StreamingOutputCallRequest>,
    call: TestCall,
  ): AsyncGenerator<StreamingOutputCallResponse>;
  halfDuplexCall(
    requests: AsyncIterable<StreamingOutputCallRequest>,
    call: TestCall,
  ): AsyncGenerator<StreamingOutputCallResponse>;
  streamCoreMetrics(request: OrcaLoadReportRequest, signal: AbortSignal): AsyncGenerator<OrcaLoadReport>;
}

export function createTestService(): TestServiceHandlers {
  let outOfBand: OrcaLoadReport = create(OrcaLoadReportSchema);
  async function* outputs(request: StreamingOutputCallRequest): AsyncGenerator<StreamingOutputCallResponse> {
    for (const { size, intervalUs } of request.responseParameters) {
      if (intervalUs > 0) await delay(intervalUs / 1_000);
      yield create(StreamingOutputCallResponseSchema, { payload: { body: new Uint8Array(size) } });
    }
  }
  return {
    emptyCall: () => create(EmptySchema),
    unaryCall(request, call) {
      echo(call);
      if (request.orcaPerQueryReport !== undefined) {
        call.setTrailer(
          "endpoint-load-metrics-bin",
          toBinary(OrcaLoadReportSchema, reportOf(request.orcaPerQueryReport)),
        );
      }
      failIfAsked(request.responseStatus);
      return create(SimpleResponseSchema, {
        payload: { body: new Uint8Array(request.responseSize) },
        serverId: request.fillServerId ? "the one server of the test" : "",
      });
    },
    streamingOutputCall: (request) => outputs(request),
    async streamingInputCall(requests) {
      let aggregatedPayloadSize = 0;
      for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
      return create(StreamingInputCallResponseSchema, { aggregatedPayloadSize });
    },
    async *fullDuplexCall(requests, call) {
      echo(call);
      for await (const request of requests) {
        failIfAsked(request.responseStatus);
        if (request.orcaOobReport !== undefined) outOfBand = reportOf(request.orcaOobReport);
        yield* outputs(request);
      }
    },
    async *halfDuplexCall(requests) {
      const all: StreamingOutputCallRequest[] = [];
      for await (const request of requests) all.push(request);
      for (const request of all) yield* outputs(request);
    },
    async *streamCoreMetrics({ reportInterval }, signal) {
      const intervalMs = Number(reportInterval?.seconds ?? 0) * 1_000 + (reportInterval?.nanos ?? 0) / 1e6;
      while (!signal.aborted) {
        yield outOfBand;
        await delay(Math.max(intervalMs, 100), undefined, { signal }).catch(() => undefined);
      }
    },
  };
}

function echo(call: TestCall): void {
  const [initial] = valuesOf(call.metadata, "x-grpc-test-echo-initial");
  const [trailing] = valuesOf(call.metadata, "x-grpc-test-echo-trailing-bin");
  if (typeof initial === "string") call.setHeader("x-grpc-test-echo-initial", initial);
  if (trailing instanceof Uint8Array) call.setTrailer("x-grpc-test-echo-trailing-bin", trailing);
}

function failIfAsked(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0) throw new ProbeFailure(failureOf(status.code, status.message));
}

function reportOf(report: TestOrcaReport): OrcaLoadReport {
  const { cpuUtilization, memoryUtilization: memUtilization, requestCost, utilization } = report;
  return create(OrcaLoadReportSchema, { cpuUtilization, memUtilization, requestCost, utilization });
}
