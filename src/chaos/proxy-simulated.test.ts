import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NetworkRecorder } from "../testing/network-recorder.ts";
import { createSimulation, type Simulation } from "../testing/simulation.ts";
import type { Socket, SocketAddress } from "../world/network.ts";
import { createFaultProxy, type FaultProxy } from "./proxy.ts";
import type { ProxyFault } from "./proxy-fault.ts";

/** Client, proxy and server on machines of their own, 1 ms apart, with nothing left to chance but the proxy. */
interface Universe {
  readonly simulation: Simulation;
  readonly proxy: FaultProxy;
  /** What each accepted socket of the server saw. */
  readonly servers: readonly NetworkRecorder[];
  connect(): Promise<{ readonly client: NetworkRecorder; readonly socket: Socket }>;
}

/** `isEcho`: the server sends back what it gets, and ends when its client ends; else it keeps silent and never ends. */
async function universe(options: { readonly seed?: number; readonly isEcho?: boolean } = {}): Promise<Universe> {
  const { seed = 1, isEcho = true } = options;
  const simulation = createSimulation({ seed, link: { latencyMs: 1, jitterMs: 0, splitShare: 0 } });
  const servers: NetworkRecorder[] = [];
  await simulation.settle(
    simulation.host("server").network.listen({
      address: { kind: "tcp", host: "0.0.0.0", port: 80 },
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1_000,
      accept: (socket) => {
        const recorder = new NetworkRecorder(
          isEcho ? { data: (bytes) => socket.write(Buffer.from(bytes)), ended: () => socket.end() } : {},
        );
        recorder.socket = socket;
        servers.push(recorder);
        return recorder;
      },
      failed: (error) => assert.fail(error.text),
    }),
  );
  const proxy = createFaultProxy({
    world: simulation.host("proxy"),
    listen: { host: "0.0.0.0", port: 9000 },
    target: { host: "server", port: 80 },
    allowRemote: true,
  });
  const { port } = await simulation.settle(proxy.listen());
  const address: SocketAddress = { kind: "tcp", host: "proxy", port };
  const connect = async (): Promise<{ readonly client: NetworkRecorder; readonly socket: Socket }> => {
    const client = new NetworkRecorder();
    const socket = simulation.host("client").network.connect(address, { tls: undefined, alpn: [] }, client);
    await simulation.settle(client.saw("opened"));
    // Until the proxy's own connection stands as well.
    await simulation.advance(10);
    return { client, socket };
  };
  return { simulation, proxy, servers, connect };
}

/** How long it takes until `size` bytes that are sent now have all come back. */
async function roundTripMs(at: Universe, client: NetworkRecorder, socket: Socket, size: number): Promise<number> {
  const startMs = at.simulation.nowMs;
  const wanted = client.receivedBytes + size;
  socket.write(Buffer.alloc(size, 7));
  await at.simulation.settle(client.until(() => client.receivedBytes >= wanted));
  return Math.round(at.simulation.nowMs - startMs);
}

/** A round trip without faults: four ways of 1 ms. */
const BARE_MS = 4;

