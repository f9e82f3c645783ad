import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, test } from "node:test";
import type { Listener, Socket, SocketAddress, SocketEvents } from "../world/network.ts";
import { NetworkRecorder } from "./network-recorder.ts";
import { createSimulation, type Simulation } from "./simulation.ts";

const shopAddress: SocketAddress = { kind: "tcp", host: "shop", port: 50051 };

interface Pair {
  readonly client: NetworkRecorder;
  readonly clientSocket: Socket;
  readonly server: NetworkRecorder;
  readonly serverSocket: Socket;
}

async function listenAt(
  simulation: Simulation,
  host: string,
  accept: (socket: Socket) => SocketEvents,
): Promise<Listener> {
  const address: SocketAddress = { kind: "tcp", host: "0.0.0.0", port: 50051 };
  const request = { address, tls: undefined, alpn: [], handshakeTimeoutMs: 1000, accept, failed: () => undefined };
  return await simulation.settle(simulation.host(host).network.listen(request));
}

function connect(simulation: Simulation, events: SocketEvents, address: SocketAddress = shopAddress): Socket {
  return simulation.host("client").network.connect(address, { tls: undefined, alpn: [] }, events);
}

async function pair(simulation: Simulation): Promise<Pair> {
  const server = new NetworkRecorder();
  let serverSocket: Socket | undefined;
  await listenAt(simulation, "shop", (socket) => {
    serverSocket = socket;
    return server;
  });
  const client = new NetworkRecorder();
  const clientSocket = connect(simulation, client);
  await simulation.runUntil(() => serverSocket !== undefined);
  assert.ok(serverSocket !== undefined);
  return { client, clientSocket, server, serverSocket };
}

describe("virtual time", () => {
  test("moves only when it is asked to, and to the instant asked for", async () => {
    const simulation = createSimulation();
    assert.equal(simulation.nowMs, 0);
    await simulation.advance(1234.5);
    assert.equal(simulation.nowMs, 1234.5);
  });

  test("runs timers in order of their time, equal ones in order of their making, none early", async () => {
    const simulation = createSimulation();
    const { timers, clock } = simulation.host("client");
    const startMs = clock.monotonicMs();
    const seen: string[] = [];
    for (const [name, delayMs] of Object.entries({ c: 30.3, a: 10.1, b: 10.1, zero: 0 })) {
      timers.schedule(delayMs, () => {
        assert.ok(clock.monotonicMs() - startMs >= delayMs);
        seen.push(name);
      });
    }
    await simulation.advance(10);
    assert.deepEqual(seen, ["zero"]);
    await simulation.advance(100);
    assert.deepEqual(seen, ["zero", "a", "b", "c"]);
  });

  test("lets all promise reactions run before it moves, however long their chain", async () => {
    const simulation = createSimulation();
    const { timers, clock } = simulation.host("client");
    let endedAtMs = -1;
    timers.schedule(5, () => {
      void (async () => {
        for (let link = 0; link < 10_000; link++) await Promise.resolve();
        await new Promise<void>((resolve) => process.nextTick(resolve));
        endedAtMs = clock.monotonicMs();
      })();
    });
    timers.schedule(5.001, () => assert.notEqual(endedAtMs, -1));
    const dueMs = clock.monotonicMs() + 5;
    await simulation.advance(6);
    assert.equal(endedAtMs, dueMs);
  });

  test("ends a turn after its timers, its sockets and their reactions, before time moves", async () => {
    const simulation = createSimulation();
    const { timers, clock } = simulation.host("client");
    const seen: string[] = [];
    const startMs = clock.monotonicMs();
    timers.schedule(1, () => {
      timers.afterTurn(() => {
        seen.push(`end ${clock.monotonicMs() - startMs}`);
        timers.afterTurn(() => seen.push("next end"));
        void Promise.resolve().then(() => seen.push("its reaction"));
      });
      void Promise.resolve()
        .then(() => undefined)
        .then(() => seen.push("reaction"));
    });
    timers.schedule(1, () => seen.push("second timer"));
    await simulation.advance(1);
    assert.deepEqual(seen, ["reaction", "second timer", "end 1", "its reaction", "next end"]);
  });

  test("does not run a timer that was cancelled, also by another of the same instant", async () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    const seen: string[] = [];
    timers.schedule(1, () => {
      seen.push("first");
      second.cancel();
    });
    const second = timers.schedule(1, () => seen.push("second"));
    timers.schedule(3, () => seen.push("third")).cancel();
    await simulation.advance(10);
    assert.deepEqual(seen, ["first"]);
  });

  test("passes in spite of a loop of waits of 0, and stops a loop of ends of turns with an error", async () => {
    const simulation = createSimulation({ seed: 3 });
    const { timers } = simulation.host("client");
    let count = 0;
    const again = (): void => {
      count++;
      timers.schedule(0, again);
    };
    again();
    await simulation.advance(5);
    assert.ok(count > 1000);
    const forever = (): void => timers.afterTurn(forever);
    forever();
    await assert.rejects(simulation.advance(1), /virtual time stands still.*seed 3/);
  });

  test("refuses delays and durations that are none", () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    assert.throws(() => timers.schedule(Number.NaN, () => undefined), RangeError);
    assert.throws(() => simulation.advance(-1), RangeError);
    assert.throws(() => createSimulation({ seed: 1.5 }), RangeError);
    assert.throws(() => createSimulation({ link: { lossShare: 2 } }), /lossShare must be 0\.\.1, got 2/);
    assert.throws(() => createSimulation({ link: { latency: 2 } as object }), /unknown condition "latency"/);
  });
});

