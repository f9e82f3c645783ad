import assert from "node:assert/strict";
import { test } from "node:test";
import type { Http2Role } from "./connection.ts";
import {
  CANCEL,
  CLIENT_PREFACE,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FLOW_CONTROL_ERROR,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  PROTOCOL_ERROR,
  readUint32,
  REFUSED_STREAM,
  SETTING_ENABLE_PUSH,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_FRAME_SIZE,
  STREAM_CLOSED,
} from "./frame.ts";
import { assertConnectionError, assertStreamError, DrivenEngine, readyEngine } from "./testdata/driven-engine.ts";
import {
  blockOf,
  clientStart,
  continuation,
  data,
  frame,
  goAway,
  headers,
  paddedData,
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

const zeros = (length: number): Buffer => Buffer.alloc(length);

/** A server with streams 1 (open), 3 (the client has ended it), 5 (closed), 7 and 9 (reset by the client; 9's handler still runs). */
function server(): DrivenEngine {
  const driven = readyEngine("server");
  driven.receive(request(1), request(3, true), request(5, true), request(7), reset(7), request(9), reset(9));
  driven.engine.sendHeaders(driven.stream(5), sourceOf(TRAILER_FIELDS), true);
  for (const id of [5, 7]) driven.engine.release(driven.stream(id));
  driven.take();
  driven.seen = [];
  return driven;
}

/** A client with streams 1 (no answer yet), 3 (answered) and 5 (over). */
function client(): DrivenEngine {
  const driven = readyEngine("client");
  for (let i = 0; i < 3; i++) driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), i === 2);
  driven.receive(response(3), response(5), trailers(5));
  driven.take();
  driven.seen = [];
  return driven;
}

const engineOf = (role: Http2Role): DrivenEngine => (role === "server" ? server() : client());
const CODES: Readonly<Record<number, string>> = {
  [PROTOCOL_ERROR]: "PROTOCOL_ERROR",
  [FLOW_CONTROL_ERROR]: "FLOW_CONTROL_ERROR",
  [STREAM_CLOSED]: "STREAM_CLOSED",
  [FRAME_SIZE_ERROR]: "FRAME_SIZE_ERROR",
  [ENHANCE_YOUR_CALM]: "ENHANCE_YOUR_CALM",
};

type Violation = readonly [what: string, code: number, bytes: Buffer];

function connectionErrors(role: Http2Role, violations: readonly Violation[]): void {
  for (const [what, code, bytes] of violations) {
    test(`${role}: ${what} ends the connection with ${CODES[code]}`, () => {
      const driven = engineOf(role);
      driven.receive(bytes);
      assertConnectionError(driven, code);
      assert.deepEqual(driven.receive(ping()), []);
      assert.equal(driven.take().length, 0, "nothing is answered after GOAWAY");
    });
  }
}

const SIZES: readonly Violation[] = [
  ...Array.from({ length: 11 }, (_, type): Violation => {
    return [`a frame of type ${type} with 16,385 bytes`, FRAME_SIZE_ERROR, frame(type, 0, type & 1, zeros(16_385))];
  }),
  ["PING of 7 bytes", FRAME_SIZE_ERROR, frame(FRAME_PING, 0, 0, zeros(7))],
  ["PING of 9 bytes", FRAME_SIZE_ERROR, frame(FRAME_PING, 0, 0, zeros(9))],
  ["RST_STREAM of 3 bytes", FRAME_SIZE_ERROR, frame(FRAME_RST_STREAM, 0, 1, zeros(3))],
  ["RST_STREAM of 5 bytes", FRAME_SIZE_ERROR, frame(FRAME_RST_STREAM, 0, 1, zeros(5))],
  ["SETTINGS of 7 bytes", FRAME_SIZE_ERROR, frame(FRAME_SETTINGS, 0, 0, zeros(7))],
  ["SETTINGS ACK with a payload", FRAME_SIZE_ERROR, frame(FRAME_SETTINGS, FLAG_ACK, 0, zeros(6))],
  ["GOAWAY of 7 bytes", FRAME_SIZE_ERROR, frame(FRAME_GOAWAY, 0, 0, zeros(7))],
  ["WINDOW_UPDATE of 3 bytes", FRAME_SIZE_ERROR, frame(FRAME_WINDOW_UPDATE, 0, 1, zeros(3))],
  ["WINDOW_UPDATE of 5 bytes", FRAME_SIZE_ERROR, frame(FRAME_WINDOW_UPDATE, 0, 0, zeros(5))],
  ["padded DATA without a padding length", FRAME_SIZE_ERROR, frame(FRAME_DATA, FLAG_PADDED, 1)],
  ["padded HEADERS without a padding length", FRAME_SIZE_ERROR, frame(FRAME_HEADERS, FLAG_PADDED, 1)],
  ["HEADERS too short for its priority", FRAME_SIZE_ERROR, frame(FRAME_HEADERS, FLAG_PRIORITY, 1, zeros(4))],
];

