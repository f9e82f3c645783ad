import assert from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { AddReplySchema, AddRequestSchema, Calculator } from "../../examples/gen/calc/v1/calc_pb.ts";
import { RpcError } from "../call/error.ts";
import type { Server } from "../server/create-server.ts";
import type { SocketAddress } from "../world/network.ts";
import { createCluster, type Cluster } from "./cluster.ts";
import { NetworkRecorder } from "./network-recorder.ts";

function calculator(server: Server): Server {
  return server.service(Calculator, {
    add: ({ a, b }) => ({ result: a + b }),
    async *count() {},
  });
}

function addressOf(text: string): SocketAddress {
  const [host = "", port = ""] = text.split(":");
  return { kind: "tcp", host, port: Number(port) };
}

/** A literal header field without indexing (RFC 7541, 6.2.2). */
function field(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.from([0, payload.length >>> 8, payload.length & 0xff, type, flags, 0, 0, 0, stream]);
  return Buffer.concat([head, payload]);
}

/** The types of the frames in what arrived, and the first DATA frame's payload. */
function framesIn(bytes: Buffer): { readonly types: readonly number[]; readonly data: Buffer | undefined } {
  const types: number[] = [];
  let data: Buffer | undefined;
  for (let at = 0; at + 9 <= bytes.length; ) {
    const size = bytes.readUIntBE(at, 3);
    const type = bytes[at + 3] ?? -1;
    if (type === 0) data ??= bytes.subarray(at + 9, at + 9 + size);
    types.push(type);
    at += 9 + size;
  }
  return { types, data };
}

/** Add(1, 2), as bytes. */
function addCall(): Buffer {
  const headers = [
    field(":method", "POST"),
    field(":scheme", "http"),
    field(":path", "/calc.v1.Calculator/Add"),
    field(":authority", "calc"),
    field("content-type", "application/grpc"),
    field("te", "trailers"),
  ];
  const message = Buffer.from(toBinary(AddRequestSchema, create(AddRequestSchema, { a: 1, b: 2 })));
  const prefix = Buffer.from([0, 0, 0, 0, message.length]);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(4, 0, 0, Buffer.alloc(0)),
    frame(1, 4, 1, Buffer.concat(headers)),
    frame(0, 1, 1, Buffer.concat([prefix, message])),
  ]);
}

async function addThrough(cluster: Cluster, address: string): Promise<NetworkRecorder> {
  const recorder = new NetworkRecorder();
  const socket = cluster.world.network.connect(addressOf(address), { tls: undefined, alpn: [] }, recorder);
  socket.write(addCall());
  await cluster.advance(1000);
  return recorder;
}

test("runs real servers on simulated hosts: a call's frames go in, a reply's come out", async () => {
  await using cluster = createCluster({ seed: 7 });
  cluster.serve("calc", 3, calculator);
  assert.equal(cluster.target("calc").length, 3);
  for (const address of cluster.target("calc")) {
    const { types, data } = framesIn((await addThrough(cluster, address)).bytes);
    assert.equal(types[0], 4);
    assert.ok(data !== undefined && data.length > 5, `frames ${types.join(" ")}`);
    assert.deepEqual(data.subarray(5), Buffer.from(toBinary(AddReplySchema, create(AddReplySchema, { result: 3 }))));
  }
});

test("builds a replica anew after each crash, and refuses connections meanwhile", async () => {
  await using cluster = createCluster();
  const built: number[] = [];
  cluster.serve("calc", 2, (server, index) => {
    built.push(index);
    return calculator(server);
  });
  cluster.inject({ kind: "crash", peer: "calc/1", atMs: 100, forMs: 5000 });
  await cluster.advance(200);
  assert.equal(cluster.server("calc", 1), undefined);
  assert.equal((await addThrough(cluster, cluster.target("calc")[1] ?? "")).error?.code, "ECONNREFUSED");
  await cluster.advance(5000);
  assert.deepEqual(built, [0, 1, 1]);
  assert.ok(framesIn((await addThrough(cluster, cluster.target("calc")[1] ?? "")).bytes).data !== undefined);
});

