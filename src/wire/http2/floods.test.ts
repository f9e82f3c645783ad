import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CANCEL,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_GOAWAY,
  FRAME_PRIORITY,
  readUint32,
  REFUSED_STREAM,
  SETTING_INITIAL_WINDOW_SIZE,
} from "./frame.ts";
import { DEFAULT_HTTP2_LIMITS, TokenBucket } from "./limits.ts";
import { type DrivenEngine, readyEngine, retainedBytes } from "./testdata/driven-engine.ts";
import {
  data,
  frame,
  goAway,
  paddedData,
  parseFrames,
  ping,
  priority,
  REQUEST_FIELDS,
  request,
  reset,
  response,
  settings,
  settingsAck,
  sourceOf,
  TRAILER_FIELDS,
  trailers,
  windowUpdate,
} from "./testdata/frame-script.ts";

interface Toll {
  /** Units until the connection ended, or all of them. */
  units: number;
  inputBytes: number;
  outputBytes: number;
  eventsMax: number;
  streamsMax: number;
  retainedMax: number;
}

/** Sends up to `count` units, a chunk each, and adds up what they cost. */
function flood(driven: DrivenEngine, count: number, unit: (i: number) => Buffer): Toll {
  const toll: Toll = { units: 0, inputBytes: 0, outputBytes: 0, eventsMax: 0, streamsMax: 0, retainedMax: 0 };
  for (; toll.units < count && !driven.engine.isFailed; toll.units++) {
    const bytes = unit(toll.units);
    toll.inputBytes += bytes.length;
    toll.eventsMax = Math.max(toll.eventsMax, driven.receive(bytes).length);
    toll.outputBytes += driven.take().length;
    toll.streamsMax = Math.max(toll.streamsMax, driven.engine.streams.count);
    toll.retainedMax = Math.max(toll.retainedMax, retainedBytes(driven));
  }
  return toll;
}

function assertCalmed(driven: DrivenEngine, toll: Toll, unitsMax: number): void {
  const last = driven.seen.at(-1);
  assert.ok(last?.kind === "connection-error", `the connection goes on after ${toll.units}`);
  assert.equal(last.code, ENHANCE_YOUR_CALM, last.text);
  assert.ok(toll.units <= unitsMax, `only after ${toll.units}`);
  assert.ok(toll.outputBytes <= toll.inputBytes * 2 + 512, `${toll.outputBytes} for ${toll.inputBytes} bytes`);
  assert.ok(toll.streamsMax <= 100 && toll.retainedMax <= 65_536 && toll.eventsMax <= 3);
}

/** A server with stream 1 open, whose handler runs, and streams 3 (closed, released) and 5 (reset by us, handler running). */
function server(): DrivenEngine {
  const driven = readyEngine("server");
  driven.receive(request(1), request(3, true), request(5));
  driven.engine.sendHeaders(driven.stream(3), sourceOf(TRAILER_FIELDS), true);
  driven.engine.release(driven.stream(3));
  driven.engine.reset(driven.stream(5), CANCEL);
  driven.take();
  return driven;
}

function client(): DrivenEngine {
  const driven = readyEngine("client");
  driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), false);
  driven.take();
  return driven;
}

/** Burst of the glitch bucket, and what tolerances come before it. */
const GLITCHES = DEFAULT_HTTP2_LIMITS.glitchBurst + 10;
const RESETS = DEFAULT_HTTP2_LIMITS.resetBurst + 10;

const SAME_FRAMES: readonly (readonly [what: string, unitsMax: number, unit: Buffer])[] = [
  ["PINGs", GLITCHES, ping()],
  ["answers to PINGs never sent", GLITCHES, ping("hold0000", 1)],
  ["empty SETTINGS", GLITCHES, settings()],
  ["SETTINGS that move every stream's window", GLITCHES, settings([SETTING_INITIAL_WINDOW_SIZE, 1], [4, 65_535])],
  ["SETTINGS acknowledgements", GLITCHES, settingsAck()],
  ["empty DATA", 11, data(1, 0)],
  ["DATA of padding alone", 11, paddedData(1, 0, 255)],
  ["PRIORITY", GLITCHES, priority(1)],
  ["PRIORITY on idle streams", GLITCHES, priority(99)],
  ["frames of unknown type", GLITCHES, frame(0x0b, 0, 0, Buffer.alloc(50))],
  ["ALTSVC frames", GLITCHES, frame(0x0a, 0, 1, Buffer.alloc(8))],
  ["ORIGIN frames", GLITCHES, frame(0x0c, 0, 0, Buffer.alloc(8))],
  ["tiny WINDOW_UPDATEs on the connection", GLITCHES, windowUpdate(0, 1)],
  ["tiny WINDOW_UPDATEs on a stream", GLITCHES, windowUpdate(1, 1)],
  ["GOAWAYs", GLITCHES + 1, goAway(1)],
];

