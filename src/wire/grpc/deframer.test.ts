import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MessageDeframer, messagePrefixBytes, writeMessagePrefix } from "./deframer.ts";

interface Message {
  readonly isCompressed: boolean;
  readonly bytes: Uint8Array;
}

function framed(messages: readonly Message[]): Buffer {
  return Buffer.concat(
    messages.map(({ isCompressed, bytes }) => {
      const out = Buffer.alloc(messagePrefixBytes + bytes.length);
      writeMessagePrefix(out, 0, isCompressed, bytes.length);
      out.set(bytes, messagePrefixBytes);
      return out;
    }),
  );
}

/** Feeds the wire in pieces, each of which lies inside a larger chunk, as DATA frames do. */
function deframed(
  wire: Buffer,
  cuts: readonly number[],
  max: number,
): { readonly got: string[]; readonly deframer: MessageDeframer } {
  const deframer = new MessageDeframer(max);
  const got: string[] = [];
  const ends = [...cuts.map((cut) => cut % (wire.length + 1)), wire.length].sort((a, b) => a - b);
  let at = 0;
  for (const end of ends) {
    const chunk = Buffer.concat([Buffer.from([1, 255, 255]), wire.subarray(at, end), Buffer.from([255, 1])]);
    deframer.push(chunk, 3, 3 + end - at);
    while (deframer.next())
      got.push(`${Number(deframer.isCompressed)}${deframer.bytes.toString("hex", deframer.start, deframer.end)}`);
    chunk.fill(0xee);
    at = end;
  }
  return { got, deframer };
}

const message = fc.record({ isCompressed: fc.boolean(), bytes: fc.uint8Array({ maxLength: 300 }) });
const messages = fc.array(message, { maxLength: 8 });
const cuts = fc.array(fc.nat(5_000), { maxLength: 30 });

test("any split of the same bytes gives the same messages", () => {
  fc.assert(
    fc.property(messages, cuts, (given, at) => {
      const { got, deframer } = deframed(framed(given), at, 300);
      assert.deepEqual(
        got,
        given.map(({ isCompressed, bytes }) => `${Number(isCompressed)}${Buffer.from(bytes).toString("hex")}`),
      );
      assert.equal(deframer.error, undefined);
      assert.equal(deframer.isMidMessage, false);
    }),
    { numRuns: 1_000 },
  );
});

test("byte by byte is a split like any other", () => {
  const wire = framed([
    { isCompressed: true, bytes: Buffer.from("hello") },
    { isCompressed: false, bytes: Buffer.alloc(0) },
    { isCompressed: false, bytes: Buffer.from("x") },
  ]);
  assert.deepEqual(deframed(wire, [...wire.keys()], 10).got, ["168656c6c6f", "0", "078"]);
});

test("a truncated stream is mid-message exactly when it does not end between messages", () => {
  fc.assert(
    fc.property(messages, cuts, fc.nat(3_000), (given, at, length) => {
      const wire = framed(given);
      const kept = wire.subarray(0, length % (wire.length + 1));
      const borders = [0];
      for (const { bytes } of given) borders.push((borders.at(-1) ?? 0) + messagePrefixBytes + bytes.length);
      assert.equal(deframed(kept, at, 300).deframer.isMidMessage, !borders.includes(kept.length));
    }),
  );
});

test("any bytes, split in any way, give the same messages and the same error", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.array(fc.constantFrom(0, 1, 2), { maxLength: 60 })),
      cuts,
      (bytes, at) => {
        const wire = Buffer.from(bytes);
        const whole = deframed(wire, [], 20);
        const split = deframed(wire, at, 20);
        assert.deepEqual(split.got, whole.got);
        assert.equal(split.deframer.error, whole.deframer.error);
        assert.equal(split.deframer.isMidMessage, whole.deframer.isMidMessage);
      },
    ),
    { numRuns: 2_000 },
  );
});

test("a message that lies in one range is given in place", () => {
  const wire = framed([{ isCompressed: false, bytes: Buffer.from("hello") }]);
  const deframer = new MessageDeframer(5);
  deframer.push(wire, 0, wire.length);
  assert.ok(deframer.next());
  assert.equal(deframer.bytes, wire);
  assert.deepEqual([deframer.start, deframer.end], [5, 10]);
});

