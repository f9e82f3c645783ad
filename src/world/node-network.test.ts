import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type LookupFunction, type Socket as RawSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  connectPair,
  connectRecorded,
  listenRecorded,
  type RecordedListener,
  type RecordedListenOptions,
  type RecordedSocket,
  SocketRecorder,
} from "../testing/recorded-sockets.ts";
import type { ClientTlsOptions, Listener, SocketAddress } from "./network.ts";
import { createNodeNetwork } from "./node-network.ts";
import { deadPort } from "./testdata/dead-port.ts";

const network = createNodeNetwork();
const listeners: Listener[] = [];
after(() => Promise.all(listeners.map((listener) => listener.close())));

async function listen(options: RecordedListenOptions = {}): Promise<RecordedListener> {
  const side = await listenRecorded(network, options);
  listeners.push(side.listener);
  return side;
}

function connect(address: SocketAddress, tls?: ClientTlsOptions, alpn?: readonly string[]): RecordedSocket {
  return connectRecorded(network, address, tls, alpn);
}

async function pair(): Promise<Awaited<ReturnType<typeof connectPair>>> {
  const made = await connectPair(network);
  listeners.push(made.side.listener);
  return made;
}

function portOf(side: RecordedListener): number {
  return side.address.kind === "tcp" ? side.address.port : assert.fail();
}

