import assert from "node:assert/strict";
import { test } from "node:test";
import { type Cluster, createCluster } from "holdfast/testing";
import { createChannel, type HoldfastChannel } from "../../src/client/channel.ts";
import type { Http2Connection } from "../../src/wire/http2/connection.ts";
import type { World } from "../../src/world/world.ts";
import { failureOf, forever, pause, Probe, probe, timed } from "./probe-cluster.ts";

/** The engine stands aside from here on (RFC 9113 5.1.1: ids cannot be used again). */
const NEAR_END = 0x60000001;
const LAST = 0x7fffffff;

interface Setting {
  readonly channel: HoldfastChannel;
  readonly dialsMs: number[];
  readonly ended: () => number;
  /** From now on nobody answers a dial. */
  isRefusing: boolean;
}

/** A channel to the only replica of "shop" that notes its dials and can have them refused. */
function setUp(cluster: Cluster): Setting {
  const { world } = cluster;
  cluster.simulation.host("gone");
  const dialsMs: number[] = [];
  let ends = 0;
  const connect: World["network"]["connect"] = (address, options, events) => {
    dialsMs.push(cluster.simulation.nowMs);
    const to = setting.isRefusing ? ({ kind: "tcp", host: "gone", port: 1 } as const) : address;
    const socket = world.network.connect(to, options, events);
    const end = socket.end.bind(socket);
    return Object.defineProperty(socket, "end", { value: () => (ends++, end()) });
  };
  const noting: World = {
    ...world,
    network: {
      connect,
      listen: (request) => world.network.listen(request),
      resolve: (host, done) => world.network.resolve(host, done),
    },
  };
  const channel = createChannel(cluster.target("shop"), { world: noting, plaintext: true }) as HoldfastChannel;
  const setting: Setting = { channel, dialsMs, ended: () => ends, isRefusing: false };
  return setting;
}

function engineOf({ channel }: Setting): Http2Connection {
  const engine = channel.core.peers[0]?.link.connection?.engine;
  assert.ok(engine !== undefined, "no connection is ready");
  return engine;
}

/** Eight callers at once, until the returned function is called, which gives what failed. */
function callers(cluster: Cluster, setting: Setting): () => Promise<{ ok: number; errors: unknown[] }> {
  const client = setting.channel.client(Probe);
  const tally = { ok: 0, errors: [] as unknown[] };
  let isStopped = false;
  const caller = async (): Promise<void> => {
    while (!isStopped) {
      await client.unary({}).then(
        () => (tally.ok += 1),
        (error: unknown) => tally.errors.push(error),
      );
      await pause(cluster.world, 20);
    }
  };
  const all = Promise.all(Array.from({ length: 8 }, caller));
  return async () => {
    isStopped = true;
    await cluster.settle(all);
    return tally;
  };
}

test("a connection whose stream ids run out is replaced under calls, and none fails", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const setting = setUp(cluster);
  const stop = callers(cluster, setting);
  await cluster.advance(2000);
  const before = engineOf(setting);
  before.nextId = NEAR_END;
  await cluster.advance(1000);
  assert.notEqual(engineOf(setting), before);
  assert.ok(engineOf(setting).nextId < NEAR_END);
  assert.equal(setting.dialsMs.length, 2);
  assert.equal(setting.ended(), 1, "the old connection was left open");
  const { ok, errors } = await stop();
  assert.deepEqual(errors.map(String), []);
  assert.ok(ok > 500, String(ok));
});

test("a call that goes on keeps the connection whose ids ran out until it ends; new ones are elsewhere", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const setting = setUp(cluster);
  const client = setting.channel.client(Probe);
  await cluster.settle(client.upload([]));
  const before = engineOf(setting);
  before.nextId = NEAR_END;
  const long = failureOf(client.unary({}, { timeoutMs: 20_000 }));
  await cluster.advance(5000);
  assert.notEqual(engineOf(setting), before);
  assert.equal(before.streams.count, 1);
  assert.equal(setting.ended(), 0);
  await cluster.settle(client.upload([]));
  assert.equal((await cluster.settle(long)).reason, "DEADLINE");
  await cluster.advance(10);
  assert.equal(setting.ended(), 1);
});

test("a successor that cannot be had is dialled at the pace of reconnects, while calls go on", async () => {
  await using cluster = createCluster({ seed: 3 });
  cluster.serve("shop", 1, (server) => probe(server));
  const setting = setUp(cluster);
  const stop = callers(cluster, setting);
  await cluster.advance(2000);
  const before = engineOf(setting);
  setting.isRefusing = true;
  before.nextId = NEAR_END;
  await cluster.advance(60_000);
  assert.equal(engineOf(setting), before);
  assert.ok(setting.dialsMs.length >= 4 && setting.dialsMs.length <= 12, `${setting.dialsMs.length} dials in 60 s`);
  for (const [index, atMs] of setting.dialsMs.entries()) {
    assert.ok(index === 0 || atMs - (setting.dialsMs[index - 1] ?? 0) >= 800, `dials at ${setting.dialsMs.join()}`);
  }
  setting.isRefusing = false;
  await cluster.advance(120_000);
  assert.notEqual(engineOf(setting), before);
  const { errors } = await stop();
  assert.deepEqual(errors.map(String), []);
});

test("a peer whose last id is used is not ready, and calls wait for the next connection", async () => {
  await using cluster = createCluster({ seed: 4 });
  cluster.serve("shop", 1, (server) => probe(server));
  const setting = setUp(cluster);
  const client = setting.channel.client(Probe);
  await cluster.settle(client.unary({}));
  setting.isRefusing = true;
  engineOf(setting).nextId = LAST - 4;
  await cluster.settle(client.unary({}));
  assert.equal(setting.channel.peers()[0]?.health, "ready");
  await cluster.settle(client.unary({}));
  await cluster.advance(1);
  assert.notEqual(setting.channel.peers()[0]?.health, "ready");
  const waiting = timed(cluster, client.unary({}));
  await cluster.advance(500);
  setting.isRefusing = false;
  const { error, tookMs } = await waiting;
  assert.equal(error, undefined);
  assert.ok(tookMs < 4000, String(tookMs));
});
