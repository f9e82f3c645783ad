import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAME_SETTINGS, FRAME_WINDOW_UPDATE, readUint32, SETTING_INITIAL_WINDOW_SIZE } from "./frame.ts";
import { WindowBudget } from "./limits.ts";
import { type DrivenEngine, readyEngine } from "./testdata/driven-engine.ts";
import { data, request, reset, sourceOf } from "./testdata/frame-script.ts";

/** INITIAL_WINDOW_SIZE values that were announced since the last look. */
function announced(driven: DrivenEngine): number[] {
  return driven
    .sent()
    .filter((sent) => sent.type === FRAME_SETTINGS && sent.payload.length === 6)
    .filter((sent) => sent.payload.readUInt16BE(0) === SETTING_INITIAL_WINDOW_SIZE)
    .map((sent) => readUint32(sent.payload, 2));
}

/** A server on whose stream 1 a message of `bytes` was expected, and which then ended it. */
function afterLargeMessage(bytes: number, budget?: WindowBudget): DrivenEngine {
  const driven = readyEngine("server", {}, budget);
  driven.receive(request(1), request(3), data(1, 16_384));
  driven.engine.expect(driven.stream(1), bytes - 16_384);
  driven.receive(reset(1));
  driven.engine.release(driven.stream(1));
  return driven;
}

test("streams begin with the window that an earlier message needed, and open ones get the difference", () => {
  const driven = afterLargeMessage(1_000_000);
  const [window] = announced(driven);
  assert.ok(window !== undefined && window > 900_000 && window <= 1_048_576);
  assert.equal(driven.engine.initialReceiveWindow, window);
  assert.equal(driven.stream(3).receiveCredit, window);
  driven.receive(request(5));
  assert.equal(driven.stream(5).receiveCredit, window);
  driven.receive(...Array.from({ length: 50 }, () => data(5, 16_384)));
  assert.equal(driven.engine.isFailed, false, "more than 64 KiB is within the window");
});

test("what open streams may leave unread is in the process's budget, and comes back", () => {
  const budget = new WindowBudget(64 * 1_048_576);
  const driven = afterLargeMessage(1_000_000, budget);
  const more = driven.engine.initialReceiveWindow - 65_535;
  assert.equal(budget.granted, more, "stream 3");
  driven.receive(request(5));
  assert.equal(budget.granted, 2 * more);
  for (const id of [3, 5]) {
    driven.receive(reset(id));
    driven.engine.release(driven.stream(id));
  }
  assert.equal(budget.granted, 0);
});

test("a message that needs no more than the next doubling announces nothing", () => {
  const driven = afterLargeMessage(100_000);
  assert.deepEqual(announced(driven), []);
  assert.equal(driven.engine.initialReceiveWindow, 65_535);
});

test("connection credit waits once readers leave more unread than a connection may hold", () => {
  const driven = readyEngine("server", { connectionWindowMax: 1_048_576 });
  driven.receive(request(1), data(1, 16_384));
  driven.engine.expect(driven.stream(1), 1_000_000 - 16_384);
  driven.engine.consume(driven.stream(1), 16_384, 0);
  driven.receive(reset(1));
  driven.engine.release(driven.stream(1));
  driven.receive(request(3), request(5), request(7));
  for (const id of [3, 5, 7]) {
    for (let i = 0; i < 59 && driven.engine.receiveCredit >= 16_384; i++) driven.receive(data(id, 16_384));
  }
  assert.ok(driven.engine.receiveCredit < 16_384, "nothing returns");
  const unread = [3, 5, 7].reduce((sum, id) => sum + driven.stream(id).unconsumed, 0);
  assert.ok(unread > 1_048_576 && unread < 3 * 1_048_576);
  driven.sent();
  for (const id of [3, 5]) driven.engine.consume(driven.stream(id), driven.stream(id).unconsumed, 0);
  const returned = driven.sent().filter((sent) => sent.type === FRAME_WINDOW_UPDATE && sent.id === 0);
  assert.ok(returned.length > 0, "and it does as soon as they read");
});

test("a message longer than any window is not vouched for, whatever the window has grown to", () => {
  const driven = readyEngine("server");
  driven.receive(request(1), data(1, 16_384));
  assert.equal(driven.engine.expect(driven.stream(1), 1_073_741_824), false);
  assert.equal(driven.engine.expect(driven.stream(1), 1_073_741_824), false);
  assert.equal(driven.engine.expect(driven.stream(1), 1_000_000), true);
});

test("calls that are broken off after their answer began, or after a while, are no rapid reset", () => {
  const driven = readyEngine("server");
  for (let i = 0; i < 2_000; i++) {
    const id = 1 + 2 * i;
    driven.receive(request(id));
    if (i % 2 === 0) driven.engine.sendHeaders(driven.stream(id), sourceOf([[":status", "200"]]), false);
    else driven.nowMs += 10;
    const stream = driven.stream(id);
    driven.receive(reset(id));
    driven.engine.release(stream);
  }
  assert.equal(driven.engine.isFailed, false);
});
