import assert from "node:assert/strict";
import { test } from "node:test";
import { createCluster } from "holdfast/testing";
import { clientStart, settingsAck } from "../../src/wire/http2/testdata/frame-script.ts";
import type { Socket } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";
import { failureOf, pause, Probe, probe, SafeProbe } from "./probe-cluster.ts";

/** A client that sends these bytes and, whatever it is told, never ends its side. */
function stubborn(world: World, host: string, bytes: Buffer): { readonly socket: Socket; readonly told: string[] } {
  const told: string[] = [];
  const socket = world.network.connect(
    { kind: "tcp", host, port: 50_051 },
    { tls: undefined, alpn: [] },
    {
      opened: () => socket.write(bytes),
      data() {},
      drained() {},
      ended: () => void told.push("ended"),
      closed: () => void told.push("closed"),
    },
  );
  return { socket, told };
}

test("a client that never closes counts as a connection until it is cut, a second after the server's goodbye", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server), { limits: { connectionsMax: 1 } });
  await cluster.advance(10);
  const { told } = stubborn(cluster.world, "shop/0", Buffer.from("GET / HTTP/1.1\r\n\r\nno HTTP/2"));
  await cluster.advance(500);
  assert.deepEqual(told, ["ended"]);
  const client = cluster.client(Probe, "shop");
  const early = await cluster.settle(failureOf(client.unary({}, { timeoutMs: 300 })));
  assert.equal(early.reached, "no");
  await cluster.settle(client.$close({ timeoutMs: 0 }));
  await cluster.advance(1_100 - cluster.simulation.nowMs);
  const late = cluster.client(Probe, "shop", { host: "late" });
  await cluster.settle(late.unary({}, { timeoutMs: 300 }));
});

test("a server that closes waits two seconds at most for an idle client that neither answers nor closes", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server), { drain: { propagationMs: 0 } });
  await cluster.advance(10);
  const { told } = stubborn(cluster.world, "shop/0", Buffer.concat([clientStart(), settingsAck()]));
  await cluster.advance(100);
  const report = await cluster.settle(cluster.server("shop", 0)?.close({ timeoutMs: 60_000 }) ?? Promise.reject());
  assert.ok(report.tookMs < 2_100, `${report.tookMs}`);
  assert.deepEqual(told, ["ended"]);
});

test("a client whose machine is gone is found by the server within 350 s, and its calls are over", async () => {
  await using cluster = createCluster();
  let reason: unknown;
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: (_, call) =>
        new Promise((_resolve, reject) => {
          call.signal.addEventListener("abort", () => {
            reason = call.signal.reason;
            reject(reason as Error);
          });
        }),
    }),
  );
  const client = cluster.client(Probe, "shop");
  void client.unary({}, { timeoutMs: 3_600_000 }).catch(() => {});
  await cluster.advance(1_000);
  cluster.simulation.crash("client", { isMachine: true });
  await cluster.advance(345_000);
  assert.equal(reason, undefined);
  await cluster.advance(10_000);
  assert.match(String(reason), /silent for 350000 ms and did not answer a PING/);
});

test("a client that is idle for a day is kept, and so is the server to it", async () => {
  await using cluster = createCluster();
  const peers = new Set<string>();
  cluster.serve("shop", 1, (server) => probe(server, { unary: (_, call) => (peers.add(call.peer.address), {}) }));
  const client = cluster.client(Probe, "shop");
  await cluster.settle(client.unary({}));
  await cluster.advance(86_400_000);
  await cluster.settle(client.unary({}));
  assert.equal(peers.size, 1, "both calls came over one connection");
});

test("a reader that takes 45 s over each message of a long reply keeps its stream", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download() {
        for (let index = 0; index < 200; index++) yield { index, body: Buffer.alloc(2_000) };
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const reading = async (): Promise<number> => {
    let count = 0;
    for await (const _ of client.download({}, { timeoutMs: 3_600_000 })) {
      count += 1;
      if (count < 10) await pause(cluster.world, 45_000);
    }
    return count;
  };
  assert.equal(await cluster.settle(reading(), { limitMs: 3_600_000 }), 200);
});
