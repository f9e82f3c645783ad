/**
 * Claims, answers and withdrawals in any order: whatever the interleaving, an id runs once and every repeat gets what that run gave.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { DedupClaim, DedupEntry } from "./dedup-store.ts";
import { bytesOf, type DedupUnderTest, keyOf, type MakeStore, roomyLimits } from "../testing/dedup-suite.ts";
import { nodeWorld } from "../world/node.ts";
import { inlineRunner, memoryRig, sqliteRig } from "./testdata/dedup-rigs.ts";

/** A step of a history. Claims are not waited for; a turn lets the store do what it has to. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("claim" as const), id: fc.nat(3), payload: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("finish" as const), id: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("forget" as const), id: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** What a history has seen of one id since it was last taken back. */
interface Seen {
  runs: number;
  isEnded: boolean;
  entry: DedupEntry | undefined;
  payload: number | undefined;
  answer: string | undefined;
}

for (const [name, make, numRuns] of [
  ["memory()", memoryRig, 300],
  ["sqlite()", sqliteRig(inlineRunner()), 25],
] as const satisfies readonly (readonly [
  string,
  MakeStore<never> | MakeStore<import("../world/node-database.ts").DatabaseSync>,
  number,
])[])
  test(`${name}: in no history does an id run twice or a repeat get another's answer`, {
    timeout: 180_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const rig = (await make(roomyLimits)) as DedupUnderTest<unknown>;
        try {
          await play(rig, steps);
        } finally {
          await rig.close();
        }
      }),
      { numRuns, seed: 11 },
    );
  });

async function play({ store }: DedupUnderTest<unknown>, steps: readonly Step[]): Promise<void> {
  const seen = Array.from({ length: 4 }, (): Seen => fresh());
  const claims: Promise<void>[] = [];
  for (const one of steps) {
    if (one.do === "turn") await turn();
    else if (one.do === "claim") claims.push(judge(store.claim(request(one)), seen[one.id] as Seen, one.payload));
    else {
      const about = seen[one.id] as Seen;
      const { entry } = about;
      if (entry === undefined || about.isEnded) continue;
      about.isEnded = true;
      if (one.do === "finish") {
        about.answer = `answer ${one.id} of payload ${about.payload}`;
        await store.finish(entry, bytesOf(about.answer));
      } else {
        // From here on it may run again: what was seen of it counts no more.
        seen[one.id] = fresh();
        await store.forget(entry);
      }
    }
  }
  for (const about of seen)
    if (about.entry !== undefined && !about.isEnded) {
      about.isEnded = true;
      about.answer = "at the end";
      await store.finish(about.entry, bytesOf(about.answer));
    }
  await turn();
  await turn();
  // Those that came late to an id that was taken back may run after the end of the history: they are finished too.
  for (const about of seen) if (about.entry !== undefined) await store.finish(about.entry, bytesOf("at the end"));
  await Promise.all(claims);
}

async function judge(pending: DedupClaim | Promise<DedupClaim>, about: Seen, payload: number): Promise<void> {
  const claim = await pending;
  switch (claim.kind) {
    case "run":
      about.runs += 1;
      assert.equal(about.runs, 1, "it ran twice");
      about.entry = claim.entry;
      about.payload = payload;
      return;
    case "answer":
      assert.equal(about.answer === undefined || text(claim.answer) === about.answer, true);
      return;
    case "running": {
      const answer = await claim.answer;
      if (answer !== undefined && about.answer !== undefined) assert.equal(text(answer), about.answer);
      return;
    }
    case "conflict":
      return;
    case "expired":
    case "unknown":
    case "full":
      assert.fail(`${claim.kind} without a reason`);
  }
}

function request({ id, payload }: { readonly id: number; readonly payload: number }): ReturnType<typeof keyOf> {
  return keyOf({ id: `${id}`, payload: `${payload}` });
}

function fresh(): Seen {
  return { runs: 0, isEnded: false, entry: undefined, payload: undefined, answer: undefined };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function turn(): Promise<void> {
  await new Promise<void>((resolve) => nodeWorld.timers.afterTurn(resolve));
}