const PLACES: readonly Violation[] = [
  ["DATA on stream 0", PROTOCOL_ERROR, data(0, 1)],
  ["HEADERS on stream 0", PROTOCOL_ERROR, request(0)],
  ["PRIORITY on stream 0", PROTOCOL_ERROR, priority(0)],
  ["RST_STREAM on stream 0", PROTOCOL_ERROR, reset(0)],
  ["CONTINUATION on stream 0", PROTOCOL_ERROR, continuation(0, zeros(1), true)],
  ["SETTINGS on a stream", PROTOCOL_ERROR, frame(FRAME_SETTINGS, 0, 1)],
  ["PING on a stream", PROTOCOL_ERROR, frame(FRAME_PING, 0, 1, zeros(8))],
  ["GOAWAY on a stream", PROTOCOL_ERROR, frame(FRAME_GOAWAY, 0, 1, zeros(8))],
  ["PUSH_PROMISE", PROTOCOL_ERROR, frame(FRAME_PUSH_PROMISE, FLAG_END_HEADERS, 1, zeros(8))],
  ["CONTINUATION without HEADERS", PROTOCOL_ERROR, continuation(1, zeros(1), true)],
  ["DATA on an idle stream", PROTOCOL_ERROR, data(99, 1)],
  ["RST_STREAM on an idle stream", PROTOCOL_ERROR, reset(99)],
  ["WINDOW_UPDATE on an idle stream", PROTOCOL_ERROR, windowUpdate(99, 1)],
  ["DATA on an idle even stream", PROTOCOL_ERROR, data(2, 1)],
  ["DATA padding longer than the frame", PROTOCOL_ERROR, frame(FRAME_DATA, FLAG_PADDED, 1, Buffer.from([3, 1, 1]))],
  [
    "HEADERS padding longer than the frame",
    PROTOCOL_ERROR,
    frame(FRAME_HEADERS, FLAG_PADDED | FLAG_END_HEADERS, 13, Buffer.from([3, 1, 1])),
  ],
  [
    "HEADERS of a stream that depends on itself",
    PROTOCOL_ERROR,
    frame(FRAME_HEADERS, FLAG_PRIORITY | FLAG_END_HEADERS, 1, Buffer.from([0, 0, 0, 1, 15])),
  ],
  ["HEADERS inside a header block", PROTOCOL_ERROR, Buffer.concat([open(13), request(15)])],
  ["DATA inside a header block", PROTOCOL_ERROR, Buffer.concat([open(13), data(1, 1)])],
  ["PING inside a header block", PROTOCOL_ERROR, Buffer.concat([open(13), ping()])],
  ["an unknown frame inside a header block", PROTOCOL_ERROR, Buffer.concat([open(13), frame(0xbe, 0, 0)])],
  ["CONTINUATION of another stream", PROTOCOL_ERROR, Buffer.concat([open(13), continuation(15, zeros(1), true)])],
];

