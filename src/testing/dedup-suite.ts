/**
 * What every dedup store must do: run it against the one in memory and the one in a file, so that a server may take either.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DedupClaim, DedupEntry, DedupKey, DedupStore } from "../durable/dedup-store.ts";
import { payloadHashOf } from "../durable/payload-hash.ts";

/** How much the store under test holds. */
export interface DedupLimits {
  readonly entriesMax: number;
  readonly retentionMs: number;
  readonly retentionMsMin: number;
}

/** A store under test, open, and the wall clock that it reads. */
export interface DedupUnderTest<Tx> {
  readonly store: DedupStore<Tx>;
  /** Moves both clocks on. */
  readonly advance: (ms: number) => void;
  /** Sets the wall clock alone back or forth. */
  readonly jump: (ms: number) => void;
  readonly nowMs: () => number;
  readonly close: () => Promise<void>;
}

export type MakeStore<Tx> = (limits: DedupLimits) => Promise<DedupUnderTest<Tx>>;

/** Roomy, and a day. */
export const roomyLimits: DedupLimits = { entriesMax: 10_000, retentionMs: 86_400_000, retentionMsMin: 60_000 };

/** A claim with everything but what the test is about filled in. Its id says nothing of its age. */
export function keyOf(change: Partial<DedupKey> & { readonly payload?: string }): DedupKey {
  const { payload = "a cup of tea", ...rest } = change;
  const payloadHash = payloadHashOf(Buffer.from(payload));
  return {
    path: "/shop.v1.Shop/Buy",
    principal: "alice",
    id: "order-1",
    mintedMs: undefined,
    payloadHash,
    rerunUnknown: false,
    ...rest,
  };
}

/** The entry of a claim that was told to run. */
export function entryOf(claim: DedupClaim): DedupEntry {
  assert.equal(claim.kind, "run");
  return (claim as Extract<DedupClaim, { kind: "run" }>).entry;
}

