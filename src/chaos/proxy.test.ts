import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { describe, it } from "node:test";
import {
  connectRecorded,
  listenRecorded,
  type RecordedListener,
  type RecordedSocket,
} from "../testing/recorded-sockets.ts";
import { nodeWorld } from "../world/node.ts";
import type { SocketAddress } from "../world/network.ts";
import { createFaultProxy, type FaultProxy, type FaultProxyOptions } from "./proxy.ts";
import type { ProxyFault } from "./proxy-fault.ts";

/** So long that a test which waited for it would not end. */
const FOREVER_MS = 3_600_000;
const HOST = "127.0.0.1";
const { network } = nodeWorld;

/** A target on a real socket, and a proxy before it; both end with the test. */
interface Rig extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly target: RecordedListener;
  readonly address: SocketAddress;
  /** A new connection through the proxy: the client's socket. */
  client(): RecordedSocket;
  /** A new connection through the proxy, and both its ends. */
  pair(): Promise<{ readonly client: RecordedSocket; readonly server: RecordedSocket }>;
}

async function rig(options: Partial<FaultProxyOptions> = {}): Promise<Rig> {
  const target = await listenRecorded(network);
  const made: RecordedSocket[] = [];
  const proxy = createFaultProxy({
    listen: { host: HOST, port: 0 },
    target: { host: HOST, port: portOf(target.address) },
    seed: 1,
    ...options,
  });
  const at = await proxy.listen();
  const address: SocketAddress = { kind: "tcp", ...at };
  const client = (): RecordedSocket => {
    const connected = connectRecorded(network, address);
    made.push(connected);
    return connected;
  };
  return {
    proxy,
    target,
    address,
    client,
    async pair() {
      const connected = client();
      await connected.seen.has("opened");
      return { client: connected, server: await target.accepted() };
    },
    async [Symbol.asyncDispose]() {
      await proxy.close();
      for (const { socket } of [...made, ...target.sockets]) socket.destroy();
      await target.listener.close();
    },
  };
}

function portOf(address: SocketAddress): number {
  return address.kind === "tcp" ? address.port : assert.fail();
}

