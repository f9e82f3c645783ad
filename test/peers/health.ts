/** Health services of other gRPC implementations, whose answers the test says. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fromBinary } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { HealthCheckRequestSchema } from "../../src/schema/gen/grpc/health/v1/health_pb.ts";
import { findPython } from "./python.ts";

/** A server that knows the health of `shop.v1.Shop`, and answers `Check`. */
export interface HealthPeer extends AsyncDisposable {
  readonly address: string;
  /** Tells all Watches. */
  say(status: number): void;
}

export const SHOP = "shop.v1.Shop";
const SERVICE_UNKNOWN = 3;

export async function grpcJsHealth(): Promise<HealthPeer> {
  let status = 1;
  const watches: ServerWritableStream<Buffer, Buffer>[] = [];
  const as = (bytes: Buffer): Buffer => bytes;
  const codec = { requestSerialize: as, requestDeserialize: as, responseSerialize: as, responseDeserialize: as };
  const shape = { requestStream: false, ...codec };
  const server = new Server();
  server.addService(
    {
      check: { ...shape, path: "/grpc.health.v1.Health/Check", responseStream: false },
      watch: { ...shape, path: "/grpc.health.v1.Health/Watch", responseStream: true },
    },
    {
      check: (_call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        reply(null, Buffer.from([8, status]));
      },
      watch: (call: ServerWritableStream<Buffer, Buffer>) => {
        const isKnown = fromBinary(HealthCheckRequestSchema, call.request).service === SHOP;
        if (isKnown) watches.push(call);
        call.write(Buffer.from([8, isKnown ? status : SERVICE_UNKNOWN]));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    say(next) {
      status = next;
      for (const watch of watches) watch.write(Buffer.from([8, next]));
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}

export async function pythonHealth(): Promise<HealthPeer> {
  const program = findPython();
  if (program === undefined) throw new Error("no Python with grpcio: test/peers/build.sh python");
  const child = spawn(program, [join(import.meta.dirname, "python", "health.py")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve(Number(line)));
    void ended.then(() => reject(new Error("health.py ended before it listened")));
  });
  return {
    address: `127.0.0.1:${port}`,
    say: (status) => void child.stdin.write(`${status}\n`),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}
