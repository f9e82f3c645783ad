/**
 * What every adapter of the network port must do: run it against the real one and the simulated one,
 * so that what is tested in virtual time holds in real time.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isAddressLiteral } from "../world/address-literal.ts";
import type { Listener, Network, ResolveResult, Socket, SocketAddress, SocketEvents } from "../world/network.ts";
import { NetworkRecorder } from "./network-recorder.ts";

/** A network under test, and how to wait in its kind of time. */
export interface NetworkUnderTest {
  readonly client: Network;
  readonly server: Network;
  /** Where the server can listen: a port of 0, or a Unix path that is free. */
  readonly listenAddress: SocketAddress;
  /** Where the client finds it, given where the server listens. */
  connectAddress(listening: SocketAddress): SocketAddress;
  /** An address at which nobody listens. */
  readonly emptyAddress: SocketAddress;
  /** A name of the server's machine, at which the client finds what listens at `listenAddress`; and one that has no address. */
  readonly serverName: string;
  readonly unknownName: string;
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Lets all that is under way come to its end. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

interface Pair {
  readonly client: NetworkRecorder;
  readonly clientSocket: Socket;
  readonly server: NetworkRecorder;
  readonly serverSocket: Socket;
}

const MiB = 1024 * 1024;

type Test = (claim: string, body: (rig: Rig) => Promise<void>) => void;

/**
 * Registers the suite with node:test under `name`; `make` gives each test a network of its own. `isNamed`: where it listens can be
 * found by name, so not a Unix path.
 */
export function networkSuite(
  name: string,
  make: () => Promise<NetworkUnderTest>,
  { isNamed }: { readonly isNamed: boolean },
): void {
  const test: Test = (claim, body) => {
    it(claim, { timeout: 30_000 }, async () => {
      const rig = new Rig(await make());
      try {
        await body(rig);
      } finally {
        await rig.close();
      }
    });
  };
  describe(`${name} as a network`, () => {
    streams(test);
    ends(test);
    pressure(test);
    connecting(test);
    manners(test);
    resolving(test);
    if (isNamed) names(test);
  });
}

function streams(test: Test): void {
  test("brings every byte once and in order, both ways at once", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    const up = pattern(300_000, 1);
    const down = pattern(200_000, 7);
    for (let at = 0; at < up.length; at += 7919) clientSocket.write(Buffer.from(up.subarray(at, at + 7919)));
    for (let at = 0; at < down.length; at += 100) serverSocket.write(Buffer.from(down.subarray(at, at + 100)));
    await rig.settle(server.until(() => server.receivedBytes >= up.length));
    await rig.settle(client.until(() => client.receivedBytes >= down.length));
    assert.deepEqual(server.bytes, up);
    assert.deepEqual(client.bytes, down);
  });

  test("brings what was written before the connection was there", async (rig) => {
    const { clientSocket, client, server } = await rig.pair((socket) => socket.write(Buffer.from("early")));
    clientSocket.write(Buffer.from(" and late"));
    await rig.settle(server.until(() => server.receivedBytes >= 14));
    assert.equal(String(server.bytes), "early and late");
    assert.equal(client.happenings[0], "opened");
  });

  test("keeps the order of chunks written together", async (rig) => {
    const { clientSocket, server } = await rig.pair();
    clientSocket.writeAll([Buffer.from("a"), Buffer.alloc(0), Buffer.from("bc"), Buffer.from("d")]);
    clientSocket.write(Buffer.from("e"));
    await rig.settle(server.until(() => server.receivedBytes >= 5));
    assert.equal(String(server.bytes), "abcde");
  });

  test("tells each side who the other is", async (rig) => {
    const { clientSocket, serverSocket } = await rig.pair();
    assert.equal(serverSocket.localAddress, clientSocket.remoteAddress);
    assert.notEqual(serverSocket.localAddress, "");
    assert.equal(clientSocket.tls, undefined);
  });
}