describe("a socket", () => {
  it("gives the memory of what was written back once it has left, and not before", async () => {
    const side = await listen();
    const client = connect(side.address);
    const server = await side.accepted();
    await client.seen.has("opened");
    const message = Buffer.from(new ArrayBuffer(3_000_000)).fill("x");
    client.socket.writeAll([message.subarray(0, 1_000_000), message.subarray(1_000_000)], [message]);
    assert.equal(message.length, 3_000_000);
    await server.seen.until(() => server.seen.byteLength === 3_000_000);
    // All has left; the writer may hear of it a turn later.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.equal(message.length, 0);
    client.socket.destroy();
    server.socket.destroy();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
  });

  it("carries bytes both ways, what was written before it opened too, and names both ends", async () => {
    const side = await listen();
    const client = connect(side.address);
    client.socket.write(Buffer.from("early "));
    assert.equal(client.socket.queuedBytes, 6);
    const server = await side.accepted();
    await client.seen.has("opened");
    client.socket.writeAll([Buffer.from("and "), Buffer.alloc(0), Buffer.from("late")]);
    await server.seen.until(() => server.seen.text === "early and late");
    server.socket.write(Buffer.from("yes"));
    await client.seen.until(() => client.seen.text === "yes");
    assert.equal(client.socket.remoteAddress, `127.0.0.1:${portOf(side)}`);
    assert.equal(server.socket.localAddress, client.socket.remoteAddress);
    assert.equal(server.socket.remoteAddress, client.socket.localAddress);
    assert.equal(client.socket.tls, undefined);
    assert.ok(client.seen.told.includes("drained"), "what waited for the connection has left");
    client.socket.destroy();
    await Promise.all([client.seen.has("closed"), server.seen.has("ended")]);
    server.socket.end();
    await server.seen.has("closed");
    assert.equal(client.seen.error, undefined);
    assert.equal(server.seen.error, undefined);
    assert.equal(server.seen.told.at(-1), "closed");
  });

  it("stays half-open until its owner ends it too", async () => {
    const { client, server } = await pair();
    client.socket.end();
    await server.seen.has("ended");
    server.socket.write(Buffer.from("still"));
    await client.seen.until(() => client.seen.text === "still");
    server.socket.end();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
    assert.deepEqual(client.seen.told, ["opened", "data", "ended", "closed"]);
    assert.deepEqual(server.seen.told, ["ended", "closed"]);
    assert.equal(client.seen.error, undefined);
    assert.equal(server.seen.error, undefined);
  });

  it("sends what is queued before the end of the stream", async () => {
    const { client, server } = await pair();
    const chunk = Buffer.alloc(64 * 1024, 7);
    for (let i = 0; i < 64; i += 1) client.socket.write(chunk);
    client.socket.end();
    await server.seen.has("ended");
    assert.equal(server.seen.byteLength, 64 * chunk.length);
    server.socket.end();
    await client.seen.has("closed");
  });

  it("lets the peer feel a pause, and tells when what waited has left", async () => {
    const { client, server } = await pair();
    server.socket.pause();
    const chunk = Buffer.alloc(1024 * 1024, 7);
    for (let i = 0; i < 32; i += 1) client.socket.write(chunk);
    assert.ok(client.socket.queuedBytes > 8 * chunk.length, `${client.socket.queuedBytes} wait`);
    assert.ok(!client.seen.told.includes("drained"));
    server.socket.resume();
    await client.seen.has("drained");
    assert.equal(client.socket.queuedBytes, 0);
    await server.seen.until(() => server.seen.byteLength === 32 * chunk.length);
    client.socket.destroy();
    server.socket.destroy();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
    assert.equal(client.seen.told.filter((what) => what === "drained").length, 1);
  });

  it("may be paused from inside accept, before its first byte", async () => {
    const side = await listen({
      onAccept: (socket) => {
        socket.pause();
      },
    });
    const client = connect(side.address);
    client.socket.pause();
    client.socket.write(Buffer.from("x"));
    const server = await side.accepted();
    await client.seen.has("opened");
    server.socket.write(Buffer.from("y"));
    // Two round trips on other sockets: had these been reading, the bytes would be here.
    const other = await pair();
    other.client.socket.write(Buffer.from("1"));
    await other.server.seen.until(() => other.server.seen.text === "1");
    other.server.socket.write(Buffer.from("2"));
    await other.client.seen.until(() => other.client.seen.text === "2");
    assert.deepEqual([client.seen.text, server.seen.text], ["", ""]);
    client.socket.resume();
    server.socket.resume();
    await Promise.all([client.seen.has("data"), server.seen.has("data")]);
    for (const each of [client, server, other.client, other.server]) each.socket.destroy();
  });

  it("does nothing once destroyed or closed, whatever is called, and says closed once", async () => {
    const { client, server } = await pair();
    client.socket.destroy();
    assert.ok(!client.seen.told.includes("closed"), "not from inside destroy");
    for (let round = 0; round < 2; round += 1) {
      client.socket.write(Buffer.from("x"));
      client.socket.writeAll([Buffer.from("x")]);
      client.socket.pause();
      client.socket.resume();
      client.socket.end();
      client.socket.destroy();
      await client.seen.has("closed");
      assert.equal(client.socket.queuedBytes, 0);
    }
    await server.seen.has("ended");
    server.socket.end();
    server.socket.write(Buffer.from("after the end"));
    server.socket.end();
    await server.seen.has("closed");
    assert.deepEqual(client.seen.told, ["opened", "closed"]);
    assert.deepEqual(server.seen.told, ["ended", "closed"]);
    assert.equal(server.seen.error, undefined);
  });

  it("tells nothing but closed when it is destroyed while it connects", async () => {
    const side = await listen();
    for (const host of ["127.0.0.1", "localhost"]) {
      const client = connect({ kind: "tcp", host, port: portOf(side) });
      client.socket.write(Buffer.from("x"));
      client.socket.destroy();
      await client.seen.has("closed");
      assert.deepEqual(client.seen.told, ["closed"]);
      assert.equal(client.seen.error, undefined);
    }
  });

  it("says that the peer cut it", async () => {
    const raw = createServer().listen(0, "127.0.0.1");
    await once(raw, "listening");
    const at = raw.address();
    assert.ok(typeof at === "object" && at !== null);
    const accepted = once(raw, "connection") as Promise<[RawSocket]>;
    const client = connect({ kind: "tcp", host: "127.0.0.1", port: at.port });
    const [peer] = await accepted;
    await client.seen.has("opened");
    peer.resetAndDestroy();
    await client.seen.has("closed");
    raw.close();
    assert.equal(client.seen.error?.phase, "open");
    assert.equal(client.seen.error?.code, "ECONNRESET");
    assert.match(client.seen.error?.text ?? "", new RegExp(`127\\.0\\.0\\.1:${at.port}`));
  });

  for (const what of ["opened", "data", "drained", "ended"] as const) {
    it(`is cut when its owner throws in ${what}, and closed carries what was thrown`, async () => {
      const side = await listen();
      const seen = new SocketRecorder();
      const cause = new Error("a defect");
      seen[what] = (): void => {
        throw cause;
      };
      // Written before it opens, so that `drained` comes.
      network.connect(side.address, { tls: undefined, alpn: [] }, seen).write(Buffer.from("x"));
      const server = await side.accepted();
      server.socket.write(Buffer.from("y"));
      server.socket.end();
      await seen.has("closed");
      assert.equal(seen.error?.code, "HANDLER_THREW");
      assert.equal(seen.error?.cause, cause);
      assert.equal(seen.told.filter((each) => each === "closed").length, 1);
      const next = connect(side.address);
      await next.seen.has("opened");
      next.socket.destroy();
    });
  }
});

