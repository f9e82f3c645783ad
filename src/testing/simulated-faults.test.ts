import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { ServerTlsOptions, Socket, SocketAddress, SocketEvents } from "../world/network.ts";
import type { NetworkInjection } from "./injection.ts";
import { NetworkRecorder } from "./network-recorder.ts";
import { createSimulation, type LinkChange, type Simulation } from "./simulation.ts";

const shopAddress: SocketAddress = { kind: "tcp", host: "shop", port: 50051 };

interface Pair {
  readonly client: NetworkRecorder;
  readonly clientSocket: Socket;
  readonly server: NetworkRecorder;
  readonly serverSocket: Socket;
}

async function listenAt(
  simulation: Simulation,
  accept: (socket: Socket) => SocketEvents,
  tls?: ServerTlsOptions,
): Promise<void> {
  const address: SocketAddress = { kind: "tcp", host: "0.0.0.0", port: 50051 };
  const request = {
    address,
    tls,
    alpn: tls === undefined ? [] : ["h2"],
    handshakeTimeoutMs: 1000,
    accept,
    failed: () => undefined,
  };
  await simulation.settle(simulation.host("shop").network.listen(request));
}

async function pair(simulation: Simulation): Promise<Pair> {
  const server = new NetworkRecorder();
  let serverSocket: Socket | undefined;
  await listenAt(simulation, (socket) => {
    serverSocket = socket;
    return server;
  });
  const client = new NetworkRecorder();
  const clientSocket = simulation.host("client").network.connect(shopAddress, { tls: undefined, alpn: [] }, client);
  await simulation.runUntil(() => serverSocket !== undefined);
  assert.ok(serverSocket !== undefined);
  return { client, clientSocket, server, serverSocket };
}

function numbered(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 7 + (at >>> 8)) & 0xff;
  return bytes;
}

