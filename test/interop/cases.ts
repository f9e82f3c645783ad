/**
 * The client's side of gRPC's interop test descriptions (doc/interop-test-descriptions.md in grpc/grpc), for any client: what
 * is sent, and what must come back from a server of grpc.testing.TestService. Cases that need Google's cloud are left
 * out, and those whose server must see whether a message was compressed, which grpc-go's server does not look at.
 */
import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { TestService, UnimplementedService } from "../peers/gen/grpc/testing/test_pb.js";
import { OrcaLoadReportSchema } from "../peers/gen/xds/data/orca/v3/orca_load_report_pb.js";
import { OpenRcaService } from "../peers/gen/xds/service/orca/v3/orca_pb.js";
import { type CallOutcome, type PeerClient, valuesOf } from "./peer.ts";

export type InteropCase = (client: PeerClient) => Promise<void>;

const { method } = TestService;
const LARGE_REQUEST = 271_828;
const LARGE_RESPONSE = 314_159;
const zeros = (size: number): { body: Uint8Array } => ({ body: new Uint8Array(size) });
const PING_PONG = [
  [27_182, 31_415],
  [8, 9],
  [1_828, 2_653],
  [45_904, 58_979],
] as const;

/** By their published names. */
export const interopCases: Readonly<Record<string, InteropCase>> = {
  empty_unary: async (client) => {
    const outcome = await client.call({ method: method.emptyCall, requests: [{}] });
    assertOk(outcome);
    assert.equal(outcome.replies.length, 1);
  },
  large_unary: (client) => largeUnary(client),
  client_streaming: async (client) => {
    const requests = PING_PONG.map(([size]) => ({ payload: zeros(size) }));
    const outcome = await client.call({ method: method.streamingInputCall, requests });
    assertOk(outcome);
    assert.equal(outcome.replies[0]?.aggregatedPayloadSize, 74_922);
  },
  server_streaming: async (client) => {
    const responseParameters = PING_PONG.map(([, size]) => ({ size }));
    const outcome = await client.call({ method: method.streamingOutputCall, requests: [{ responseParameters }] });
    assertOk(outcome);
    assert.deepEqual(
      outcome.replies.map(({ payload }) => payload?.body.length),
      [31_415, 9, 2_653, 58_979],
    );
  },
  ping_pong: async (client) => {
    const requests = PING_PONG.map(([sent, size]) => ({ payload: zeros(sent), responseParameters: [{ size }] }));
    const outcome = await client.call({ method: method.fullDuplexCall, requests, isLockstep: true });
    assertOk(outcome);
    assert.deepEqual(
      outcome.replies.map(({ payload }) => payload?.body.length),
      [31_415, 9, 2_653, 58_979],
    );
  },
  empty_stream: async (client) => {
    const outcome = await client.call({ method: method.fullDuplexCall, requests: [] });
    assertOk(outcome);
    assert.equal(outcome.replies.length, 0);
  },
  custom_metadata: async (client) => {
    const bytes = Uint8Array.of(0xab, 0xab, 0xab);
    const metadata = [
      ["x-grpc-test-echo-initial", "test_initial_metadata_value"],
      ["x-grpc-test-echo-trailing-bin", bytes],
    ] as const;
    const request = { responseSize: 1, payload: zeros(1) };
    const duplex = { responseParameters: [{ size: 1 }], payload: zeros(1) };
    for (const outcome of [
      await client.call({ method: method.unaryCall, requests: [request], metadata }),
      await client.call({ method: method.fullDuplexCall, requests: [duplex], metadata }),
    ]) {
      assertOk(outcome);
      assert.deepEqual(valuesOf(outcome.header, "x-grpc-test-echo-initial"), ["test_initial_metadata_value"]);
      const trailing = valuesOf(outcome.trailer, "x-grpc-test-echo-trailing-bin").map((value) =>
        Buffer.from(value).toString("hex"),
      );
      assert.deepEqual(trailing, ["ababab"]);
    }
  },
  status_code_and_message: async (client) => {
    const responseStatus = { code: 2, message: "test status message" };
    for (const outcome of [
      await client.call({ method: method.unaryCall, requests: [{ responseStatus }] }),
      await client.call({ method: method.fullDuplexCall, requests: [{ responseStatus }] }),
    ]) {
      assert.deepEqual([outcome.code, outcome.text], [2, "test status message"]);
    }
  },
  special_status_message: async (client) => {
    const message = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n";
    const outcome = await client.call({
      method: method.unaryCall,
      requests: [{ responseStatus: { code: 2, message } }],
    });
    assert.deepEqual([outcome.code, outcome.text], [2, message]);
  },
  unimplemented_method: async (client) => {
    assert.equal((await client.call({ method: method.unimplementedMethod, requests: [{}] })).code, 12);
  },
  unimplemented_service: async (client) => {
    assert.equal(
      (await client.call({ method: UnimplementedService.method.unimplementedCall, requests: [{}] })).code,
      12,
    );
  },
  cancel_after_begin: async (client) => {
    const outcome = await client.call({
      method: method.streamingInputCall,
      requests: [],
      cancelWhen: Promise.resolve(),
      keepsOpen: true,
    });
    assert.equal(outcome.code, 1);
  },
  cancel_after_first_response: async (client) => {
    const requests = [{ payload: zeros(27_182), responseParameters: [{ size: 31_415 }] }];
    const outcome = await client.call({
      method: method.fullDuplexCall,
      requests,
      cancelAfterReplies: 1,
      keepsOpen: true,
    });
    assert.deepEqual([outcome.code, outcome.replies.length], [1, 1]);
  },
  timeout_on_sleeping_server: async (client) => {
    const requests = [{ payload: zeros(27_182), responseParameters: [{ size: 31_415, intervalUs: 1_000_000 }] }];
    const outcome = await client.call({ method: method.fullDuplexCall, requests, timeoutMs: 1 });
    assert.equal(outcome.code, 4);
  },
  concurrent_large_unary: async (client) => {
    // 1,000 in the description; 200 keep the memory of two ends and their queues within what small machines have.
    await Promise.all(Array.from({ length: 200 }, () => largeUnary(client)));
  },
  rpc_soak: async (client) => {
    for (let iteration = 0; iteration < 50; iteration++) await largeUnary(client);
  },
  orca_per_rpc: async (client) => {
    const report = {
      cpuUtilization: 0.821,
      memoryUtilization: 0.5847,
      requestCost: { cost: 3456.32 },
      utilization: { util: 0.30499 },
    };
    const outcome = await client.call({ method: method.unaryCall, requests: [{ orcaPerQueryReport: report }] });
    assertOk(outcome);
    const [bytes] = valuesOf(outcome.trailer, "endpoint-load-metrics-bin");
    assert.ok(bytes instanceof Uint8Array);
    assert.equal(fromBinary(OrcaLoadReportSchema, bytes).cpuUtilization, 0.821);
  },
  orca_oob: async (client) => {
    const report = { cpuUtilization: 0.821, memoryUtilization: 0.5847, utilization: { util: 0.30499 } };
    // One report tells it, whatever came before has been replaced when the reply is there.
    assertOk(
      await client.call({
        method: method.fullDuplexCall,
        requests: [{ orcaOobReport: report, responseParameters: [{ size: 1 }] }],
      }),
    );
    const outcome = await client.call({
      method: OpenRcaService.method.streamCoreMetrics,
      requests: [{ reportInterval: { seconds: 1n } }],
      cancelAfterReplies: 1,
    });
    assert.equal(outcome.code, 1);
    assert.equal(outcome.replies[0]?.cpuUtilization, 0.821);
  },
};

function assertOk(outcome: CallOutcome): void {
  assert.equal(outcome.code, 0, `ended with ${outcome.code}: ${outcome.text}`);
}

async function largeUnary(client: PeerClient): Promise<void> {
  const outcome = await client.call({
    method: method.unaryCall,
    requests: [{ responseSize: LARGE_RESPONSE, payload: zeros(LARGE_REQUEST) }],
  });
  assertOk(outcome);
  assert.equal(outcome.replies[0]?.payload?.body.length, LARGE_RESPONSE);
}