for (const [what, unitsMax, unit] of SAME_FRAMES) {
  test(`server: 100,000 ${what} end the connection after at most ${unitsMax}`, () => {
    const driven = server();
    assertCalmed(
      driven,
      flood(driven, 100_000, () => unit),
      unitsMax,
    );
  });
  test(`client: 100,000 ${what} end the connection after at most ${unitsMax}`, () => {
    const driven = client();
    driven.receive(response(1));
    assertCalmed(
      driven,
      flood(driven, 100_000, () => unit),
      unitsMax,
    );
  });
}

const SERVER_FRAMES: readonly (readonly [what: string, unitsMax: number, unit: Buffer])[] = [
  ["RST_STREAM on a closed stream", GLITCHES, reset(3)],
  ["PRIORITY of a wrong size on a closed stream", GLITCHES, frame(FRAME_PRIORITY, 0, 3, Buffer.alloc(4))],
  ["WINDOW_UPDATE on a closed stream", GLITCHES, windowUpdate(3, 1)],
  ["HEADERS on a stream that we have reset", GLITCHES, trailers(5)],
  ["DATA without content on a stream that we have reset", 11, data(5, 0)],
];

for (const [what, unitsMax, unit] of SERVER_FRAMES) {
  test(`server: 100,000 ${what} end the connection after at most ${unitsMax}`, () => {
    const driven = server();
    assertCalmed(
      driven,
      flood(driven, 100_000, () => unit),
      unitsMax,
    );
  });
}

test("unknown frame types of each number are passed over, as the RFC wants", () => {
  const driven = server();
  for (let type = 0x0a; type <= 0xff; type++) driven.receive(frame(type, 0xff, type & 1, Buffer.alloc(type)));
  driven.receive(data(1, 1));
  assert.equal(driven.engine.isFailed, false);
  assert.equal(driven.seen.at(-1)?.kind, "data");
});

const id = (i: number): number => i * 2 + 7;

test("rapid reset ends the connection after 300, and running handlers hold their slots", () => {
  const driven = server();
  const toll = flood(driven, 100_000, (i) => Buffer.concat([request(id(i)), reset(id(i))]));
  // The slots are full after 98, and from then on each stream is refused.
  assertCalmed(driven, toll, 98 + RESETS);
  assert.equal(driven.engine.streams.count, 100, "resets free no slot while handlers run");
});

test("rapid reset ends the connection after 200 although every handler ends at once", () => {
  const driven = server();
  const toll = flood(driven, 100_000, (i) => {
    for (const stream of driven.engine.streams.all()) if (stream.isReset) driven.engine.release(stream);
    return Buffer.concat([request(id(i)), reset(id(i))]);
  });
  assertCalmed(driven, toll, RESETS);
  assert.ok(driven.engine.streams.count <= 3);
});

/** "MadeYouReset": what makes a server reset the stream itself. */
const PRIMITIVES: readonly (readonly [what: string, unit: (id: number) => Buffer])[] = [
  ["WINDOW_UPDATE of 0", (at) => Buffer.concat([request(at), windowUpdate(at, 0)])],
  ["WINDOW_UPDATE over 2^31-1", (at) => Buffer.concat([request(at), windowUpdate(at, 2 ** 31 - 1)])],
  ["HEADERS after the end", (at) => Buffer.concat([request(at, true), trailers(at)])],
  ["DATA after the end", (at) => Buffer.concat([request(at, true), data(at, 1)])],
  ["PRIORITY of four bytes", (at) => Buffer.concat([request(at), frame(FRAME_PRIORITY, 0, at, Buffer.alloc(4))])],
  ["PRIORITY on itself", (at) => Buffer.concat([request(at), selfPriority(at)])],
];