export async function assertAnswer(claim: DedupClaim, text: string): Promise<void> {
  if (claim.kind === "running") assert.equal(textOf(await claim.answer), text);
  else assert.deepEqual([claim.kind, "answer" in claim ? textOf(claim.answer) : undefined], ["answer", text]);
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** Registers the suite with node:test under `name`; `make` gives each test a store of its own. */
export function dedupSuite<Tx>(name: string, make: MakeStore<Tx>): void {
  const test = (claim: string, body: (rig: DedupUnderTest<Tx>) => Promise<void>, limits = roomyLimits): void => {
    it(claim, { timeout: 60_000 }, async () => {
      const rig = await make(limits);
      try {
        await body(rig);
      } finally {
        await rig.close();
      }
    });
  };
  describe(`${name} as a dedup store`, () => {
    answers(test);
    ages(test);
    clocks(test);
    limits(test);
    shares(test);
  });
}

type Register<Tx> = (claim: string, body: (rig: DedupUnderTest<Tx>) => Promise<void>, limits?: DedupLimits) => void;

function answers<Tx>(test: Register<Tx>): void {
  test("a repeat gets the first answer and does not run", async ({ store }) => {
    await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
    await assertAnswer(await store.claim(keyOf({})), "one");
    await assertAnswer(await store.claim(keyOf({})), "one");
  });

  test("an answer of no bytes is an answer", async ({ store }) => {
    await store.finish(entryOf(await store.claim(keyOf({}))), new Uint8Array(0));
    await assertAnswer(await store.claim(keyOf({})), "");
  });

  test("a repeat while it runs attaches, however many there are", async ({ store }) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const repeats = await Promise.all(Array.from({ length: 100 }, async () => store.claim(keyOf({}))));
    assert.deepEqual(new Set(repeats.map(({ kind }) => kind)), new Set(["running"]));
    await store.finish(entry, bytesOf("one"));
    for (const repeat of repeats) await assertAnswer(repeat, "one");
  });

  test("of many claims in the same turn one runs", async ({ store }) => {
    const claims = await Promise.all(Array.from({ length: 100 }, async () => store.claim(keyOf({}))));
    const [first, ...rest] = claims;
    assert.ok(first !== undefined);
    assert.deepEqual(new Set(rest.map(({ kind }) => kind)), new Set(["running"]));
    await store.finish(entryOf(first), bytesOf("one"));
    for (const repeat of rest) await assertAnswer(repeat, "one");
  });

  test("many repeats in the same turn of what was finished all get the answer", async ({ store }) => {
    await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
    const claims = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => store.claim(keyOf(index % 2 === 0 ? {} : { payload: "coffee" }))),
    );
    for (const [index, claim] of claims.entries())
      if (index % 2 === 0) await assertAnswer(claim, "one");
      else assert.equal(claim.kind, "conflict");
  });

  test("the same id with another payload is refused, running or finished, and changes nothing", async ({ store }) => {
    const entry = entryOf(await store.claim(keyOf({})));
    assert.equal((await store.claim(keyOf({ payload: "coffee" }))).kind, "conflict");
    await store.finish(entry, bytesOf("one"));
    assert.equal((await store.claim(keyOf({ payload: "coffee" }))).kind, "conflict");
    await assertAnswer(await store.claim(keyOf({})), "one");
  });

  test("an id is bound to method and principal, whatever they are made of", async ({ store }) => {
    const keys = [
      {},
      { principal: "bob" },
      { path: "/shop.v1.Shop/Return" },
      { principal: "" },
      { principal: "alic", id: "eorder-1" },
      { principal: "alice order", id: "-1" },
      { principal: "1 a", id: "b" },
      { principal: "", id: "1 ab" },
      { principal: "zoë\u0000", id: "🫖" },
    ];
    for (const [index, key] of keys.entries())
      await store.finish(entryOf(await store.claim(keyOf(key))), bytesOf(`${index}`));
    for (const [index, key] of keys.entries()) await assertAnswer(await store.claim(keyOf(key)), `${index}`);
  });

  test("what was taken back runs again, and who had attached claims again", async ({ store }) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const repeat = await store.claim(keyOf({}));
    await store.forget(entry);
    assert.ok(repeat.kind === "running");
    assert.equal(await repeat.answer, undefined);
    const again = entryOf(await store.claim(keyOf({ payload: "coffee" })));
    await store.finish(again, bytesOf("two"));
    await assertAnswer(await store.claim(keyOf({ payload: "coffee" })), "two");
  });

  test("ending twice is ending once: the first answer stays", async ({ store }) => {
    const entry = entryOf(await store.claim(keyOf({})));
    await Promise.all([store.finish(entry, bytesOf("one")), store.finish(entry, bytesOf("two"))]);
    await store.forget(entry);
    await store.finish(entry, bytesOf("three"));
    await assertAnswer(await store.claim(keyOf({})), "one");
    assert.equal(store.snapshot().entries, 1);
  });

  test("a stale entry cannot end the call that took its place", async ({ store }) => {
    const stale = entryOf(await store.claim(keyOf({})));
    await store.forget(stale);
    const entry = entryOf(await store.claim(keyOf({})));
    await store.finish(stale, bytesOf("stale"));
    await store.forget(stale);
    await store.finish(entry, bytesOf("one"));
    await assertAnswer(await store.claim(keyOf({})), "one");
  });

  test("it says what it holds", async ({ store }) => {
    const entry = entryOf(await store.claim(keyOf({ id: "a" })));
    await store.finish(entryOf(await store.claim(keyOf({ id: "b" }))), bytesOf("b"));
    const { scope, storeId, running, entries, failure } = store.snapshot();
    assert.deepEqual(
      { scope, storeId, running, entries, failure },
      {
        scope: store.scope,
        storeId: store.storeId,
        running: 1,
        entries: 2,
        failure: undefined,
      },
    );
    assert.match(storeId, /^[0-9a-f]{32}$/);
    await store.forget(entry);
    assert.equal(store.snapshot().running, 0);
  });
}

const hourLimits: DedupLimits = { entriesMax: 10_000, retentionMs: 3_600_000, retentionMsMin: 60_000 };