describe("links", () => {
  test("connecting takes one round trip, and a byte half of one", async () => {
    const simulation = createSimulation({ link: { latencyMs: 20, jitterMs: 0 } });
    const { clientSocket, server, client } = await pair(simulation);
    assert.equal(client.count("opened"), 1);
    assert.ok(simulation.nowMs >= 60 && simulation.nowMs < 61, String(simulation.nowMs));
    const sentMs = simulation.nowMs;
    clientSocket.write(Buffer.from("x"));
    await simulation.runUntil(() => server.receivedBytes === 1);
    assert.equal(simulation.nowMs - sentMs, 20);
  });

  test("bytes are never reordered nor lost, whatever jitter, loss, bandwidth and partitions do", async () => {
    const change = fc.record({
      jitterMs: fc.double({ min: 0, max: 50, noNaN: true }),
      lossShare: fc.double({ min: 0, max: 0.3, noNaN: true }),
      bytesPerSecond: fc.constantFrom(50_000, 1_000_000, Number.POSITIVE_INFINITY),
      segmentBytesMax: fc.integer({ min: 100, max: 65_536 }),
      splitShare: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const faults = fc.array(
      fc.record({
        atMs: fc.integer({ min: 0, max: 500 }),
        forMs: fc.integer({ min: 0, max: 2000 }),
        which: fc.nat({ max: 5 }),
      }),
      { maxLength: 5 },
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1e6 }), change, faults, async (seed, link, plan) => {
        const simulation = createSimulation({ seed });
        const { client, clientSocket, server, serverSocket } = await pair(simulation);
        simulation.link("client", "shop", link);
        for (const { atMs, forMs, which } of plan) {
          const time = { atMs, forMs };
          const kinds: NetworkInjection[] = [
            { ...time, kind: "partition", between: ["client", "shop"] },
            { ...time, kind: "partition", between: ["shop", "client"], isOneWay: true },
            { ...time, kind: "freeze", peer: "shop" },
            { ...time, kind: "delay", delayMs: 300, share: 0.3 },
            { ...time, kind: "drop", peer: "shop", share: 0.5 },
            { kind: "stall", peer: "client", atMs, stallMs: forMs },
          ];
          simulation.inject(kinds[which] as NetworkInjection);
        }
        const up = numbered(30_000);
        const down = numbered(20_000);
        for (let at = 0; at < up.length; at += 1000) clientSocket.write(Buffer.from(up.subarray(at, at + 1000)));
        serverSocket.write(Buffer.from(down));
        clientSocket.end();
        serverSocket.end();
        await simulation.runUntil(() => client.isClosed && server.isClosed, { limitMs: 3_600_000 });
        assert.ok(server.bytes.equals(up) && client.bytes.equals(down));
        assert.deepEqual([client.error, server.error], [undefined, undefined]);
        for (const end of [client, server]) assert.equal(end.happenings.at(-1), "closed");
      }),
      { numRuns: 100 },
    );
  });

  test("a lost segment holds what is behind it for a retransmission timeout of 200 ms or more", async () => {
    const simulation = createSimulation();
    const { clientSocket, server } = await pair(simulation);
    simulation.link("client", "shop", { lossShare: 1 }, { isOneWay: true });
    clientSocket.write(Buffer.from("1"));
    simulation.link("client", "shop", { lossShare: 0 }, { isOneWay: true });
    clientSocket.write(Buffer.from("2"));
    const sentMs = simulation.nowMs;
    await simulation.advance(199);
    assert.equal(server.receivedBytes, 0);
    await simulation.runUntil(() => server.receivedBytes === 2);
    assert.ok(simulation.nowMs - sentMs < 203);
  });

  test("bandwidth: a mebibyte at a mebibyte a second takes a second, and drained is told once", async () => {
    const simulation = createSimulation({ link: { bytesPerSecond: 1024 * 1024 } });
    const { client, clientSocket, server } = await pair(simulation);
    const startMs = simulation.nowMs;
    clientSocket.write(Buffer.alloc(1024 * 1024));
    assert.ok(clientSocket.queuedBytes > 800_000);
    await simulation.runUntil(() => server.receivedBytes === 1024 * 1024);
    assert.ok(Math.abs(simulation.nowMs - startMs - 1000) < 20, String(simulation.nowMs - startMs));
    assert.equal(client.count("drained"), 1);
  });

  test("pausing and resuming under bandwidth stops and restarts the sender", async () => {
    const simulation = createSimulation({ link: { bytesPerSecond: 10_000_000 } });
    const { client, clientSocket, server, serverSocket } = await pair(simulation);
    const all = numbered(2_000_000);
    clientSocket.write(Buffer.from(all));
    for (let round = 0; round < 5; round++) {
      serverSocket.pause();
      await simulation.advance(0);
      const before = server.receivedBytes;
      await simulation.advance(1000);
      assert.equal(server.receivedBytes, before);
      serverSocket.resume();
      await simulation.advance(20);
      assert.ok(server.receivedBytes > before);
    }
    await simulation.runUntil(() => server.receivedBytes === all.length);
    assert.ok(server.bytes.equals(all));
    assert.equal(client.count("drained"), 1);
  });

  test("a paused reader stops the sender after 256 KiB on the way and 128 KiB in its kernel", async () => {
    const simulation = createSimulation();
    const { clientSocket, serverSocket } = await pair(simulation);
    serverSocket.pause();
    for (let count = 0; count < 16; count++) clientSocket.write(Buffer.alloc(64 * 1024));
    await simulation.advance(10_000);
    assert.equal(clientSocket.queuedBytes, 1024 * 1024 - 384 * 1024);
  });

  test("carries 10,000 connections", async () => {
    const simulation = createSimulation();
    const servers: NetworkRecorder[] = [];
    await listenAt(simulation, (socket) => {
      const recorder = new NetworkRecorder({ data: (bytes) => socket.write(bytes) });
      servers.push(recorder);
      return recorder;
    });
    const clients = Array.from({ length: 10_000 }, () => new NetworkRecorder());
    for (const client of clients) {
      simulation
        .host("client")
        .network.connect(shopAddress, { tls: undefined, alpn: [] }, client)
        .write(Buffer.from("ping"));
    }
    await simulation.advance(10_000);
    assert.equal(servers.length, 10_000);
    assert.ok(clients.every((client) => String(client.bytes) === "ping"));
  });
});

