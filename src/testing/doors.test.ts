/** What closing and sharing a listener does, on Node's network and on the simulated one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Listener, ListenRequest, Network, SocketAddress } from "../world/network.ts";
import { createNodeNetwork } from "../world/node-network.ts";
import { NetworkRecorder } from "./network-recorder.ts";
import { createSimulation } from "./simulation.ts";

interface Side {
  readonly server: Network;
  readonly client: Network;
  readonly listenAddress: SocketAddress;
  connectAddress(at: SocketAddress): SocketAddress;
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Lets what is under way arrive. */
  quiet(): Promise<void>;
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
};

function onNode(): Side {
  const network = createNodeNetwork();
  return {
    server: network,
    client: network,
    listenAddress: { kind: "tcp", host: "127.0.0.1", port: 0 },
    connectAddress: (at) => at,
    settle: (promise) => promise,
    quiet: turns,
  };
}

function simulated(): Side {
  const simulation = createSimulation();
  return {
    server: simulation.host("shop").network,
    client: simulation.host("client").network,
    listenAddress: { kind: "tcp", host: "0.0.0.0", port: 0 },
    connectAddress: (at) => ({ kind: "tcp", host: "shop", port: at.kind === "tcp" ? at.port : 0 }),
    settle: (promise) => simulation.settle(promise),
    quiet: () => simulation.advance(100),
  };
}

function requestOf(address: SocketAddress, isPortShared: boolean, accepted: NetworkRecorder[]): ListenRequest {
  return {
    address,
    isPortShared,
    tls: undefined,
    alpn: [],
    handshakeTimeoutMs: 1_000,
    accept: (socket) => {
      const events = new NetworkRecorder();
      events.socket = socket;
      accepted.push(events);
      return events;
    },
    failed: (error) => assert.fail(error.text),
  };
}

/** So many clients, once both sides know of them. */
async function connectMany(side: Side, at: SocketAddress, count: number): Promise<NetworkRecorder[]> {
  const clients = Array.from({ length: count }, () => new NetworkRecorder());
  for (const client of clients) {
    client.socket = side.client.connect(side.connectAddress(at), { tls: undefined, alpn: [] }, client);
  }
  await side.settle(Promise.all(clients.map((client) => client.saw("opened"))));
  await side.quiet();
  return clients;
}

describe("closing a listener", () => {
  it("takes in all who had connected, though they were more than one turn takes: none is reset", {
    timeout: 10_000,
  }, async () => {
    const side = onNode();
    const accepted: NetworkRecorder[] = [];
    const listener = await side.server.listen(requestOf(side.listenAddress, false, accepted));
    const clients = Array.from({ length: 50 }, () => new NetworkRecorder());
    for (const client of clients)
      client.socket = side.client.connect(listener.address, { tls: undefined, alpn: [] }, client);
    // On loopback the kernel has them all by now, and the process has accepted none or few.
    await clients[0]?.saw("opened");
    assert.ok(accepted.length < 50);
    await listener.close();
    await Promise.all(clients.map((client) => client.saw("opened")));
    await turns();
    assert.equal(accepted.length, 50);
    assert.deepEqual(
      clients.filter(({ isClosed }) => isClosed),
      [],
    );
    for (const { socket } of clients) socket?.destroy();
  });
});

for (const [name, make] of [
  ["on Node", onNode],
  ["in the simulation", simulated],
] as const) {
  describe(`a shared port ${name}`, () => {
    it("is joined by listeners that all say so, and by no other; what one leaves goes to the rest", async () => {
      const side = make();
      const accepted: [NetworkRecorder[], NetworkRecorder[]] = [[], []];
      const listeners: Listener[] = [];
      let at = side.listenAddress;
      for (const own of accepted) {
        const listener = await side.settle(side.server.listen(requestOf(at, true, own)));
        listeners.push(listener);
        at = listener.address;
      }
      await assert.rejects(side.settle(side.server.listen(requestOf(at, false, []))), (error: Error) => {
        assert.equal((error.cause as { code?: string }).code, "EADDRINUSE");
        return true;
      });
      // By chance all of 60 go to one of two once in 2^59 times.
      const clients = await connectMany(side, at, 60);
      await side.settle(listeners[0]?.close() ?? Promise.reject());
      const [first, second] = accepted;
      assert.equal(first.length + second.length, 60);
      assert.ok(first.length > 0 && second.length > 0, `${first.length} and ${second.length}`);
      const before = first.length;
      clients.push(...(await connectMany(side, at, 10)));
      await side.settle(listeners[1]?.close() ?? Promise.reject());
      assert.deepEqual([first.length, second.length], [before, 70 - before]);
      const late = new NetworkRecorder();
      side.client.connect(side.connectAddress(at), { tls: undefined, alpn: [] }, late);
      await side.settle(late.saw("closed"));
      assert.equal(late.error?.code, "ECONNREFUSED");
      for (const { socket } of clients) socket?.destroy();
    });

    it("is one of TCP: a Unix path cannot be shared", async () => {
      const side = make();
      const shared = side.server.listen(requestOf({ kind: "unix", path: "/tmp/holdfast-shared.sock" }, true, []));
      await assert.rejects(side.settle(shared), /listen/);
    });
  });
}