const VALUES: readonly Violation[] = [
  ["ENABLE_PUSH of 2", PROTOCOL_ERROR, settings([SETTING_ENABLE_PUSH, 2])],
  ["MAX_FRAME_SIZE of 0", PROTOCOL_ERROR, settings([SETTING_MAX_FRAME_SIZE, 0])],
  ["MAX_FRAME_SIZE of 16,383", PROTOCOL_ERROR, settings([SETTING_MAX_FRAME_SIZE, 16_383])],
  ["MAX_FRAME_SIZE of 2^24", PROTOCOL_ERROR, settings([SETTING_MAX_FRAME_SIZE, 2 ** 24])],
  ["INITIAL_WINDOW_SIZE of 2^31", FLOW_CONTROL_ERROR, settings([SETTING_INITIAL_WINDOW_SIZE, 2 ** 31])],
  [
    "INITIAL_WINDOW_SIZE that lifts a stream's window over 2^31-1",
    FLOW_CONTROL_ERROR,
    Buffer.concat([windowUpdate(1, 1), settings([SETTING_INITIAL_WINDOW_SIZE, 2 ** 31 - 1])]),
  ],
  ["WINDOW_UPDATE of 0 on the connection", PROTOCOL_ERROR, windowUpdate(0, 0)],
  ["the connection's window over 2^31-1", FLOW_CONTROL_ERROR, windowUpdate(0, 2 ** 31 - 1)],
  [
    "SETTINGS with 2,730 entries",
    ENHANCE_YOUR_CALM,
    settings(...Array.from({ length: 2_730 }, () => [0x99, 1] as const)),
  ],
  ["a header block that no table can read", 0x9, headers(13, Buffer.from([0xff, 0x80, 0x80, 0x80, 0x80, 0x80]))],
];

connectionErrors("server", [...SIZES, ...PLACES, ...VALUES]);
connectionErrors("client", [...SIZES, ...PLACES, ...VALUES.slice(0, -1)]);
connectionErrors("client", [
  ["HEADERS on a stream that nobody opened", PROTOCOL_ERROR, response(99)],
  ["HEADERS on an even stream", PROTOCOL_ERROR, response(2)],
  ["ENABLE_PUSH of 1 from a server", PROTOCOL_ERROR, settings([SETTING_ENABLE_PUSH, 1])],
]);
connectionErrors("server", [
  ["HEADERS on an even stream", PROTOCOL_ERROR, request(10)],
  ["HEADERS on a lower stream than before", PROTOCOL_ERROR, Buffer.concat([request(21), request(19)])],
  ["HEADERS on a closed stream", STREAM_CLOSED, request(5)],
  ["HEADERS on a stream that the client has reset", STREAM_CLOSED, request(7)],
  ["HEADERS on a stream that the client has reset, whose handler still runs", STREAM_CLOSED, request(9)],
  ["DATA on a stream that the client has reset, whose handler still runs", STREAM_CLOSED, data(9, 1)],
  ["DATA on a closed stream", STREAM_CLOSED, data(5, 1)],
  ["DATA on a stream that the client has reset", STREAM_CLOSED, data(7, 1)],
  ["PRIORITY of 4 bytes on an idle stream", FRAME_SIZE_ERROR, frame(FRAME_PRIORITY, 0, 99, zeros(4))],
  ["PRIORITY of an idle stream on itself", PROTOCOL_ERROR, priority(99, 99)],
]);

/** HEADERS without END_HEADERS. */
function open(id: number): Buffer {
  return frame(FRAME_HEADERS, 0, id, blockOf(REQUEST_FIELDS));
}

const STREAM_ERRORS: readonly (readonly [what: string, id: number, code: number, bytes: Buffer])[] = [
  ["WINDOW_UPDATE of 0", 1, PROTOCOL_ERROR, windowUpdate(1, 0)],
  ["a window over 2^31-1", 1, FLOW_CONTROL_ERROR, windowUpdate(1, 2 ** 31 - 1)],
  ["HEADERS after the client has ended the stream", 3, STREAM_CLOSED, trailers(3)],
  ["DATA after the client has ended the stream", 3, STREAM_CLOSED, data(3, 1)],
  ["PRIORITY of 4 bytes", 1, FRAME_SIZE_ERROR, frame(FRAME_PRIORITY, 0, 1, zeros(4))],
  ["PRIORITY of a stream on itself", 1, PROTOCOL_ERROR, priority(1, 1)],
  ["a second header section that does not end the stream", 1, PROTOCOL_ERROR, headers(1, TRAILER_FIELDS)],
  ["DATA over the stream's window", 1, FLOW_CONTROL_ERROR, overStreamWindow(1)],
];

