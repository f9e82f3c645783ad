import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CANCEL,
  FLOW_CONTROL_ERROR,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_RST_STREAM,
  FRAME_WINDOW_UPDATE,
  readUint32,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  STREAM_ID_MAX,
} from "./frame.ts";
import { WindowBudget } from "./limits.ts";
import { assertStreamError, DrivenEngine, readyEngine } from "./testdata/driven-engine.ts";
import {
  clientStart,
  data,
  type Frame,
  headers,
  type Pair,
  parseFrames,
  ping,
  REQUEST_FIELDS,
  request,
  reset,
  settings,
  settingsAck,
  sourceOf,
  TRAILER_FIELDS,
  windowUpdate,
} from "./testdata/frame-script.ts";

/** A client with so many streams whose peer takes whatever is sent, in frames of up to `frameBytes`. */
function wideClient(streams: number, frameBytes = 16_384): DrivenEngine {
  const driven = readyEngine("client");
  driven.receive(settings([SETTING_INITIAL_WINDOW_SIZE, 2 ** 30], [SETTING_MAX_FRAME_SIZE, frameBytes]));
  driven.receive(windowUpdate(0, 2 ** 30));
  for (let i = 0; i < streams; i++) driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), false);
  driven.take();
  driven.seen = [];
  return driven;
}

const dataFrames = (frames: readonly Frame[]): Frame[] => frames.filter((sent) => sent.type === FRAME_DATA);

/** Takes output and pumps on, as the shell does, until nothing waits. */
function drained(driven: DrivenEngine): Frame[][] {
  const turns: Frame[][] = [];
  do {
    turns.push(driven.sent());
    driven.engine.pump(driven.list);
  } while (driven.engine.output.length > 0);
  driven.record();
  return turns;
}

test("streams with queued payload take turns: long ones while the network takes all, a frame each once it does not", () => {
  const free = wideClient(2);
  for (const id of [1, 3]) free.engine.sendData(free.stream(id), Buffer.alloc(1_500_000), false);
  const order = dataFrames(drained(free).flat()).map((sent) => sent.id);
  assert.deepEqual(new Set(order.slice(0, 64)), new Set([1]), "1 MiB of the first");
  assert.deepEqual(new Set(order.slice(64, 128)), new Set([3]), "then 1 MiB of the second");
  const driven = wideClient(3);
  driven.engine.setBlocked(true, driven.list);
  for (const id of [1, 3, 5]) driven.engine.sendData(driven.stream(id), Buffer.alloc(500_000), false);
  driven.engine.setBlocked(false, driven.list);
  const ids = dataFrames(drained(driven).flat()).map((sent) => sent.id);
  assert.ok(ids.length > 80);
  for (let i = 0; i < 60; i += 3) assert.deepEqual(new Set(ids.slice(i, i + 3)), new Set([1, 3, 5]));
});

test("the output holds at most 128 KiB and one frame of payload, whatever waits and however large frames may be", () => {
  for (const frameBytes of [16_384, 2 ** 24 - 1]) {
    const driven = wideClient(10, frameBytes);
    for (let id = 1; id < 20; id += 2) driven.engine.sendData(driven.stream(id), Buffer.alloc(1_000_000), true);
    let total = 0;
    while (driven.engine.output.length > 0) {
      assert.ok(driven.engine.output.length <= 131_072 + Math.min(frameBytes, 65_536) + 9);
      total += dataFrames(driven.sent()).reduce((sum, sent) => sum + sent.payload.length, 0);
      driven.engine.pump(driven.list);
    }
    driven.record();
    assert.equal(total, 10_000_000);
    assert.equal(driven.seen.filter((event) => event.kind === "writable").length, 10);
    assert.equal(driven.engine.hasPending, false);
  }
});

test("a stream that sends while others wait does not swallow the news that they may send on", () => {
  const driven = wideClient(2);
  driven.engine.sendData(driven.stream(1), Buffer.alloc(140_000), false);
  assert.ok(driven.stream(1).queuedBytes > 0);
  driven.take();
  driven.engine.sendData(driven.stream(3), Buffer.alloc(10), false);
  drained(driven);
  assert.deepEqual(
    driven.seen.map((event) => event.kind === "writable" && event.id),
    [1, 3],
  );
});

test("while blocked, payload waits and frames that keep the connection alive do not", () => {
  const driven = wideClient(1);
  driven.engine.setBlocked(true, undefined);
  driven.engine.sendData(driven.stream(1), Buffer.alloc(10), true);
  driven.receive(ping());
  assert.equal(driven.engine.dataRoom(driven.stream(1)), 0);
  assert.equal(driven.sent().length, 1);
  assert.equal(driven.engine.hasPending, false, "nothing is to be pumped");
  driven.engine.setBlocked(false, driven.list);
  driven.record();
  assert.deepEqual(driven.seen, [{ kind: "writable", id: 1 }]);
  assert.equal(dataFrames(driven.sent()).length, 1);
});