function ages<Tx>(test: Register<Tx>): void {
  test(
    "an id older than the retention is refused and does not run",
    async ({ store, nowMs }) => {
      assert.equal((await store.claim(keyOf({ mintedMs: nowMs() - 3_600_000 }))).kind, "expired");
      assert.equal((await store.claim(keyOf({ mintedMs: 0 }))).kind, "expired");
      entryOf(await store.claim(keyOf({ mintedMs: nowMs() - 3_599_000 })));
    },
    hourLimits,
  );

  test(
    "its repeat gets the answer or is refused at every age, and never runs",
    async ({ store, advance, nowMs }) => {
      const key = keyOf({ mintedMs: nowMs() - 1_000 });
      await store.finish(entryOf(await store.claim(key)), bytesOf("one"));
      for (let step = 0; step < 80; step += 1) {
        advance(60_000);
        // Others come by, so that the store has its chances to forget.
        await store.finish(entryOf(await store.claim(keyOf({ id: `other-${step}`, mintedMs: nowMs() }))), bytesOf("-"));
        const { kind } = await store.claim(key);
        assert.equal(kind, step < 59 ? "answer" : "expired", `after ${step + 1} minutes`);
      }
    },
    hourLimits,
  );

  test(
    "a key of the caller's own is kept for the retention from its first use",
    async ({ store, advance }) => {
      await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
      advance(3_599_000);
      await store.finish(entryOf(await store.claim(keyOf({ id: "other" }))), bytesOf("-"));
      await assertAnswer(await store.claim(keyOf({})), "one");
      advance(1_000);
      await store.finish(entryOf(await store.claim(keyOf({ id: "another" }))), bytesOf("-"));
      entryOf(await store.claim(keyOf({})));
    },
    hourLimits,
  );

  test(
    "what is old goes, however many calls that never end stand before it",
    async ({ store, advance, nowMs }) => {
      const stuck = Array.from({ length: 200 }, (_, index) => keyOf({ id: `stuck-${index}`, mintedMs: nowMs() }));
      for (const key of stuck) entryOf(await store.claim(key));
      await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
      advance(3_600_000);
      for (let step = 0; step < 5; step += 1)
        await store.finish(entryOf(await store.claim(keyOf({ id: `${step}`, mintedMs: nowMs() }))), bytesOf("-"));
      assert.equal(store.snapshot().entries, 205);
      entryOf(await store.claim(keyOf({})));
      for (const key of stuck) assert.equal((await store.claim(key)).kind, "running");
    },
    hourLimits,
  );
}

function clocks<Tx>(test: Register<Tx>): void {
  test(
    "what was forgotten stays refused when the wall clock goes back",
    async ({ store, advance, jump, nowMs }) => {
      const key = keyOf({ mintedMs: nowMs() });
      await store.finish(entryOf(await store.claim(key)), bytesOf("one"));
      advance(1_000);
      jump(7_200_000);
      await store.finish(entryOf(await store.claim(keyOf({ id: "other", mintedMs: nowMs() }))), bytesOf("-"));
      assert.equal((await store.claim(key)).kind, "expired");
      jump(-7_200_000);
      assert.equal((await store.claim(key)).kind, "expired");
      entryOf(await store.claim(keyOf({ id: "new", mintedMs: nowMs() })));
    },
    hourLimits,
  );

  test(
    "an id from a clock that runs five minutes ahead is kept until it is old by its own time",
    async ({ store, advance, nowMs }) => {
      const key = keyOf({ mintedMs: nowMs() + 300_000 });
      await store.finish(entryOf(await store.claim(key)), bytesOf("one"));
      advance(3_800_000);
      await store.finish(entryOf(await store.claim(keyOf({ id: "other", mintedMs: nowMs() }))), bytesOf("-"));
      await assertAnswer(await store.claim(key), "one");
      advance(100_001);
      await store.finish(entryOf(await store.claim(keyOf({ id: "another", mintedMs: nowMs() }))), bytesOf("-"));
      assert.equal((await store.claim(key)).kind, "expired");
    },
    hourLimits,
  );

  test(
    "an id from further ahead is kept for the retention from its first use, and then makes room",
    async ({ store, advance, nowMs }) => {
      const key = keyOf({ mintedMs: nowMs() + 300_001 });
      await store.finish(entryOf(await store.claim(key)), bytesOf("one"));
      advance(3_599_999);
      await store.finish(entryOf(await store.claim(keyOf({ id: "other", mintedMs: nowMs() }))), bytesOf("-"));
      await assertAnswer(await store.claim(key), "one");
      advance(1);
      entryOf(await store.claim(keyOf({ id: "another", mintedMs: nowMs() })));
      assert.equal(store.snapshot().entries, 2);
    },
    hourLimits,
  );
}

const tinyLimits: DedupLimits = { entriesMax: 4, retentionMs: 3_600_000, retentionMsMin: 60_000 };

