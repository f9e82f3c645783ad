import assert from "node:assert/strict";
import { it } from "node:test";
import { type Client, createClient } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { goAway } from "../../src/wire/http2/testdata/frame-script.ts";
import { failureOf, Probe, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { bootRawReplica, failedAnswer, goodAnswer, type RawRequest } from "./raw-replica.ts";

const UNAVAILABLE = 14;

/** Those of the cluster's own clients. */
function optionsOf(cluster: Cluster): { readonly world: Cluster["world"]; readonly plaintext: true } {
  return { world: cluster.world, plaintext: true };
}

/** `ready` is content with one. */
async function allReady(cluster: Cluster, client: Client<typeof Probe>): Promise<void> {
  await cluster.settle(client.$channel.ready());
  await cluster.advance(50);
  assert.ok(client.$channel.peers().every(({ health }) => health === "ready"));
}

it("a host that accepts TCP and never sends SETTINGS holds up no call (grpc-node#2785)", async () => {
  await using cluster = createCluster({ seed: 1 });
  const mute = bootRawReplica(cluster.simulation, "mute", () => {}, true);
  cluster.serve("shop", 1, (server) => probe(server));
  await using client = createClient(Probe, [mute, ...cluster.target("shop")], optionsOf(cluster));
  await cluster.advance(10);
  for (let call = 0; call < 50; call++) {
    const beganMs = cluster.simulation.nowMs;
    await cluster.settle(client.unary({}));
    assert.ok(cluster.simulation.nowMs - beganMs < 10, `call ${call} took ${cluster.simulation.nowMs - beganMs} ms`);
    await cluster.advance(1_000);
  }
  const [peer] = client.$channel.peers();
  assert.notEqual(peer?.health, "ready", "it is never thought ready");
});

it("a GOAWAY below streams in flight: those above its last id go elsewhere once, those below are answered, whatever their effect", async () => {
  for (const seed of [1, 2, 3]) {
    await using cluster = createCluster({ seed });
    const ran = new Map<string, number>();
    const held: RawRequest[] = [];
    const leaving = bootRawReplica(cluster.simulation, "leaving", (request) => {
      held.push(request);
      if (held.length < 5) return;
      // 1, 3 and 5 are run, 7 and 9 are not.
      request.write(goAway(5));
      for (const { id, write } of held) if (id <= 5) write(goodAnswer(id));
    });
    cluster.serve("shop", 1, (server) =>
      probe(server, {
        unary: ({ key }) => {
          ran.set(key, (ran.get(key) ?? 0) + 1);
          return {};
        },
      }),
    );
    await using client = createClient(Probe, [leaving, ...cluster.target("shop")], optionsOf(cluster));
    await allReady(cluster, client);
    const attempts: number[] = [];
    const calls = Array.from({ length: 40 }, (_, index) =>
      client.unary({ key: String(index) }, { onReply: (info) => attempts.push(info.attempts) }),
    );
    await cluster.settle(Promise.all(calls));
    assert.equal(attempts.length, 40, `seed ${seed}`);
    const moved = held.filter(({ id }) => id > 5).length;
    assert.ok(moved >= 2, `seed ${seed}: ${moved} streams were above its last id`);
    assert.equal(attempts.filter((count) => count === 2).length, moved, `seed ${seed}`);
    assert.equal(attempts.filter((count) => count === 1).length, 40 - moved, `seed ${seed}`);
    assert.ok(
      [...ran.values()].every((times) => times === 1),
      `seed ${seed}: each runs once`,
    );
    assert.equal(ran.size, 40 - 3, `seed ${seed}`);
  }
});

for (const word of ["-1", "-1000", "soon", "", "1e3", "0x10", "99999999999", "1.5", "+5"]) {
  it(`a pushback of ${JSON.stringify(word)} is no leave to repeat: one attempt, though the method may be repeated`, async () => {
    await using cluster = createCluster({ seed: 1 });
    const seen: number[] = [];
    const answer = ({ id, number, write }: RawRequest): void => {
      seen.push(number);
      write(failedAnswer(id, UNAVAILABLE, ["grpc-retry-pushback-ms", word]));
    };
    const targets = ["raw/0", "raw/1"].map((host) => bootRawReplica(cluster.simulation, host, answer));
    await using client = createClient(SafeProbe, targets, optionsOf(cluster));
    const error = await cluster.settle(failureOf(client.unary({})));
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(seen.length, 1);
    assert.equal(error.isRepeatable, false);
  });
}

it("a pushback of 300 ms is waited out, and only then is the call repeated", async () => {
  await using cluster = createCluster({ seed: 1 });
  const seenMs: number[] = [];
  const answer = ({ id, write }: RawRequest): void => {
    seenMs.push(cluster.simulation.nowMs);
    write(seenMs.length === 1 ? failedAnswer(id, UNAVAILABLE, ["grpc-retry-pushback-ms", "300"]) : goodAnswer(id));
  };
  const targets = ["raw/0", "raw/1"].map((host) => bootRawReplica(cluster.simulation, host, answer));
  await using client = createClient(SafeProbe, targets, optionsOf(cluster));
  await cluster.settle(client.unary({}));
  const [first, second] = seenMs;
  assert.equal(seenMs.length, 2);
  assert.ok(
    first !== undefined && second !== undefined && second - first >= 300 && second - first < 310,
    seenMs.join(),
  );
});
