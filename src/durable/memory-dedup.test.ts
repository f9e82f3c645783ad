import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswer, bytesOf, dedupSuite, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { nodeWorld } from "../world/node.ts";
import { memory } from "./memory.ts";
import { memoryRig, TestWorld } from "./testdata/dedup-rigs.ts";

dedupSuite("memory()", memoryRig);

test("claims and answers are given at once, without a promise", () => {
  const store = memory()["~dedup"](nodeWorld);
  const claim = store.claim(keyOf({}));
  assert.ok("kind" in claim);
  assert.equal(store.finish(entryOf(claim), bytesOf("one")), undefined);
  assert.ok("kind" in store.claim(keyOf({})));
});

test("each journal is a store of its own, and the same for every server that it is given to", () => {
  const journal = memory();
  assert.equal(journal["~dedup"](nodeWorld), journal["~dedup"](nodeWorld));
  assert.notEqual(journal["~dedup"](nodeWorld).storeId, memory()["~dedup"](nodeWorld).storeId);
});

test("too many bytes of answers refuse new calls, but what runs keeps its answer", async () => {
  const clocks = new TestWorld();
  const store = memory({ bytesMax: 10_000, retentionMs: 3_600_000 })["~dedup"](clocks.world);
  const minted = (id: string) => keyOf({ id, mintedMs: clocks.wallMs });
  const [first, second] = [entryOf(await store.claim(minted("a"))), entryOf(await store.claim(minted("b")))];
  await store.finish(first, new Uint8Array(20_000));
  assert.equal((await store.claim(minted("c"))).kind, "full");
  await store.finish(second, bytesOf("second"));
  await assertAnswer(await store.claim(minted("b")), "second");
  const age = clocks.wallMs;
  clocks.wallMs += 60_000;
  entryOf(await store.claim(minted("c")));
  assert.ok((store.snapshot().bytes ?? Infinity) < 10_000);
  assert.equal((await store.claim(keyOf({ id: "a", mintedMs: age }))).kind, "expired");
});

test("a hundred thousand calls leave no more than the limit behind", () => {
  const clocks = new TestWorld();
  const store = memory({ entriesMax: 1_000, retentionMsMin: 500 })["~dedup"](clocks.world);
  const key = { path: "/a/B", principal: "p", payloadHash: "h", rerunUnknown: false };
  for (let call = 0; call < 100_000; call += 1) {
    clocks.wallMs += 1;
    const claim = store.claim({ ...key, id: `${call}`, mintedMs: clocks.wallMs });
    assert.ok("kind" in claim);
    void store.finish(entryOf(claim), bytesOf("x"));
  }
  const { entries, bytes = Infinity } = store.snapshot();
  assert.ok(entries <= 1_000 && bytes < 1_000_000, `${entries} entries, ${bytes} bytes`);
});

test("one principal's own keys take an eighth, and their answers half of the bytes; nobody in particular has the half", async () => {
  const clocks = new TestWorld();
  const store = memory({ entriesMax: 80, bytesMax: 100_000 })["~dedup"](clocks.world);
  const runs = async (principal: string, count: number): Promise<number> => {
    let ran = 0;
    for (let index = 0; index < count; index += 1) {
      const claim = await store.claim(keyOf({ id: `${index}`, principal }));
      if (claim.kind === "run") await store.finish(claim.entry, bytesOf("x"));
      ran += Number(claim.kind === "run");
    }
    return ran;
  };
  assert.deepEqual([await runs("mallory", 80), await runs("bob", 5), await runs("", 80)], [10, 5, 25]);
  entryOf(await store.claim(keyOf({ id: "minted", mintedMs: clocks.wallMs })));
  clocks.monotonicMs += 86_400_000;
  for (let index = 0; index < 20; index += 1)
    await store.finish(entryOf(await store.claim(keyOf({ id: `${index}`, mintedMs: clocks.wallMs }))), bytesOf("-"));
  await store.finish(entryOf(await store.claim(keyOf({ id: "large", principal: "mallory" }))), new Uint8Array(50_000));
  assert.equal((await store.claim(keyOf({ id: "one more", principal: "bob" }))).kind, "full");
  entryOf(await store.claim(keyOf({ id: "still minted", mintedMs: clocks.wallMs })));
});

test("options that cannot be are refused by name", () => {
  assert.throws(() => memory({ entriesMax: 0 }), /RangeError: memory\.entriesMax must be 1\.\.10_000_000, got 0/);
  assert.throws(() => memory({ entries: 1 } as never), /TypeError: unknown key "memory\.entries", did you mean/);
  assert.throws(
    () => memory({ retentionMs: 1_000, retentionMsMin: 2_000 }),
    /RangeError: memory\.retentionMsMin must be at most retentionMs \(1000\), got 2000/,
  );
});
