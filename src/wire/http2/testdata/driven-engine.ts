/** An engine that a test drives: what it is given, what it tells, and what it would send. */
import assert from "node:assert/strict";
import { Http2Connection, type Http2Role } from "../connection.ts";
import {
  EVENT_CONNECTION_ERROR,
  EVENT_DATA,
  EVENT_GOAWAY,
  EVENT_HEADERS,
  EVENT_PING_ACK,
  EVENT_RESET,
  EVENT_SETTINGS,
  EVENT_STREAM_ERROR,
  EVENT_UNPROCESSED,
  EVENT_WRITABLE,
  EventList,
} from "../event.ts";
import { FieldNames, type FieldSection } from "../field.ts";
import { FRAME_GOAWAY, FRAME_RST_STREAM, readUint32 } from "../frame.ts";
import { DEFAULT_HTTP2_LIMITS, type Http2Limits, WindowBudget } from "../limits.ts";
import type { Http2Stream } from "../stream.ts";
import { clientStart, type Frame, type Pair, parseFrames, settings, settingsAck } from "./frame-script.ts";

export type Seen =
  | { kind: "headers"; id: number; ends: boolean; fields: Pair[]; isTruncated: boolean }
  | { kind: "data"; id: number; ends: boolean; text: string }
  | { kind: "reset"; id: number; code: number }
  | { kind: "writable"; id: number }
  | { kind: "stream-error"; id: number; code: number; text: string }
  | { kind: "settings" }
  | { kind: "ping-ack"; number: number }
  | { kind: "goaway"; lastId: number; code: number; text: string }
  | { kind: "unprocessed"; id: number }
  | { kind: "connection-error"; code: number; text: string };

export const names: FieldNames = new FieldNames(["content-type", "grpc-timeout"], ["grpc-timeout"]);

export class DrivenEngine {
  readonly engine: Http2Connection;
  readonly budget: WindowBudget;
  readonly list: EventList;
  /** What the engine told, oldest first. */
  seen: Seen[];
  /** Streams by id as events showed them. */
  readonly streams: Map<number, Http2Stream>;
  nowMs: number;

  constructor(role: Http2Role, limits: Partial<Http2Limits> = {}, budget: WindowBudget = new WindowBudget(2 ** 30)) {
    this.budget = budget;
    this.engine = new Http2Connection(role, names, { ...DEFAULT_HTTP2_LIMITS, ...limits }, budget);
    this.list = new EventList(names);
    this.seen = [];
    this.streams = new Map();
    this.nowMs = 1_000;
  }

  /** The engine reads this, to the end of what waits for later turns. */
  receive(...parts: Buffer[]): Seen[] {
    const before = this.seen.length;
    this.engine.receive(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts), this.nowMs, this.list);
    this.record();
    while (this.engine.hasRest) {
      this.engine.receiveRest(this.nowMs, this.list);
      this.record();
    }
    return this.seen.slice(before);
  }

  /** Notes and forgets what stands in the list. */
  record(): void {
    for (let i = 0; i < this.list.length; i++) this.seen.push(this.#seenAt(i));
    this.list.clear();
  }

  /** What the engine would send, taken away. */
  take(): Buffer {
    return Buffer.concat(this.engine.output.take());
  }
  sent(): Frame[] {
    return parseFrames(this.take());
  }

  stream(id: number): Http2Stream {
    const stream = this.streams.get(id) ?? this.engine.streams.get(id);
    assert.ok(stream, `stream ${id}`);
    return stream;
  }

  /** Opens a client's stream whose owner is its id. */
  open(): Http2Stream {
    const stream = this.engine.openStream(undefined, this.nowMs);
    stream.owner = stream.id;
    this.streams.set(stream.id, stream);
    return stream;
  }

  #seenAt(i: number): Seen {
    const list = this.list;
    const stream = list.streams[i];
    const a = list.a[i] as number;
    const b = list.b[i] as number;
    const id = stream?.id ?? 0;
    if (stream !== undefined) this.streams.set(id, stream);
    switch (list.kinds[i]) {
      case EVENT_HEADERS: {
        const section = list.section(i);
        return { kind: "headers", id, ends: a === 1, fields: fieldsOf(section), isTruncated: section.isTruncated };
      }
      case EVENT_DATA:
        return { kind: "data", id, ends: list.flags[i] === 1, text: list.bytes(i).toString("latin1", a, b) };
      case EVENT_RESET:
        return { kind: "reset", id, code: a };
      case EVENT_WRITABLE:
        return { kind: "writable", id };
      case EVENT_STREAM_ERROR:
        return { kind: "stream-error", id, code: a, text: list.text(i) };
      case EVENT_SETTINGS:
        return { kind: "settings" };
      case EVENT_PING_ACK:
        return { kind: "ping-ack", number: a };
      case EVENT_GOAWAY:
        return { kind: "goaway", lastId: a, code: b, text: list.text(i) };
      case EVENT_UNPROCESSED:
        return { kind: "unprocessed", id };
      default:
        assert.equal(list.kinds[i], EVENT_CONNECTION_ERROR);
        return { kind: "connection-error", code: a, text: list.text(i) };
    }
  }
}

/** An engine whose peer has sent its SETTINGS and acknowledged ours; nothing of that is left to see. */
export function readyEngine(role: Http2Role, limits: Partial<Http2Limits> = {}, budget?: WindowBudget): DrivenEngine {
  const driven = new DrivenEngine(role, limits, budget);
  driven.engine.start();
  driven.receive(role === "server" ? clientStart() : settings(), settingsAck());
  driven.take();
  driven.seen = [];
  return driven;
}

/** The connection ended with this code: the last event says so, GOAWAY was sent, and nothing more is read. */
export function assertConnectionError(driven: DrivenEngine, code: number, text?: RegExp): void {
  const last = driven.seen.at(-1);
  assert.ok(last !== undefined && last.kind === "connection-error", `the connection goes on: ${JSON.stringify(last)}`);
  assert.equal(last.code, code, last.text);
  if (text !== undefined) assert.match(last.text, text);
  assert.equal(driven.seen.filter((event) => event.kind === "connection-error").length, 1);
  assert.ok(driven.engine.isFailed);
  const away = driven.sent().findLast((frame) => frame.type === FRAME_GOAWAY);
  assert.ok(away, "GOAWAY");
  assert.equal(readUint32(away.payload, 4), code);
  assert.equal(retainedBytes(driven), 0, "nothing read in part is kept");
}

/** The stream, and it alone, was reset with this code. */
export function assertStreamError(driven: DrivenEngine, id: number, code: number): void {
  assert.deepEqual(
    driven.seen.filter((event) => event.kind === "connection-error"),
    [],
  );
  const resets = driven.sent().filter((frame) => frame.type === FRAME_RST_STREAM);
  assert.deepEqual(
    resets.map((frame) => [frame.id, readUint32(frame.payload, 0)]),
    [[id, code]],
  );
}

/** Bytes of frames and header blocks that have arrived in part and are kept. */
export function retainedBytes(driven: DrivenEngine): number {
  const { held, rest, block } = driven.engine;
  return (held?.length ?? 0) + (rest?.length ?? 0) + block.reduce((sum, part) => sum + part.length, 0);
}

function fieldsOf(section: FieldSection): Pair[] {
  const fields: Pair[] = section.fields.slice(0, section.count).map((field) => [field.name, field.value]);
  const start = section.rawStart[0] as number;
  const end = section.rawEnd[0] as number;
  if (end > 0) fields.push(["grpc-timeout", section.rawBytes.toString("latin1", start, end)]);
  return fields;
}
