import assert from "node:assert/strict";
import { test } from "node:test";
import { createChannel } from "holdfast";
import { createCluster } from "holdfast/testing";
import * as fc from "fast-check";
import { FrameReader } from "./frame-reader.ts";
import { callMark, History, readCallMark } from "./history.ts";
import { forever, probe, SafeProbe } from "./probe-cluster.ts";
import { callMarkName, WireTap } from "./wire-tap.ts";

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** All but HEADERS and what belongs to them. */
const frameOf = fc.tuple(fc.constantFrom(0, 3, 4, 6, 7, 8), fc.nat(100), fc.uint8Array({ maxLength: 40 }));

test("the same frames are read however the bytes come", () => {
  fc.assert(
    fc.property(fc.array(frameOf, { maxLength: 12 }), fc.array(fc.nat(20), { maxLength: 60 }), (frames, cuts) => {
      const bytes = Buffer.concat(frames.map(([type, stream, payload]) => frame(type, 0, stream, payload)));
      const seen: unknown[] = [];
      const reader = new FrameReader(false, ({ type, stream, payload }) =>
        seen.push([type, stream, new Uint8Array(payload)]),
      );
      let at = 0;
      for (const cut of cuts) {
        reader.push(bytes.subarray(at, at + cut));
        at = Math.min(bytes.length, at + cut);
      }
      reader.push(bytes.subarray(at));
      assert.deepEqual(seen, frames);
      assert.equal(reader.isBlind, false);
    }),
  );
});

test("whatever comes, the reader throws nothing, and is blind when it cannot go on", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (chunks) => {
      const reader = new FrameReader(false, () => {});
      for (const chunk of chunks) reader.push(Buffer.from(chunk));
      assert.equal(typeof reader.isBlind, "boolean");
    }),
  );
  const blind = new FrameReader(false, () => {});
  // An index into a table that is empty.
  blind.push(frame(1, 4, 1, Buffer.from([0xff, 0xff, 0x03])));
  assert.equal(blind.isBlind, true);
});

test("a mark is its call's alone", () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(40), fc.nat(7), (number, place, bit) => {
      const mark = callMark(number);
      assert.equal(readCallMark(mark), number);
      const bytes = Buffer.from(mark);
      const at = place % bytes.length;
      bytes[at] = (bytes[at] as number) ^ (1 << bit);
      assert.equal(readCallMark(bytes.toString("latin1")), undefined);
    }),
  );
  assert.equal(readCallMark(undefined), undefined);
  assert.equal(readCallMark(""), undefined);
});

test("the tap sees each attempt of a call, how it ended, and what the client leaves armed", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 2, (server) => probe(server, { upload: forever }), { limits: { streamsPerConnectionMax: 5 } });
  const history = new History();
  const { simulation } = cluster;
  const tap = new WireTap(cluster.world, history, () => simulation.nowMs, 1);
  const channel = createChannel([...cluster.target("shop")], { world: tap.world, plaintext: true });
  const client = channel.client(SafeProbe);
  const begin = (): ReturnType<History["callBegan"]> => {
    const facts = { client: "client", life: 0, effect: "none", kind: "unary", attemptsMax: 3, isProbe: false } as const;
    return history.callBegan({ ...facts, beganAtMs: simulation.nowMs, dueAtMs: simulation.nowMs + 1000 });
  };
  const well = begin();
  await cluster.settle(client.unary({}, { metadata: { [callMarkName]: callMark(well.number) } }));
  const [only] = well.attempts;
  assert.deepEqual([well.attempts.length, only?.end, only?.status], [1, "status", 0]);
  assert.ok(
    (only?.repliedAtMs ?? Infinity) <= (only?.endedAtMs ?? 0) && (only?.sentAtMs ?? 0) < (only?.repliedAtMs ?? 0),
  );

  const late = begin();
  const options = { metadata: { [callMarkName]: callMark(late.number) }, timeoutMs: 50 };
  await cluster.settle(assert.rejects(client.upload([{}], options), { code: "DEADLINE_EXCEEDED" }));
  await cluster.advance(10);
  assert.ok(["reset-by-client", "status"].includes(late.attempts.at(-1)?.end ?? ""));

  const dies = begin();
  const dying = client.upload([{}], { metadata: { [callMarkName]: callMark(dies.number) }, timeoutMs: 500 });
  const settled = assert.rejects(dying, { code: "UNAVAILABLE" });
  await cluster.advance(5);
  for (const peer of ["shop/0", "shop/1"]) simulation.crash(peer);
  await cluster.settle(settled.catch(() => {}));
  assert.ok(dies.attempts.length >= 1 && dies.attempts[0]?.end === "lost", JSON.stringify(dies.attempts[0]?.end));

  await cluster.settle(channel.close());
  await cluster.advance(700_000);
  assert.deepEqual([tap.timers, tap.holds], [0, 0]);
  assert.ok(tap.connections.length >= 2 && tap.connections.every(({ isClosed }) => isClosed));
});

test("a stream that leaves after a GOAWAY which leaves it out was not processed", () => {
  const history = new History();
  const tap = new WireTap(createCluster().world, history, () => 10, 1);
  const call = history.callBegan({
    client: "c0",
    life: 0,
    effect: "once",
    kind: "unary",
    beganAtMs: 5,
    dueAtMs: 20,
    attemptsMax: 3,
    isProbe: false,
  });
  const connection = tap.connecting("a", () => 0);
  const open = (stream: number): void => {
    const fields = new Map([[callMarkName, callMark(call.number)]]);
    tap.wrote(connection, { type: 1, flags: 4, stream, payload: Buffer.alloc(0), fields });
  };
  open(9);
  tap.read(connection, {
    type: 7,
    flags: 0,
    stream: 0,
    payload: Buffer.from("0000000900000000", "hex"),
    fields: undefined,
  });
  open(11);
  assert.deepEqual(
    call.attempts.map(({ stream, end }) => [stream, end]),
    [
      [9, "open"],
      [11, "unprocessed"],
    ],
  );
});
