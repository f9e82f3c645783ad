import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, RpcError } from "holdfast";
import { createScriptedPeer } from "holdfast/testing";
import { collect, Probe } from "./probe-cluster.ts";

test("scripts all kinds: requests are read to their end before a reply", async () => {
  await using peer = createScriptedPeer(Probe);
  const upload = peer.on("upload").reply({ seenCount: 9 });
  const chat = peer.on("chat").reply({ index: 5 }, { index: 6 });
  const download = peer
    .on("download")
    .reply()
    .fail(new RpcError("ABORTED", "mine", { metadata: { "x-why": "so" } }));
  await using client = createClient(Probe, peer);
  assert.equal((await client.upload([{ key: "a" }, { key: "b" }])).seenCount, 9);
  assert.deepEqual(
    upload.requests.map(({ key }) => key),
    ["a", "b"],
  );
  assert.deepEqual(
    (await collect(client.chat([{ key: "c" }]))).map(({ index }) => index),
    [5, 6],
  );
  assert.equal(chat.requests[0]?.key, "c");
  assert.deepEqual(await collect(client.download({ key: "d" })), []);
  await assert.rejects(collect(client.download({ key: "e" })), (error: unknown) => {
    return error instanceof RpcError && error.code === "ABORTED" && error.metadata.get("x-why") === "so";
  });
  assert.deepEqual(
    download.requests.map(({ key }) => key),
    ["d", "e"],
  );
});
