/**
 * Who calls the eleven servers: each as its documentation shows it for several addresses, with a deadline of 1 s on each call.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  type Client,
  type ClientUnaryCall,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createClient } from "holdfast";
import { type AddReply, type AddRequest, serverHost } from "./contender.ts";
import { Bench } from "./gen/bench/v1/bench_pb.ts";

/** Holdfast's defaults; Holdfast as plain gRPC; grpc-js with round robin. */
export const slowPeerContenders = ["holdfast", "holdfast-none", "grpc-js"] as const;
export type SlowPeerContender = (typeof slowPeerContenders)[number];

/** A call that takes longer has failed. */
export const timeoutMs = 1_000;

const readyTimeoutMs = 10_000;

/** A client of all of the servers. */
export interface SlowPeerClient {
  /** Resolves when each server is connected, rejects after 10 s: who still connects while it is measured would have fewer servers. */
  ready(): Promise<void>;
  add(request: AddRequest): Promise<AddReply>;
}

export function connectAll(name: SlowPeerContender, ports: readonly number[]): SlowPeerClient {
  const addresses = ports.map((port) => `${serverHost}:${port}`);
  return name === "grpc-js" ? grpcJs(addresses) : holdfast(addresses, name === "holdfast" ? undefined : "none");
}

function holdfast(addresses: readonly string[], preset: "none" | undefined): SlowPeerClient {
  const client = createClient(Bench, addresses, { policy: { preset, timeoutMs } });
  return {
    async ready() {
      // The channel's own resolves with the first.
      await client.$channel.ready({ timeoutMs: readyTimeoutMs });
      const untilMs = performance.now() + readyTimeoutMs;
      for (;;) {
        const missing = client.$channel.peers().filter(({ health }) => health !== "ready");
        if (missing.length === 0) return;
        if (performance.now() > untilMs) throw new Error(`not ready: ${missing.map(({ why }) => why).join(", ")}`);
        await sleep(5);
      }
    },
    add: (request) => client.add(request),
  };
}

interface GrpcClient extends Client {
  add(
    request: AddRequest,
    options: { readonly deadline: number },
    callback: (error: Error | null, reply?: AddReply) => void,
  ): ClientUnaryCall;
}

function grpcJs(addresses: readonly string[]): SlowPeerClient {
  const definition = loadSync(fileURLToPath(new URL("./proto/bench/v1/bench.proto", import.meta.url)));
  const root = loadPackageDefinition(definition) as unknown as { bench: { v1: { Bench: ServiceClientConstructor } } };
  const client = new root.bench.v1.Bench(`ipv4:${addresses.join(",")}`, credentials.createInsecure(), {
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  }) as unknown as GrpcClient;
  return {
    async ready() {
      await new Promise<void>((resolve, reject) => {
        client.waitForReady(Date.now() + readyTimeoutMs, (error) => (error === undefined ? resolve() : reject(error)));
      });
      await answeredByAll(client, addresses.length);
    },
    add: (request) => callAdd(client, request).then(({ reply }) => reply),
  };
}

/** Its channel is ready with the first server and tells of no other: calls show which of them answer. */
async function answeredByAll(client: GrpcClient, count: number): Promise<void> {
  const answered = new Set<string>();
  const untilMs = performance.now() + readyTimeoutMs;
  while (answered.size < count) {
    if (performance.now() > untilMs) throw new Error(`of ${count} servers ${answered.size} have answered`);
    const calls = Array.from({ length: count }, () => callAdd(client, { a: 1, b: 1 }));
    for (const { peer } of await Promise.all(calls)) answered.add(peer);
  }
}

function callAdd(
  client: GrpcClient,
  request: AddRequest,
): Promise<{ readonly reply: AddReply; readonly peer: string }> {
  return new Promise((resolve, reject) => {
    const call = client.add(request, { deadline: Date.now() + timeoutMs }, (error, reply) => {
      if (error === null && reply !== undefined) resolve({ reply, peer: call.getPeer() });
      else reject(error ?? new Error("neither an error nor a reply"));
    });
  });
}