function ends(test: Test): void {
  test("tells an end after all bytes before it, and lets the other side go on", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    clientSocket.write(pattern(100_000, 3));
    clientSocket.end();
    await rig.settle(server.saw("ended"));
    assert.equal(server.receivedBytes, 100_000);
    assert.equal(server.isClosed, false);
    serverSocket.write(Buffer.from("still here"));
    serverSocket.end();
    await rig.settle(client.saw("closed"));
    await rig.settle(server.saw("closed"));
    assert.equal(String(client.bytes), "still here");
    assert.deepEqual([client.error, server.error], [undefined, undefined]);
    assert.deepEqual(client.happenings.slice(-2), ["ended", "closed"]);
  });

  test("closes once and last, also when both sides end at the same time", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    clientSocket.end();
    serverSocket.end();
    await rig.settle(client.saw("closed"));
    await rig.settle(server.saw("closed"));
    await rig.quiet();
    for (const end of [client, server]) {
      assert.equal(end.count("closed"), 1);
      assert.equal(end.count("ended"), 1);
      assert.equal(end.happenings.at(-1), "closed");
    }
  });

  test("breaks a stream: its owner hears no error, the other side a reset where there is one, and nothing of it twice", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    serverSocket.reset?.();
    serverSocket.reset?.();
    serverSocket.destroy();
    await rig.settle(server.saw("closed"));
    await rig.settle(client.until(() => client.happenings.length > 1));
    // A Unix socket knows no reset: its other side may hear an end.
    if (rig.network.listenAddress.kind === "tcp") assert.equal(client.error?.code, "ECONNRESET");
    clientSocket.destroy();
    await rig.quiet();
    assert.equal(server.error, undefined);
    assert.deepEqual(server.happenings, ["closed"]);
    assert.equal(client.count("closed"), 1);
  });

  test("breaks a stream that is not there yet as it destroys one", async (rig) => {
    const client = new NetworkRecorder();
    const { listener } = await rig.listen();
    const socket = rig.connect(rig.network.connectAddress(listener.address), client);
    socket.reset?.();
    await rig.settle(client.saw("closed"));
    await rig.quiet();
    assert.equal(client.error, undefined);
    assert.deepEqual(client.happenings, ["closed"]);
  });

  test("closes a destroyed socket without an error, and tells its peer", async (rig) => {
    const { client, clientSocket, server } = await rig.pair();
    client.during(() => clientSocket.destroy());
    await rig.settle(client.saw("closed"));
    assert.equal(client.error, undefined);
    assert.equal(client.wasNested, false);
    await rig.settle(server.until(() => server.happenings.includes("ended") || server.isClosed));
    assert.equal(client.happenings.at(-1), "closed");
  });

  test("tells nothing but closed after destroy, whatever was on the way", async (rig) => {
    const { client, clientSocket, serverSocket } = await rig.pair();
    serverSocket.write(pattern(50_000, 1));
    clientSocket.destroy();
    const before = client.happenings.length;
    await rig.settle(client.saw("closed"));
    await rig.quiet();
    assert.deepEqual(client.happenings.slice(before), ["closed"]);
  });

  test("does nothing when methods of a closed socket are called", async (rig) => {
    const { client, clientSocket, server } = await rig.pair();
    clientSocket.destroy();
    await rig.settle(client.saw("closed"));
    const before = [...client.happenings];
    clientSocket.write(Buffer.from("x"));
    clientSocket.writeAll([Buffer.from("y")]);
    clientSocket.pause();
    clientSocket.resume();
    clientSocket.end();
    clientSocket.destroy();
    await rig.quiet();
    assert.deepEqual(client.happenings, before);
    assert.equal(clientSocket.queuedBytes, 0);
    assert.equal(server.receivedBytes, 0);
  });

  test("ignores what is written after end", async (rig) => {
    const { clientSocket, server } = await rig.pair();
    clientSocket.write(Buffer.from("before"));
    clientSocket.end();
    clientSocket.write(Buffer.from("after"));
    await rig.settle(server.saw("ended"));
    assert.equal(String(server.bytes), "before");
  });

  test("breaks with a connection error when the peer cut while bytes came", async (rig) => {
    const { clientSocket, server, serverSocket } = await rig.pair();
    serverSocket.write(Buffer.from("x"));
    clientSocket.destroy();
    await rig.settle(server.until(() => server.isClosed || server.happenings.includes("ended")));
    // Whoever writes into a stream that nobody reads learns it.
    if (!server.isClosed) serverSocket.write(Buffer.from("anyone?"));
    await rig.settle(server.saw("closed"));
    assert.ok(["ECONNRESET", "EPIPE"].includes(server.error?.code ?? ""), server.error?.text);
    assert.equal(server.error?.phase, "open");
  });
}