describe("partitions", () => {
  test("partition, then heal: silence meanwhile, and nothing is lost", async () => {
    const simulation = createSimulation();
    const { client, clientSocket, server, serverSocket } = await pair(simulation);
    const heal = simulation.partition("client", "shop");
    clientSocket.write(numbered(50_000));
    serverSocket.write(numbered(1000));
    await simulation.advance(30_000);
    assert.deepEqual([server.receivedBytes, client.receivedBytes, client.isClosed], [0, 0, false]);
    heal();
    heal();
    await simulation.runUntil(() => server.receivedBytes === 50_000 && client.receivedBytes === 1000);
    assert.ok(server.bytes.equals(numbered(50_000)));
  });

  test("one way: bytes pass from here to there, and none back", async () => {
    const simulation = createSimulation();
    const { client, clientSocket, server, serverSocket } = await pair(simulation);
    simulation.inject({ kind: "partition", between: ["shop", "client"], isOneWay: true, forMs: 1000 });
    await simulation.advance(0);
    clientSocket.write(Buffer.from("there"));
    serverSocket.write(Buffer.from("back"));
    await simulation.advance(900);
    assert.deepEqual([server.receivedBytes, client.receivedBytes], [5, 0]);
    await simulation.advance(2000);
    assert.equal(client.receivedBytes, 4);
  });

  test("connecting into a partition is silent, succeeds by a later SYN after the heal, and else times out at 127 s", async () => {
    const simulation = createSimulation();
    await listenAt(simulation, () => new NetworkRecorder());
    const heal = simulation.partition("client", "shop");
    const first = new NetworkRecorder();
    const { network } = simulation.host("client");
    network.connect(shopAddress, { tls: undefined, alpn: [] }, first);
    await simulation.advance(2500);
    heal();
    await simulation.settle(first.saw("opened"));
    assert.ok(simulation.nowMs > 3000 && simulation.nowMs < 3010, String(simulation.nowMs));
    simulation.partition("client", "shop");
    const second = new NetworkRecorder();
    const startMs = simulation.nowMs;
    network.connect(shopAddress, { tls: undefined, alpn: [] }, second);
    await simulation.settle(second.saw("closed"), { limitMs: 200_000 });
    assert.equal(simulation.nowMs - startMs, 127_000);
    assert.deepEqual([second.error?.phase, second.error?.code], ["connect", "ETIMEDOUT"]);
  });

  test("a group is cut off by the name before the slash", async () => {
    const simulation = createSimulation();
    for (const name of ["shop/0", "shop/1", "shopkeeper"]) simulation.host(name);
    simulation.partition("client", "shop");
    const heard: Record<string, NetworkRecorder> = {};
    for (const name of ["shop/0", "shop/1", "shopkeeper"]) {
      const recorder = new NetworkRecorder();
      heard[name] = recorder;
      const address: SocketAddress = { kind: "tcp", host: simulation.address(name), port: 1 };
      simulation.host("client").network.connect(address, { tls: undefined, alpn: [] }, recorder);
    }
    await simulation.advance(1000);
    assert.equal(heard["shopkeeper"]?.error?.code, "ECONNREFUSED");
    assert.deepEqual([heard["shop/0"]?.happenings, heard["shop/1"]?.happenings], [[], []]);
  });
});

describe("injections", () => {
  test("corrupt: one bit of a segment is not what it was", async () => {
    const simulation = createSimulation();
    const { clientSocket, server } = await pair(simulation);
    simulation.inject({ kind: "corrupt", peer: "shop", forMs: 10 });
    await simulation.advance(0);
    const sent = numbered(100);
    clientSocket.write(Buffer.from(sent));
    await simulation.advance(5);
    let bits = 0;
    for (let at = 0; at < sent.length; at++) {
      for (let rest = (sent[at] ?? 0) ^ (server.bytes[at] ?? 0); rest > 0; rest >>= 1) bits += rest & 1;
    }
    assert.equal(bits >= 1, true);
    assert.equal(server.receivedBytes, 100);
  });

  test("reset: standing connections break at both ends", async () => {
    const simulation = createSimulation();
    const { client, server } = await pair(simulation);
    simulation.inject({ kind: "reset", peer: "shop", atMs: 50 });
    await simulation.advance(49);
    assert.equal(client.isClosed, false);
    await simulation.advance(2);
    assert.deepEqual([client.error?.code, server.error?.code], ["ECONNRESET", "ECONNRESET"]);
    assert.deepEqual([client.count("closed"), server.count("closed")], [1, 1]);
  });

  test("truncate: the stream ends in the middle of a segment", async () => {
    const simulation = createSimulation();
    const { client, clientSocket, server } = await pair(simulation);
    simulation.inject({ kind: "truncate", peer: "client", forMs: 100 });
    await simulation.advance(0);
    const sent = numbered(10_000);
    clientSocket.write(Buffer.from(sent));
    await simulation.advance(50);
    assert.ok(server.receivedBytes < sent.length && sent.subarray(0, server.receivedBytes).equals(server.bytes));
    assert.equal(server.happenings.at(-1), "ended");
    assert.equal(client.error?.code, "ECONNRESET");
  });

  test("crash with forMs: the program starts again, with a new world, after it", async () => {
    const simulation = createSimulation();
    const starts: number[] = [];
    simulation.boot("shop/1", (world) => {
      starts.push(simulation.nowMs);
      world.timers.schedule(300, () => starts.push(-1));
    });
    simulation.inject(
      { kind: "crash", peer: "shop/1", atMs: 100, forMs: 500 },
      { kind: "restart", peer: "shop", atMs: 800 },
    );
    await simulation.advance(5000);
    assert.deepEqual(starts, [0, 600, 1800, -1]);
  });

  test("a delay holds for links made after it began, and is taken back from all", async () => {
    const simulation = createSimulation({ link: { jitterMs: 0 } });
    simulation.inject({ kind: "delay", delayMs: 300, forMs: 2000 });
    await simulation.advance(1);
    const { clientSocket, server } = await pair(simulation);
    const startMs = simulation.nowMs;
    clientSocket.write(Buffer.from("x"));
    await simulation.runUntil(() => server.receivedBytes === 1);
    assert.equal(simulation.nowMs - startMs, 300.5);
    await simulation.advance(2000);
    const laterMs = simulation.nowMs;
    clientSocket.write(Buffer.from("x"));
    await simulation.runUntil(() => server.receivedBytes === 2);
    assert.equal(simulation.nowMs - laterMs, 0.5);
  });

  test("a plan with a value that cannot be is refused at once", () => {
    const simulation = createSimulation();
    assert.throws(() => simulation.inject({ kind: "drop", share: 1.5 }), /share must be 0\.\.1, got 1\.5/);
    assert.throws(() => simulation.inject({ kind: "freeze", peer: "x", atMs: -1 }), RangeError);
    assert.throws(() => simulation.inject({ kind: "clock-jump", peer: "x", byMs: 0.5 }), RangeError);
  });
});

