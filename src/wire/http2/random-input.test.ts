import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Http2Role } from "./connection.ts";
import { CLIENT_PREFACE } from "./frame.ts";
import { chunksOf, clientBytes, damage, serverBytes } from "./testdata/conversations.ts";
import { DrivenEngine, retainedBytes } from "./testdata/driven-engine.ts";
import { blockOf, frame, REQUEST_FIELDS, settings, settingsAck, sourceOf } from "./testdata/frame-script.ts";

/** Frames whose parts are each likely to be good, so that chance comes far into the engine. */
const anyFrame = fc
  .record({
    type: fc.oneof({ weight: 9, arbitrary: fc.nat(9) }, fc.nat(255)),
    flags: fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x0d, 0x25), fc.nat(255)),
    id: fc.oneof({ weight: 8, arbitrary: fc.nat(20) }, fc.nat(2 ** 31 - 1)),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(0, 1, 4, 5, 6, 8, 12, 300, 16_384).map((length) => Buffer.alloc(length)),
      fc.constant(blockOf(REQUEST_FIELDS)),
      fc.nat(2 ** 31 - 1).map((n) => Buffer.from([n >>> 24, n >>> 16, n >>> 8, n])),
    ),
  })
  .map(({ type, flags, id, payload }) => frame(type, flags, id, payload));

const randomBytes = fc.oneof(
  fc.uint8Array({ maxLength: 2_000, size: "max" }).map((bytes) => Buffer.from(bytes)),
  fc.array(anyFrame, { maxLength: 60, size: "max" }).map((frames) => Buffer.concat(frames)),
);

function assertHolds(role: Http2Role, hasStarted: boolean, bytes: Buffer, sizes: readonly number[]): void {
  const driven = new DrivenEngine(role);
  driven.engine.start();
  if (role === "client") {
    for (let i = 0; i < 4; i++) driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), i === 3);
  }
  driven.take();
  const begin = Buffer.concat([role === "server" ? CLIENT_PREFACE : Buffer.alloc(0), settings(), settingsAck()]);
  const whole = hasStarted ? Buffer.concat([begin, bytes]) : bytes;
  for (const chunk of chunksOf(whole, sizes)) {
    driven.nowMs += 1;
    driven.receive(chunk);
    assert.ok(retainedBytes(driven) <= 140_000);
  }
  assert.ok(driven.engine.streams.count <= 100);
  assert.ok(driven.seen.length <= whole.length);
  const sent = driven.take().length;
  assert.ok(sent <= whole.length * 2 + 512, `${sent} bytes for ${whole.length}`);
  const ends = driven.seen.findIndex((event) => event.kind === "connection-error");
  assert.equal(ends >= 0, driven.engine.isFailed);
  if (ends >= 0) assert.equal(ends, driven.seen.length - 1, "the connection's error is its last event");
  driven.engine.dispose();
  assert.equal(driven.budget.granted, 0);
}

const sizes = fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 5 });

for (const role of ["server", "client"] as const) {
  test(`${role}: random bytes throw nothing, keep little and are answered with little`, () => {
    fc.assert(
      fc.property(fc.boolean(), randomBytes, sizes, (hasStarted, bytes, cut) => {
        assertHolds(role, hasStarted, bytes, cut);
      }),
      { numRuns: 3_000 },
    );
  });

  test(`${role}: damaged conversations throw nothing, keep little and are answered with little`, () => {
    fc.assert(
      fc.property(role === "server" ? clientBytes : serverBytes, damage, sizes, (bytes, wound, cut) => {
        assertHolds(role, false, wound(bytes), cut);
      }),
      { numRuns: 1_000 },
    );
  });
}