function selfPriority(at: number): Buffer {
  const payload = Buffer.alloc(5);
  payload.writeUInt32BE(at);
  return frame(FRAME_PRIORITY, 0, at, payload);
}

for (const [what, unit] of PRIMITIVES) {
  test(`MadeYouReset by ${what} ends the connection after 200, with never more than 100 handlers`, () => {
    const driven = server();
    const toll = flood(driven, 100_000, (i) => unit(id(i)));
    assertCalmed(driven, toll, RESETS);
    const handlers = driven.seen.filter((event) => event.kind === "headers").length;
    assert.ok(handlers <= 101, `${handlers} handlers ran, of which one had ended`);
  });
}

test("streams over the limit are refused one by one, and 200 at once end the connection", () => {
  const driven = server();
  const toll = flood(driven, 100_000, (i) => request(id(i)));
  assertCalmed(driven, toll, 98 + RESETS);
  assert.equal(driven.engine.streams.count, 100);
});

test("DATA of one byte, unread, fills the stream's window and then ends the stream", () => {
  const driven = server();
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => data(1, 1)));
  for (let i = 0; i < 66; i++) driven.receive(many);
  const error = driven.seen.at(-1);
  assert.deepEqual(error?.kind === "stream-error" && error.code, FLOW_CONTROL_ERROR);
  assert.equal(driven.seen.filter((event) => event.kind === "data").length, 65_535);
  assert.equal(retainedBytes(driven), 0);
});

test("DATA of one byte with 255 bytes of padding costs the peer its window too", () => {
  const driven = server();
  let sent = 0;
  for (let i = 0; i < 100_000 && driven.seen.at(-1)?.kind !== "stream-error"; i++) {
    driven.receive(paddedData(1, 1, 255));
    sent += 1;
  }
  assert.equal(driven.stream(1).unconsumed <= 65_792, true);
  assert.ok(sent < 66_000 && !driven.engine.isFailed);
});

test("a turn reads at most so many frames, and the rest in the next", () => {
  const driven = readyEngine("server", { framesPerTurnMax: 10, glitchBurst: 1_000 });
  driven.engine.receive(Buffer.concat(Array.from({ length: 35 }, () => priority(1))), 0, driven.list);
  let turns = 1;
  for (; driven.engine.hasRest; turns++) driven.engine.receiveRest(0, driven.list);
  assert.equal(turns, 4);
});

test("a peer that never acknowledges our SETTINGS has the default windows and no more", () => {
  const driven = readyEngine("server");
  driven.engine.areSettingsAcked = false;
  driven.receive(request(1), ...Array.from({ length: 5 }, () => data(1, 16_384)));
  assert.equal(driven.seen.at(-1)?.kind, "stream-error");
});

test("GOAWAY says which streams were seen, and its text is cut at 256 bytes", () => {
  const driven = server();
  driven.engine.goAway(ENHANCE_YOUR_CALM, driven.engine.lastPeerId, "x".repeat(1_000));
  const [sent] = parseFrames(driven.take());
  assert.ok(sent);
  assert.equal(sent.type, FRAME_GOAWAY);
  assert.deepEqual([readUint32(sent.payload, 0), sent.payload.length], [5, 8 + 256]);
});

test("a refused stream is told so that it may be tried elsewhere", () => {
  const driven = readyEngine("server", { streamsMax: 0 });
  driven.receive(request(1));
  const [sent] = driven.sent();
  assert.ok(sent);
  assert.equal(readUint32(sent.payload, 0), REFUSED_STREAM);
});

test("a token bucket gives its burst, then its rate, whatever the clock does", () => {
  const bucket = new TokenBucket(5, 10);
  const takes = (nowMs: number, count: number): boolean[] => Array.from({ length: count }, () => bucket.take(nowMs));
  assert.deepEqual(takes(0, 6), [true, true, true, true, true, false]);
  assert.deepEqual(takes(250, 3), [true, true, false]);
  assert.deepEqual(takes(100, 1), [false], "time that goes back gives nothing");
  assert.deepEqual(takes(1e9, 6), [true, true, true, true, true, false]);
  bucket.giveBack();
  assert.deepEqual(takes(1e9, 2), [true, false]);
  for (let i = 0; i < 50; i++) bucket.giveBack();
  assert.deepEqual(takes(1e9, 6), [true, true, true, true, true, false]);
});