describe("pretended TLS", () => {
  const serverTls: ServerTlsOptions = { cert: "", key: "", clientCa: "ca", clientCert: "request" };
  const clientTls = { ca: undefined, cert: "cert", key: "key", serverName: undefined };

  test("costs one more round trip, and tells both who the other is", async () => {
    const simulation = createSimulation({
      link: { latencyMs: 10, jitterMs: 0 },
      identities: { client: ["spiffe://a/client"] },
    });
    const accepted: Socket[] = [];
    await listenAt(simulation, (socket) => (accepted.push(socket), new NetworkRecorder()), serverTls);
    const client = new NetworkRecorder();
    const startMs = simulation.nowMs;
    const socket = simulation.host("client").network.connect(shopAddress, { tls: clientTls, alpn: ["h2"] }, client);
    socket.write(Buffer.from("waits for the handshake"));
    await simulation.settle(client.saw("opened"));
    assert.equal(simulation.nowMs - startMs, 40);
    assert.deepEqual(socket.tls, { protocol: "TLSv1.3", alpn: "h2", identities: ["shop"] });
    await simulation.advance(20);
    assert.deepEqual(accepted[0]?.tls?.identities, ["spiffe://a/client"]);
  });

  test("refuses in the tls phase: no common protocol, no certificate where one is required, a server without TLS that ends", async () => {
    const cases: {
      readonly tls: ServerTlsOptions | undefined;
      readonly alpn: string[];
      readonly cert: string | undefined;
      readonly code: RegExp;
    }[] = [
      { tls: serverTls, alpn: ["http/1.1"], cert: "c", code: /APPLICATION_PROTOCOL/ },
      { tls: { ...serverTls, clientCert: "require" }, alpn: ["h2"], cert: undefined, code: /CERTIFICATE_REQUIRED/ },
      { tls: undefined, alpn: ["h2"], cert: "c", code: /ECONNRESET|EPROTO/ },
    ];
    for (const { tls, alpn, cert, code } of cases) {
      const simulation = createSimulation();
      await listenAt(simulation, (socket) => new NetworkRecorder({ data: () => socket.destroy() }), tls);
      const client = new NetworkRecorder();
      simulation.host("client").network.connect(shopAddress, { tls: { ...clientTls, cert }, alpn }, client);
      await simulation.advance(100);
      assert.deepEqual(client.happenings, ["closed"]);
      assert.equal(client.error?.phase, "tls");
      assert.match(client.error?.code ?? "", code);
    }
  });

  test("a listener with TLS cuts who does not speak it, or says nothing until its time is over", async () => {
    const simulation = createSimulation();
    await listenAt(simulation, () => assert.fail("accepted"), serverTls);
    const loud = new NetworkRecorder();
    const silent = new NetworkRecorder({ ended: () => silentSocket.destroy() });
    const { network } = simulation.host("client");
    network.connect(shopAddress, { tls: undefined, alpn: [] }, loud).write(Buffer.from("PRI * HTTP/2.0"));
    const silentSocket = network.connect(shopAddress, { tls: undefined, alpn: [] }, silent);
    await simulation.advance(500);
    assert.equal(loud.error?.code, "ECONNRESET");
    assert.equal(silent.isClosed, false);
    await simulation.advance(1000);
    assert.equal(silent.isClosed, true);
  });

  test("TLS with a frozen server stands still until it thaws", async () => {
    const simulation = createSimulation();
    await listenAt(simulation, () => new NetworkRecorder(), { ...serverTls });
    simulation.freeze("shop");
    const client = new NetworkRecorder();
    simulation.host("client").network.connect(shopAddress, { tls: clientTls, alpn: ["h2"] }, client);
    await simulation.advance(500);
    assert.deepEqual(client.happenings, []);
    simulation.thaw("shop");
    await simulation.settle(client.saw("opened"));
    assert.equal(client.error, undefined);
  });
});

