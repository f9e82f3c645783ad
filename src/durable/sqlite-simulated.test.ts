/**
 * The store in a simulated process that dies: its file stays, its lock goes, and the process that comes after it finds what it left.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswer, bytesOf, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { createSimulation } from "../testing/simulation.ts";
import type { FileLocks } from "../world/database.ts";
import { inlineRunner, sqliteStore, TestDirectory } from "./testdata/dedup-rigs.ts";

test("a simulated process crashes at any time between claim and answer: what it acknowledged is there, what it left is unknown", async () => {
  let acknowledgedMost = 0;
  for (let crashAfterMs = 0; crashAfterMs < 20; crashAfterMs += 1) {
    using directory = new TestDirectory();
    const simulation = createSimulation({ seed: crashAfterMs });
    const held = new Set<string>();
    const locks: FileLocks = {
      hold: (path) => {
        held.add(path);
        return { release: () => void held.delete(path) };
      },
      isHeld: (path) => held.has(path),
      remove: (path) => void held.delete(path),
    };
    const ran: string[] = [];
    const acknowledged: string[] = [];
    let lives = 0;
    simulation.boot("server", async (world) => {
      lives += 1;
      if (lives > 1) return;
      const store = sqliteStore(directory.file, world, inlineRunner(undefined, world, locks));
      await store.open();
      for (let call = 0; call < 6; call += 1) {
        const entry = entryOf(await store.claim(keyOf({ id: `${call}` })));
        ran.push(`${call}`);
        await new Promise<void>((resolve) => void world.timers.schedule(2, resolve));
        await store.finish(entry, bytesOf(`answer ${call}`));
        acknowledged.push(`${call}`);
      }
    });
    await simulation.advance(crashAfterMs);
    simulation.crash("server");
    held.clear();
    assert.ok(acknowledged.length <= ran.length && ran.length <= acknowledged.length + 1);
    const next = simulation.restart("server");
    const heir = sqliteStore(directory.file, next, inlineRunner(undefined, next, locks));
    await simulation.settle(heir.open());
    for (let call = 0; call < 6; call += 1) {
      const id = `${call}`;
      const claim = await simulation.settle(heir.claim(keyOf({ id })));
      if (acknowledged.includes(id)) await assertAnswer(claim, `answer ${id}`);
      else if (ran.includes(id)) assert.ok(claim.kind === "unknown" || claim.kind === "answer", claim.kind);
      else assert.ok(claim.kind === "run" || claim.kind === "unknown", claim.kind);
    }
    await simulation.settle(heir.close());
    acknowledgedMost = Math.max(acknowledgedMost, acknowledged.length);
  }
  assert.equal(acknowledgedMost, 6);
});
