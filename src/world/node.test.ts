import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { nodeWorld } from "./node.ts";

describe("the real world", () => {
  it("has a clock that never goes back, and one that tells the date", () => {
    const { clock } = nodeWorld;
    let lastMs = clock.monotonicMs();
    for (let i = 0; i < 1000; i += 1) {
      const nowMs = clock.monotonicMs();
      assert.ok(nowMs >= lastMs);
      lastMs = nowMs;
    }
    assert.ok(Math.abs(clock.wallMs() - Date.now()) < 60_000);
  });

  it("draws numbers in range, not always the same", () => {
    const words = new Set(Array.from({ length: 100 }, () => nodeWorld.random.uint32()));
    assert.ok(words.size > 90);
    const float = nodeWorld.random.float();
    assert.ok(float >= 0 && float < 1);
  });

  it("reads files as UTF-8, and says with the system's error which it cannot read", async () => {
    const directory = await mkdtemp(join(tmpdir(), "holdfast-"));
    try {
      await writeFile(join(directory, "a"), "größe\n");
      assert.equal(await nodeWorld.disk.readText(join(directory, "a")), "größe\n");
      await assert.rejects(nodeWorld.disk.readText(join(directory, "b")), { code: "ENOENT" });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
