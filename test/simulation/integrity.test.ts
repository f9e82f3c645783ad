import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createClient, type Client, RpcError } from "holdfast";
import { createSwitches } from "holdfast/policy";
import { type Cluster, createCluster } from "holdfast/testing";
import { CallFaultLayer } from "../../src/chaos/call-fault.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { type DamagedNetwork, damagedNetwork, type PayloadWay } from "./damaged-network.ts";
import { collect, failureOf, Probe, type ProbeHandlers, probe, SafeProbe } from "./probe-cluster.ts";

type SafeClient = Client<typeof SafeProbe>;

interface Rig {
  readonly cluster: Cluster;
  readonly network: DamagedNetwork;
  readonly client: SafeClient;
  /** Bodies of the requests that handlers were given. */
  readonly seen: Buffer[];
}

interface RigOptions {
  readonly compress?: "gzip" | "deflate" | undefined;
  readonly replicas?: number | undefined;
  readonly handlers?: Partial<ProbeHandlers> | undefined;
  readonly messageBytesMax?: number | undefined;
}

/** One attempt a call, those that would be free too, over a connection that has learned what its peer can. */
async function withRig(options: RigOptions, work: (rig: Rig) => Promise<void>): Promise<void> {
  await using cluster = createCluster();
  const seen: Buffer[] = [];
  const unary: ProbeHandlers["unary"] = ({ body, replySize }) => {
    seen.push(Buffer.from(body));
    return { body: replySize === 0 ? body : Buffer.alloc(replySize, 7) };
  };
  cluster.serve("shop", options.replicas ?? 1, (server) => probe(server, { unary, ...options.handlers }));
  const network = damagedNetwork(cluster.world);
  const client = createClient(SafeProbe, cluster.target("shop"), {
    world: network.world,
    plaintext: true,
    compress: options.compress,
    messageBytesMax: options.messageBytesMax,
    policy: { hedge: false },
    switches: createSwitches({ states: { retry: "off" } }),
  });
  await cluster.settle(client.unary({}));
  seen.length = 0;
  await work({ cluster, network, client, seen });
  await cluster.settle(client.$close({ timeoutMs: 0 }));
}

/** A body in which each byte differs from its neighbours. */
function bodyOf(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 37 + 11) & 0xff));
}

/** Calls with the bit of the payload flipped, and looks that no wrong data come of it. Answers how the call failed, or undefined. */
async function callDamaged(rig: Rig, way: PayloadWay, bit: number, body: Buffer): Promise<RpcError | undefined> {
  // What the last call left unread on its way is not this one's.
  await rig.cluster.advance(20);
  way.flip(bit);
  const calls = rig.seen.length;
  let error: RpcError | undefined;
  try {
    const reply = await rig.cluster.settle(rig.client.unary({ body }));
    assert.deepEqual(Buffer.from(reply.body), body, `bit ${bit}: a wrong reply`);
  } catch (thrown) {
    if (!(thrown instanceof RpcError)) throw thrown;
    error = thrown;
  }
  for (const request of rig.seen.slice(calls)) assert.deepEqual(request, body, `bit ${bit}: a wrong request was run`);
  assert.equal(way.flips, 1, `bit ${bit} went by`);
  way.watch();
  return error;
}

async function payloadBits(rig: Rig, way: PayloadWay, body: Buffer): Promise<number> {
  way.watch();
  await rig.cluster.settle(rig.client.unary({ body }));
  return way.bytes * 8;
}

