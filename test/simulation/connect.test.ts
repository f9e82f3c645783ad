import assert from "node:assert/strict";
import { test } from "node:test";
import { createSwitches } from "holdfast/policy";
import { createChannel, createClient } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import type { Listener, ListenRequest, SocketEvents } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";
import { failureOf, forever, Probe, type ProbeHandlers, probe, SafeProbe, timed } from "./probe-cluster.ts";

/** Accepts connections and never says a word. */
function mute(world: World): Promise<Listener> {
  const silent: SocketEvents = { opened() {}, data() {}, drained() {}, ended() {}, closed() {} };
  const request: ListenRequest = {
    address: { kind: "tcp", host: "0.0.0.0", port: 1 },
    tls: undefined,
    alpn: [],
    handshakeTimeoutMs: 1000,
    accept: () => silent,
    failed() {},
  };
  return world.network.listen(request);
}

/** The cluster's world, which notes when it is asked to connect. */
function notingWorld(cluster: Cluster): { readonly world: World; readonly dialsMs: number[] } {
  const dialsMs: number[] = [];
  const { world } = cluster;
  const connect: World["network"]["connect"] = (...dial) => {
    dialsMs.push(cluster.simulation.nowMs);
    return world.network.connect(...dial);
  };
  const listen: World["network"]["listen"] = (request) => world.network.listen(request);
  const resolve: World["network"]["resolve"] = (host, done) => world.network.resolve(host, done);
  return { world: { ...world, network: { connect, listen, resolve } }, dialsMs };
}

function gaps(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}

function within(value: number | undefined, low: number, high: number): void {
  assert.ok(value !== undefined && value >= low && value <= high, `${value} is not in ${low}..${high}`);
}

test("does not dial before the first call", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const { world, dialsMs } = notingWorld(cluster);
  const client = createClient(Probe, cluster.target("shop"), { world, plaintext: true });
  await cluster.advance(60_000);
  assert.deepEqual(dialsMs, []);
  await cluster.settle(client.unary({}));
  assert.equal(dialsMs.length, 1);
});

test("redials a peer that refuses 1 s +-20 % after the last dial, then at most every 2 s +-20 % as nobody is ready", async () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    await using cluster = createCluster({ seed });
    const { world, dialsMs } = notingWorld(cluster);
    cluster.simulation.host("gone");
    const client = createClient(Probe, "gone:1", { world, plaintext: true });
    const error = await cluster.settle(failureOf(client.unary({})));
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reason, "CONNECT_FAILED");
    assert.equal(error.reached, "no");
    await cluster.advance(60_000);
    const [first, second, ...later] = gaps(dialsMs);
    within(first, 800, 1202);
    within(second, 1280, 1922);
    assert.ok(later.length >= 20, `seed ${seed}: ${later.length} dials`);
    for (const gap of later) within(gap, 1600, 2402);
    assert.ok(new Set(later).size > later.length / 2, "the jitter is drawn anew each time");
  }
});

test("backs off by 1.6 up to 120 s from a peer that refuses while another is ready", async () => {
  await using cluster = createCluster({ seed: 6 });
  cluster.serve("shop", 1, (server) => probe(server));
  cluster.simulation.host("gone");
  const gone = cluster.simulation.address("gone");
  const dialsMs: number[] = [];
  const { world } = cluster;
  const connect: World["network"]["connect"] = (address, ...dial) => {
    if (address.kind === "tcp" && address.host === gone) dialsMs.push(cluster.simulation.nowMs);
    return world.network.connect(address, ...dial);
  };
  const noting: World = {
    ...world,
    network: {
      connect,
      listen: (request) => world.network.listen(request),
      resolve: (host, done) => world.network.resolve(host, done),
    },
  };
  const client = createClient(Probe, [...cluster.target("shop"), `${gone}:1`], { world: noting, plaintext: true });
  await cluster.settle(client.unary({}));
  await cluster.advance(1_200_000);
  let expectedMs = 1000;
  for (const gap of gaps(dialsMs)) {
    within(gap, expectedMs * 0.8, expectedMs * 1.2 + 2);
    expectedMs = Math.min(120_000, expectedMs * 1.6);
  }
  assert.equal(expectedMs, 120_000);
});

