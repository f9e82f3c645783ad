import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { nodeWorld } from "../world/node.ts";
import type { World } from "../world/world.ts";
import {
  CALL_ID_BYTES,
  callIdText,
  hexOf,
  type IdWords,
  mintCallId,
  mintedMsOf,
  readCallId,
  readTraceparent,
  TRACEPARENT_BYTES,
  writeCallId,
  writeTraceparent,
} from "./ids.ts";
import type { TraceWords } from "./scope.ts";

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const ids: fc.Arbitrary<IdWords> = fc.record({ id0: word, id1: word, id2: word, id3: word }, { noNullPrototype: true });
const traces: fc.Arbitrary<TraceWords> = fc.record(
  {
    trace0: word,
    trace1: word,
    trace2: word,
    trace3: word,
    span0: word,
    span1: word,
    traceFlags: fc.integer({ min: 0, max: 255 }),
  },
  { noNullPrototype: true },
);
const noTrace = (): TraceWords => ({ trace0: 1, trace1: 1, trace2: 1, trace3: 1, span0: 1, span1: 1, traceFlags: 1 });
const ZERO: TraceWords = { trace0: 0, trace1: 0, trace2: 0, trace3: 0, span0: 0, span1: 0, traceFlags: 0 };
const isZero = (words: TraceWords): boolean =>
  (words.trace0 | words.trace1 | words.trace2 | words.trace3) === 0 || (words.span0 | words.span1) === 0;

describe("a call id", () => {
  it("is read back as it was written, and its text is what is on the wire", () => {
    fc.assert(
      fc.property(ids, fc.nat(20), (id, at) => {
        const bytes = Buffer.alloc(at + CALL_ID_BYTES + 3, "!");
        writeCallId(bytes, at, id);
        assert.equal(bytes.toString("latin1", at, at + CALL_ID_BYTES), callIdText(id));
        assert.match(callIdText(id), /^[0-9a-f]{32}$/);
        assert.equal(bytes.toString("latin1", at + CALL_ID_BYTES), "!!!", "nothing is written behind it");
        const read: IdWords = { id0: 9, id1: 9, id2: 9, id3: 9 };
        assert.ok(readCallId(bytes, at, read));
        assert.deepEqual(read, id);
      }),
    );
  });

  it("of any other characters is not one", () => {
    const characters = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(characters, (given) => {
        const isHex = /^[0-9a-f]{32}$/.test(Buffer.from(given).toString("latin1"));
        assert.equal(readCallId(Buffer.from(given), 0, { id0: 0, id1: 0, id2: 0, id3: 0 }), isHex);
      }),
    );
    for (const text of ["A".repeat(32), "g".repeat(32), `${"0".repeat(31)} `]) {
      assert.equal(readCallId(Buffer.from(text), 0, { id0: 0, id1: 0, id2: 0, id3: 0 }), false);
    }
  });

  it("begins with the milliseconds of its making, so that ids sort by time and tell their age", () => {
    const times = fc.integer({ min: 0, max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (wallMs, chance) => {
        const world: World = {
          ...nodeWorld,
          clock: { wallMs: () => wallMs, monotonicMs: () => 0 },
          random: { uint32: () => chance, float: () => 0 },
        };
        const id: IdWords = { id0: 0, id1: 0, id2: 0, id3: 0 };
        mintCallId(world, id);
        const text = callIdText(id);
        assert.equal(Number.parseInt(text.slice(0, 12), 16), wallMs);
        assert.equal(text.slice(16), hexOf(chance) + hexOf(chance));
        assert.equal(mintedMsOf(id), wallMs);
        for (const part of [id.id0, id.id1, id.id2, id.id3]) assert.equal(part, part | 0, "a small integer");
      }),
    );
  });

  it("is told from a caller's own 32 digits, in which there is no time to be read", () => {
    let mistaken = 0;
    for (let i = 0; i < 20_000; i++) {
      const words = { id0: nodeWorld.random.uint32() | 0, id1: nodeWorld.random.uint32() | 0, id2: i, id3: i * 7 };
      if (mintedMsOf(words) !== undefined) mistaken += 1;
    }
    assert.ok(mistaken <= 5, `${mistaken} of 20,000: one in 65,536 is to be expected`);
  });

  it("is not minted twice", () => {
    const seen = new Set<string>();
    const id: IdWords = { id0: 0, id1: 0, id2: 0, id3: 0 };
    for (let i = 0; i < 10_000; i++) {
      mintCallId(nodeWorld, id);
      seen.add(callIdText(id));
    }
    assert.equal(seen.size, 10_000);
  });
});

describe("a traceparent", () => {
  it("is read back as it was written, anywhere in a buffer", () => {
    fc.assert(
      fc.property(traces, fc.nat(20), (trace, at) => {
        const bytes = Buffer.alloc(at + TRACEPARENT_BYTES + 2, "!");
        writeTraceparent(bytes, at, trace);
        assert.match(bytes.toString("latin1", at), /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}!!$/);
        const read = noTrace();
        assert.equal(readTraceparent(bytes, at, at + TRACEPARENT_BYTES, read), !isZero(trace));
        assert.deepEqual(read, isZero(trace) ? ZERO : trace);
      }),
    );
  });

  it("that is malformed, all zero, or of another length leaves zeros", () => {
    const good = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
    const bad = [
      "",
      good.slice(1),
      `${good}0`,
      good.replaceAll("-", "_"),
      `01${good.slice(2)}`,
      `00-${"0".repeat(32)}-${"2".repeat(16)}-01`,
      `00-${"1".repeat(32)}-${"0".repeat(16)}-01`,
      good.toUpperCase().replace("1", "A"),
      good.replace("2", "g"),
      `${good.slice(0, -1)}x`,
    ];
    for (const text of bad) {
      const read = noTrace();
      assert.equal(readTraceparent(Buffer.from(text), 0, text.length, read), false, text);
      assert.deepEqual(read, ZERO, text);
    }
    const read = noTrace();
    assert.ok(readTraceparent(Buffer.from(good), 0, good.length, read));
    assert.deepEqual([read.trace0, read.span0, read.traceFlags], [0x11111111, 0x22222222, 1]);
  });

  it("of random bytes is refused or says what they say", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 55, maxLength: 55 }), (given) => {
        const bytes = Buffer.from(given);
        const isGood = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(bytes.toString("latin1"));
        assert.equal(readTraceparent(bytes, 0, 55, noTrace()), isGood);
      }),
    );
  });
});