describe("addresses", () => {
  test("a name that is nobody's fails to resolve, an address that is nobody's cannot be reached, a port that is none is refused", async () => {
    const simulation = createSimulation();
    const { network } = simulation.host("client");
    const expected: [SocketAddress, string, string][] = [
      [{ kind: "tcp", host: "nowhere", port: 1 }, "resolve", "ENOTFOUND"],
      [{ kind: "tcp", host: "10.9.9.9", port: 1 }, "connect", "EHOSTUNREACH"],
      [{ kind: "tcp", host: "localhost", port: 70_000 }, "connect", "ERR_SOCKET_BAD_PORT"],
    ];
    for (const [address, phase, code] of expected) {
      const client = new NetworkRecorder();
      network.connect(address, { tls: undefined, alpn: [] }, client);
      await simulation.settle(client.saw("closed"));
      assert.deepEqual([client.error?.phase, client.error?.code], [phase, code]);
    }
  });

  test("who listens on loopback is not reached from elsewhere", async () => {
    const simulation = createSimulation();
    const address: SocketAddress = { kind: "tcp", host: "127.0.0.1", port: 50051 };
    const accept = (): SocketEvents => new NetworkRecorder();
    const { network } = simulation.host("shop");
    await simulation.settle(
      network.listen({ address, tls: undefined, alpn: [], handshakeTimeoutMs: 1, accept, failed: () => undefined }),
    );
    const outside = new NetworkRecorder();
    const inside = new NetworkRecorder();
    simulation.host("client").network.connect(shopAddress, { tls: undefined, alpn: [] }, outside);
    network.connect(address, { tls: undefined, alpn: [] }, inside);
    await simulation.advance(10);
    assert.equal(outside.error?.code, "ECONNREFUSED");
    assert.deepEqual(inside.happenings, ["opened"]);
  });

  test("links keep what was set on them when other conditions change", () => {
    const simulation = createSimulation();
    const bad: LinkChange = { latencyMs: 0 };
    assert.throws(() => simulation.link("a", "b", bad), /latencyMs must be/);
    simulation.link("a", "b", { latencyMs: 5 });
    assert.doesNotThrow(() => simulation.link("a", "b", { lossShare: 0.1 }));
  });
});

describe("what came of lives with faults on top of each other", () => {
  test("a stream to a machine that was started anew breaks, although the first reset is lost on the way", async () => {
    const simulation = createSimulation({ seed: 71 });
    const { client, clientSocket } = await pair(simulation);
    simulation.crash("shop", { isMachine: true });
    clientSocket.write(Buffer.from("to nobody"));
    await simulation.advance(1000);
    const heal = simulation.partition("shop", "client", { isOneWay: true });
    simulation.restart("shop");
    await simulation.advance(3000);
    assert.ok(!client.happenings.includes("closed"));
    heal();
    await simulation.advance(10_000);
    assert.equal(client.error?.code, "ECONNRESET");
  });

  test("a freeze of what is dead does not freeze the process that is started later", async () => {
    const simulation = createSimulation();
    simulation.crash("shop");
    simulation.inject({ kind: "stall", peer: "shop", stallMs: 500 });
    simulation.freeze("shop");
    await simulation.advance(100);
    let hasRun = false;
    simulation.restart("shop").timers.schedule(10, () => {
      hasRun = true;
    });
    await simulation.advance(20);
    assert.equal(hasRun, true);
  });
});