function limits<Tx>(test: Register<Tx>): void {
  const fill = async ({ store, nowMs }: DedupUnderTest<Tx>): Promise<void> => {
    for (let index = 0; index < 4; index += 1)
      await store.finish(entryOf(await store.claim(keyOf({ id: `old-${index}`, mintedMs: nowMs() }))), bytesOf("old"));
  };

  test(
    "full of young records it refuses new calls, which may come again, and answers repeats",
    async (rig) => {
      await fill(rig);
      const { store, nowMs } = rig;
      assert.equal((await store.claim(keyOf({ id: "new", mintedMs: nowMs() }))).kind, "full");
      await assertAnswer(await store.claim(keyOf({ id: "old-0", mintedMs: nowMs() })), "old");
      assert.equal(store.snapshot().entries, 4);
    },
    tinyLimits,
  );

  test(
    "full of older ones it forgets the oldest, whose repeats are refused from then on",
    async (rig) => {
      await fill(rig);
      const { store, advance, nowMs } = rig;
      const mintedMs = nowMs();
      advance(60_000);
      await store.finish(entryOf(await store.claim(keyOf({ id: "new", mintedMs: nowMs() }))), bytesOf("new"));
      assert.equal((await store.claim(keyOf({ id: "old-0", mintedMs }))).kind, "expired");
      assert.equal((await store.claim(keyOf({ id: "never-seen", mintedMs }))).kind, "expired");
      await assertAnswer(await store.claim(keyOf({ id: "new", mintedMs: nowMs() })), "new");
      assert.ok(store.snapshot().entries <= 4);
      assert.ok(store.snapshot().forgottenMs >= mintedMs);
    },
    tinyLimits,
  );

  test(
    "a running call is never forgotten, and neither is a key of the caller's own",
    async ({ store, advance, nowMs }) => {
      const mintedMs = nowMs();
      const running = entryOf(await store.claim(keyOf({ id: "running", mintedMs })));
      entryOf(await store.claim(keyOf({ id: "never ends", mintedMs })));
      const own = ["a", "b"].map((id) => keyOf({ id, principal: id }));
      for (const key of own) await store.finish(entryOf(await store.claim(key)), bytesOf(key.id));
      advance(600_000);
      for (let index = 0; index < 20; index += 1)
        assert.equal((await store.claim(keyOf({ id: `new-${index}`, mintedMs: nowMs() }))).kind, "full");
      await store.finish(running, bytesOf("late"));
      await assertAnswer(await store.claim(keyOf({ id: "running", mintedMs })), "late");
      for (const key of own) await assertAnswer(await store.claim(key), key.id);
      entryOf(await store.claim(keyOf({ id: "new", mintedMs: nowMs() })));
    },
    tinyLimits,
  );
}

function shares<Tx>(test: Register<Tx>): void {
  test(
    "callers' own keys take half at most, so that other calls go on; taken back or old, they leave room",
    async ({ store, advance, nowMs }) => {
      const own = (index: number) => keyOf({ id: `own-${index}`, principal: `${index}` });
      const late = (id: string) => keyOf({ id, mintedMs: nowMs() });
      const taken = entryOf(await store.claim(own(0)));
      await store.finish(entryOf(await store.claim(own(1))), bytesOf("1"));
      assert.equal((await store.claim(own(2))).kind, "full");
      await assertAnswer(await store.claim(own(1)), "1");
      for (let index = 0; index < 20; index += 1) {
        await store.finish(entryOf(await store.claim(late(`minted-${index}`))), bytesOf("-"));
        advance(60_000);
      }
      await store.forget(taken);
      await store.finish(entryOf(await store.claim(own(2))), bytesOf("2"));
      assert.equal((await store.claim(own(3))).kind, "full");
      advance(3_600_000);
      await store.finish(entryOf(await store.claim(late("another"))), bytesOf("-"));
      for (const index of [3, 4]) await store.finish(entryOf(await store.claim(own(index))), bytesOf("-"));
      assert.equal((await store.claim(own(5))).kind, "full");
    },
    tinyLimits,
  );

  test(
    "ids of the future, of which anybody may claim any, do not shut out the others while it has not come",
    async ({ store, advance, nowMs }) => {
      const call = async (id: string, principal: string, mintedMs: number): Promise<string> => {
        const claim = await store.claim(keyOf({ id, principal, mintedMs }));
        if (claim.kind === "run") await store.finish(claim.entry, bytesOf("-"));
        return claim.kind;
      };
      const ahead: string[] = [];
      for (let index = 0; index < 4; index += 1) ahead.push(await call("x", `mallory-${index}`, nowMs() + 3_000_000));
      assert.deepEqual(ahead, ["run", "run", "full", "full"]);
      for (let index = 0; index < 40; index += 1) {
        assert.equal(await call(`new-${index}`, "alice", nowMs()), "run", `the honest call ${index}`);
        assert.ok(store.snapshot().forgottenMs <= nowMs() - 60_000);
        advance(30_000);
      }
    },
    tinyLimits,
  );

  test(
    "an id of a few minutes ahead does not shield older ones that came after it",
    async ({ store, advance, nowMs }) => {
      const ahead = keyOf({ id: "ahead", mintedMs: nowMs() + 240_000 });
      await store.finish(entryOf(await store.claim(ahead)), bytesOf("ahead"));
      for (let index = 0; index < 12; index += 1) {
        const key = keyOf({ id: `${index}`, mintedMs: nowMs() });
        await store.finish(entryOf(await store.claim(key)), bytesOf("-"));
        advance(20_000);
      }
      await assertAnswer(await store.claim(ahead), "ahead");
    },
    tinyLimits,
  );
}