test("a peer that accepts and never sends SETTINGS is given up after 20 s, and dialled again at once", async () => {
  await using cluster = createCluster();
  cluster.simulation.boot("mute", mute);
  const { world, dialsMs } = notingWorld(cluster);
  const channel = createChannel("mute:1", { world, plaintext: true });
  const { tookMs, error } = await timed(cluster, channel.client(Probe).unary({}, { timeoutMs: 60_000 }));
  assert.equal(error?.reason, "NO_PEER");
  within(tookMs, 10_000, 10_002);
  const failing = await timed(cluster, channel.ready({ timeoutMs: 10_500 }));
  assert.equal(failing.error?.code, "UNAVAILABLE");
  assert.match(failing.error.text, /did not send its HTTP\/2 SETTINGS within 20000 ms/);
  within(gaps(dialsMs)[0], 20_000, 20_002);
});

test("a call that finds no peer waits 10 s at most, and says what each peer was doing", async () => {
  await using cluster = createCluster();
  cluster.simulation.boot("mute", mute);
  cluster.simulation.boot("dumb", mute);
  const client = createClient(Probe, ["mute:1", "dumb:1"], { world: cluster.world, plaintext: true });
  const { tookMs, error } = await timed(cluster, client.unary({}));
  within(tookMs, 10_000, 10_002);
  assert.equal(error?.code, "UNAVAILABLE");
  assert.equal(error.reason, "NO_PEER");
  assert.equal(error.reached, "no");
  assert.match(error.text, /mute:1 is connecting; dumb:1 is connecting/);
});

test("a call that waits for a peer goes out when one comes", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  await cluster.advance(10);
  const heal = cluster.simulation.partition("client", "shop");
  const client = cluster.client(Probe, "shop");
  const call = timed(cluster, client.unary({}));
  await cluster.advance(5000);
  heal();
  const { tookMs, error } = await call;
  assert.equal(error, undefined);
  within(tookMs, 5000, 10_000);
});

test("keepalive finds a peer that fell silent under an open call: 10 s of silence, then 20 s for the PING", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const switches = createSwitches({ states: { suspicion: "off" } });
  const client = cluster.client(Probe, "shop", { connections: { keepaliveMs: 10_000 }, switches });
  const call = timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  await cluster.advance(1000);
  cluster.simulation.partition("client", "shop");
  const { tookMs, error } = await call;
  assert.equal(error?.reason, "CONNECTION_LOST");
  assert.equal(error.reached, "maybe");
  within(tookMs, 30_000, 30_010);
});

test("keepalive leaves a peer alone that is slow but alive", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const client = cluster.client(Probe, "shop", { connections: { keepaliveMs: 10_000 } });
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  assert.equal(error?.reason, "DEADLINE");
  within(tookMs, 300_000, 300_002);
});

test("without open calls the client sends no PING, and an idle connection is kept", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const { world, dialsMs } = notingWorld(cluster);
  const options = { world, plaintext: true, connections: { keepaliveMs: 10_000 } } as const;
  const client = createClient(Probe, cluster.target("shop"), options);
  await cluster.settle(client.unary({}));
  await cluster.advance(60_000);
  const before = cluster.simulation.logLines().length;
  // Less than the silence after which the server asks.
  await cluster.advance(250_000);
  assert.equal(cluster.simulation.logLines().length, before);
  await cluster.advance(3_600_000);
  await cluster.settle(client.unary({}));
  assert.equal(dialsMs.length, 1);
});