for (const [what, id, code, bytes] of STREAM_ERRORS) {
  test(`server: ${what} ends that stream with ${CODES[code]} and no other`, () => {
    const driven = server();
    driven.receive(bytes);
    assert.equal(driven.seen.findLast((event) => event.kind === "stream-error")?.id, id);
    assertStreamError(driven, id, code);
    assert.equal(driven.engine.streams.count, 3, "its slot is held until its handler has ended");
    driven.engine.release(driven.stream(id));
    assert.equal(driven.engine.streams.count, 2);
    const before = driven.seen.length;
    driven.receive(data(id, 10), windowUpdate(id, 5), reset(id));
    assert.equal(driven.seen.length, before, "no event after the reset");
  });
}

/** Fills the stream's window to the last byte, then one more; the connection's window has come back meanwhile. */
function overStreamWindow(id: number): Buffer {
  return Buffer.concat([...Array.from({ length: 4 }, (_, i) => data(id, i === 3 ? 16_383 : 16_384)), data(id, 1)]);
}

for (const [what, code, bytes] of [
  ["PRIORITY of 4 bytes", FRAME_SIZE_ERROR, frame(FRAME_PRIORITY, 0, 1, zeros(4))],
  ["PRIORITY of a stream on itself", PROTOCOL_ERROR, priority(1, 1)],
] as const) {
  test(`server: ${what} is answered with ${CODES[code]} although its stream has closed meanwhile`, () => {
    const driven = readyEngine("server");
    driven.receive(request(1, true));
    const stream = driven.stream(1);
    driven.engine.sendHeaders(stream, sourceOf([[":status", "200"]]), true);
    driven.engine.release(stream);
    driven.sent();
    driven.receive(bytes);
    const resets = driven.sent().filter((sent) => sent.type === FRAME_RST_STREAM);
    assert.deepEqual(
      resets.map((sent) => [sent.id, readUint32(sent.payload, 0)]),
      [[1, code]],
    );
    assert.equal(driven.engine.isFailed, false);
  });
}

test("server: DATA over the connection's window ends the connection with FLOW_CONTROL_ERROR", () => {
  const driven = server();
  // As if no credit had been returned yet.
  driven.engine.receiveCredit = 10;
  driven.receive(data(1, 11));
  assertConnectionError(driven, FLOW_CONTROL_ERROR);
});

test("server: an HTTP/1.1 request, a TLS hello and a torn preface end the connection with PROTOCOL_ERROR", () => {
  const torn = Buffer.from(CLIENT_PREFACE);
  torn[23] = 0;
  for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", torn.toString("latin1"), "PRI * HTTP/1.1\r\n"]) {
    const driven = new DrivenEngine("server");
    driven.engine.start();
    driven.receive(Buffer.from(bytes, "latin1"));
    assertConnectionError(driven, PROTOCOL_ERROR, /preface/);
  }
});

test("a first frame that is not SETTINGS ends the connection with PROTOCOL_ERROR, on both sides", () => {
  for (const first of [ping(), settingsAck(), windowUpdate(0, 1), data(1, 1), frame(0xfe, 0, 0)]) {
    const server = new DrivenEngine("server");
    server.engine.start();
    server.receive(CLIENT_PREFACE, first);
    assertConnectionError(server, PROTOCOL_ERROR);
    const client = new DrivenEngine("client");
    client.engine.start();
    client.receive(first);
    assertConnectionError(client, PROTOCOL_ERROR);
  }
});