/** Every bit of the payload, prefix included, one at a time. `isNeutral`: some say nothing (those of a gzip header). */
async function flipEach(rig: Rig, way: PayloadWay, body: Buffer, isNeutral: boolean): Promise<void> {
  const bits = await payloadBits(rig, way, body);
  assert.ok(bits >= 40, "the prefix at least");
  const isRequest = way === rig.network.requests;
  let failures = 0;
  for (let bit = 0; bit < bits; bit++) {
    const error = await callDamaged(rig, way, bit, body);
    if (error === undefined) continue;
    failures += 1;
    assert.equal(error.code, "DATA_LOSS", `bit ${bit}: ${error.message}`);
    assert.equal(error.reason, "CORRUPT", `bit ${bit}: ${error.message}`);
    assert.equal(error.reached, isRequest ? "no" : "yes", `bit ${bit}`);
    assert.deepEqual(
      error.faults.map(({ kind, blame }) => [kind, blame]),
      [["corrupt", "network"]],
    );
  }
  if (isNeutral) assert.ok(failures > bits / 2, `${failures} of ${bits} bits were noticed`);
  else assert.equal(failures, bits, "each was noticed");
  assert.equal(rig.client.$channel.peers()[0]?.connections, 1);
  assert.deepEqual(Buffer.from((await rig.cluster.settle(rig.client.unary({ body }))).body), body, "it goes on");
}

const ways = [
  ["a reply", (network: DamagedNetwork) => network.replies],
  ["a request", (network: DamagedNetwork) => network.requests],
] as const;

for (const [what, wayOf] of ways) {
  describe(`a flipped bit of ${what}`, () => {
    it("is DATA_LOSS wherever it is, the prefix included, and the connection lives on", () =>
      withRig({}, (rig) => flipEach(rig, wayOf(rig.network), bodyOf(30), false)));

    it("is DATA_LOSS in an empty message, which is its prefix alone", () =>
      withRig({}, (rig) => flipEach(rig, wayOf(rig.network), Buffer.alloc(0), false)));

    for (const compress of ["gzip", "deflate"] as const) {
      it(`is DATA_LOSS, or changes nothing, in a message compressed by ${compress}`, () =>
        withRig({ compress }, (rig) => flipEach(rig, wayOf(rig.network), bodyOf(30), true)));
    }

    it("is DATA_LOSS in a message over the table's length, and in one of several frames", () =>
      withRig({}, async (rig) => {
        for (const length of [300, 40_000, 200_000]) {
          const body = bodyOf(length);
          const bits = await payloadBits(rig, wayOf(rig.network), body);
          for (const bit of [...Array(48).keys(), 48 + 16_384 * 8 - 1, bits >> 1, bits - 8, bits - 1]) {
            if (bit >= bits) continue;
            const error = await callDamaged(rig, wayOf(rig.network), bit, body);
            assert.equal(error?.code, "DATA_LOSS", `bit ${bit} of ${length} bytes: ${error?.message}`);
            assert.equal(error.reason, "CORRUPT");
          }
        }
      }));

    it("is never wrong data, whatever the message and however its bytes arrive", () =>
      withRig({}, (rig) =>
        fc.assert(
          fc.asyncProperty(
            fc.uint8Array({ minLength: 1, maxLength: 400 }),
            fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
            fc.constantFrom(1, 2, 7, 64, Number.MAX_SAFE_INTEGER),
            async (bytes, place, pieceBytesMax) => {
              rig.network.pieceBytesMax = pieceBytesMax;
              const body = Buffer.from(bytes);
              const bits = await payloadBits(rig, wayOf(rig.network), body);
              const error = await callDamaged(rig, wayOf(rig.network), Math.floor(place * bits), body);
              assert.equal(error?.code, "DATA_LOSS", error?.message);
            },
          ),
          { numRuns: 60 },
        ),
      ));
  });
}

describe("without checksums", () => {
  it("a flipped bit is wrong data: what the tests above look for is there to be found", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const network = damagedNetwork(cluster.world);
    const policy = { retry: false, hedge: false, integrity: false } as const;
    const client = createClient(SafeProbe, cluster.target("shop"), { world: network.world, plaintext: true, policy });
    await cluster.settle(client.unary({}));
    for (const way of [network.replies, network.requests]) {
      way.flip(8 * 12);
      const { body } = await cluster.settle(client.unary({ body: bodyOf(20) }));
      assert.equal(way.flips, 1);
      assert.notDeepEqual(Buffer.from(body), bodyOf(20));
    }
  });

  it("one method can do without, and the others keep theirs", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const { world, replies } = damagedNetwork(cluster.world);
    const methods = { unary: { integrity: false } } as const;
    const policy = { retry: false, hedge: false } as const;
    const client = createClient(SafeProbe, cluster.target("shop"), { world, plaintext: true, methods, policy });
    replies.flip(8 * 8);
    assert.notDeepEqual(Buffer.from((await cluster.settle(client.unary({ body: bodyOf(20) }))).body), bodyOf(20));
    assert.equal(replies.flips, 1);
    replies.flip(8 * 6);
    assert.equal((await cluster.settle(failureOf(client.upload([{}, {}])))).code, "DATA_LOSS");
  });
});