describe("connecting", () => {
  it("says which name does not resolve", async () => {
    const lookup: LookupFunction = (host, _, callback) => {
      const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), {
        code: "ENOTFOUND",
        syscall: "getaddrinfo",
      });
      process.nextTick(() => callback(error, []));
    };
    const client = connectRecorded(createNodeNetwork({ lookup }), { kind: "tcp", host: "gone.test", port: 80 });
    await client.seen.has("closed");
    assert.deepEqual(client.seen.told, ["closed"]);
    assert.equal(client.seen.error?.phase, "resolve");
    assert.equal(client.seen.error?.code, "ENOTFOUND");
    assert.equal(client.seen.error?.text, "gone.test:80: getaddrinfo ENOTFOUND gone.test");
  });

  it("says which address refuses", async () => {
    using dead = await deadPort();
    const { port } = dead;
    const client = connect({ kind: "tcp", host: "127.0.0.1", port });
    await client.seen.has("closed");
    assert.equal(client.seen.error?.phase, "connect");
    assert.equal(client.seen.error?.code, "ECONNREFUSED");
    assert.equal(client.seen.error?.text, `connect ECONNREFUSED 127.0.0.1:${port}`);
  });

  it("tries every address of a name, and names each that failed", async () => {
    const lookup: LookupFunction = (_, __, callback) =>
      process.nextTick(() =>
        callback(null, [
          { address: "127.0.0.2", family: 4 },
          { address: "127.0.0.1", family: 4 },
        ]),
      );
    const byName = createNodeNetwork({ lookup });
    const side = await listen();
    const port = portOf(side);
    const reached = connectRecorded(byName, { kind: "tcp", host: "two.test", port });
    await reached.seen.has("opened");
    assert.equal(reached.socket.remoteAddress, `127.0.0.1:${port}`);
    reached.socket.destroy();

    using dead = await deadPort();
    const free = dead.port;
    const { seen } = connectRecorded(byName, { kind: "tcp", host: "two.test", port: free });
    await seen.has("closed");
    assert.equal(seen.error?.phase, "connect");
    assert.equal(seen.error?.code, "ECONNREFUSED");
    assert.equal(
      seen.error?.text,
      `no address of two.test:${free} could be reached: 127.0.0.2:${free} ECONNREFUSED, 127.0.0.1:${free} ECONNREFUSED`,
    );
  });

  it("never throws: a port out of range and a missing path are told by closed", async () => {
    const wrong = connect({ kind: "tcp", host: "127.0.0.1", port: 70_000 });
    await wrong.seen.has("closed");
    assert.equal(wrong.seen.error?.phase, "connect");
    assert.match(wrong.seen.error?.text ?? "", /^127\.0\.0\.1:70000: .*port/i);
    const gone = connect({ kind: "unix", path: join(tmpdir(), "holdfast-no-such.sock") });
    await gone.seen.has("closed");
    assert.deepEqual([gone.seen.error?.phase, gone.seen.error?.code], ["connect", "ENOENT"]);
  });
});