test("a stream that is reset while it waits leaves the line, so that none grows behind a closed window", () => {
  const driven = readyEngine("client");
  for (let i = 0; i < 1_000; i++) {
    const stream = driven.open();
    driven.engine.sendHeaders(stream, sourceOf(REQUEST_FIELDS), false);
    driven.engine.sendData(stream, Buffer.alloc(65_535), false);
    if (i > 0) driven.engine.reset(stream, CANCEL);
    assert.equal(stream.nextPending, undefined);
    driven.take();
  }
  driven.receive(windowUpdate(0, 1_000));
  assert.equal(driven.engine.hasPending, false);
});

test("with INITIAL_WINDOW_SIZE 0 nothing goes, with 1 a byte goes, and a shrunk window must come up to 0 first", () => {
  const driven = readyEngine("client");
  driven.receive(settings([SETTING_INITIAL_WINDOW_SIZE, 0]));
  const stream = driven.open();
  driven.engine.sendHeaders(stream, sourceOf(REQUEST_FIELDS), false);
  driven.engine.sendData(stream, Buffer.alloc(100), true);
  assert.equal(dataFrames(driven.sent()).length, 0);
  driven.receive(settings([SETTING_INITIAL_WINDOW_SIZE, 1]));
  assert.deepEqual(
    dataFrames(driven.sent()).map((sent) => sent.payload.length),
    [1],
  );
  driven.receive(settings([SETTING_INITIAL_WINDOW_SIZE, 50]));
  assert.equal(dataFrames(driven.sent())[0]?.payload.length, 49);
  driven.receive(settings([SETTING_INITIAL_WINDOW_SIZE, 0]));
  assert.equal(stream.sendWindow, -50);
  driven.receive(windowUpdate(1, 50));
  assert.equal(dataFrames(driven.sent()).length, 0);
  driven.receive(windowUpdate(1, 50));
  const [last] = dataFrames(driven.sent());
  assert.deepEqual([last?.payload.length, last?.flags], [50, 1]);
});

test("an empty payload is no frame, unless it ends the stream", () => {
  const driven = wideClient(1);
  const stream = driven.stream(1);
  driven.engine.sendData(stream, Buffer.alloc(0), false);
  assert.equal(driven.sent().length, 0);
  driven.engine.setBlocked(true, undefined);
  for (const length of [5, 0, 5, 0]) driven.engine.sendData(stream, Buffer.alloc(length), false);
  driven.engine.sendData(stream, Buffer.alloc(0), true);
  driven.engine.setBlocked(false, driven.list);
  assert.deepEqual(
    driven.sent().map((sent) => [sent.payload.length, sent.flags]),
    [
      [5, 0],
      [5, 1],
    ],
  );
});

test("trailers wait for what is queued, and no payload goes after a stream's end", () => {
  const driven = readyEngine("server");
  driven.receive(request(1, true), settings([SETTING_INITIAL_WINDOW_SIZE, 3]));
  const stream = driven.stream(1);
  driven.engine.sendHeaders(stream, sourceOf(TRAILER_FIELDS), false);
  driven.engine.sendData(stream, Buffer.alloc(5), false);
  driven.engine.sendTrailers(stream, sourceOf(TRAILER_FIELDS));
  driven.receive(windowUpdate(1, 100));
  driven.engine.sendData(stream, Buffer.alloc(5), false);
  driven.engine.sendHeaders(stream, sourceOf(TRAILER_FIELDS), true);
  assert.deepEqual(
    driven
      .sent()
      .flatMap((sent) =>
        sent.id === 1 ? [[sent.type, sent.flags & 1, sent.type === 0 ? sent.payload.length : 0]] : [],
      ),
    [
      [FRAME_HEADERS, 0, 0],
      [FRAME_DATA, 0, 3],
      [FRAME_DATA, 0, 2],
      [FRAME_HEADERS, 1, 0],
    ],
  );
});

/** So much arrives on one stream, consumed at once unless told otherwise. */
function readOn(
  driven: DrivenEngine,
  id: number,
  bytes: number,
  options: { gapMs?: number; keeps?: number } = {},
): void {
  for (let sent = 0; sent < bytes; sent += 16_384) {
    const at = driven.stream(id);
    if (at.receiveCredit < 16_384) break;
    driven.receive(data(id, 16_384));
    driven.nowMs += options.gapMs ?? 0;
    driven.engine.consume(at, Math.max(0, at.unconsumed - (options.keeps ?? 0)), driven.nowMs);
  }
}