test("after a long silence a call on a dead connection is found out in one PING's time, and goes elsewhere", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop", { connections: { keepaliveMs: 10_000 } });
  await cluster.settle(client.unary({}));
  await cluster.advance(60_000);
  cluster.simulation.crash("shop/0", { isMachine: true });
  cluster.simulation.restart("shop/0");
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 60_000 }));
  assert.equal(error, undefined);
  // The restarted machine knows nothing of the connection and resets it: no timeout is needed.
  assert.ok(tookMs < 3000, String(tookMs));
});

test("calls that wait for a stream start when others are cancelled, although the peer says nothing", async () => {
  await using cluster = createCluster();
  let begun = 0;
  const handlers: Partial<ProbeHandlers> = {
    unary: (request, call) => {
      begun += 1;
      return forever(request, call);
    },
  };
  cluster.serve("shop", 1, (server) => probe(server, handlers), { limits: { streamsPerConnectionMax: 2 } });
  const switches = createSwitches({ states: { suspicion: "off" } });
  const client = cluster.client(Probe, "shop", { connections: { perPeerMax: 1 }, switches });
  await cluster.settle(client.upload([]));
  const doomed = [1, 2].map(() => failureOf(client.unary({}, { timeoutMs: 1000 })));
  const waiting = failureOf(client.unary({}, { timeoutMs: 5000 }));
  await cluster.advance(500);
  assert.equal(begun, 2);
  cluster.simulation.partition("shop", "client", { isOneWay: true });
  await cluster.advance(600);
  assert.equal(begun, 3);
  assert.equal((await Promise.all(doomed)).length, 2);
  assert.match((await cluster.settle(waiting)).text, /while waiting for 10\./);
});

test("a connection that drains ends when its last call is cancelled, although the peer says nothing", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const endedMs: number[] = [];
  const { world } = cluster;
  let dials = 0;
  const connect: World["network"]["connect"] = (...dial) => {
    const socket = world.network.connect(...dial);
    dials += 1;
    // The one that follows the goodbye gets a goodbye itself, for the server's door is still open, and has no calls to end.
    if (dials > 1) return socket;
    const end = socket.end.bind(socket);
    return Object.defineProperty(socket, "end", {
      value: () => {
        endedMs.push(cluster.simulation.nowMs);
        end();
      },
    });
  };
  const noting: World = {
    ...world,
    network: {
      connect,
      listen: (request) => world.network.listen(request),
      resolve: (host, done) => world.network.resolve(host, done),
    },
  };
  const client = createClient(Probe, cluster.target("shop"), { world: noting, plaintext: true });
  await cluster.settle(client.upload([]));
  const startMs = cluster.simulation.nowMs;
  const call = failureOf(client.unary({}, { timeoutMs: 8000 }));
  void cluster.server("shop", 0)?.close({ timeoutMs: 60_000 });
  await cluster.advance(6000);
  assert.deepEqual(endedMs, []);
  cluster.simulation.partition("shop", "client", { isOneWay: true });
  await cluster.advance(2100);
  assert.equal((await call).reason, "DEADLINE");
  assert.equal(endedMs.length, 1, "the drained connection was left open");
  within((endedMs[0] ?? 0) - startMs, 8000, 8002);
});

test("a process that was stopped reads what came meanwhile before it gives anybody up", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const client = cluster.client(Probe, "shop", { connections: { keepaliveMs: 10_000 } });
  // Stopped while it connects: connect and placing are overdue when it wakes, and the server's SETTINGS are there.
  const call = timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  await cluster.advance(1.2);
  cluster.simulation.freeze("client");
  await cluster.advance(25_000);
  cluster.simulation.thaw("client");
  // Stopped while a PING is on its way: the answer is overdue when it wakes, and it is there.
  await cluster.advance(10_003);
  cluster.simulation.freeze("client");
  await cluster.advance(25_000);
  cluster.simulation.thaw("client");
  const { error, tookMs } = await call;
  assert.equal(error?.reason, "DEADLINE");
  within(tookMs, 300_000, 300_002);
});