/** Turns of the event loop until it holds. So many turns without it are a failure, not a wait. */
async function when(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === 1_000_000) assert.fail(`it never held: ${String(condition)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text);
}

function only(proxy: FaultProxy): ReturnType<FaultProxy["connections"]>[number] {
  const [connection, ...others] = proxy.connections();
  assert.equal(others.length, 0);
  return connection ?? assert.fail("there is no connection");
}

/** What a client or server hears of a reset: ECONNRESET where sockets can reset, else the end of its stream. */
async function heardReset({ socket, seen }: RecordedSocket): Promise<boolean> {
  const canReset = "reset" in socket;
  await seen.has(canReset ? "closed" : "ended", "closed");
  return canReset ? seen.error?.code === "ECONNRESET" : true;
}

describe("a fault proxy on real sockets", { timeout: 30_000 }, () => {
  it("without faults passes bytes and ends both ways, and counts them", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    client.socket.write(bytes("question"));
    await server.seen.until(() => server.seen.text === "question");
    server.socket.write(bytes("answer"));
    server.socket.end();
    await client.seen.has("ended");
    assert.equal(client.seen.text, "answer");
    client.socket.write(bytes("thanks"));
    client.socket.end();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
    assert.equal(server.seen.text, "questionthanks");
    assert.equal(client.seen.error, undefined);
    assert.equal(server.seen.error, undefined);
    await when(() => at.proxy.connections().length === 0);
    assert.deepEqual(at.proxy.counts(), {
      accepted: 1,
      refused: 0,
      unreachable: 0,
      resets: 0,
      limited: 0,
      halfOpened: 0,
      upBytes: 14,
      downBytes: 6,
      lostBytes: 0,
      flippedBits: 0,
    });
  });

  it("passes megabytes both ways at once, unchanged", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    const size = 5_000_000;
    client.socket.write(Buffer.alloc(size, 1));
    server.socket.write(Buffer.alloc(size, 2));
    await server.seen.until(() => server.seen.byteLength === size);
    await client.seen.until(() => client.seen.byteLength === size);
    assert.equal(at.proxy.counts().flippedBits, 0);
    assert.equal(at.proxy.counts().upBytes, size);
  });

  it("holds no more than its buffer when the reader stops, and lets the writer feel it", async () => {
    await using at = await rig({ bufferBytesMax: 131_072 });
    const { client, server } = await at.pair();
    server.socket.pause();
    const size = 64 * 1024 * 1024;
    client.socket.write(Buffer.alloc(size));
    let heldMost = 0;
    await when(() => {
      heldMost = Math.max(heldMost, only(at.proxy).heldBytes);
      return heldMost >= 65_536;
    });
    for (let turn = 0; turn < 200; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      heldMost = Math.max(heldMost, only(at.proxy).heldBytes);
    }
    assert.ok(heldMost <= 131_072, String(heldMost));
    assert.ok(client.socket.queuedBytes > 0, "the client still waits");
    server.socket.resume();
    await server.seen.until(() => server.seen.byteLength === size);
    assert.equal(only(at.proxy).heldBytes, 0);
  });

  it("whose target is not there breaks the connection off, and counts it", async () => {
    const probe = createServer().listen(0, HOST);
    await once(probe, "listening");
    const empty = probe.address();
    probe.close();
    await once(probe, "close");
    const port = typeof empty === "object" && empty !== null ? empty.port : assert.fail();
    await using at = await rig({ target: { host: HOST, port } });
    const client = at.client();
    assert.ok(await heardReset(client));
    assert.equal(at.proxy.counts().unreachable, 1);
    assert.equal(at.proxy.counts().resets, 0);
  });

  it("passes a break of one side on to the other", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    // Unread bytes make a reset of a close (RFC 2525, 2.17).
    client.socket.pause();
    server.socket.write(Buffer.alloc(100_000));
    await when(() => only(at.proxy).downBytes === 100_000);
    client.socket.destroy();
    assert.ok(await heardReset(server));
    server.socket.end();
    await when(() => at.proxy.connections().length === 0);
    assert.equal(at.proxy.counts().resets, 0, "it was not the proxy's doing");
  });
});

describe("on live connections, for real,", { timeout: 30_000 }, () => {
  /** Sets the fault, sends, checks what comes at once and that the rest waits, then clears it. */
  async function holds(fault: ProxyFault, sent: string, arrives: string): Promise<void> {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([fault]);
    client.socket.write(bytes(sent));
    await when(() => only(at.proxy).heldBytes === sent.length - arrives.length && server.seen.text === arrives);
    assert.deepEqual(only(at.proxy).faults, [fault.kind]);
    at.proxy.clear();
    await server.seen.until(() => server.seen.text === sent);
    assert.equal(at.proxy.counts().lostBytes, 0);
    assert.deepEqual(only(at.proxy).faults, []);
  }

  it("latency holds bytes, and its end lets them go", async () => {
    await holds({ kind: "latency", latencyMs: FOREVER_MS, jitterMs: 10 }, "abc", "");
  });

  it("bandwidth holds what is above it", async () => {
    await holds({ kind: "bandwidth", bytesPerSecond: 1 }, "abc", "a");
  });

  it("slicing passes piece by piece", async () => {
    await holds({ kind: "slice", sliceBytes: 2, delayMs: FOREVER_MS }, "abc", "ab");
  });

  it("a stall holds everything", async () => {
    await holds({ kind: "stall" }, "abc", "");
  });

  it("a stall of one direction leaves the other alone", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "stall", direction: "up" }]);
    client.socket.write(bytes("up"));
    server.socket.write(bytes("down"));
    await client.seen.until(() => client.seen.text === "down");
    await when(() => only(at.proxy).heldBytes === 2);
    assert.equal(server.seen.text, "");
  });

  it("a stall keeps even an end and a break to itself", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "stall" }]);
    client.socket.end();
    client.socket.destroy();
    await client.seen.has("closed");
    server.socket.write(bytes("are you there"));
    await when(() => at.proxy.counts().lostBytes + only(at.proxy).heldBytes > 0);
    assert.deepEqual(server.seen.told, []);
    at.proxy.clear();
    await server.seen.has("ended", "closed");
    assert.equal(server.seen.byteLength, 0);
  });

  it("silence takes bytes and loses them, one way; when it is over the torn connection is reset", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "silence", direction: "up" }]);
    client.socket.write(bytes("lost"));
    await when(() => at.proxy.counts().lostBytes === 4);
    server.socket.write(bytes("heard"));
    await client.seen.until(() => client.seen.text === "heard");
    assert.equal(server.seen.text, "");
    at.proxy.clear();
    assert.ok(await heardReset(client));
    assert.ok(await heardReset(server));
    assert.equal(at.proxy.counts().resets, 1);
  });

  it("silence that took nothing leaves the connection alone", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "silence" }]);
    at.proxy.clear();
    client.socket.write(bytes("fine"));
    await server.seen.until(() => server.seen.text === "fine");
    assert.equal(at.proxy.counts().resets, 0);
  });

  it("a reset after so many bytes lets exactly these pass", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "reset", afterBytes: 3, direction: "up" }]);
    client.socket.write(bytes("abcdef"));
    assert.ok(await heardReset(client));
    assert.ok(await heardReset(server));
    assert.equal(at.proxy.counts().upBytes, 3);
    assert.equal(at.proxy.counts().lostBytes, 3);
    assert.equal(at.proxy.counts().resets, 1);
    assert.ok("abc".startsWith(server.seen.text), "a reset may overtake what was sent before it");
  });

  it("a reset at once breaks both sides", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "reset" }]);
    assert.ok(await heardReset(client));
    assert.ok(await heardReset(server));
    assert.equal(at.proxy.counts().resets, 1);
  });

  it("a limit lets exactly so many bytes arrive, and closes in order", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "limit", bytes: 4 }]);
    client.socket.write(bytes("abcdefgh"));
    await Promise.all([client.seen.has("ended"), server.seen.has("ended")]);
    assert.equal(server.seen.text, "abcd");
    client.socket.end();
    server.socket.end();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
    assert.equal(client.seen.error, undefined);
    assert.equal(server.seen.error, undefined);
    assert.equal(at.proxy.counts().limited, 1);
    assert.equal(at.proxy.counts().resets, 0);
  });

  it("corruption flips bits of what passes, and says how many", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "corrupt", everyBytes: 10, direction: "up" }]);
    client.socket.write(Buffer.alloc(100));
    await server.seen.until(() => server.seen.byteLength === 100);
    server.socket.write(bytes("whole"));
    await client.seen.until(() => client.seen.text === "whole");
    assert.equal([...server.seen.text].filter((character) => character !== "\0").length, 10);
    assert.ok([10, 11].includes(at.proxy.counts().flippedBits), String(at.proxy.counts().flippedBits));
    at.proxy.set([{ kind: "corrupt", chunkShare: 1 }]);
    const before = at.proxy.counts().flippedBits;
    client.socket.write(bytes("xyz"));
    await server.seen.until(() => server.seen.byteLength === 103);
    assert.ok(at.proxy.counts().flippedBits > before);
  });

  it("a slow close passes bytes at once and keeps the end", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "slow-close", delayMs: FOREVER_MS }]);
    client.socket.write(bytes("last words"));
    client.socket.end();
    await server.seen.until(() => server.seen.text === "last words");
    server.socket.write(bytes("still here"));
    await client.seen.until(() => client.seen.text === "still here");
    assert.equal(server.seen.told.includes("ended"), false);
    at.proxy.clear();
    await server.seen.has("ended");
    assert.equal(server.seen.told.at(-1), "ended");
  });

  it("half-open cuts the target and tells the client nothing; new ones are never answered; the end of it resets them", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "half-open" }]);
    await server.seen.has("closed", "ended");
    client.socket.write(bytes("hello?"));
    const late = at.client();
    await late.seen.has("opened");
    late.socket.write(bytes("hello too?"));
    await when(() => at.proxy.counts().lostBytes === 16);
    assert.deepEqual(
      client.seen.told.filter((told) => told !== "drained"),
      ["opened"],
    );
    assert.deepEqual(
      late.seen.told.filter((told) => told !== "drained"),
      ["opened"],
    );
    assert.equal(at.target.sockets.length, 1);
    assert.equal(at.proxy.counts().halfOpened, 2);
    at.proxy.clear();
    assert.ok(await heardReset(client));
    assert.ok(await heardReset(late));
    const again = await at.pair();
    again.client.socket.write(bytes("hello!"));
    await again.server.seen.until(() => again.server.seen.text === "hello!");
  });

  it("a half-open connection that its client gives up leaves nothing behind", async () => {
    await using at = await rig();
    at.proxy.set([{ kind: "half-open" }]);
    const client = at.client();
    await when(() => at.proxy.connections().length === 1);
    client.socket.destroy();
    await when(() => at.proxy.connections().length === 0);
    assert.equal(at.proxy.counts().resets, 0);
  });

  it("refusing resets new connections and leaves the others alone", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    at.proxy.set([{ kind: "refuse" }]);
    const late = at.client();
    assert.ok(await heardReset(late));
    client.socket.write(bytes("go on"));
    await server.seen.until(() => server.seen.text === "go on");
    assert.equal(at.proxy.counts().refused, 1);
    assert.equal(at.target.sockets.length, 1);
  });
});

describe("a fault proxy", { timeout: 30_000 }, () => {
  it("cuts all connections and says how many; new ones are taken as before", async () => {
    await using at = await rig();
    const pairs = [await at.pair(), await at.pair()];
    assert.equal(at.proxy.cut(), 2);
    for (const { client, server } of pairs) {
      assert.ok(await heardReset(client));
      assert.ok(await heardReset(server));
    }
    assert.equal(at.proxy.cut(), 0);
    const again = await at.pair();
    again.client.socket.write(bytes("new"));
    await again.server.seen.until(() => again.server.seen.text === "new");
  });

  it("resets connections beyond its limit, and takes new ones when there is room", async () => {
    await using at = await rig({ connectionsMax: 1 });
    const { client, server } = await at.pair();
    assert.ok(await heardReset(at.client()));
    assert.equal(at.proxy.counts().refused, 1);
    client.socket.end();
    server.socket.end();
    await when(() => at.proxy.connections().length === 0);
    const again = await at.pair();
    again.client.socket.write(bytes("room"));
    await again.server.seen.until(() => again.server.seen.text === "room");
  });

  it("strikes the same connections for the same seed, and the share of them that was asked for", async () => {
    const struck = async (seed: number): Promise<string> => {
      await using at = await rig({ seed });
      at.proxy.set([{ kind: "half-open", share: 0.5 }]);
      const marks: string[] = [];
      for (let id = 1; id <= 40; id++) {
        at.client();
        await when(() => at.proxy.counts().accepted === id);
        marks.push(at.proxy.connections().at(-1)?.isHalfOpen === true ? "x" : ".");
      }
      return marks.join("");
    };
    const first = await struck(1);
    assert.equal(await struck(1), first);
    assert.notEqual(await struck(2), first);
    const count = first.replaceAll(".", "").length;
    assert.ok(count >= 10 && count <= 30, first);
  });

  it("closes once, cuts what it has, and frees its address; what comes after is refused", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    const closing = at.proxy.close();
    assert.equal(at.proxy.close(), closing);
    await closing;
    await Promise.all([client.seen.has("ended", "closed"), server.seen.has("ended", "closed")]);
    assert.deepEqual(at.proxy.connections(), []);
    assert.equal(at.proxy.counts().resets, 0);
    await assert.rejects(at.proxy.listen(), /the fault proxy is closed/);
    const refused = at.client();
    await refused.seen.has("closed");
    assert.equal(refused.seen.error?.code, "ECONNREFUSED");
  });

  it("closed while it begins to listen is closed", async () => {
    const proxy = createFaultProxy({ listen: { host: HOST, port: 0 }, target: { host: HOST, port: 1 } });
    const listening = proxy.listen();
    await proxy.close();
    const { port } = await listening;
    const client = connectRecorded(network, { kind: "tcp", host: HOST, port });
    await client.seen.has("closed");
    assert.equal(client.seen.error?.code, "ECONNREFUSED");
  });

  it("says why it cannot listen, may then try again, and listens once", async () => {
    await using at = await rig();
    await assert.rejects(at.proxy.listen(), /listens already/);
    const taken = createFaultProxy({
      listen: { host: HOST, port: portOf(at.address) },
      target: { host: HOST, port: 1 },
    });
    await assert.rejects(taken.listen(), /EADDRINUSE/);
    await at.proxy.close();
    assert.equal((await taken.listen()).port, portOf(at.address));
    await taken.close();
  });

  it("listens on loopback unless it is told that others may come", () => {
    const target = { host: "10.0.0.1", port: 80 };
    const on = (host: string, allowRemote?: boolean) =>
      createFaultProxy({ listen: { host, port: 0 }, target, allowRemote });
    for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
      assert.equal(on(host).counts().accepted, 0);
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"]) {
      assert.throws(
        () => on(host),
        /listen\.host must be loopback, such as "127\.0\.0\.1", unless allowRemote is true, got/,
      );
    }
    assert.equal(on("0.0.0.0", true).counts().accepted, 0);
  });

  it("says which seed it took when it was given none", () => {
    const place = { host: HOST, port: 1 };
    const { seed } = createFaultProxy({ listen: place, target: place });
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed <= 0xffff_ffff);
    assert.equal(createFaultProxy({ listen: place, target: place, seed: 9 }).seed, 9);
  });

  it("refuses options and faults that cannot be, by name, and keeps the faults it had", async () => {
    const place = { host: HOST, port: 1 };
    const make = (options: object) => () => createFaultProxy({ listen: place, target: place, ...options });
    assert.throws(make({ target: { host: HOST, port: 0 } }), new RangeError("target.port must be 1..65_535, got 0"));
    assert.throws(make({ target: undefined }), new TypeError("target.host must be given"));
    assert.throws(make({ listen: { host: HOST } }), new TypeError("listen.port must be given"));
    assert.throws(make({ seed: -1 }), RangeError);
    assert.throws(make({ buffer: 5 }), /unknown key "buffer", did you mean "bufferBytesMax"\?/);
    await using at = await rig();
    at.proxy.set([{ kind: "stall" }]);
    await at.pair();
    const set = (fault: unknown) => () => at.proxy.set([{ kind: "refuse" }, fault as ProxyFault]);
    assert.throws(set({ kind: "latency" }), new TypeError('faults[1].latencyMs must be given for kind "latency"'));
    assert.throws(
      set({ kind: "latency", latencyMs: -1 }),
      new RangeError("faults[1].latencyMs must be 0..3_600_000, got -1"),
    );
    assert.throws(set({ kind: "stal" }), /faults\[1\]\.kind must be .*did you mean "stall"/);
    assert.throws(set({}), new TypeError("faults[1].kind must be given"));
    assert.throws(set(null), /faults\[1\] must be an object with a kind/);
    assert.throws(set({ kind: "stall", direction: "left" }), /faults\[1\]\.direction must be "up" or "down" or "both"/);
    assert.throws(set({ kind: "half-open", direction: "up" }), /unknown key "faults\[1\]\.direction"/);
    assert.throws(set({ kind: "bandwidth", bytesPerSec: 1 }), /did you mean "faults\[1\]\.bytesPerSecond"/);
    assert.throws(set({ kind: "corrupt" }), /faults\[1\] must have either everyBytes or chunkShare/);
    assert.throws(set({ kind: "corrupt", everyBytes: 1, chunkShare: 1 }), /faults\[1\] must have either/);
    assert.throws(() => at.proxy.set({} as never), /faults must be an array/);
    assert.throws(() => at.proxy.set(new Array<ProxyFault>(65).fill({ kind: "stall" })), /at most 64 items, got 65/);
    assert.deepEqual(only(at.proxy).faults, ["stall"]);
  });
});