test("the windows of a reader that keeps up grow to their limits and not a byte further", () => {
  const driven = readyEngine("server");
  driven.receive(request(1));
  readOn(driven, 1, 100_000_000);
  assert.equal(driven.stream(1).receiveWindow, driven.engine.limits.streamWindowMax);
  assert.ok(driven.engine.receiveWindow > 4_000_000);
  assert.ok(driven.engine.receiveWindow <= driven.engine.limits.connectionWindowMax);
  assert.equal(
    driven.budget.granted,
    driven.stream(1).receiveWindow - 65_535,
    "what a stream's reader could leave unread",
  );
  const returned = driven.sent().filter((sent) => sent.type === FRAME_WINDOW_UPDATE && sent.id === 1);
  const credit = returned.reduce((sum, sent) => sum + readUint32(sent.payload, 0), 65_535);
  assert.equal(credit - 6_104 * 16_384, driven.stream(1).receiveCredit, "what the peer was told is what is allowed");
  driven.receive(reset(1));
  driven.engine.release(driven.stream(1));
  assert.equal(driven.budget.granted, 0);
});

test("a reader that is slow, or leaves bytes unread, keeps the window it has", () => {
  const slow = readyEngine("server");
  slow.receive(request(1));
  readOn(slow, 1, 10_000_000, { gapMs: 130 });
  assert.equal(slow.stream(1).receiveWindow, 65_535);
  const behind = readyEngine("server");
  behind.receive(request(1));
  readOn(behind, 1, 10_000_000, { keeps: 1 });
  assert.equal(behind.stream(1).receiveWindow, 65_535);
});

test("a reader that takes nothing holds up its own stream and no other", () => {
  const driven = readyEngine("server");
  driven.receive(request(1), request(3));
  driven.receive(...Array.from({ length: 3 }, () => data(1, 16_384)), data(1, 16_383));
  assert.equal(driven.stream(1).receiveCredit, 0);
  readOn(driven, 3, 1_000_000);
  assert.ok(driven.stream(3).receiveWindow > 65_535);
});

test("where the process's budget is spent, windows return and do not grow", () => {
  const budget = new WindowBudget(65_535);
  const first = readyEngine("server", {}, budget);
  const second = readyEngine("server", {}, budget);
  for (const driven of [first, second]) {
    driven.receive(request(1));
    readOn(driven, 1, 2_000_000);
  }
  assert.equal(budget.granted, 65_535);
  assert.equal(first.stream(1).receiveWindow, 131_070);
  assert.equal(second.stream(1).receiveWindow, 65_535);
  assert.ok(second.stream(1).receiveCredit > 0, "it still flows");
  first.engine.dispose();
  for (const at of first.engine.streams.all()) {
    first.engine.closeByReset(at);
    first.engine.release(at);
  }
  first.engine.dispose();
  assert.equal(budget.granted, 0, "given back once");
  first.engine.consume(first.stream(1), 0, 0);
  assert.equal(budget.granted, 0, "a connection that is over takes nothing more");
});

test("a client's budget too is given back once when the connection and its streams are over", () => {
  const budget = new WindowBudget(2 ** 30);
  budget.grant(1_000_000);
  const driven = readyEngine("client", {}, budget);
  driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), false);
  driven.receive(headers(1, [[":status", "200"]]));
  readOn(driven, 1, 2_000_000);
  assert.ok(budget.granted > 1_000_000);
  driven.engine.dispose();
  driven.engine.closeByReset(driven.stream(1));
  assert.equal(budget.granted, 1_000_000);
});

test("a reader that expects a large message gets room for it at once, up to the limit", () => {
  const driven = readyEngine("server", { streamWindowMax: 1_000_000 });
  driven.receive(request(1));
  driven.engine.expect(driven.stream(1), 500_000);
  assert.equal(driven.stream(1).receiveCredit, 500_000);
  driven.engine.expect(driven.stream(1), 400_000);
  driven.engine.expect(driven.stream(1), 50_000_000);
  assert.equal(driven.stream(1).receiveWindow, 1_000_000);
  driven.receive(data(1, 10_000));
  driven.engine.expect(driven.stream(1), 50_000_000);
  assert.equal(driven.stream(1).receiveWindow, 1_000_000, "unread bytes do not lift the limit");
});