test("server: a stream over the limit is refused, and one that is malformed is reset, before any event", () => {
  const driven = readyEngine("server", { streamsMax: 1 });
  driven.receive(request(1), request(3));
  assert.equal(driven.seen.length, 1);
  assertStreamError(driven, 3, REFUSED_STREAM);
  driven.receive(headers(5, [[":method", "POST"]]));
  assert.equal(driven.seen.length, 1);
  assertStreamError(driven, 5, PROTOCOL_ERROR);
  assert.equal(driven.engine.streams.count, 1);
});

test("client: DATA before HEADERS ends that stream with PROTOCOL_ERROR", () => {
  const driven = client();
  driven.receive(data(1, 3));
  assert.deepEqual(
    driven.seen.map((event) => event.kind),
    ["stream-error"],
  );
  assertStreamError(driven, 1, PROTOCOL_ERROR);
});

test("client: frames on streams that it has left are dropped, and their window returns to the connection", () => {
  const driven = client();
  driven.engine.reset(driven.stream(3), CANCEL);
  driven.take();
  driven.receive(...Array.from({ length: 4 }, () => data(3, 10_000)), trailers(3), reset(3), windowUpdate(3, 9));
  assert.deepEqual(driven.seen, []);
  assert.deepEqual(
    driven.sent().map((sent) => [sent.type, sent.id]),
    [[FRAME_WINDOW_UPDATE, 0]],
  );
});

test("a DATA frame whose stream is reset between two of its parts is read to its end and no further", () => {
  const driven = server();
  const bytes = data(1, 5_000, true);
  driven.receive(bytes.subarray(0, 1_000));
  assert.equal(driven.seen.length, 1);
  driven.engine.reset(driven.stream(1), CANCEL);
  driven.engine.release(driven.stream(1));
  driven.receive(bytes.subarray(1_000), ping());
  assert.equal(driven.seen.length, 1, "no event after the reset");
  assert.equal(driven.sent().at(-1)?.type, FRAME_PING, "what follows is read");
});

test("a padded DATA frame gives its payload alone, and its padding's window back", () => {
  const driven = readyEngine("server");
  driven.receive(request(1));
  for (let i = 0; i < 128; i++) driven.receive(paddedData(1, 1, 255));
  assert.equal(driven.stream(1).unconsumed, 128);
  const returned = driven.sent().filter((sent) => sent.id === 1);
  assert.deepEqual(
    returned.map((sent) => [sent.type, readUint32(sent.payload, 0)]),
    [[FRAME_WINDOW_UPDATE, 128 * 256]],
    "the padding and its length; the payload's window returns when it is consumed",
  );
});

test("GOAWAY leaves streams above its last id unprocessed, and a later larger id does not bring them back", () => {
  const driven = client();
  driven.receive(goAway(1), goAway(99));
  assert.deepEqual(driven.seen, [
    { kind: "goaway", lastId: 1, code: 0, text: "" },
    { kind: "unprocessed", id: 3 },
    { kind: "goaway", lastId: 1, code: 0, text: "" },
  ]);
  assert.equal(driven.engine.canOpen, false);
  assert.equal(driven.engine.streams.count, 1);
});

test("server: streams that come after its final GOAWAY are ignored, their later frames too, and the others go on", () => {
  const driven = server();
  driven.engine.goAway(0, driven.engine.lastPeerId, "drain");
  driven.take();
  driven.receive(request(13), data(13, 16_000), windowUpdate(13, 1), request(15), reset(13), data(1, 5));
  assert.deepEqual(driven.seen, [{ kind: "data", id: 1, ends: false, text: "aaaaa" }]);
  assert.equal(driven.engine.isFailed, false);
  assert.equal(driven.engine.ourLastId, 9);
});

test("a connection that ends in the middle of a header block, a frame or a DATA frame keeps nothing of it", () => {
  for (const part of [open(13), request(13).subarray(0, 30), data(1, 9_000).subarray(0, 4_000)]) {
    const driven = server();
    driven.receive(part);
    driven.engine.dispose();
    const { held, rest, block, dataStream } = driven.engine;
    assert.deepEqual([held, rest, block, dataStream], [undefined, undefined, [], undefined]);
    assert.deepEqual(driven.receive(clientStart()), []);
  }
});
