import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { createClient } from "../client/create-client.ts";
import { planOf } from "../schema/plan.ts";
import { DEFAULT_HTTP2_LIMITS } from "../wire/http2/limits.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { ServerConnection, type ServerConnectionOwner } from "../wire/transport/server-connection.ts";
import { nodeWorld } from "../world/node.ts";
import { debugServer, debugSocket } from "./debug-figures.ts";
import { DebugIds } from "./debug-source.ts";
import type { MethodCounts } from "./server-status.ts";

const info = planOf(Bench).methods[0]?.info ?? assert.fail();

describe("debug figures", () => {
  it("of a server are the sums over its methods, and its doors keep their ids", () => {
    const method = (started: number, codes: MethodCounts["codes"]): MethodCounts => ({
      info,
      started,
      codes,
      quantileMs: () => undefined,
    });
    const ids = new DebugIds();
    const server = {};
    const doors = [{ address: "127.0.0.1:1", isTls: false, isLocal: true }];
    const methods = [method(10, { OK: 5, NOT_FOUND: 2 }), method(3, { OK: 3 })];
    const figures = debugServer(ids, server, { name: "shop", doors, methods });
    assert.deepEqual(figures, {
      id: 2,
      name: "shop",
      doors: [{ id: 1, address: "127.0.0.1:1" }],
      started: 13,
      succeeded: 8,
      failed: 2,
      lastAtMs: undefined,
    });
    assert.deepEqual(debugServer(ids, server, { name: "shop", doors, methods }), figures);
  });

  it("of a connection are what it has: addresses, streams, windows, and when it was heard last", async () => {
    const accepted: ServerConnection[] = [];
    const listener = await nodeWorld.network.listen({
      address: { kind: "tcp", host: "127.0.0.1", port: 0 },
      tls: undefined,
      alpn: ["h2"],
      handshakeTimeoutMs: 10_000,
      failed: () => {},
      accept(socket) {
        const owner: ServerConnectionOwner = {
          connectionClosed: () => {},
          callArrived: (exchange) => exchange.answerHttp(404),
        };
        const connection = new ServerConnection(runtimeOf(nodeWorld), socket, owner, DEFAULT_HTTP2_LIMITS);
        accepted.push(connection);
        return connection;
      },
    });
    assert.ok(listener.address.kind === "tcp");
    const address = `127.0.0.1:${listener.address.port}`;
    const client = createClient(Bench, address);
    await assertFails(client.add({ a: 1 }), "UNIMPLEMENTED");
    await assertFails(client.add({ a: 1 }), "UNIMPLEMENTED");
    const [connection = assert.fail()] = accepted;
    const ids = new DebugIds();
    const server = {};
    const socket = debugSocket(ids, server, connection, nodeWorld.clock);
    assert.deepEqual([socket.id, socket.serverId, socket.localAddress, socket.tls], [1, 2, address, undefined]);
    assert.match(socket.remoteAddress, /^127\.0\.0\.1:\d+$/);
    assert.deepEqual([socket.streamsStarted, socket.streamsOpen], [2, 0]);
    assert.ok((socket.sendWindowBytes ?? 0) > 0 && (socket.receiveWindowBytes ?? 0) > 0);
    assert.ok(Number.isInteger(socket.receivedAtMs));
    assert.equal(debugSocket(ids, undefined, connection, nodeWorld.clock).serverId, undefined);
    await client.$close();
    connection.finish("the test has ended");
    await listener.close();
  });
});