function pressure(test: Test): void {
  test("holds a sender whose reader pauses, and loses nothing when it resumes", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    serverSocket.pause();
    const all = pattern(24 * MiB, 5);
    for (let at = 0; at < all.length; at += MiB) clientSocket.write(Buffer.from(all.subarray(at, at + MiB)));
    await rig.quiet();
    assert.ok(clientSocket.queuedBytes > 0, "the sender must feel it");
    assert.ok(server.receivedBytes < all.length);
    const drainedBefore = client.count("drained");
    serverSocket.resume();
    await rig.settle(server.until(() => server.receivedBytes >= all.length));
    await rig.settle(client.until(() => client.count("drained") > drainedBefore));
    assert.equal(clientSocket.queuedBytes, 0);
    assert.ok(server.bytes.equals(all));
    await rig.quiet();
    assert.equal(client.count("drained"), drainedBefore + 1);
  });

  test("gives a paused reader nothing", async (rig) => {
    const { clientSocket, server, serverSocket } = await rig.pair();
    serverSocket.pause();
    await rig.quiet();
    const before = server.receivedBytes;
    clientSocket.write(Buffer.from("wait"));
    clientSocket.end();
    await rig.quiet();
    assert.equal(server.receivedBytes, before);
    assert.equal(server.happenings.includes("ended"), false);
    server.during(() => serverSocket.resume());
    await rig.settle(server.saw("ended"));
    assert.equal(String(server.bytes), "wait");
    assert.equal(server.wasNested, false);
  });
}

function connecting(test: Test): void {
  test("says that nobody listens, in the connect phase, with the address", async (rig) => {
    const client = new NetworkRecorder();
    const socket = rig.connect(rig.network.emptyAddress, client);
    await rig.settle(client.saw("closed"));
    assert.deepEqual(client.happenings, ["closed"]);
    assert.equal(client.error?.phase, "connect");
    assert.ok(["ECONNREFUSED", "ENOENT"].includes(client.error?.code ?? ""), client.error?.code);
    const { emptyAddress } = rig.network;
    const words = emptyAddress.kind === "tcp" ? String(emptyAddress.port) : emptyAddress.path;
    assert.ok(client.error?.text.includes(words), client.error?.text);
    assert.equal(socket.queuedBytes, 0);
  });

  test("closes quietly when destroyed before it was open", async (rig) => {
    const { listener } = await rig.listen();
    const client = new NetworkRecorder();
    const socket = rig.connect(rig.network.connectAddress(listener.address), client);
    client.during(() => socket.destroy());
    await rig.settle(client.saw("closed"));
    await rig.quiet();
    assert.deepEqual(client.happenings, ["closed"]);
    assert.equal(client.error, undefined);
    assert.equal(client.wasNested, false);
  });

  test("refuses a second listener at the same address, with words that name it", async (rig) => {
    const { listener } = await rig.listen();
    const second = rig.network.server.listen(rig.request(listener.address, () => new NetworkRecorder()));
    await assert.rejects(rig.settle(second), (error: Error) => {
      assert.equal((error.cause as { code?: string }).code, "EADDRINUSE");
      assert.equal((error.cause as { phase?: string }).phase, "listen");
      return true;
    });
  });

  test("frees the address on close, and lets accepted sockets live", async (rig) => {
    const { client, clientSocket, server, listener } = await rig.pair();
    await rig.settle(listener.close());
    const again = await rig.settle(
      rig.network.server.listen(rig.request(listener.address, () => new NetworkRecorder())),
    );
    await rig.settle(again.close());
    const late = new NetworkRecorder();
    rig.connect(rig.network.connectAddress(listener.address), late);
    await rig.settle(late.saw("closed"));
    assert.equal(late.error?.phase, "connect");
    clientSocket.write(Buffer.from("alive"));
    await rig.settle(server.until(() => server.receivedBytes >= 5));
    assert.equal(client.isClosed, false);
  });

  test("lets the acceptor destroy at once", async (rig) => {
    const server = new NetworkRecorder();
    const { listener } = await rig.listen((socket) => {
      socket.destroy();
      return server;
    });
    const client = new NetworkRecorder({ ended: () => clientSocket.destroy() });
    const clientSocket = rig.connect(rig.network.connectAddress(listener.address), client);
    await rig.settle(server.saw("closed"));
    await rig.settle(client.saw("closed"));
    assert.deepEqual(server.happenings, ["closed"]);
  });
}

