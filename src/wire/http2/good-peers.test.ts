import assert from "node:assert/strict";
import { test } from "node:test";
import { CANCEL, ENHANCE_YOUR_CALM, FRAME_RST_STREAM, NO_ERROR, readUint32 } from "./frame.ts";
import { assertConnectionError, type DrivenEngine, readyEngine } from "./testdata/driven-engine.ts";
import {
  data,
  goAway,
  ping,
  priority,
  REQUEST_FIELDS,
  request,
  reset,
  RESPONSE_FIELDS,
  response,
  settings,
  sourceOf,
  TRAILER_FIELDS,
  trailers,
  windowUpdate,
} from "./testdata/frame-script.ts";

const ROUNDS = 20_000;

/** A server whose client has opened the connection's window for all answers of a test. */
function wideServer(): DrivenEngine {
  const driven = readyEngine("server");
  driven.receive(windowUpdate(0, 10_000_000));
  return driven;
}

function call(driven: DrivenEngine, ends = true): number {
  const stream = driven.open();
  driven.engine.sendHeaders(stream, sourceOf(REQUEST_FIELDS), ends);
  return stream.id;
}

function answer(driven: DrivenEngine, id: number): void {
  const stream = driven.stream(id);
  driven.engine.sendHeaders(stream, sourceOf(RESPONSE_FIELDS), false);
  driven.engine.sendData(stream, Buffer.alloc(9), false);
  driven.engine.sendTrailers(stream, sourceOf(TRAILER_FIELDS));
  driven.engine.release(stream);
}

function assertAtPeace(driven: DrivenEngine): void {
  assert.deepEqual(
    driven.seen.filter((event) => event.kind === "connection-error"),
    [],
  );
  assert.equal(driven.engine.streams.count, 0);
}

test("a client that returns the window of each tiny DATA frame by itself is no attacker", () => {
  const driven = readyEngine("server");
  driven.receive(request(1));
  for (let i = 0; i < ROUNDS; i++) {
    driven.engine.sendData(driven.stream(1), Buffer.alloc(9), false);
    driven.take();
    driven.receive(windowUpdate(1, 9), windowUpdate(0, 9));
  }
  answer(driven, 1);
  driven.receive(reset(1, NO_ERROR));
  assertAtPeace(driven);
});

test("a client's late windows for streams that are over are no attack", () => {
  const driven = wideServer();
  for (let i = 0; i < ROUNDS; i++) {
    const id = i * 2 + 1;
    driven.receive(request(id, true));
    answer(driven, id);
    driven.take();
    driven.receive(windowUpdate(id, 9), windowUpdate(0, 9));
  }
  assertAtPeace(driven);
});

test("a server that measures bandwidth with a PING for each burst of ours is no attacker", () => {
  const driven = readyEngine("client");
  const id = call(driven, false);
  for (let i = 0; i < ROUNDS; i++) {
    driven.engine.sendData(driven.stream(id), Buffer.alloc(100), false);
    driven.take();
    driven.receive(ping("\x02\x04\x10\x10\x09\x0e\x07\x07"), windowUpdate(id, 100), windowUpdate(0, 100));
  }
  driven.receive(response(id), trailers(id), reset(id, NO_ERROR));
  assertAtPeace(driven);
});

test("a client that pings for each burst of ours is no attacker, and one that pings on its own is", () => {
  const driven = readyEngine("server");
  driven.receive(request(1));
  driven.engine.sendHeaders(driven.stream(1), sourceOf(RESPONSE_FIELDS), false);
  for (let i = 0; i < 1_000; i++) {
    driven.engine.sendData(driven.stream(1), Buffer.alloc(9), false);
    driven.receive(ping());
  }
  driven.take();
  assert.equal(driven.engine.isFailed, false);
  for (let i = 0; i < 4; i++) driven.receive(ping());
  assertConnectionError(driven, ENHANCE_YOUR_CALM, /^too_many_pings$/);
});

test("keepalive every ten seconds is within bounds, also where the network is late by a second", () => {
  const driven = readyEngine("server");
  for (let i = 0; i < 100; i++) {
    driven.nowMs += i % 2 === 0 ? 9_100 : 10_900;
    driven.receive(ping());
  }
  assert.equal(driven.engine.isFailed, false);
});

test("server: resets that cross our answers on the way are no attack", () => {
  const driven = wideServer();
  for (let i = 0; i < ROUNDS; i++) {
    const id = i * 2 + 1;
    driven.receive(request(id, true));
    answer(driven, id);
    driven.take();
    driven.receive(reset(id, CANCEL));
  }
  assertAtPeace(driven);
});

test("server: a reset that crosses our own reset at the deadline both sides know is no attack", () => {
  const driven = wideServer();
  for (let i = 0; i < ROUNDS; i++) {
    const id = i * 2 + 1;
    driven.receive(request(id));
    driven.engine.reset(driven.stream(id), CANCEL);
    driven.receive(data(id, 5, true), reset(id, CANCEL));
    driven.engine.release(driven.stream(id));
    driven.take();
  }
  assertAtPeace(driven);
  assert.equal(driven.seen.filter((event) => event.kind === "reset").length, 0, "what we ended is not ended again");
});

test("client: a server's NO_ERROR after its early answer, for a stream that is over here, is no attack", () => {
  const driven = readyEngine("client");
  for (let i = 0; i < ROUNDS; i++) {
    const id = call(driven);
    driven.take();
    driven.receive(response(id), trailers(id), reset(id, NO_ERROR));
  }
  assertAtPeace(driven);
});

test("client: what still comes for calls that it has cancelled is no attack", () => {
  const driven = readyEngine("client");
  for (let i = 0; i < ROUNDS; i++) {
    const id = call(driven);
    driven.engine.reset(driven.stream(id), CANCEL);
    driven.take();
    driven.receive(response(id), data(id, 9), trailers(id), reset(id, NO_ERROR));
  }
  assertAtPeace(driven);
});

test("server: early answers reset what is left of the request, and its late DATA is dropped in peace", () => {
  const driven = wideServer();
  for (let batch = 0; batch < ROUNDS / 100; batch++) {
    const ids = Array.from({ length: 100 }, (_, i) => (batch * 100 + i) * 2 + 1);
    driven.receive(...ids.map((id) => request(id)));
    for (const id of ids) answer(driven, id);
    const resets = driven.sent().filter((sent) => sent.type === FRAME_RST_STREAM);
    assert.deepEqual(new Set(resets.map((sent) => readUint32(sent.payload, 0))), new Set([NO_ERROR]));
    assert.equal(resets.length, 100);
    driven.receive(...ids.map((id) => data(id, 20, true)));
  }
  assertAtPeace(driven);
});

test("a client may cancel half of its calls at any rate", () => {
  const driven = wideServer();
  for (let i = 0; i < ROUNDS; i++) {
    const id = i * 2 + 1;
    driven.receive(request(id, true));
    if (i % 2 === 0) {
      answer(driven, id);
    } else {
      driven.receive(reset(id, CANCEL));
      driven.engine.release(driven.stream(id));
    }
    driven.take();
  }
  assertAtPeace(driven);
});

test("a browser's PRIORITY frames, changed SETTINGS and two GOAWAYs are within bounds", () => {
  const driven = readyEngine("client");
  driven.receive(...Array.from({ length: 100 }, (_, i) => priority(i * 2 + 1)));
  for (let i = 0; i < 100; i++) driven.receive(settings([4, 65_535 + i]));
  driven.receive(goAway(2 ** 31 - 1), goAway(0));
  assertAtPeace(driven);
});
