import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { PEERS_MAX, ProtectedPeers } from "./protected-peer.ts";

it("10,000 keys: a thousand are remembered, those used last", () => {
  const peers = new ProtectedPeers();
  for (let i = 0; i < 10_000; i++) peers.use(`host-${i}`);
  assert.equal(peers.size, PEERS_MAX);
  assert.deepEqual(
    peers.all().map(({ key }) => key),
    Array.from({ length: PEERS_MAX }, (_, i) => `host-${9_000 + i}`),
  );
});

it("the key that is used least lately makes room, as in a list that is searched", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.constantFrom(..."abcdefgh")), (max, keys) => {
      const peers = new ProtectedPeers(max);
      let model: string[] = [];
      for (const key of keys) {
        const before = peers.all().find((peer) => peer.key === key);
        const peer = peers.use(key);
        assert.equal(peer.key, key);
        if (before !== undefined) assert.equal(peer, before, "a known peer was forgotten");
        model = [...model.filter((each) => each !== key), key].slice(-max);
        assert.deepEqual(
          peers.all().map((each) => each.key),
          model,
        );
        assert.equal(peers.size, model.length);
      }
    }),
  );
});

it("a peer describes itself by its key, always with the same object", () => {
  const peer = new ProtectedPeers().use("api.example:443");
  assert.deepEqual(peer.describe(), {
    id: "api.example:443",
    address: "api.example:443",
    zone: undefined,
    version: undefined,
    identities: [],
  });
  assert.equal(peer.describe(), peer.describe());
});