function manners(test: Test): void {
  test("makes no call from inside a method", async (rig) => {
    const { client, clientSocket, server, serverSocket } = await rig.pair();
    await rig.settle(server.until(() => true));
    client.during(() => {
      clientSocket.write(Buffer.from("1"));
      clientSocket.writeAll([Buffer.from("2"), Buffer.from("3")]);
      clientSocket.pause();
      clientSocket.resume();
      clientSocket.end();
    });
    await rig.settle(server.saw("ended"));
    server.during(() => serverSocket.end());
    await rig.settle(client.saw("closed"));
    assert.deepEqual([client.wasNested, server.wasNested], [false, false]);
  });

  test("cuts a socket whose owner throws, tells it so once, and harms no other", async (rig) => {
    const bad = new NetworkRecorder({
      data: () => {
        throw new Error("no idea what this is");
      },
    });
    const recorders: NetworkRecorder[] = [bad, new NetworkRecorder()];
    const { listener } = await rig.listen(() => recorders.shift() ?? new NetworkRecorder());
    const first = new NetworkRecorder();
    rig.connect(rig.network.connectAddress(listener.address), first).write(Buffer.from("boo"));
    await rig.settle(bad.saw("closed"));
    assert.equal(bad.error?.code, "HANDLER_THREW");
    assert.deepEqual(bad.happenings, ["data", "closed"]);
    const second = new NetworkRecorder();
    rig.connect(rig.network.connectAddress(listener.address), second);
    await rig.settle(second.saw("opened"));
    assert.equal(second.isClosed, false);
  });
}

function resolving(test: Test): void {
  test("resolves an address to itself, once and not from inside the call", async (rig) => {
    for (const literal of ["127.0.0.1", "::1", "10.1.2.3"]) {
      const told: ResolveResult[] = [];
      rig.network.client.resolve(literal, (result) => told.push(result));
      assert.deepEqual(told, []);
      await rig.quiet();
      assert.deepEqual(told, [{ addresses: [literal] }]);
    }
  });

  test("says in the resolve phase, and with the name, that a name has no address", async (rig) => {
    const { client, unknownName } = rig.network;
    const result = await rig.settle(new Promise<ResolveResult>((done) => client.resolve(unknownName, done)));
    assert.ok("error" in result, JSON.stringify(result));
    assert.equal(result.error.phase, "resolve");
    assert.equal(result.error.code, "ENOTFOUND");
    assert.ok(result.error.text.includes(unknownName), result.error.text);
  });

  test("tells nothing once the asking was cancelled, and a second cancel does nothing", async (rig) => {
    const { client, serverName, unknownName } = rig.network;
    const told: ResolveResult[] = [];
    for (const name of ["127.0.0.1", serverName, unknownName]) {
      const cancel = client.resolve(name, (result) => told.push(result));
      cancel();
      cancel();
    }
    // This one is answered after them.
    await rig.settle(new Promise<ResolveResult>((done) => client.resolve(serverName, done)));
    await rig.quiet();
    assert.deepEqual(told, []);
  });
}