describe("a fault proxy in the simulated world", () => {
  it("adds its latency once each way", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    assert.equal(await roundTripMs(at, client, socket, 10), BARE_MS);
    at.proxy.set([{ kind: "latency", latencyMs: 50 }]);
    assert.equal(await roundTripMs(at, client, socket, 10), BARE_MS + 100);
    at.proxy.set([{ kind: "latency", latencyMs: 50, direction: "down" }]);
    assert.equal(await roundTripMs(at, client, socket, 10), BARE_MS + 50);
    at.proxy.clear();
    assert.equal(await roundTripMs(at, client, socket, 10), BARE_MS);
  });

  it("spreads latency by its jitter, differently each time, the same for the same seed", async () => {
    const play = async (seed: number): Promise<readonly number[]> => {
      const at = await universe({ seed });
      const { client, socket } = await at.connect();
      at.proxy.set([{ kind: "latency", latencyMs: 50, jitterMs: 20, direction: "up" }]);
      const times: number[] = [];
      for (let count = 0; count < 40; count++) times.push(await roundTripMs(at, client, socket, 10));
      return times;
    };
    const times = await play(5);
    assert.ok(times.every((ms) => ms >= BARE_MS + 30 && ms <= BARE_MS + 70));
    assert.ok(Math.max(...times) - Math.min(...times) > 25, times.join(" "));
    assert.deepEqual(await play(5), times);
    assert.notDeepEqual(await play(6), times);
  });

  it("lets a limited bandwidth's bytes per second pass", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "bandwidth", bytesPerSecond: 125_000, direction: "up" }]);
    const tookMs = await roundTripMs(at, client, socket, 1_250_000);
    assert.ok(tookMs >= 9_970 && tookMs <= 10_010, String(tookMs));
  });

  it("slices with its pauses", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "slice", sliceBytes: 100, delayMs: 10, direction: "up" }]);
    assert.equal(await roundTripMs(at, client, socket, 1_000), BARE_MS + 90);
    assert.ok(at.servers[0]?.chunks.every(({ length }) => length <= 100));
  });

  it("stalls for an hour and goes on as if nothing had been", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "stall" }]);
    socket.write(Buffer.from("patience"));
    await at.simulation.advance(3_600_000);
    assert.equal(at.servers[0]?.receivedBytes, 0);
    assert.deepEqual(client.happenings, ["opened"]);
    at.proxy.clear();
    await at.simulation.settle(client.until(() => client.receivedBytes === 8));
    assert.equal(String(client.bytes), "patience");
  });

  it("lets a stalled sender feel it once the buffer is full", async () => {
    const at = await universe();
    const { socket } = await at.connect();
    at.proxy.set([{ kind: "stall" }]);
    socket.write(Buffer.alloc(4_000_000));
    await at.simulation.advance(60_000);
    const [connection] = at.proxy.connections();
    assert.ok(connection !== undefined && connection.heldBytes > 900_000 && connection.heldBytes <= 1_048_576);
    assert.ok(socket.queuedBytes > 1_000_000, String(socket.queuedBytes));
    at.proxy.clear();
    await at.simulation.advance(60_000);
    assert.equal(at.servers[0]?.receivedBytes, 4_000_000);
  });

  it("keeps a half-open client in the dark for an hour", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "half-open" }]);
    await at.simulation.advance(10);
    assert.deepEqual(at.servers[0]?.happenings, ["ended", "closed"]);
    for (let count = 0; count < 60; count++) {
      socket.write(Buffer.from("ping"));
      await at.simulation.advance(60_000);
    }
    assert.deepEqual(client.happenings, ["opened"]);
    assert.equal(at.proxy.counts().lostBytes, 240);
    at.proxy.clear();
    await at.simulation.advance(10);
    assert.notDeepEqual(client.happenings, ["opened"]);
  });

  it("waits a second for the other ends after a limit, and then cuts", async () => {
    const at = await universe({ isEcho: false });
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "limit", bytes: 5, direction: "up" }]);
    socket.write(Buffer.from("123456789"));
    await at.simulation.advance(100);
    assert.equal(String(at.servers[0]?.bytes), "12345");
    assert.equal(at.servers[0]?.happenings.at(-1), "ended");
    assert.deepEqual(client.happenings, ["opened", "ended"]);
    assert.equal(at.proxy.connections().length, 1);
    await at.simulation.advance(1_000);
    assert.equal(at.proxy.connections().length, 0);
    assert.equal(at.proxy.counts().limited, 1);
  });

  it("passes the death of the target on, in its own time", async () => {
    const at = await universe();
    const { client, socket } = await at.connect();
    at.proxy.set([{ kind: "latency", latencyMs: 500 }]);
    at.simulation.crash("server");
    await at.simulation.advance(400);
    assert.deepEqual(client.happenings, ["opened"]);
    await at.simulation.advance(200);
    assert.equal(client.happenings[1], "ended");
    socket.end();
    await at.simulation.advance(1_000);
    assert.equal(at.proxy.connections().length, 0);
    const late = await at.connect();
    await at.simulation.advance(1_100);
    assert.notDeepEqual(late.client.happenings, ["opened"]);
    assert.equal(at.proxy.counts().unreachable, 1);
  });

  it("leaves no timer behind when it is closed in the middle of everything", async () => {
    const at = await universe();
    at.proxy.set([
      { kind: "latency", latencyMs: 60_000 },
      { kind: "bandwidth", bytesPerSecond: 1, share: 0.5 },
    ]);
    for (let count = 0; count < 6; count++) (await at.connect()).socket.write(Buffer.alloc(1_000));
    await at.simulation.advance(30_000);
    await at.simulation.settle(at.proxy.close());
    await at.simulation.advance(1_000);
    const fired = at.simulation.eventsFired;
    await at.simulation.advance(600_000);
    assert.equal(at.simulation.eventsFired, fired);
    assert.equal(at.proxy.connections().length, 0);
  });

  it("plays the same again for the same seed, whatever faults come and go", async () => {
    const play = async (seed: number): Promise<string> => {
      const at = await universe({ seed });
      const plans: readonly (readonly ProxyFault[])[] = [
        [
          { kind: "latency", latencyMs: 20, jitterMs: 20 },
          { kind: "corrupt", everyBytes: 100 },
        ],
        [
          { kind: "slice", sliceBytes: 30, delayMs: 1 },
          { kind: "silence", share: 0.3 },
        ],
        [
          { kind: "reset", afterBytes: 500, share: 0.5 },
          { kind: "corrupt", chunkShare: 0.5 },
        ],
        [{ kind: "half-open", share: 0.4 }],
        [],
      ];
      for (const plan of plans) {
        at.proxy.set(plan);
        for (let count = 0; count < 4; count++) {
          const { socket } = await at.connect();
          socket.write(Buffer.alloc(400, count));
        }
        await at.simulation.advance(200);
      }
      return `${at.simulation.logHash()} ${JSON.stringify([at.proxy.counts(), at.proxy.connections()])}`;
    };
    const first = await play(1);
    assert.equal(await play(1), first);
    assert.notEqual(await play(2), first);
  });
});
