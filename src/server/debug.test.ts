import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertFails } from "../../test/calls/failure.ts";
import { createClient } from "../client/create-client.ts";
import { Channelz, ChannelConnectivityState_State as State } from "../schema/gen/grpc/channelz/v1/channelz_pb.ts";
import { createServer } from "./create-server.ts";
import { DebugService } from "./debug.ts";
import { DebugIds, type DebugSocket, type DebugSource } from "./debug-source.ts";

const calls = { started: 3, succeeded: 2, failed: 1, lastAtMs: 1_700_000_000_123 + 1 / 4_096 };

function socket(id: number, serverId: number | undefined): DebugSocket {
  return {
    id,
    serverId,
    localAddress: "127.0.0.1:50051",
    remoteAddress: `127.0.0.1:${id}`,
    tls: id % 2 === 0 ? "TLSv1.3" : undefined,
    streamsStarted: id,
    streamsSucceeded: 1,
    streamsFailed: 0,
    messagesSent: 4,
    messagesReceived: 5,
    pingsSent: 6,
    receivedAtMs: 1_700_000_000_000 + 1 / 4_096,
    sendWindowBytes: 65_535,
    receiveWindowBytes: undefined,
  };
}

/** In no order, and with more sockets than a page has. */
const source: DebugSource = {
  servers: () => [
    { id: 2, name: "b", doors: [], ...calls, lastAtMs: undefined },
    { id: 1, name: "a", doors: [{ id: 9_001, address: "127.0.0.1:50051" }], ...calls },
  ],
  sockets: () => Array.from({ length: 250 }, (_, index) => socket(1_000 - index, index === 0 ? 2 : 1)),
  channels: () => [
    {
      id: 5,
      target: "dns:///shop:443",
      state: "ready",
      ...calls,
      peers: [{ id: 6, address: "10.0.0.9:443", state: "failed", socketIds: [1_000], ...calls }],
    },
  ],
};

async function withClient(
  use: (client: ReturnType<typeof createClient<typeof Channelz>>) => Promise<void>,
): Promise<void> {
  await using server = createServer().service(Channelz, new DebugService(source));
  const { port } = await server.listen(0);
  const client = createClient(Channelz, `localhost:${port}`);
  await use(client);
  await client.$close();
}

describe("debug answers", () => {
  it("servers by ascending id, with doors and counts; pages go on where the last ended", async () => {
    await withClient(async (client) => {
      const all = await client.getServers({});
      assert.deepEqual(
        all.server.map(({ ref, data }) => [ref?.serverId, ref?.name, data?.callsStarted, data?.callsFailed]),
        [
          [1n, "a", 3n, 1n],
          [2n, "b", 3n, 1n],
        ],
      );
      assert.equal(all.end, true);
      assert.deepEqual(
        all.server[0]?.listenSocket.map(({ socketId, name }) => [socketId, name]),
        [[9_001n, "127.0.0.1:50051"]],
      );
      assert.equal(all.server[0]?.data?.lastCallStartedTimestamp?.nanos, 123_000_000);
      assert.equal(all.server[1]?.data?.lastCallStartedTimestamp, undefined);
      const first = await client.getServers({ maxResults: 1n });
      assert.deepEqual([first.server.length, first.end], [1, false]);
      const second = await client.getServers({ startServerId: 2n, maxResults: 1n });
      assert.deepEqual([second.server[0]?.ref?.serverId, second.end], [2n, true]);
      const none = await client.getServers({ startServerId: 3n });
      assert.deepEqual([none.server.length, none.end], [0, true]);
      await assertFails(client.getServers({ maxResults: -1n }), "INVALID_ARGUMENT");
    });
  });

  it("a server's connections, all of them page by page, and of no other server", async () => {
    await withClient(async (client) => {
      const ids: bigint[] = [];
      for (let start = 0n, end = false; !end; ) {
        const page = await client.getServerSockets({ serverId: 1n, startSocketId: start });
        assert.ok(page.socketRef.length <= 100);
        ids.push(...page.socketRef.map(({ socketId }) => socketId));
        start = (ids.at(-1) ?? 0n) + 1n;
        end = page.end;
      }
      assert.deepEqual(
        ids,
        Array.from({ length: 249 }, (_, index) => BigInt(751 + index)),
      );
      assert.equal((await client.getServerSockets({ serverId: 1n, maxResults: 1n << 62n })).socketRef.length, 249);
      await assertFails(client.getServerSockets({ serverId: 3n }), "NOT_FOUND");
    });
  });

  it("a connection and a door, each by its id", async () => {
    await withClient(async (client) => {
      const { socket: one } = await client.getSocket({ socketId: 1_000n });
      assert.deepEqual(one?.remote?.address.value, {
        $typeName: "grpc.channelz.v1.Address.TcpIpAddress",
        ipAddress: new Uint8Array([127, 0, 0, 1]),
        port: 1_000,
      });
      assert.deepEqual([one?.data?.streamsStarted, one?.data?.keepAlivesSent], [1_000n, 6n]);
      assert.deepEqual([one?.data?.localFlowControlWindow, one?.data?.remoteFlowControlWindow], [65_535n, undefined]);
      assert.equal(one?.security?.model.case, "other");
      const { socket: plain } = await client.getSocket({ socketId: 999n });
      assert.equal(plain?.security, undefined);
      const { socket: door } = await client.getSocket({ socketId: 9_001n });
      assert.deepEqual(
        [door?.ref?.name, door?.local?.address.case, door?.remote],
        ["127.0.0.1:50051", "tcpipAddress", undefined],
      );
      await assertFails(client.getSocket({ socketId: 1n }), "NOT_FOUND");
    });
  });

  it("channels and their peers, in gRPC's words for their states", async () => {
    await withClient(async (client) => {
      const { channel } = await client.getTopChannels({});
      assert.deepEqual(
        channel.map(({ ref, data }) => [ref?.channelId, data?.target, data?.state?.state]),
        [[5n, "dns:///shop:443", State.READY]],
      );
      assert.deepEqual((await client.getChannel({ channelId: 5n })).channel, channel[0]);
      const { subchannel } = await client.getSubchannel({ subchannelId: 6n });
      assert.equal(subchannel?.data?.state?.state, State.TRANSIENT_FAILURE);
      assert.deepEqual(
        subchannel?.socketRef.map(({ socketId }) => socketId),
        [1_000n],
      );
      await assertFails(client.getChannel({ channelId: 6n }), "NOT_FOUND");
      await assertFails(client.getSubchannel({ subchannelId: 5n }), "NOT_FOUND");
    });
  });

  it("ids are each thing's own, from 1 on, and stay", () => {
    const ids = new DebugIds();
    const [a, b] = [{}, {}];
    assert.deepEqual([ids.of(a), ids.of(b), ids.of(a)], [1, 2, 1]);
  });
});
