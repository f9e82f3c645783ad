import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Http2Role } from "./connection.ts";
import { chunksOf, clientBytes, damage, serverBytes } from "./testdata/conversations.ts";
import { DrivenEngine, retainedBytes, type Seen } from "./testdata/driven-engine.ts";
import { REQUEST_FIELDS, sourceOf } from "./testdata/frame-script.ts";

interface Reading {
  readonly seen: Seen[];
  readonly sent: string;
  readonly isFailed: boolean;
}

function read(role: Http2Role, chunks: readonly Buffer[], framesPerTurnMax = 4_096): Reading {
  const driven = new DrivenEngine(role, { framesPerTurnMax });
  driven.engine.start();
  if (role === "client") {
    for (let i = 0; i < 6; i++) driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), false);
  }
  for (const chunk of chunks) {
    driven.receive(chunk);
    assert.ok(retainedBytes(driven) <= 140_000);
  }
  return { seen: joined(driven.seen), sent: driven.take().toString("hex"), isFailed: driven.engine.isFailed };
}

/** DATA in parts is the same as DATA in one piece. */
function joined(seen: readonly Seen[]): Seen[] {
  const result: Seen[] = [];
  for (const event of seen) {
    const last = result.at(-1);
    if (event.kind === "data" && last?.kind === "data" && last.id === event.id && !last.ends) {
      last.text += event.text;
      last.ends = event.ends;
    } else {
      result.push({ ...event });
    }
  }
  return result;
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5_000 })), {
  minLength: 1,
  maxLength: 8,
});

for (const [role, bytes] of [
  ["server", clientBytes],
  ["client", serverBytes],
] as const) {
  test(`${role}: however a conversation is cut, events and answers are the same`, () => {
    fc.assert(
      fc.property(bytes, sizes, (whole, cut) => {
        assert.deepEqual(read(role, chunksOf(whole, cut)), read(role, [whole]));
      }),
      { numRuns: 150 },
    );
  });

  test(`${role}: however a damaged conversation is cut, events and answers are the same`, () => {
    fc.assert(
      fc.property(bytes, damage, sizes, (whole, wound, cut) => {
        const damaged = wound(whole);
        assert.deepEqual(read(role, chunksOf(damaged, cut)), read(role, [damaged]));
      }),
      { numRuns: 300 },
    );
  });

  test(`${role}: byte by byte, and a frame a turn, events and answers are the same`, () => {
    fc.assert(
      fc.property(bytes, damage, (whole, wound) => {
        const damaged = wound(whole);
        const expected = read(role, [damaged]);
        assert.deepEqual(read(role, chunksOf(damaged, [1])), expected);
        assert.deepEqual(read(role, [damaged], 1), expected);
        assert.deepEqual(read(role, chunksOf(damaged, [700]), 2), expected);
      }),
      { numRuns: 20 },
    );
  });
}

/** The one of some conversations that has the most to tell. */
function richConversation(): Buffer {
  const samples = fc.sample(clientBytes, { numRuns: 40, seed: 7 });
  const eventful = samples.sort((x, y) => read("server", [y]).seen.length - read("server", [x]).seen.length);
  return eventful[0] as Buffer;
}

test("a conversation cut at each single place gives the same events and answers", () => {
  const whole = richConversation();
  const expected = read("server", [whole]);
  assert.ok(expected.seen.length > 15);
  for (let at = 1; at < Math.min(whole.length, 1_500); at++) {
    assert.deepEqual(read("server", [whole.subarray(0, at), whole.subarray(at)]), expected);
  }
});

test("what arrives while frames wait for the next turn is read after them", () => {
  const driven = new DrivenEngine("server", { framesPerTurnMax: 2 });
  const whole = richConversation();
  driven.engine.start();
  for (const chunk of chunksOf(whole, [400])) driven.engine.receive(chunk, driven.nowMs, driven.list);
  assert.ok(driven.engine.hasRest);
  driven.receive(Buffer.alloc(0));
  assert.deepEqual(joined(driven.seen), read("server", [whole]).seen);
});