test("a window smaller than the default holds from the peer's acknowledgement on, and not before", () => {
  const early = new DrivenEngine("server", { receiveWindow: 1_000 });
  early.engine.start();
  early.receive(clientStart(), request(1), data(1, 5_000));
  assert.equal(early.seen.at(-1)?.kind, "data", "the peer cannot know yet");
  early.take();
  early.receive(settingsAck(), data(1, 0, true));
  assert.equal(early.seen.at(-1)?.kind, "data", "an empty frame needs no window");
  early.receive(request(3), data(3, 1_001));
  assertStreamError(early, 3, FLOW_CONTROL_ERROR);
});

test("DATA frames are as long as the peer's MAX_FRAME_SIZE, and never longer than 64 KiB", () => {
  for (const [frameBytes, expected] of [
    [16_384, 16_384],
    [20_000, 20_000],
    [2 ** 24 - 1, 65_536],
  ] as const) {
    const driven = wideClient(1, frameBytes);
    driven.engine.sendData(driven.stream(1), Buffer.alloc(100_000), true);
    const lengths = dataFrames(drained(driven).flat()).map((sent) => sent.payload.length);
    assert.equal(Math.max(...lengths), expected);
  }
});

test("a header section longer than a frame goes in CONTINUATIONs that nothing interrupts", () => {
  const driven = wideClient(0);
  const long: Pair[] = [...REQUEST_FIELDS, ["x-long", "v".repeat(40_000)]];
  driven.engine.sendHeaders(driven.open(), sourceOf(long), true);
  const sent = driven.take();
  const server = readyEngine("server", { listBytesMax: 100_000, fieldBytesMax: 50_000 });
  const [event] = server.receive(sent);
  assert.deepEqual(event?.kind === "headers" && [event.ends, event.fields], [true, long]);
  assert.deepEqual(
    parseFrames(sent).map((frame) => [frame.type, frame.flags]),
    [
      [FRAME_HEADERS, 1],
      [FRAME_CONTINUATION, 0],
      [FRAME_CONTINUATION, 4],
    ],
  );
});

test("of two table sizes in one SETTINGS frame the encoder obeys the smaller one first", () => {
  const driven = wideClient(0);
  driven.engine.sendHeaders(driven.open(), sourceOf([...REQUEST_FIELDS, ["x-a", "1"]]), true);
  assert.ok(driven.engine.encoder.tableSize > 0);
  driven.receive(settings([SETTING_HEADER_TABLE_SIZE, 0], [SETTING_HEADER_TABLE_SIZE, 4_096]));
  driven.take();
  driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), true);
  const [sent] = driven.sent();
  assert.deepEqual([...(sent?.payload.subarray(0, 4) ?? [])], [0x20, 0x3f, 0xe1, 0x1f]);
});

test("MAX_CONCURRENT_STREAMS counts what is open, and ids come to an end", () => {
  const driven = wideClient(0);
  driven.receive(settings([SETTING_MAX_CONCURRENT_STREAMS, 1]));
  const first = driven.open();
  assert.equal(driven.engine.canOpen, false);
  driven.engine.sendHeaders(first, sourceOf(REQUEST_FIELDS), true);
  driven.engine.reset(first, CANCEL);
  assert.equal(driven.engine.canOpen, true);
  driven.engine.nextId = 0x60000001;
  assert.equal(driven.engine.isNearEndOfIds, true, "drained at three quarters");
  driven.engine.nextId = STREAM_ID_MAX - 2;
  assert.equal(driven.engine.canOpen, true);
  const last = driven.open();
  assert.equal(last.id, STREAM_ID_MAX - 2);
  driven.engine.sendHeaders(last, sourceOf(REQUEST_FIELDS), true);
  driven.receive(headers(last.id, [[":status", "200"]], true));
  assert.equal(driven.engine.canOpen, false);
  assert.equal(driven.engine.isFailed, false);
  const server = readyEngine("server");
  server.receive(request(STREAM_ID_MAX));
  assert.equal(server.seen[0]?.kind, "headers", "the last id there is");
});

test("a server that answers before the request's end resets what is left with NO_ERROR, after its answer", () => {
  const driven = readyEngine("server");
  driven.receive(request(1));
  driven.engine.sendHeaders(driven.stream(1), sourceOf(TRAILER_FIELDS), true);
  const sent = driven.sent();
  assert.deepEqual(
    sent.map((frame) => frame.type),
    [FRAME_HEADERS, FRAME_RST_STREAM],
  );
  assert.equal(readUint32((sent[1] as Frame).payload, 0), 0);
  assert.equal(driven.engine.streams.count, 1);
  driven.engine.release(driven.stream(1));
  driven.engine.release(driven.stream(1));
  assert.equal(driven.engine.streams.count, 0);
});