test("only the prefix cut: the message itself is still given in place", () => {
  const wire = framed([{ isCompressed: false, bytes: Buffer.from("hello") }]);
  const deframer = new MessageDeframer(5);
  deframer.push(wire, 0, 3);
  assert.ok(!deframer.next());
  deframer.push(wire, 3, wire.length);
  assert.ok(deframer.next());
  assert.equal(deframer.bytes, wire);
});

test("too large is told from the prefix alone, with its length, and nothing comes after it", () => {
  for (const cut of [0, 1, 4]) {
    const wire = Buffer.concat([
      framed([{ isCompressed: false, bytes: Buffer.alloc(10) }]),
      Buffer.from([0, 0xff, 0xff, 0xff, 0xff]),
    ]);
    const { got, deframer: fed } = deframed(wire, cut === 0 ? [] : [15 + cut], 10);
    assert.equal(got.length, 1);
    assert.equal(fed.error, "too-large");
    assert.equal(fed.messageBytes, 0xffff_ffff);
    const more = framed([{ isCompressed: false, bytes: Buffer.alloc(1) }]);
    fed.push(more, 0, more.length);
    assert.ok(!fed.next());
    assert.equal(fed.error, "too-large");
    assert.ok(!fed.isMidMessage);
  }
});

test("the limit itself passes, also when it is 0", () => {
  assert.deepEqual(deframed(framed([{ isCompressed: false, bytes: Buffer.alloc(0) }]), [2], 0).got, ["0"]);
  assert.equal(deframed(framed([{ isCompressed: false, bytes: Buffer.alloc(1) }]), [], 0).deframer.error, "too-large");
});

test("a flag that is neither 0 nor 1 is told at once", () => {
  for (const flag of [2, 3, 0x80, 0xff]) {
    const deframer = new MessageDeframer(10);
    deframer.push(Buffer.from([flag]), 0, 1);
    assert.ok(!deframer.next());
    assert.equal(deframer.error, "bad-flag");
    const whole = new MessageDeframer(10);
    whole.push(Buffer.from([flag, 0, 0, 0, 1, 9]), 0, 6);
    assert.ok(!whole.next());
    assert.equal(whole.error, "bad-flag");
  }
});

test("a length alone makes nobody allocate: what is held follows what has come", () => {
  const deframers: MessageDeframer[] = [];
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1_000; i++) {
    const deframer = new MessageDeframer(4 << 20);
    const chunk = Buffer.from([0, 0, 0x40, 0, 0, 7, 7, 7]);
    deframer.push(chunk, 0, chunk.length);
    assert.ok(!deframer.next());
    deframers.push(deframer);
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
  assert.ok(deframers.every(({ isMidMessage }) => isMidMessage));
});

test("after an exhausted range the chunk is let go", () => {
  const deframer = new MessageDeframer(100);
  const wire = framed([{ isCompressed: false, bytes: Buffer.from("hello") }]);
  deframer.push(wire, 0, wire.length);
  while (deframer.next()) assert.equal(deframer.bytes, wire);
  assert.equal(deframer.bytes.length, 0);
});

test("pushing over unread input is a programmer's error", () => {
  const deframer = new MessageDeframer(100);
  deframer.push(Buffer.alloc(3), 0, 3);
  assert.throws(() => deframer.push(Buffer.alloc(3), 0, 3), /previous range is not exhausted/);
});

test("a message of 1 MiB in ranges of 16 KiB arrives whole", () => {
  const bytes = Buffer.alloc(1 << 20, "0123456789abcdef");
  const wire = framed([
    { isCompressed: false, bytes },
    { isCompressed: false, bytes: Buffer.from("next") },
  ]);
  const deframer = new MessageDeframer(4 << 20);
  const got: Buffer[] = [];
  for (let at = 0; at < wire.length; at += 16_384) {
    deframer.push(wire, at, Math.min(wire.length, at + 16_384));
    while (deframer.next()) got.push(deframer.bytes.subarray(deframer.start, deframer.end));
  }
  assert.equal(got.length, 2);
  assert.ok(got[0]?.equals(bytes));
  assert.equal(got[1]?.toString(), "next");
});

test("the prefix is the flag and the length in network order", () => {
  const out = Buffer.alloc(7, 0xee);
  writeMessagePrefix(out, 1, true, 0x0102_0304);
  assert.deepEqual([...out], [0xee, 1, 1, 2, 3, 4, 0xee]);
  writeMessagePrefix(out, 1, false, 0xffff_ffff);
  assert.equal(out.readUInt32BE(2), 0xffff_ffff);
});