describe("a message that was altered", () => {
  /** Two replicas, both of which have been called. */
  async function pair(
    contract: typeof Probe | typeof SafeProbe,
    work: (
      rig: Omit<Rig, "client"> & { readonly client: Client<typeof Probe>; readonly peers: string[] },
    ) => Promise<void>,
  ): Promise<void> {
    await using cluster = createCluster();
    const seen: Buffer[] = [];
    const peers: string[] = [];
    cluster.serve("shop", 2, (server, index) =>
      probe(server, {
        unary: ({ body }) => {
          seen.push(Buffer.from(body));
          peers.push(String(index));
          return { body };
        },
      }),
    );
    const network = damagedNetwork(cluster.world);
    const options = {
      world: network.world,
      plaintext: true,
      balance: "round-robin",
      policy: { hedge: false },
      // Each call is to meet both peers, however often the messages to one were altered.
      switches: createSwitches({ states: { corruption: "off" } }),
    } as const;
    const client = createClient(contract, cluster.target("shop"), options) as Client<typeof Probe>;
    await cluster.settle(client.$channel.ready());
    await cluster.advance(10);
    for (let call = 0; call < 4; call++) await cluster.settle(client.unary({}));
    assert.deepEqual(new Set(peers), new Set(["0", "1"]));
    seen.length = 0;
    peers.length = 0;
    await work({ cluster, network, client, seen, peers });
    await cluster.settle(client.$close({ timeoutMs: 0 }));
  }

  it("a request of effect unknown goes to another peer and is run once: the first has not run it, and says so", () =>
    pair(Probe, async ({ cluster, network, client, seen, peers }) => {
      for (let bit = 0; bit < 25 * 8; bit++) {
        seen.length = 0;
        peers.length = 0;
        network.requests.flip(bit);
        const tried: string[] = [];
        using _ = client.$on("attempt.ended", ({ peer, code }) => tried.push(`${peer.id} ${code}`));
        const reply = await cluster.settle(client.unary({ body: bodyOf(18) }));
        assert.equal(network.requests.flips, 1);
        assert.deepEqual(Buffer.from(reply.body), bodyOf(18), `bit ${bit}`);
        assert.deepEqual(seen, [bodyOf(18)], `bit ${bit}: run once`);
        const [first, second] = cluster.target("shop");
        const isFirst = peers[0] === "1";
        assert.deepEqual(tried, [`${isFirst ? first : second} DATA_LOSS`, `${isFirst ? second : first} OK`]);
      }
    }));

  it("a reply of effect unknown is the call's failure: it was run, and is not run again", () =>
    pair(Probe, async ({ cluster, network, client, seen }) => {
      network.replies.flip(8 * 9);
      const error = await cluster.settle(failureOf(client.unary({ body: bodyOf(18) })));
      assert.equal(error.code, "DATA_LOSS");
      assert.equal(error.reached, "yes");
      assert.equal(seen.length, 1);
    }));

  it("a reply of effect none is had from another peer", () =>
    pair(SafeProbe, async ({ cluster, network, client, seen, peers }) => {
      network.replies.flip(8 * 9);
      const reply = await cluster.settle(client.unary({ body: bodyOf(18) }));
      assert.deepEqual(Buffer.from(reply.body), bodyOf(18));
      assert.equal(seen.length, 2);
      assert.equal(new Set(peers).size, 2, "another one");
      const [row] = client.$channel.reliability();
      assert.deepEqual([row?.failures, row?.calls], [0, 5]);
    }));
});

