import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PeerInit, Resolver } from "holdfast/discover";
import { turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { type Discovered, type ResolverFailure, watchResolver } from "./discovery.ts";
import type { PeerTarget } from "./target.ts";

const LIST: readonly PeerInit[] = [{ address: "10.0.0.1:80" }];

/** A channel that takes over what it is given, and a resolver whose every watch is the next of the script; the last one repeats. */
async function watched(script: readonly (() => AsyncIterable<readonly PeerInit[]>)[], untilMs: number) {
  const world = manualWorld();
  const startMs = world.clock.monotonicMs();
  const askedMs: number[] = [];
  const failures: (ResolverFailure | undefined)[] = [];
  const lists: number[] = [];
  let peers: readonly PeerTarget[] = [];
  const channel: Discovered = {
    get peers() {
      return peers;
    },
    setPeers(targets) {
      peers = targets;
      lists.push(targets.length);
    },
    resolverFailed: (failure) => void failures.push(failure),
    listHeldBack: () => {},
  };
  const resolver: Resolver = {
    name: "scripted",
    watch() {
      askedMs.push(world.clock.monotonicMs() - startMs);
      const next = script[Math.min(askedMs.length, script.length) - 1] as () => AsyncIterable<readonly PeerInit[]>;
      return next();
    },
  };
  const targetOf = ({ address, id = address, weight }: PeerInit): PeerTarget => {
    if (address === "") throw new RangeError("no address");
    return { id, address, weight, tier: 0, zone: "", version: "", authority: "", dial: () => assert.fail() };
  };
  const stop = watchResolver(world, resolver, targetOf, channel);
  for (let ms = 0; ms < untilMs; ms += 100) {
    await turns(1);
    world.advance(100);
  }
  await turns(1);
  stop();
  const { waiting } = world;
  const waits = askedMs.slice(1).map((atMs, index) => atMs - (askedMs[index] as number));
  return { waits, failures, lists, waiting };
}

async function* yields(...lists: readonly (readonly PeerInit[])[]): AsyncGenerator<readonly PeerInit[]> {
  yield* lists;
}
async function* throws(...lists: readonly (readonly PeerInit[])[]): AsyncGenerator<readonly PeerInit[]> {
  yield* lists;
  throw new Error("the registry is down");
}

describe("a resolver", () => {
  it("that ends after its list is polled about every 30 s", async () => {
    const { waits, failures } = await watched([() => yields(LIST)], 200_000);
    assert.ok(waits.length >= 5 && waits.length <= 8, waits.join());
    for (const ms of waits) assert.ok(ms >= 24_000 && ms <= 36_100, `${ms} ms`);
    assert.ok(new Set(waits).size > 1, "clients that began together do not ask together");
    assert.deepEqual(new Set(failures), new Set([undefined]));
  });

  it("that fails is asked again within 2 s while there are no peers", async () => {
    const { waits, failures } = await watched([() => throws()], 120_000);
    for (const ms of waits) assert.ok(ms >= 250 && ms <= 2_100, `${ms} ms`);
    assert.ok(waits.slice(5).every((ms) => ms >= 1_000));
    assert.equal(failures[0]?.text, 'the resolver "scripted" failed: the registry is down');
  });

  it("that fails is asked again after up to 30 s while its last list holds, also if it yields each time", async () => {
    for (const later of [() => throws(), () => throws(LIST)]) {
      const { waits, lists } = await watched([() => throws(LIST), later], 600_000);
      assert.ok((waits[0] as number) <= 600, waits.join());
      for (const ms of waits.slice(7)) assert.ok(ms >= 15_000 && ms <= 30_200, waits.join());
      assert.ok(lists.every((length) => length === 1));
    }
  });

  it("that ends without a word, or throws where it is called, or is no generator has failed", async () => {
    const broken: readonly (readonly [() => AsyncIterable<readonly PeerInit[]>, RegExp])[] = [
      [() => yields(), /^the resolver "scripted" ended without naming a peer$/],
      [() => yields([]), /ended without naming a peer$/],
      [() => assert.fail("not now"), /failed: not now$/],
      [() => undefined as never, /failed: /],
      [() => yields(undefined as never), /gave a list that is refused: /],
    ];
    for (const [watch, text] of broken) {
      const { waits, failures } = await watched([watch], 10_000);
      assert.ok(waits.length >= 5 && waits.length <= 14, waits.join());
      assert.match(failures.at(-1)?.text ?? "", text);
    }
  });

  it("whose list is refused is listened to further, and its next list counts", async () => {
    const wrong = [{ address: "10.0.0.2:80" }, { address: "" }];
    const { waits, failures, lists } = await watched([() => yields(LIST, wrong, [...LIST, ...LIST], [])], 5_000);
    assert.deepEqual(waits, []);
    assert.deepEqual(lists, [1, 1]);
    assert.deepEqual(
      failures.map((failure) => failure?.text),
      [
        undefined,
        'the resolver "scripted" gave a list that is refused: no address',
        undefined,
        'the resolver "scripted" names nobody any more, so its last list holds',
      ],
    );
  });

  it("leaves no timer behind when nobody listens any more", async () => {
    assert.equal((await watched([() => throws()], 1_000)).waiting, 0);
    assert.equal((await watched([() => yields(LIST)], 1_000)).waiting, 0);
  });
});
