/**
 * Who calls the eleven servers: each as its documentation shows it for several addresses, with a deadline of 1 s on each call.
 */
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createClient } from "holdfast";
import { type AddReply, type AddRequest, serverHost } from "./contender.ts";
import { Bench } from "./gen/bench/v1/bench_pb.ts";

/** Holdfast's defaults; Holdfast as plain gRPC; grpc-js with round robin. */
export const slowPeerContenders = ["holdfast", "holdfast-none", "grpc-js"] as const;
export type SlowPeerContender = (typeof slowPeerContenders)[number];

/** A call that takes longer has failed. */
export const timeoutMs = 1_000;

/** A client of all of the servers. */
export interface SlowPeerClient {
  /** Resolves when each server has been connected to. */
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
    ready: () => client.$channel.ready(),
    add: (request) => client.add(request),
  };
}

interface GrpcClient extends Client {
  add(
    request: AddRequest,
    options: { readonly deadline: number },
    callback: (error: Error | null, reply?: AddReply) => void,
  ): unknown;
}

function grpcJs(addresses: readonly string[]): SlowPeerClient {
  const definition = loadSync(fileURLToPath(new URL("./proto/bench/v1/bench.proto", import.meta.url)));
  const root = loadPackageDefinition(definition) as unknown as { bench: { v1: { Bench: ServiceClientConstructor } } };
  const client = new root.bench.v1.Bench(`ipv4:${addresses.join(",")}`, credentials.createInsecure(), {
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  }) as unknown as GrpcClient;
  return {
    ready: () =>
      new Promise((resolve, reject) => {
        client.waitForReady(Date.now() + 10_000, (error) => (error === undefined ? resolve() : reject(error)));
      }),
    add: (request) =>
      new Promise((resolve, reject) => {
        client.add(request, { deadline: Date.now() + timeoutMs }, (error, reply) => {
          if (error === null && reply !== undefined) resolve(reply);
          else reject(error ?? new Error("neither an error nor a reply"));
        });
      }),
  };
}