describe("what has no checksum, or only one way", () => {
  it("the one request of a reply stream has one: it is refused before the handler, and sent again", async () => {
    await withRig({ replicas: 1 }, async ({ cluster, network, client }) => {
      network.requests.flip(8 * 6);
      const error = await cluster.settle(failureOf(collect(client.download({ replyCount: 3, replySize: 0 }))));
      assert.equal(error.code, "DATA_LOSS");
      assert.equal(error.reached, "no");
      assert.equal((await cluster.settle(collect(client.download({ replyCount: 3 })))).length, 3);
    });
  });

  it("the one reply to a stream of requests has one", async () => {
    await withRig({}, async ({ cluster, network, client }) => {
      network.replies.flip(8 * 6);
      const error = await cluster.settle(failureOf(client.upload([{ body: bodyOf(3) }, {}])));
      assert.equal(error.code, "DATA_LOSS");
      assert.equal((await cluster.settle(client.upload([{}, {}]))).seenCount, 2);
    });
  });

  it("a message that is too large is called so, either way, whole or in several frames", async () => {
    await withRig({ messageBytesMax: 1_000 }, async ({ cluster, client }) => {
      for (const replySize of [2_000, 100_000, 1_000_000]) {
        const error = await cluster.settle(failureOf(client.unary({ replySize })));
        assert.deepEqual([error.code, error.reason], ["RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"], String(replySize));
      }
      const error = await cluster.settle(failureOf(client.unary({ body: Buffer.alloc(5_000_000) })));
      assert.equal(error.code, "RESOURCE_EXHAUSTED", error.message);
    });
  });
});

describe("a peer whose replies are altered", () => {
  /** Of three peers the first alters all replies, and one is called after the other. */
  async function called(states: { readonly corruption?: "off" | "observe" }): Promise<{
    readonly failures: number;
    readonly given: number;
    readonly ejections: readonly { readonly kind: string; readonly isEnforced: boolean }[];
  }> {
    await using cluster = createCluster();
    let given = 0;
    cluster.serve("shop", 3, (server, index) =>
      probe(server, {
        unary: ({ body }) => {
          if (index === 0) given += 1;
          return { body };
        },
      }),
    );
    const [bad] = cluster.target("shop");
    const chaos = new CallFaultLayer([{ kind: "corrupt", peer: bad }], seededRandom(5), cluster.simulation.nowMs);
    const client = cluster.client(SafeProbe, "shop", {
      chaos,
      balance: "round-robin",
      policy: { hedge: false },
      budget: { perSecondMin: 1_000 },
      switches: createSwitches({ states }),
    });
    const ejections: { readonly kind: string; readonly isEnforced: boolean }[] = [];
    using _ = client.$on("ejection", ({ kind, isEnforced }) => ejections.push({ kind, isEnforced }));
    await cluster.settle(client.$channel.ready());
    await cluster.advance(10);
    let failures = 0;
    for (let call = 0; call < 60; call++) {
      const body = bodyOf(call);
      const reply = await cluster.settle(
        client.unary({ body }).then(
          (own) => own,
          () => undefined,
        ),
      );
      if (reply === undefined) failures += 1;
      else assert.deepEqual(Buffer.from(reply.body), body);
    }
    return { failures, given, ejections };
  }

  it("is ejected at the third in a minute, and no call fails", async () => {
    const { failures, given, ejections } = await called({});
    assert.equal(failures, 0);
    assert.equal(given, 3);
    assert.deepEqual(ejections, [{ kind: "ejected", isEnforced: true }]);
  });

  it("is told of and called on while corruption is only observed, and called on in silence when it is off", async () => {
    const observed = await called({ corruption: "observe" });
    assert.ok(observed.given > 15, String(observed.given));
    assert.ok(observed.ejections.length >= 5 && observed.ejections.every(({ isEnforced }) => !isEnforced));
    const off = await called({ corruption: "off" });
    assert.ok(off.given > 15);
    assert.deepEqual(off.ejections, []);
  });
});
