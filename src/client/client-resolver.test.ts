import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createChannel } from "holdfast";
import type { PeerInit, Resolver } from "holdfast/discover";
import { createCluster } from "holdfast/testing";
import { failureOf, pause, Probe, probe } from "../../test/simulation/probe-cluster.ts";

/** A resolver that yields what the test gives it. */
function scripted(): { readonly resolver: Resolver; give(list: readonly PeerInit[] | Error): void; watches(): number } {
  let wake: () => void = () => {};
  let watches = 0;
  const lists: (readonly PeerInit[] | Error)[] = [];
  const resolver: Resolver = {
    name: "scripted",
    async *watch({ signal }) {
      watches += 1;
      signal.addEventListener("abort", () => wake());
      while (!signal.aborted) {
        const next = lists.shift();
        if (next instanceof Error) throw next;
        if (next !== undefined) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
  const give = (list: readonly PeerInit[] | Error): void => {
    lists.push(list);
    wake();
  };
  return { resolver, give, watches: () => watches };
}

describe("a resolver as a target", () => {
  it("makes and ends peers as its list changes, lets calls in flight end, and holds the last good list", async () => {
    await using cluster = createCluster();
    const servedBy: number[] = [];
    cluster.serve("shop", 3, (server, index) =>
      probe(server, {
        unary: async ({ body }, call) => {
          servedBy.push(index);
          if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
          return {};
        },
      }),
    );
    const addresses = cluster.target("shop");
    const peer = (index: number): PeerInit => ({ address: addresses[index] ?? "", id: `shop/${index}`, zone: "eu-1" });
    const { resolver, give, watches } = scripted();
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true });
    const client = channel.client(Probe);
    const first = client.unary({});
    give([peer(0)]);
    await cluster.settle(first);
    assert.deepEqual(
      channel.peers().map(({ id, zone, health }) => [id, zone, health]),
      [["shop/0", "eu-1", "ready"]],
    );
    const long = client.unary({ body: Buffer.alloc(1) });
    await cluster.advance(20);
    give([peer(1), peer(2)]);
    await cluster.advance(20);
    servedBy.length = 0;
    for (let i = 0; i < 10; i++) await cluster.settle(client.unary({}));
    assert.deepEqual(new Set(servedBy), new Set([1, 2]));
    await cluster.settle(long);

    give([]);
    give(new Error("the registry is down"));
    await cluster.advance(5_000);
    assert.deepEqual(
      channel.peers().map(({ id }) => id),
      ["shop/1", "shop/2"],
    );
    assert.equal(watches(), 2, "it is asked again");
    give([peer(0)]);
    await cluster.advance(20);
    servedBy.length = 0;
    await cluster.settle(client.unary({}));
    assert.deepEqual(servedBy, [0]);
    await cluster.settle(channel.close({ timeoutMs: 0 }));
    assert.equal((await failureOf(client.unary({}))).reason, "CLIENT_CLOSED");
  });

  it("that names no peer yet lets calls wait, and refuses a list with what is no address", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const { resolver, give } = scripted();
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true });
    const client = channel.client(Probe);
    const call = failureOf(client.unary({}, { timeoutMs: 30_000 }));
    give([{ address: "no port" }]);
    const error = await cluster.settle(call);
    assert.equal(error.reason, "NO_PEER");
    assert.match(error.text, /there are no peers/);
    await cluster.settle(channel.close({ timeoutMs: 0 }));
  });
});
