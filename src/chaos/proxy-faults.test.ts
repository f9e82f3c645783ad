import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deadPort } from "../world/testdata/dead-port.ts";
import type { ProxyFault } from "./proxy-fault.ts";
import { bytes, FOREVER_MS, heardReset, HOST, only, rig, when } from "./testdata/proxy-rig.ts";

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
    using dead = await deadPort();
    await using at = await rig({ target: { host: HOST, port: dead.port } });
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
    client.socket.write(bytes("first"));
    await server.seen.until(() => server.seen.text === "first");
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
