import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import {
  FLAG_ACK,
  FLAG_PADDED,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  PROTOCOL_ERROR,
} from "./frame.ts";
import { assertConnectionError, type DrivenEngine, readyEngine } from "./testdata/driven-engine.ts";
import { frame, headers, parseFrames, REQUEST_FIELDS, request, reset, sourceOf } from "./testdata/frame-script.ts";

/** A vector of http2jp/http2-frame-test-case. */
interface Vector {
  readonly error: readonly number[] | null;
  readonly wire: string;
  readonly description: string;
  readonly frame: { readonly type: number; readonly stream_identifier: number } | null;
}

const FOLDER = "../shared/data/http2-frames";
const options = { skip: existsSync(FOLDER) ? false : "the test vectors are not here" };

function vectors(): [name: string, vector: Vector, wire: Buffer][] {
  if (!existsSync(FOLDER)) return [];
  return readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => {
      const vector = JSON.parse(readFileSync(`${FOLDER}/${name}`, "utf8")) as Vector;
      return [name, vector, Buffer.from(vector.wire, "hex")];
    });
}

/** A server on which client streams up to 50 have been opened; those above the tenth have been reset since. */
function busyServer(): DrivenEngine {
  const driven = readyEngine("server");
  for (let id = 1; id <= 51; id += 2) {
    driven.receive(request(id));
    if (id > 9) driven.receive(reset(id));
    if (id > 9) driven.engine.release(driven.stream(id));
  }
  driven.take();
  driven.seen = [];
  return driven;
}

/** The vector's frame on stream `id`, since clients open odd streams only and vectors do not care. */
function onStream(wire: Buffer, id: number): Buffer {
  const moved = Buffer.from(wire);
  moved.writeUInt32BE(id, 5);
  return moved;
}

test(
  "http2-frame-test-case: each bad frame ends the connection or its stream with the code it asks for",
  options,
  () => {
    const bad = vectors().filter(([, vector]) => vector.error !== null);
    assert.ok(bad.length >= 20);
    for (const [name, vector, wire] of bad) {
      const driven = busyServer();
      const isHeaderPadding = name.includes("headers-frame-padding");
      const id = wire.readUInt32BE(5) & 0x7fffffff;
      driven.receive(isHeaderPadding ? onStream(wire, 53) : id === 2 ? onStream(wire, 1) : wire);
      const error = driven.seen.find((event) => event.kind === "connection-error" || event.kind === "stream-error");
      assert.ok(error !== undefined && "code" in error, `${name}: ${vector.description}`);
      assert.ok(vector.error?.includes(error.code), `${name}: ${error.code}, wanted ${String(vector.error)}`);
    }
  },
);

test("http2-frame-test-case: each good frame has its effect", options, () => {
  const good = vectors().filter(([, vector]) => vector.error === null);
  assert.ok(good.length >= 10);
  for (const [name, , wire] of good) assertEffect(name, wire);
});

function assertEffect(name: string, wire: Buffer): void {
  const [parsed] = parseFrames(wire);
  assert.ok(parsed);
  const driven = busyServer();
  switch (parsed.type) {
    case FRAME_DATA:
      driven.receive(onStream(wire, 1));
      assert.deepEqual(driven.seen, [{ kind: "data", id: 1, ends: false, text: "Hello, world!" }]);
      assert.ok(parsed.flags & FLAG_PADDED);
      break;
    case FRAME_PING:
      driven.receive(wire);
      assert.deepEqual(driven.sent(), [{ type: FRAME_PING, flags: FLAG_ACK, id: 0, payload: parsed.payload }]);
      break;
    case FRAME_RST_STREAM:
      driven.receive(wire);
      assert.deepEqual(driven.seen, [{ kind: "reset", id: 5, code: 8 }]);
      break;
    case FRAME_SETTINGS:
      driven.receive(wire);
      assert.equal(driven.engine.peer.headerTableBytes, 8_192);
      assert.equal(driven.engine.peer.streamsMax, 5_000);
      break;
    case FRAME_GOAWAY:
      driven.receive(wire);
      assert.deepEqual(driven.seen, [{ kind: "goaway", lastId: 30, code: 9, text: "hpack is broken" }]);
      break;
    case FRAME_WINDOW_UPDATE:
      driven.receive(onStream(wire, 1));
      assert.equal(driven.stream(1).sendWindow, 66_535);
      break;
    case FRAME_PRIORITY:
      driven.receive(wire);
      assert.deepEqual(driven.seen, []);
      break;
    case FRAME_PUSH_PROMISE:
      driven.receive(wire);
      assertConnectionError(driven, PROTOCOL_ERROR, /push is off/);
      break;
    case FRAME_HEADERS:
    case FRAME_CONTINUATION:
      assertHeaderVector(name, wire);
      break;
    default:
      assert.fail(`no effect is known for ${name}`);
  }
}

/** The vectors' header blocks are no HPACK, so what shows is how much of the frame is taken for the block. */
function assertHeaderVector(name: string, wire: Buffer): void {
  const [parsed] = parseFrames(wire);
  assert.ok(parsed);
  const driven = readyEngine("server");
  if (parsed.type === FRAME_HEADERS) {
    driven.receive(onStream(frame(parsed.type, parsed.flags & ~0x4, 1, parsed.payload), 1));
    assert.equal(Buffer.concat(driven.engine.block).toString("latin1"), "this is dummy", name);
    return;
  }
  const open = headers(1, REQUEST_FIELDS);
  open[4] = 0;
  driven.receive(open, onStream(wire, 1));
  if (parsed.payload.length > 0) {
    assert.equal(Buffer.concat(driven.engine.block).subarray(-13).toString("latin1"), "this is dummy", name);
  } else {
    assert.equal(driven.seen.at(-1)?.kind, "connection-error", "an empty CONTINUATION that is not the last costs");
  }
}

test("every kind of frame that the engine writes is read as what was meant", () => {
  const client = readyEngine("client");
  const stream = client.open();
  client.engine.sendHeaders(stream, sourceOf(REQUEST_FIELDS), false);
  client.engine.sendData(stream, Buffer.from("payload"), true);
  client.engine.ping(7);
  const second = client.open();
  client.engine.sendHeaders(second, sourceOf(REQUEST_FIELDS), false);
  client.engine.reset(second, 8);
  client.engine.goAway(2, 0, "bye");
  const server = readyEngine("server");
  assert.deepEqual(server.receive(client.take()), [
    { kind: "headers", id: 1, ends: false, fields: REQUEST_FIELDS, isTruncated: false },
    { kind: "data", id: 1, ends: true, text: "payload" },
    { kind: "headers", id: 3, ends: false, fields: REQUEST_FIELDS, isTruncated: false },
    { kind: "reset", id: 3, code: 8 },
    { kind: "goaway", lastId: 0, code: 2, text: "bye" },
  ]);
  assert.deepEqual(client.receive(server.take()), [{ kind: "ping-ack", number: 7 }]);
});
