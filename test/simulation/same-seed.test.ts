import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { playEchoUniverse } from "./echo-universe.ts";

const program = fileURLToPath(new URL("./echo-universe.ts", import.meta.url));

test("one seed, one universe: twice in this process, and in another", async () => {
  const first = await playEchoUniverse(7);
  const second = await playEchoUniverse(7);
  assert.deepEqual(second, first);
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=holdfast-source", program, "7"]);
  assert.equal(stdout.trim(), first.hash);
});

test("another seed, another universe", async () => {
  const hashes = new Set<string>();
  for (const seed of [1, 2, 3, 2 ** 32 + 1]) hashes.add((await playEchoUniverse(seed)).hash);
  assert.equal(hashes.size, 4);
});

test("two universes played at the same time do not touch each other", async () => {
  const alone = await playEchoUniverse(7);
  const [left, right] = await Promise.all([playEchoUniverse(7), playEchoUniverse(8)]);
  assert.equal(left.hash, alone.hash);
  assert.notEqual(right.hash, alone.hash);
});

test("the small universe is not empty", async () => {
  const { echoedBytes, events } = await playEchoUniverse(7);
  assert.ok(echoedBytes > 500_000, String(echoedBytes));
  assert.ok(events > 5000, String(events));
});