function names(test: Test): void {
  test("resolves a name to addresses, at one of which it is reached", async (rig) => {
    const { listener } = await rig.listen();
    assert.ok(listener.address.kind === "tcp");
    const { client, serverName } = rig.network;
    const result = await rig.settle(new Promise<ResolveResult>((done) => client.resolve(serverName, done)));
    assert.ok("addresses" in result, JSON.stringify(result));
    assert.ok(result.addresses.every(isAddressLiteral), result.addresses.join());
    const outcomes: string[] = [];
    for (const host of result.addresses) {
      const recorder = new NetworkRecorder();
      const socket = rig.connect({ ...listener.address, host }, recorder);
      await rig.settle(recorder.until(() => recorder.happenings.length > 0));
      outcomes.push(recorder.happenings[0] ?? "");
      const text = `${host.includes(":") ? `[${host}]` : host}:${listener.address.port}`;
      if (recorder.isClosed) assert.ok(recorder.error?.text.includes(text), recorder.error?.text);
      else socket.destroy();
    }
    assert.ok(outcomes.includes("opened"), outcomes.join());
  });
}

/** What a test holds, and gives back. */
class Rig {
  readonly network: NetworkUnderTest;
  private readonly sockets: Socket[] = [];
  private readonly listeners: Listener[] = [];

  constructor(network: NetworkUnderTest) {
    this.network = network;
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.network.settle(promise);
  }

  quiet(): Promise<void> {
    return this.network.quiet();
  }

  request(address: SocketAddress, accept: (socket: Socket) => SocketEvents): Parameters<Network["listen"]>[0] {
    return {
      address,
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1000,
      accept: (socket) => {
        this.sockets.push(socket);
        return accept(socket);
      },
      failed: (error) => assert.fail(error.text),
    };
  }

  async listen(
    accept: (socket: Socket) => SocketEvents = () => new NetworkRecorder(),
  ): Promise<{ readonly listener: Listener }> {
    const listener = await this.settle(this.network.server.listen(this.request(this.network.listenAddress, accept)));
    this.listeners.push(listener);
    return { listener };
  }

  connect(address: SocketAddress, events: SocketEvents): Socket {
    const socket = this.network.client.connect(address, { tls: undefined, alpn: [] }, events);
    this.sockets.push(socket);
    return socket;
  }

  /** A connected pair; `early` is called before the connection is there. */
  async pair(early?: (socket: Socket) => void): Promise<Pair & { readonly listener: Listener }> {
    const server = new NetworkRecorder();
    let accepted: (socket: Socket) => void;
    const serverReady = new Promise<Socket>((resolve) => {
      accepted = resolve;
    });
    const { listener } = await this.listen((socket) => {
      accepted(socket);
      return server;
    });
    const client = new NetworkRecorder();
    const clientSocket = this.connect(this.network.connectAddress(listener.address), client);
    early?.(clientSocket);
    await this.settle(client.saw("opened"));
    const serverSocket = await this.settle(serverReady);
    client.socket = clientSocket;
    server.socket = serverSocket;
    return { client, clientSocket, server, serverSocket, listener };
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    for (const listener of this.listeners) await this.settle(listener.close());
    await this.network.close();
  }
}

/** Bytes that tell where they belong. */
function pattern(size: number, salt: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 31 + (at >>> 8) * salt + (at >>> 16)) & 0xff;
  return bytes;
}