test("gives the same log for the same seed, with real stacks in it", async () => {
  const play = async (seed: number): Promise<string> => {
    await using cluster = createCluster({ seed });
    cluster.serve("calc", 2, calculator);
    for (const address of cluster.target("calc")) await addThrough(cluster, address);
    return cluster.simulation.logHash();
  };
  assert.equal(await play(3), await play(3));
  assert.notEqual(await play(3), await play(4));
});

test("clients call from the host that is named, each over connections of its own", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 2, calculator);
  const here = cluster.client(Calculator, "calc");
  const there = cluster.client(Calculator, "calc", { host: "laptop", policy: { timeoutMs: 500 } });
  assert.equal((await cluster.settle(here.add({ a: 1, b: 2 }))).result, 3);
  cluster.inject({ kind: "partition", between: ["laptop", "calc"] });
  assert.equal((await cluster.settle(here.add({ a: 2, b: 2 }))).result, 4);
  const failing = there.add({ a: 1, b: 2 }).catch((error: unknown) => error);
  const error = await cluster.settle(failing);
  assert.ok(error instanceof RpcError && error.reason === "DEADLINE");
});

test("keeps records of its clients' calls, by method, in the order in which they ended", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 2, calculator);
  const client = cluster.client(Calculator, "calc");
  assert.deepEqual(cluster.records(), []);
  await cluster.settle(client.add({ a: 1, b: 2 }));
  cluster.inject({ kind: "fail", path: "/calc.v1.Calculator/Add", code: "NOT_FOUND" });
  await cluster.settle(assert.rejects(client.add({ a: 1, b: 2 }), { code: "NOT_FOUND" }));
  const [first, second, ...rest] = cluster.records("/calc.v1.Calculator/Add");
  assert.deepEqual([first?.code, second?.code, rest.length], ["OK", "NOT_FOUND", 0]);
  assert.equal(first?.attempts.length, 1);
  assert.equal(first.method.path, "/calc.v1.Calculator/Add");
  assert.deepEqual(cluster.records(), [first, second]);
  assert.deepEqual(cluster.records("/calc.v1.Calculator/Count"), []);
});

test("ends the clients' open calls when it is disposed of", async () => {
  const cluster = createCluster();
  cluster.serve("calc", 1, calculator);
  cluster.inject({ kind: "delay", path: "/", delayMs: 60_000 });
  const failing = assert.rejects(cluster.client(Calculator, "calc").add({ a: 1, b: 2 }), { code: "UNAVAILABLE" });
  await cluster.advance(100);
  await cluster[Symbol.asyncDispose]();
  await failing;
});

test("refuses names and numbers that cannot be", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 1, calculator);
  assert.throws(() => cluster.serve("calc", 1, calculator), /cannot be named "calc"/);
  assert.throws(() => cluster.serve("client", 1, calculator), RangeError);
  assert.throws(() => cluster.serve("a/b", 1, calculator), RangeError);
  assert.throws(() => cluster.serve("other", 0, calculator), /replicas must be 1\.\.1000, got 0/);
  assert.throws(() => cluster.client(Calculator, "nothing"), /nothing is served as "nothing"/);
  assert.throws(() => cluster.client(Calculator, "calc", { host: "calc/0" }), /cannot be on "calc\/0"/);
  assert.throws(() => cluster.client(Calculator, "calc", { policy: { timeoutMs: 0 } }), RangeError);
  assert.throws(() => cluster.target("nothing"), /nothing is served as "nothing"/);
});

test("leaves nothing running when it is disposed of", async () => {
  const cluster = createCluster();
  cluster.serve("calc", 1, calculator);
  await addThrough(cluster, cluster.target("calc")[0] ?? "");
  await cluster[Symbol.asyncDispose]();
  const firedMs = cluster.simulation.eventsFired;
  await cluster.advance(600_000);
  assert.ok(cluster.simulation.eventsFired - firedMs < 200, "only what was on the way may still arrive");
});
