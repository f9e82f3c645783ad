import assert from "node:assert/strict";
import { test } from "node:test";
import { Calculator } from "../../examples/gen/calc/v1/calc_pb.ts";
import { RpcError } from "../call/error.ts";
import { createClient } from "../client/create-client.ts";
import { createCluster } from "./cluster.ts";
import { createScriptedPeer } from "./scripted-peer.ts";

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const messages: T[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

test("answers each attempt by its line, in order, and remembers what it was asked", async () => {
  await using peer = createScriptedPeer(Calculator);
  const add = peer.on("add").reply({ result: 3 }).fail("NOT_FOUND").reply({ result: 7 });
  await using client = createClient(Calculator, peer);
  assert.equal((await client.add({ a: 1, b: 2 })).result, 3);
  await assert.rejects(client.add({ a: 2, b: 3 }), { code: "NOT_FOUND", text: "from the script", reached: "yes" });
  assert.equal((await client.add({ a: 3, b: 4 })).result, 7);
  assert.deepEqual(
    add.requests.map(({ a, b }) => [a, b]),
    [
      [1, 2],
      [2, 3],
      [3, 4],
    ],
  );
});

test("an attempt without a line fails the call at once and for good, and the test at disposal", async () => {
  const peer = createScriptedPeer(Calculator);
  peer.on("add").reply({ result: 3 });
  const client = createClient(Calculator, peer);
  await client.add({ a: 1, b: 2 });
  const text = "the script of /calc.v1.Calculator/Add has no line for attempt 2";
  await assert.rejects(client.add({ a: 1, b: 2 }), { code: "UNIMPLEMENTED", text, isRepeatable: false });
  await assert.rejects(
    collect(client.count({})),
    /the script of \/calc.v1.Calculator\/Count has no line for attempt 1/,
  );
  await client.$close();
  await assert.rejects(async () => peer[Symbol.asyncDispose](), {
    message: `${text}; the script of /calc.v1.Calculator/Count has no line for attempt 1`,
  });
});

test("lines that no attempt came for are no failure", async () => {
  const peer = createScriptedPeer(Calculator);
  peer.on("add").reply({ result: 3 }).hang();
  await assert.doesNotReject(async () => peer[Symbol.asyncDispose]());
});

test("a line of hang never answers: the caller's deadline ends it", async () => {
  await using cluster = createCluster();
  await using peer = createScriptedPeer(Calculator, { world: cluster.world });
  peer.on("add").hang();
  const client = createClient(Calculator, peer, { world: cluster.world });
  const startMs = cluster.simulation.nowMs;
  const failing = client.add({ a: 1, b: 2 }, { timeoutMs: 5000 }).catch((error: unknown) => error);
  const error = await cluster.settle(failing);
  assert.ok(error instanceof RpcError && error.reason === "DEADLINE");
  assert.ok(cluster.simulation.nowMs - startMs >= 5000);
});

test("disposing of a peer with a call that hangs cuts that call", async () => {
  const peer = createScriptedPeer(Calculator);
  peer.on("add").hang();
  const client = createClient(Calculator, peer);
  const failing = assert.rejects(client.add({ a: 1, b: 2 }), { code: "UNAVAILABLE" });
  while (peer.on("add").requests.length === 0) await Promise.resolve().then(() => new Promise(setImmediate));
  await peer[Symbol.asyncDispose]();
  await failing;
  await client.$close({ timeoutMs: 0 });
});

test("one script may stand behind several servers of a cluster", async () => {
  await using cluster = createCluster();
  await using peer = createScriptedPeer(Calculator, { world: cluster.world });
  cluster.serve("calc", 2, (server) => server.service(Calculator, peer.handlers));
  // The first attempt's server dies under it; the second gets the next line.
  const add = peer.on("add").hang().reply({ result: 5 });
  const client = cluster.client(Calculator, "calc");
  const call = client.add({ a: 2, b: 3 });
  await cluster.advance(100);
  assert.equal(add.requests.length, 1);
  const at = client.$channel.peers().findIndex(({ inFlight }) => inFlight === 1);
  cluster.simulation.crash(`calc/${at}`);
  assert.equal((await cluster.settle(call)).result, 5);
  assert.equal(add.requests.length, 2);
});

test("refuses what cannot be a line", async () => {
  await using peer = createScriptedPeer(Calculator);
  assert.throws(() => peer.on("nothing" as "add"), /the contract has no method "nothing"; it has add, count/);
  assert.throws(() => peer.on("add").reply(), /\/calc.v1.Calculator\/Add has one reply, got 0/);
  assert.throws(() => peer.on("add").reply({}, {}), TypeError);
  assert.throws(() => peer.on("add").fail("OK" as "ABORTED"), /takes an RpcError or the code of a failure, got "OK"/);
});