describe("waiting", () => {
  test("gives back what the promise settled to, at that instant", async () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    const soon = new Promise<string>((resolve) => void timers.schedule(250, () => resolve("tea")));
    timers.schedule(251, () => assert.fail("too far"));
    assert.equal(await simulation.settle(soon), "tea");
    assert.equal(simulation.nowMs, 250);
  });

  test("passes a rejection on", async () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    const broken = new Promise((_resolve, reject) => void timers.schedule(1, () => reject(new Error("no tea"))));
    await assert.rejects(simulation.settle(broken), /no tea/);
  });

  test("says at once that nothing is left that could settle a promise, with time and seed", async () => {
    const simulation = createSimulation({ seed: 42 });
    simulation.host("client").timers.schedule(7, () => undefined);
    const never = new Promise(() => undefined);
    await assert.rejects(simulation.settle(never), /nothing is left.*virtual time 7\.000 ms, seed 42/);
  });

  test("gives up after limitMs of virtual time", async () => {
    const simulation = createSimulation({ seed: 42 });
    const { timers } = simulation.host("client");
    const tick = (): void => void timers.schedule(10, tick);
    tick();
    await assert.rejects(
      simulation.settle(new Promise(() => undefined), { limitMs: 100 }),
      /limitMs.*100\.000 ms, seed 42/,
    );
    await assert.rejects(
      simulation.runUntil(() => false, { limitMs: 50 }),
      /runUntil.*150\.000 ms/,
    );
  });

  test("serves several waits at once, each at its own instant", async () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    const after = (ms: number): Promise<void> => new Promise((resolve) => void timers.schedule(ms, resolve));
    const seen: string[] = [];
    const note = (what: string) => (): void => void seen.push(`${what} ${simulation.nowMs}`);
    await Promise.all([
      simulation.advance(20).then(note("advance")),
      simulation.settle(after(30)).then(note("late")),
      simulation.settle(after(10)).then(note("early")),
    ]);
    assert.deepEqual(seen, ["early 10", "advance 20", "late 30"]);
  });

  test("fails with the error of a timer's callback, and can go on", async () => {
    const simulation = createSimulation();
    const { timers } = simulation.host("client");
    timers.schedule(1, () => {
      throw new Error("boom");
    });
    await assert.rejects(simulation.advance(5), /boom/);
    await simulation.advance(5);
    assert.equal(simulation.nowMs, 6);
  });

  test("fails with the error of a program, also when nobody waited at that moment", async () => {
    const simulation = createSimulation();
    simulation.boot("shop", () => Promise.reject(new Error("no such port")));
    await assert.rejects(simulation.advance(5), /no such port/);
  });

  test("keeps the caller's asynchronous context out of the simulated world", async () => {
    const simulation = createSimulation();
    const storage = new AsyncLocalStorage<string>();
    let seen: string | undefined = "unset";
    simulation.host("client").timers.schedule(1, () => {
      seen = storage.getStore();
    });
    await storage.run("the caller's", () => simulation.advance(2));
    assert.equal(seen, undefined);
  });
});

