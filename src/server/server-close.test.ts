import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer as createTcpServer } from "node:net";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { all, Bench, benchHandlers, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { RpcError } from "../call/error.ts";
import { createClient } from "../client/create-client.ts";
import { createServer } from "./create-server.ts";

const run = promisify(execFile);
const forever = (): Promise<never> => new Promise(() => {});

describe("closing a server", () => {
  it("lets calls in flight end and counts them; the second caller gets the same report", async () => {
    const release = gate();
    const began: string[] = [];
    const twoBegan = gate();
    await using pair = await startPair({
      async add({ a }, call) {
        if (began.push(call.id) === 2) twoBegan.open();
        await release.opened;
        return { result: a };
      },
    });
    const replies = [pair.client.add({ a: 1 }), pair.client.add({ a: 2 })];
    await twoBegan.opened;
    const closing = pair.server.close();
    assert.equal(pair.server.state, "draining");
    const again = pair.server.close({ timeoutMs: 0 });
    release.open();
    assert.deepEqual(
      (await Promise.all(replies)).map(({ result }) => result),
      [1, 2],
    );
    const report = await closing;
    assert.equal(report.finished, 2);
    assert.deepEqual(report.cut, []);
    assert.ok(report.tookMs >= 0);
    assert.equal(await again, report);
    assert.equal(pair.server.state, "closed");
  });

  it("reports what was cut by id, path and age, beside what had ended by itself", async () => {
    const world = manualWorld();
    const release = gate();
    const ids: string[] = [];
    const threeBegan = gate();
    const signals: AbortSignal[] = [];
    await using pair = await startPair(
      {
        async add({ a }, call) {
          signals.push(call.signal);
          if (a === 0) ids.push(call.id);
          if (signals.length === 3) threeBegan.open();
          await (a === 0 ? forever() : release.opened);
          return {};
        },
      },
      { isInProcess: true, server: { world }, client: { world } },
    );
    const stuck = assertFails(pair.client.add({ a: 0 }), "UNAVAILABLE");
    const ending = [pair.client.add({ a: 1 }), pair.client.add({ a: 2 })];
    await threeBegan.opened;
    world.advance(40);
    const closing = pair.server.close({ timeoutMs: 100 });
    release.open();
    await Promise.all(ending);
    const { finished, cut, tookMs } = await world.settle(closing);
    assert.equal(finished, 2);
    assert.deepEqual(
      cut.map(({ callId, path }) => [callId, path]),
      [[ids[0], "/bench.v1.Bench/Add"]],
    );
    assert.ok((cut[0]?.ageMs ?? 0) >= 140 && tookMs >= 100);
    await stuck;
    const reason = await aborted(signals[0] as AbortSignal);
    assert.ok(reason instanceof RpcError && reason.reason === "SERVER_DRAINING");
  });

  it("with timeoutMs 0 cuts at once: streams, unread requests and running handlers", async () => {
    const began = gate();
    await using pair = await startPair({
      add: forever,
      async *down(_, call) {
        yield {};
        began.open();
        await aborted(call.signal);
      },
    });
    const stream = pair.client.down({});
    const failed = [assertFails(all(stream), "UNAVAILABLE"), assertFails(pair.client.add({}), "UNAVAILABLE")];
    await began.opened;
    const { cut } = await pair.server.close({ timeoutMs: 0 });
    assert.deepEqual(cut.map(({ path }) => path).sort(), ["/bench.v1.Bench/Add", "/bench.v1.Bench/Down"]);
    await Promise.all(failed);
  });

  it("lets a reply stream go on to its end, while new calls go elsewhere", async () => {
    const release = gate();
    const first = Promise.withResolvers<number>();
    const serverOf = (number: number): ReturnType<typeof benchServer> =>
      benchServer({
        add: () => ({ result: number }),
        async *down() {
          first.resolve(number);
          yield { index: 1 };
          await release.opened;
          yield { index: 2 };
        },
      });
    const servers = [serverOf(0), serverOf(1)];
    const addresses = await Promise.all(servers.map(async (server) => (await server.listen(0)).address));
    await using client = createClient(Bench, addresses);
    const stream = client.down({})[Symbol.asyncIterator]();
    await stream.next();
    const draining = servers[await first.promise];
    const closing = draining?.close();
    // Once the drain has been heard of, at the latest after the next exchange on that connection, all calls go elsewhere.
    await turns(20);
    for (let i = 0; i < 4; i++) assert.equal((await client.add({})).result, 1 - (await first.promise));
    release.open();
    assert.equal((await stream.next()).value?.index, 2);
    assert.equal((await stream.next()).done, true);
    assert.deepEqual((await closing)?.cut, []);
    await Promise.all(servers.map((server) => server.close({ timeoutMs: 0 })));
  });

  it("frees its port at once, and a closed server neither listens nor serves", async () => {
    const server = benchServer();
    const { port, address } = await server.listen(0);
    await server.close();
    await assert.rejects(server.listen(0), /the server is closed, it cannot listen/);
    await using next = benchServer();
    assert.equal((await next.listen(port)).port, port);
    await using client = createClient(Bench, address);
    assert.equal((await client.add({ a: 1 })).result, 1);
    await using lost = createClient(Bench, server);
    await assertFails(lost.add({}), "UNAVAILABLE");
  });

  it("that never listened, or has only idle connections, ends at once", async () => {
    assert.deepEqual((await benchServer().close()).cut, []);
    await using pair = await startPair();
    await pair.client.add({});
    const raw = connect(Number(pair.address.split(":")[1]), "127.0.0.1");
    await once(raw, "connect");
    const { cut, finished } = await pair.server.close({ timeoutMs: 2_000 });
    assert.deepEqual([cut, finished], [[], 0]);
    raw.destroy();
  });

  it("refuses wrong options", async () => {
    await using server = benchServer();
    assert.throws(() => server.close({ timeout: 5 } as object), /unknown key "timeout", did you mean "timeoutMs"/);
    assert.throws(() => server.close({ timeoutMs: -1 }), RangeError);
    assert.equal(server.state, "idle");
  });

  it("happens at the end of an `await using` block", async () => {
    let kept;
    {
      await using server = benchServer();
      await server.listen(0);
      kept = server;
    }
    assert.equal(kept.state, "closed");
  });
});

describe("listening", () => {
  it("on a port that is taken names the address, the phase and the cause", async () => {
    const taken = createTcpServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const at = taken.address();
    const port = typeof at === "object" && at !== null ? at.port : 0;
    await using server = benchServer();
    await assert.rejects(server.listen(port), (error: Error) => {
      assert.match(error.message, new RegExp(`127.0.0.1:${port}.*listen.*EADDRINUSE`));
      return error.cause !== undefined;
    });
    assert.equal(server.state, "idle");
    assert.ok((await server.listen(0)).port > 0, "another door can still be opened");
    taken.close();
  });

  it("opens several doors, which all lead to the same services", async () => {
    await using server = benchServer();
    const doors = [await server.listen(0), await server.listen("127.0.0.1:0"), await server.listen("localhost:0")];
    assert.equal(new Set(doors.map(({ port }) => port)).size, 3);
    for (const { address, port } of doors) {
      assert.ok(address.endsWith(`:${port}`) && port > 0, address);
      await using client = createClient(Bench, address);
      assert.equal((await client.add({ a: 1 })).result, 1);
    }
  });

  it("off loopback without TLS is refused before anything is bound, unless it is asked for", async () => {
    await using server = benchServer();
    for (const address of ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"]) {
      await assert.rejects(server.listen(address), {
        name: "TypeError",
        message: /is not loopback: give tls, or plaintext/,
      });
    }
    assert.equal(server.state, "idle");
    const { port } = await server.listen("0.0.0.0:0", { plaintext: true });
    await using client = createClient(Bench, `127.0.0.1:${port}`);
    assert.equal((await client.add({ a: 1 })).result, 1);
    await server.close({ timeoutMs: 0 });
  });

  it("takes no wrong address and no wrong option", async () => {
    await using server = benchServer();
    for (const address of ["", "localhost", "localhost:", ":80", "localhost:99999", -1, 65_536, 1.5, Number.NaN]) {
      await assert.rejects(server.listen(address), RangeError, String(address));
    }
    await assert.rejects(server.listen(null as never), TypeError);
    await assert.rejects(server.listen(0, { tsl: {} } as object), /unknown key "tsl", did you mean "tls"/);
    await assert.rejects(server.listen(0, { tls: { certFile: "a" } } as never), /tls needs certFile and keyFile/);
    await assert.rejects(
      server.listen(0, { tls: { certFile: "/nowhere.pem", keyFile: "/nowhere.key" } }),
      /tls\.certFile: cannot read "\/nowhere.pem"/,
    );
    assert.equal(server.state, "idle");
  });
});

describe("connections over connectionsMax", () => {
  it("are closed on arrival, and the client sees a peer it could not reach: nothing was sent", async () => {
    await using pair = await startPair({}, { server: { limits: { connectionsMax: 1 } } });
    await pair.client.add({});
    await using second = createClient(Bench, pair.address);
    const error = await assertFails(second.add({}), "UNAVAILABLE");
    assert.equal(error.reached, "no", error.message);
    assert.equal((await pair.client.add({ a: 1 })).result, 1, "those inside are not harmed");
    await pair.client.$close();
    const { promise, resolve } = Promise.withResolvers<void>();
    const probe = async (): Promise<void> => {
      await using third = createClient(Bench, pair.address);
      await third.add({}).then(
        () => resolve(),
        () => setImmediate(() => void probe()),
      );
    };
    void probe();
    await promise;
  });
});

/** A server process that prints its address and drains when told to. */
const SERVER_PROGRAM = `
  import { createServer } from "holdfast";
  import { Bench } from "./bench/gen/bench/v1/bench_pb.ts";
  let release;
  const waiting = new Promise((resolve) => { release = resolve; });
  const handlers = { add: () => waiting.then(() => ({ result: 7 })), echo: () => (release(), {}),
    placeOrder: (order) => order, down: () => [], up: () => ({}), both: () => [] };
  const servers = [createServer(), createServer()];
  for (const server of servers) console.log((await server.service(Bench, handlers).listen(0)).address);
`;

describe("signals", () => {
  it("drain all servers of the process, then take their normal course", async () => {
    const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", SERVER_PROGRAM];
    const child = spawn(process.execPath, node, { stdio: ["ignore", "pipe", "inherit"] });
    try {
      let text = "";
      for await (const chunk of child.stdout) {
        text += String(chunk);
        if (text.split("\n").length > 2) break;
      }
      const [address = ""] = text.split("\n");
      await using client = createClient(Bench, address);
      const reply = client.add({});
      await client.$channel.ready();
      await client.placeOrder({});
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      // The connection drains; the call that was in flight is let to its end by another one that is on its way already.
      await client.echo({}).catch(() => {});
      const outcome = await Promise.race([reply, exited]);
      assert.deepEqual((outcome as { result?: number }).result, 7);
      const [code, signal] = (await exited) as [number | null, string | null];
      assert.deepEqual([code, signal], [null, "SIGTERM"]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("of many servers use one listener each, and none when nothing listens", async () => {
    const count = (): number => process.listenerCount("SIGTERM") + process.listenerCount("SIGINT");
    const before = count();
    const servers = Array.from({ length: 20 }, () => createServer().service(Bench, benchHandlers));
    assert.equal(count(), before);
    for (const server of servers) await server.listen(0);
    assert.equal(count(), before + 2);
    for (const server of servers) await server.close();
    assert.equal(count(), before);
    await using silent = createServer({ drain: { signals: [] } }).service(Bench, benchHandlers);
    await silent.listen(0);
    assert.equal(count(), before);
  });

  it("that do not exist are refused at creation", () => {
    assert.throws(() => createServer({ drain: { signals: ["SIGTREM" as "SIGTERM"] } }), /drain\.signals.*SIGTREM/);
    assert.throws(() => createServer({ drain: { signals: ["SIGKILL"] } }), /drain\.signals.*SIGKILL/);
  });
});

describe("a thousand connections", () => {
  it("opened, used and closed leave no socket, timer or listener: the process ends by itself", async () => {
    const program = `
      import { createClient, createServer } from "holdfast";
      import { Bench } from "./bench/gen/bench/v1/bench_pb.ts";
      import { runtimeOf } from "./src/wire/transport/runtime.ts";
      import { nodeWorld } from "./src/world/node.ts";
      const handlers = { add: ({ a }) => ({ result: a }), echo: (b) => b, placeOrder: (o) => o,
        down: () => [{}, {}], up: () => ({}), both: (items) => items };
      const server = createServer().service(Bench, handlers);
      const { address } = await server.listen(0);
      for (let round = 0; round < 10; round++) {
        const clients = Array.from({ length: 100 }, () => createClient(Bench, address));
        await Promise.all(clients.map(async (client, a) => {
          if ((await client.add({ a })).result !== a) throw new Error("wrong reply");
          for await (const _ of client.down({})) break;
        }));
        await Promise.all(clients.map((client) => client.$close()));
      }
      const { finished, cut } = await server.close();
      const open = () => process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP"));
      for (let turn = 0; turn < 10_000 && open().length > 0; turn++) await new Promise((resolve) => setImmediate(resolve));
      const sockets = open();
      const timers = runtimeOf(nodeWorld).wheel.size;
      const listeners = process.listenerCount("SIGTERM");
      console.log(JSON.stringify({ cut: cut.length, finished, sockets: sockets.length, timers, listeners }));
    `;
    const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", program];
    const { stdout, stderr } = await run(process.execPath, node, { timeout: 25_000 });
    assert.equal(stderr, "");
    assert.deepEqual(JSON.parse(stdout), { cut: 0, finished: 0, sockets: 0, timers: 0, listeners: 0 });
  });
});