describe("hosts", () => {
  test("freeze: nothing runs; thaw: timers run late and in order, before what arrived", async () => {
    const simulation = createSimulation();
    const { clientSocket, serverSocket } = await pair(simulation);
    const seen: string[] = [];
    const { timers } = simulation.host("shop");
    const startMs = simulation.nowMs;
    for (const delayMs of [30, 10, 20]) timers.schedule(delayMs, () => seen.push(`timer ${delayMs}`));
    serverSocket.pause();
    simulation.freeze("shop");
    clientSocket.write(Buffer.from("hello"));
    await simulation.advance(1000);
    assert.deepEqual(seen, []);
    const late = await listenAt(simulation, "client", () => new NetworkRecorder());
    await simulation.settle(late.close());
    simulation.thaw("shop");
    await simulation.advance(0);
    assert.deepEqual(seen, ["timer 10", "timer 20", "timer 30"]);
    assert.equal(simulation.nowMs >= startMs + 1000, true);
  });

  test("freeze: the kernel goes on taking bytes up to the window, the sender sees silence, and all comes on thaw", async () => {
    const simulation = createSimulation();
    const { client, clientSocket, server } = await pair(simulation);
    simulation.freeze("shop");
    const all = Buffer.alloc(1_000_000, 7);
    clientSocket.write(Buffer.from(all));
    await simulation.advance(10_000);
    assert.equal(server.receivedBytes, 0);
    assert.ok(clientSocket.queuedBytes > 0 && clientSocket.queuedBytes < all.length);
    assert.equal(client.isClosed, false);
    simulation.thaw("shop");
    await simulation.runUntil(() => server.receivedBytes === all.length);
    assert.equal(client.count("drained"), 1);
  });

  test("freeze: connecting succeeds, for the kernel answers; accepting waits", async () => {
    const simulation = createSimulation();
    let accepted = 0;
    await listenAt(simulation, "shop", () => {
      accepted++;
      return new NetworkRecorder();
    });
    simulation.freeze("shop");
    const client = new NetworkRecorder();
    connect(simulation, client);
    await simulation.advance(100);
    assert.deepEqual([client.happenings, accepted], [["opened"], 0]);
    simulation.thaw("shop");
    await simulation.advance(100);
    assert.equal(accepted, 1);
  });

  test("freeze: a full backlog ignores who knocks, and lets them in later", async () => {
    const simulation = createSimulation();
    let accepted = 0;
    await listenAt(simulation, "shop", () => {
      accepted++;
      return new NetworkRecorder();
    });
    simulation.freeze("shop");
    const early = Array.from({ length: 511 }, () => new NetworkRecorder());
    for (const client of early) connect(simulation, client);
    await simulation.advance(100);
    const late = Array.from({ length: 89 }, () => new NetworkRecorder());
    for (const client of late) connect(simulation, client);
    await simulation.advance(500);
    assert.ok(early.every((client) => client.count("opened") === 1));
    assert.ok(late.every((client) => client.happenings.length === 0));
    simulation.thaw("shop");
    await simulation.advance(5000);
    assert.equal(accepted, 600);
  });

  test("crash of a process: its peer hears an end or a reset soon, and connecting is refused until it starts again", async () => {
    const simulation = createSimulation();
    let starts = 0;
    simulation.boot("shop", (world) => {
      starts++;
      const address: SocketAddress = { kind: "tcp", host: "shop", port: 50051 };
      const accept = (): SocketEvents => new NetworkRecorder();
      return world.network.listen({
        address,
        tls: undefined,
        alpn: [],
        handshakeTimeoutMs: 1000,
        accept,
        failed: () => undefined,
      });
    });
    const client = new NetworkRecorder();
    connect(simulation, client);
    await simulation.settle(client.saw("opened"));
    const worldBefore = simulation.host("shop");
    simulation.crash("shop");
    await simulation.advance(5);
    assert.ok(client.happenings.includes("ended"));
    const refused = new NetworkRecorder();
    connect(simulation, refused);
    await simulation.advance(5);
    assert.equal(refused.error?.code, "ECONNREFUSED");
    assert.notEqual(simulation.restart("shop"), worldBefore);
    const again = new NetworkRecorder();
    connect(simulation, again);
    await simulation.settle(again.saw("opened"));
    assert.equal(starts, 2);
  });

  test("crash of a process: what its kernel had taken arrives, what it still held is lost", async () => {
    const simulation = createSimulation({ link: { bytesPerSecond: 1_000_000 } });
    const { client, serverSocket } = await pair(simulation);
    serverSocket.write(Buffer.alloc(128 * 1024, 1));
    serverSocket.write(Buffer.alloc(128 * 1024, 2));
    await simulation.advance(1);
    simulation.crash("shop");
    await simulation.settle(client.saw("ended"));
    assert.ok(client.receivedBytes >= 128 * 1024 && client.receivedBytes < 256 * 1024, String(client.receivedBytes));
  });

  test("crash of a process: nothing of it runs afterwards, and its world does nothing", async () => {
    const simulation = createSimulation();
    const { server, serverSocket, client } = await pair(simulation);
    const { timers, network, disk } = simulation.host("shop");
    let ran = 0;
    timers.schedule(10, () => ran++);
    timers.afterTurn(() => ran++);
    const before = [...server.happenings];
    simulation.crash("shop");
    timers.schedule(1, () => ran++);
    timers.afterTurn(() => ran++);
    serverSocket.write(Buffer.from("from the grave"));
    serverSocket.destroy();
    const ghost = new NetworkRecorder();
    network.connect(shopAddress, { tls: undefined, alpn: [] }, ghost).write(Buffer.from("x"));
    void disk.readText("/x").finally(() => ran++);
    await simulation.advance(10_000);
    assert.deepEqual([ran, server.happenings, ghost.happenings], [0, before, []]);
    assert.equal(client.receivedBytes, 0);
  });

  test("crash of a machine: silence, and a reset only for those who send after its restart", async () => {
    const simulation = createSimulation();
    const { client, clientSocket } = await pair(simulation);
    simulation.crash("shop", { isMachine: true });
    await simulation.advance(60_000);
    assert.deepEqual(client.happenings, ["opened"]);
    const dialled = new NetworkRecorder();
    connect(simulation, dialled);
    await simulation.advance(200_000);
    assert.equal(dialled.error?.code, "ETIMEDOUT");
    simulation.restart("shop");
    await simulation.advance(60_000);
    assert.deepEqual(client.happenings, ["opened"]);
    clientSocket.write(Buffer.from("still there?"));
    await simulation.settle(client.saw("closed"));
    assert.equal(client.error?.code, "ECONNRESET");
  });

  test("crash of a machine: what was not on the wire is lost, and the sender keeps trying for a quarter of an hour", async () => {
    const simulation = createSimulation({ link: { bytesPerSecond: 1_000_000 } });
    const { client, clientSocket, server } = await pair(simulation);
    clientSocket.write(Buffer.alloc(100_000));
    await simulation.advance(20);
    simulation.crash("client", { isMachine: true });
    await simulation.advance(10_000);
    assert.ok(server.receivedBytes > 0 && server.receivedBytes < 100_000, String(server.receivedBytes));
    assert.equal(server.happenings.includes("ended"), false);
    const other = await pair(createSimulation());
    assert.equal(other.client.isClosed, false);
    assert.equal(client.isClosed, false);
  });

  test("gives up a connection whose bytes nobody acknowledges, after Linux's time", async () => {
    const simulation = createSimulation();
    const { client, clientSocket } = await pair(simulation);
    simulation.partition("client", "shop");
    clientSocket.write(Buffer.from("hello?"));
    await simulation.advance(600_000);
    assert.equal(client.isClosed, false);
    await simulation.advance(600_000);
    assert.equal(client.error?.code, "ETIMEDOUT");
  });

  test("clocks: monotonic ones differ, wall ones are skewed and jump, and monotonic never does", async () => {
    const simulation = createSimulation({ wallSkewMsMax: 1000 });
    const one = simulation.host("one").clock;
    const two = simulation.host("two").clock;
    assert.notEqual(one.monotonicMs(), two.monotonicMs());
    assert.ok(Math.abs(one.wallMs() - two.wallMs()) <= 2000);
    const [monotonicMs, wallMs] = [one.monotonicMs(), one.wallMs()];
    simulation.inject({ kind: "clock-jump", peer: "one", byMs: -3_600_000, atMs: 10, forMs: 100 });
    await simulation.advance(10);
    assert.equal(one.wallMs(), wallMs + 10 - 3_600_000);
    assert.equal(one.monotonicMs(), monotonicMs + 10);
    await simulation.advance(100);
    assert.equal(one.wallMs(), wallMs + 110);
  });

  test("gives each host a stream of chance of its own: another host does not shift it", () => {
    const draw = (simulation: Simulation, name: string): number => simulation.host(name).random.uint32();
    const alone = draw(createSimulation({ seed: 5 }), "shop");
    const crowded = createSimulation({ seed: 5 });
    for (let index = 0; index < 10; index++) draw(crowded, `other${index}`);
    assert.equal(draw(crowded, "shop"), alone);
    assert.notEqual(draw(createSimulation({ seed: 6 }), "shop"), alone);
  });

  test("keeps files through every crash, and misses others as a system does", async () => {
    const simulation = createSimulation();
    simulation.writeFile("shop", "/etc/ca.pem", "pem");
    simulation.crash("shop", { isMachine: true });
    const { disk } = simulation.restart("shop");
    assert.equal(await simulation.settle(disk.readText("/etc/ca.pem")), "pem");
    await assert.rejects(simulation.settle(disk.readText("/etc/other.pem")), { code: "ENOENT" });
  });
});
