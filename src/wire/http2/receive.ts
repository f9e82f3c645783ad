/**
 * Hot path: reading what the peer sends (RFC 9113 sections 4 to 6), a chunk at a time and in place.
 *
 * Only a frame cut by the end of a chunk is copied; DATA is not even then: its parts are handed on as they come. Every
 * violation ends in the RFC's error on its stream or connection, and every cost that a peer can cause is counted.
 */
import type { Http2Connection } from "./connection.ts";
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
  type EventList,
} from "./event.ts";
import {
  type Field,
  type FieldSection,
  NAME_CONTENT_LENGTH,
  PSEUDO_AUTHORITY,
  PSEUDO_METHOD,
  PSEUDO_PATH,
  PSEUDO_SCHEME,
  PSEUDO_STATUS,
} from "./field.ts";
import {
  CLIENT_PREFACE,
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  DEFAULT_FRAME_BYTES,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FLOW_CONTROL_ERROR,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  NO_ERROR,
  PROTOCOL_ERROR,
  readUint32,
  REFUSED_STREAM,
  SETTING_HEADER_TABLE_SIZE,
  STREAM_CLOSED,
  STREAM_ID_MAX,
  WINDOW_MAX,
} from "./frame.ts";
import { applySetting, forEachSetting } from "./settings.ts";
import {
  Http2Stream,
  STREAM_ANSWERED,
  STREAM_HEADERS_SEEN,
  STREAM_OURS,
  STREAM_PEER_RESET,
  STREAM_REMOTE_ENDED,
  STREAM_RESET,
  STREAM_TRAILERS_SEEN,
} from "./stream.ts";

/** A stream that is reset within this time, and had no answer, counts as a rapid reset. */
const PREMATURE_MS = 10;
const REQUEST_MASK = (1 << PSEUDO_METHOD) | (1 << PSEUDO_SCHEME) | (1 << PSEUDO_PATH);
const RESPONSE_MASK = 1 << PSEUDO_STATUS;
/** A WINDOW_UPDATE of less is counted, unless DATA of ours accounts for it. */
const TINY_UPDATE = 1_024;
const REQUEST_ONLY_MASK = REQUEST_MASK | (1 << PSEUDO_AUTHORITY);

export function receive(c: Http2Connection, bytes: Buffer, nowMs: number, events: EventList): void {
  if (c.isFailed) return;
  if (c.rest !== undefined) {
    // Only when the shell went on reading although a rest waits: rare, so a copy may do.
    c.rest = Buffer.concat([c.rest, bytes]);
    return;
  }
  let at = 0;
  if (c.prefaceMatched < CLIENT_PREFACE.length) {
    at = matchPreface(c, bytes, events);
    if (c.isFailed) return;
  }
  readFrames(c, bytes, at, nowMs, events);
}

export function receiveRest(c: Http2Connection, nowMs: number, events: EventList): void {
  const rest = c.rest;
  c.rest = undefined;
  if (rest !== undefined && !c.isFailed) readFrames(c, rest, 0, nowMs, events);
}

function matchPreface(c: Http2Connection, bytes: Buffer, events: EventList): number {
  let at = 0;
  while (at < bytes.length && c.prefaceMatched < CLIENT_PREFACE.length) {
    if (bytes[at] !== CLIENT_PREFACE[c.prefaceMatched]) {
      fail(c, PROTOCOL_ERROR, "the connection does not begin with the HTTP/2 preface", events);
      return at;
    }
    at += 1;
    c.prefaceMatched += 1;
  }
  return at;
}

function readFrames(c: Http2Connection, bytes: Buffer, from: number, nowMs: number, events: EventList): void {
  let at = from;
  const end = bytes.length;
  let framesLeft = c.limits.framesPerTurnMax;
  c.turnFields = 0;
  if (c.dataRemaining > 0) at = continueData(c, bytes, at, events);
  if (c.held !== undefined) at = completeHeld(c, bytes, at, nowMs, events);
  while (at < end && !c.isFailed) {
    if (end - at < FRAME_HEADER_BYTES) return hold(c, bytes, at);
    if (framesLeft-- === 0 || c.turnFields > c.limits.fieldsPerTurnMax) {
      c.rest = Buffer.from(bytes.subarray(at));
      return;
    }
    const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    const type = bytes[at + 3] as number;
    const payload = at + FRAME_HEADER_BYTES;
    if (payload + length > end) {
      if (!canSplit(c, bytes, at, length, type)) {
        if (length > DEFAULT_FRAME_BYTES) return frameTooLarge(c, type, length, events);
        return hold(c, bytes, at);
      }
      if (!beginData(c, streamIdAt(bytes, at), bytes[at + 4] as number, length, 0, nowMs, events)) return;
      c.dataRemaining = length;
      continueData(c, bytes, payload, events);
      return;
    }
    readFrame(c, bytes, at, length, type, nowMs, events);
    at = payload + length;
  }
}

/** An unpadded DATA frame may be handed on in parts. */
function canSplit(c: Http2Connection, bytes: Buffer, at: number, length: number, type: number): boolean {
  return (
    type === FRAME_DATA &&
    ((bytes[at + 4] as number) & FLAG_PADDED) === 0 &&
    length <= DEFAULT_FRAME_BYTES &&
    c.blockStreamId === 0 &&
    c.hasPeerSettings
  );
}

function streamIdAt(bytes: Buffer, at: number): number {
  return (
    (((bytes[at + 5] as number) & 0x7f) << 24) |
    ((bytes[at + 6] as number) << 16) |
    ((bytes[at + 7] as number) << 8) |
    (bytes[at + 8] as number)
  );
}

function hold(c: Http2Connection, bytes: Buffer, at: number): void {
  c.held = Buffer.allocUnsafe(Math.max(64, bytes.length - at));
  c.heldBytes = 0;
  take(c, bytes, at, bytes.length - at);
}

/** Copies `count` bytes into the held frame, which grows to at most one frame. */
function take(c: Http2Connection, bytes: Buffer, at: number, count: number): void {
  let held = c.held as Buffer;
  if (held.length < c.heldBytes + count) {
    const larger = Buffer.allocUnsafe(Math.max(c.heldBytes + count, Math.min(held.length * 2, 16_393)));
    held.copy(larger, 0, 0, c.heldBytes);
    c.held = larger;
    held = larger;
  }
  bytes.copy(held, c.heldBytes, at, at + count);
  c.heldBytes += count;
}

/** Fills the held frame from the new chunk and reads it when whole; returns where the chunk goes on. */
function completeHeld(c: Http2Connection, bytes: Buffer, from: number, nowMs: number, events: EventList): number {
  let at = from;
  if (c.heldBytes < FRAME_HEADER_BYTES) {
    const count = Math.min(FRAME_HEADER_BYTES - c.heldBytes, bytes.length - at);
    take(c, bytes, at, count);
    at += count;
    if (c.heldBytes < FRAME_HEADER_BYTES) return at;
  }
  const header = c.held as Buffer;
  const length = ((header[0] as number) << 16) | ((header[1] as number) << 8) | (header[2] as number);
  const type = header[3] as number;
  if (canSplit(c, header, 0, length, type) && length > 0) {
    const received = c.heldBytes - FRAME_HEADER_BYTES;
    c.held = undefined;
    if (!beginData(c, streamIdAt(header, 0), header[4] as number, length, 0, nowMs, events)) return bytes.length;
    c.dataRemaining = length;
    if (received > 0) continueData(c, header.subarray(0, c.heldBytes), FRAME_HEADER_BYTES, events);
    return continueData(c, bytes, at, events);
  }
  if (length > DEFAULT_FRAME_BYTES) {
    frameTooLarge(c, type, length, events);
    return bytes.length;
  }
  const count = Math.min(FRAME_HEADER_BYTES + length - c.heldBytes, bytes.length - at);
  take(c, bytes, at, count);
  at += count;
  if (c.heldBytes === FRAME_HEADER_BYTES + length) {
    const frame = c.held as Buffer;
    c.held = undefined;
    readFrame(c, frame, 0, length, type, nowMs, events);
  }
  return at;
}

function readFrame(
  c: Http2Connection,
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  nowMs: number,
  events: EventList,
): void {
  if (length > DEFAULT_FRAME_BYTES) return frameTooLarge(c, type, length, events);
  const flags = bytes[at + 4] as number;
  const id = streamIdAt(bytes, at);
  const start = at + FRAME_HEADER_BYTES;
  const end = start + length;
  if (c.blockStreamId !== 0 && (type !== FRAME_CONTINUATION || id !== c.blockStreamId)) {
    return fail(c, PROTOCOL_ERROR, "a header block was interrupted by another frame", events);
  }
  if (!c.hasPeerSettings && (type !== FRAME_SETTINGS || (flags & FLAG_ACK) !== 0)) {
    return fail(c, PROTOCOL_ERROR, "the first frame is not SETTINGS", events);
  }
  switch (type) {
    case FRAME_DATA:
      return readData(c, bytes, start, end, flags, id, nowMs, events);
    case FRAME_HEADERS:
      return readHeaders(c, bytes, start, end, flags, id, nowMs, events);
    case FRAME_PRIORITY:
      return readPriority(c, bytes, start, length, id, nowMs, events);
    case FRAME_RST_STREAM:
      return readReset(c, bytes, start, length, id, nowMs, events);
    case FRAME_SETTINGS:
      return readSettings(c, bytes, start, end, flags, id, nowMs, events);
    case FRAME_PUSH_PROMISE:
      return fail(c, PROTOCOL_ERROR, "PUSH_PROMISE although push is off", events);
    case FRAME_PING:
      return readPing(c, bytes, start, length, flags, id, nowMs, events);
    case FRAME_GOAWAY:
      return readGoAway(c, bytes, start, end, id, nowMs, events);
    case FRAME_WINDOW_UPDATE:
      return readWindowUpdate(c, bytes, start, length, id, nowMs, events);
    case FRAME_CONTINUATION:
      return readContinuation(c, bytes, start, end, flags, id, nowMs, events);
    default:
      // Unknown types must be ignored (RFC 9113 4.1), but not for ever.
      glitch(c, nowMs, "too many unknown frames", events);
  }
}

// ------------------------------------------------------------------------------------------------------------ DATA

function readData(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  end: number,
  flags: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  let from = start;
  let to = end;
  if ((flags & FLAG_PADDED) !== 0) {
    const padding = start < end ? (bytes[start] as number) : 0;
    if (end - start < 1) return fail(c, FRAME_SIZE_ERROR, "a padded DATA frame without its padding length", events);
    from += 1;
    if (padding > to - from) return fail(c, PROTOCOL_ERROR, "DATA padding is longer than the frame", events);
    to -= padding;
  }
  if (!beginData(c, id, flags, end - start, end - start - (to - from), nowMs, events)) return;
  const stream = c.dataStream;
  c.dataStream = undefined;
  if (stream === undefined) return;
  deliverData(c, stream, bytes, from, to, c.dataEnds, events);
}

/**
 * The checks and the accounting of a DATA frame of `length` flow-controlled bytes, `padding` of them padding. Sets
 * `dataStream` (undefined: the payload is dropped) and `dataEnds`. False: the connection failed.
 */
function beginData(
  c: Http2Connection,
  id: number,
  flags: number,
  length: number,
  padding: number,
  nowMs: number,
  events: EventList,
): boolean {
  c.dataStream = undefined;
  c.dataEnds = (flags & FLAG_END_STREAM) !== 0;
  if (id === 0) return failed(c, PROTOCOL_ERROR, "DATA on stream 0", events);
  c.receiveCredit -= length;
  if (c.receiveCredit < 0) return failed(c, FLOW_CONTROL_ERROR, "more DATA than the connection's window", events);
  if (length === padding && !c.dataEnds) {
    if (++c.emptyDataInARow > c.limits.emptyDataMax) {
      return failed(c, ENHANCE_YOUR_CALM, "too many empty DATA frames", events);
    }
  } else {
    c.emptyDataInARow = 0;
  }
  if (length > 0) c.returnConnectionCredit(length, nowMs);
  const stream = c.streams.get(id);
  if (stream === undefined) return dataOnNoStream(c, id, nowMs, events);
  if ((stream.flags & STREAM_RESET) !== 0) {
    if ((stream.flags & STREAM_PEER_RESET) === 0) return true;
    return failed(c, STREAM_CLOSED, "DATA after the peer's RST_STREAM", events);
  }
  if ((stream.flags & STREAM_REMOTE_ENDED) !== 0) {
    streamError(c, stream, STREAM_CLOSED, "DATA after the end of the stream", nowMs, events);
    return !c.isFailed;
  }
  if ((stream.flags & STREAM_HEADERS_SEEN) === 0) {
    streamError(c, stream, PROTOCOL_ERROR, "DATA before HEADERS", nowMs, events);
    return !c.isFailed;
  }
  stream.receiveCredit -= length;
  // Empty DATA may end a stream whatever the window, which a change of our SETTINGS can make negative.
  if (stream.receiveCredit < 0 && length > 0) {
    streamError(c, stream, FLOW_CONTROL_ERROR, "more DATA than the stream's window", nowMs, events);
    return !c.isFailed;
  }
  stream.unconsumed += length;
  if (padding > 0) c.consume(stream, padding, nowMs);
  stream.contentReceived += length - padding;
  if (
    stream.contentLength >= 0 &&
    (stream.contentReceived > stream.contentLength || (c.dataEnds && stream.contentReceived !== stream.contentLength))
  ) {
    streamError(c, stream, PROTOCOL_ERROR, "DATA does not add up to content-length", nowMs, events);
    return !c.isFailed;
  }
  c.dataStream = stream;
  return true;
}

function dataOnNoStream(c: Http2Connection, id: number, nowMs: number, events: EventList): boolean {
  if (isIdle(c, id)) return failed(c, PROTOCOL_ERROR, "DATA on an idle stream", events);
  if (c.role === "client" || c.resetIds.has(id) || id > c.ourLastId) return true;
  if (c.endedIds.has(id)) return failed(c, STREAM_CLOSED, "DATA on a closed stream", events);
  return glitch(c, nowMs, "too many frames on closed streams", events);
}

/** Hands on the next part of a DATA frame that did not come in one piece; returns where the chunk goes on. */
function continueData(c: Http2Connection, bytes: Buffer, at: number, events: EventList): number {
  const to = Math.min(bytes.length, at + c.dataRemaining);
  if (to === at) return at;
  c.dataRemaining -= to - at;
  const stream = c.dataStream;
  const isLast = c.dataRemaining === 0;
  if (stream !== undefined && (stream.flags & STREAM_RESET) === 0) {
    deliverData(c, stream, bytes, at, to, isLast && c.dataEnds, events);
  }
  if (isLast) c.dataStream = undefined;
  return to;
}

function deliverData(
  c: Http2Connection,
  stream: Http2Stream,
  bytes: Buffer,
  from: number,
  to: number,
  ends: boolean,
  events: EventList,
): void {
  if (ends) c.endRemote(stream);
  if (to > from || ends) events.push(EVENT_DATA, stream, from, to, ends ? 1 : 0, bytes);
}

// --------------------------------------------------------------------------------------------------------- HEADERS

function readHeaders(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  end: number,
  flags: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id === 0) return fail(c, PROTOCOL_ERROR, "HEADERS on stream 0", events);
  let from = start;
  let to = end;
  if ((flags & FLAG_PADDED) !== 0) {
    if (to - from < 1) return fail(c, FRAME_SIZE_ERROR, "a padded HEADERS frame without its padding length", events);
    const padding = bytes[from] as number;
    from += 1;
    if (padding > to - from) return fail(c, PROTOCOL_ERROR, "HEADERS padding is longer than the frame", events);
    to -= padding;
  }
  let dependsOnItself = false;
  if ((flags & FLAG_PRIORITY) !== 0) {
    if (to - from < 5) return fail(c, FRAME_SIZE_ERROR, "HEADERS is too short for its priority", events);
    dependsOnItself = (readUint32(bytes, from) & STREAM_ID_MAX) === id;
    from += 5;
  }
  if (dependsOnItself) return fail(c, PROTOCOL_ERROR, "a stream depends on itself", events);
  if ((flags & FLAG_END_HEADERS) === 0) {
    c.blockStreamId = id;
    c.blockFlags = flags;
    c.block = [Buffer.from(bytes.subarray(from, to))];
    c.blockBytes = to - from;
    c.blockFrames = 0;
    return;
  }
  headerBlock(c, bytes, from, to, (flags & FLAG_END_STREAM) !== 0, id, nowMs, events);
}

function readContinuation(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  end: number,
  flags: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (c.blockStreamId === 0) return fail(c, PROTOCOL_ERROR, "CONTINUATION without HEADERS", events);
  c.blockFrames += 1;
  c.blockBytes += end - start;
  const isLast = (flags & FLAG_END_HEADERS) !== 0;
  if (
    c.blockFrames > c.limits.continuationsMax ||
    c.blockBytes > c.limits.blockBytesMax ||
    (start === end && !isLast)
  ) {
    return fail(c, ENHANCE_YOUR_CALM, "too many CONTINUATION frames", events);
  }
  c.block.push(Buffer.from(bytes.subarray(start, end)));
  if (!isLast) return;
  const block = Buffer.concat(c.block);
  c.block = [];
  c.blockStreamId = 0;
  headerBlock(c, block, 0, block.length, (c.blockFlags & FLAG_END_STREAM) !== 0, id, nowMs, events);
}

function headerBlock(
  c: Http2Connection,
  bytes: Buffer,
  from: number,
  to: number,
  ends: boolean,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  const section = events.takeSection();
  // Whatever becomes of the stream, the block is decoded to its end: the table belongs to the connection.
  if (!c.decoder.decode(bytes, from, to, section)) {
    return fail(c, COMPRESSION_ERROR, c.decoder.error, events);
  }
  c.turnFields += section.total;
  const stream = c.streams.get(id);
  const isTaken =
    stream !== undefined
      ? laterHeaders(c, stream, section, ends, nowMs, events)
      : c.role === "server"
        ? firstHeaders(c, section, ends, id, nowMs, events)
        : headersOnNoStream(c, id, events);
  if (!isTaken) events.returnSection();
}

/** A client's first section on a server opens the stream. */
function firstHeaders(
  c: Http2Connection,
  section: FieldSection,
  ends: boolean,
  id: number,
  nowMs: number,
  events: EventList,
): boolean {
  if ((id & 1) === 0) return failed(c, PROTOCOL_ERROR, "a client opened a stream with an even id", events);
  if (id <= c.lastPeerId) {
    if (c.resetIds.has(id)) return glitch(c, nowMs, "too many HEADERS on reset streams", events) && false;
    const code = c.endedIds.has(id) ? STREAM_CLOSED : PROTOCOL_ERROR;
    return failed(c, code, `HEADERS on stream ${id} after stream ${c.lastPeerId}`, events);
  }
  // Also what came too late for our GOAWAY has been opened: its later frames are not errors.
  c.lastPeerId = id;
  if (id > c.ourLastId) return glitch(c, nowMs, "too many streams after GOAWAY", events) && false;
  const flaw =
    section.flaw !== 0 ||
    ((section.pseudoMask & REQUEST_MASK) !== REQUEST_MASK && !section.isTruncated) ||
    (section.pseudoMask & ~REQUEST_ONLY_MASK) !== 0 ||
    hasEmptyPath(section);
  if (flaw) return refuse(c, id, PROTOCOL_ERROR, nowMs, events);
  if (c.streams.count >= c.limits.streamsMax) return refuse(c, id, REFUSED_STREAM, nowMs, events);
  const flags = ends ? STREAM_HEADERS_SEEN | STREAM_REMOTE_ENDED : STREAM_HEADERS_SEEN;
  const stream = new Http2Stream(id, flags, c.peer.initialWindow, c.initialReceiveWindow, nowMs);
  if (!declareLength(stream, section, ends)) return refuse(c, id, PROTOCOL_ERROR, nowMs, events);
  c.addStream(stream);
  events.push(EVENT_HEADERS, stream, ends ? 1 : 0, 0, 0, section);
  return true;
}

/** Response headers on a client; trailers on either side. */
function laterHeaders(
  c: Http2Connection,
  stream: Http2Stream,
  section: FieldSection,
  ends: boolean,
  nowMs: number,
  events: EventList,
): boolean {
  if ((stream.flags & STREAM_RESET) !== 0) {
    if ((stream.flags & STREAM_PEER_RESET) !== 0) {
      return failed(c, STREAM_CLOSED, "HEADERS after the peer's RST_STREAM", events);
    }
    return glitch(c, nowMs, "too many HEADERS on reset streams", events) && false;
  }
  if ((stream.flags & STREAM_REMOTE_ENDED) !== 0) {
    return streamError(c, stream, STREAM_CLOSED, "HEADERS after the end of the stream", nowMs, events);
  }
  const isFirst = (stream.flags & (STREAM_HEADERS_SEEN | STREAM_OURS)) === STREAM_OURS;
  if (section.flaw !== 0) return streamError(c, stream, PROTOCOL_ERROR, "malformed header section", nowMs, events);
  if (isFirst) {
    if (section.pseudoMask !== RESPONSE_MASK && !section.isTruncated) {
      return streamError(c, stream, PROTOCOL_ERROR, "a response without exactly :status", nowMs, events);
    }
    if (isInterim(section)) {
      if (ends) return streamError(c, stream, PROTOCOL_ERROR, "an interim response ends the stream", nowMs, events);
      return glitch(c, nowMs, "too many interim responses", events) && false;
    }
    if (!declareLength(stream, section, ends)) {
      return streamError(c, stream, PROTOCOL_ERROR, "bad content-length", nowMs, events);
    }
    stream.flags |= STREAM_HEADERS_SEEN;
  } else {
    if (!ends) return streamError(c, stream, PROTOCOL_ERROR, "trailers that do not end the stream", nowMs, events);
    if (section.pseudoMask !== 0) {
      return streamError(c, stream, PROTOCOL_ERROR, "a pseudo-header field in trailers", nowMs, events);
    }
    if (stream.contentLength >= 0 && stream.contentReceived !== stream.contentLength) {
      return streamError(c, stream, PROTOCOL_ERROR, "DATA does not add up to content-length", nowMs, events);
    }
    stream.flags |= STREAM_TRAILERS_SEEN;
  }
  if (ends) c.endRemote(stream);
  events.push(EVENT_HEADERS, stream, ends ? 1 : 0, 0, 0, section);
  return true;
}

function headersOnNoStream(c: Http2Connection, id: number, events: EventList): boolean {
  if (isIdle(c, id)) return failed(c, PROTOCOL_ERROR, "HEADERS on an idle stream", events);
  return false;
}

function isInterim(section: FieldSection): boolean {
  // A pseudo-header stands first; a section cut short by a limit may not have it.
  const first = section.count > 0 ? section.fields[0] : undefined;
  return (
    first !== undefined &&
    first.nameId === PSEUDO_STATUS &&
    first.value.length === 3 &&
    first.value.charCodeAt(0) === 49
  );
}

/** An empty :path names nothing (RFC 9113 8.3.1). */
function hasEmptyPath(section: FieldSection): boolean {
  for (let i = 0; i < section.count; i++) {
    const field = section.fields[i] as Field;
    if (field.nameId === PSEUDO_PATH) return field.value.length === 0;
    if (field.nameId < 0 || field.nameId > PSEUDO_STATUS) return false;
  }
  return false;
}

function declareLength(stream: Http2Stream, section: FieldSection, ends: boolean): boolean {
  for (let i = 0; i < section.count; i++) {
    const field = section.fields[i];
    if (field === undefined || field.nameId !== NAME_CONTENT_LENGTH) continue;
    if (!/^\d{1,15}$/.test(field.value)) return false;
    const length = Number(field.value);
    if (stream.contentLength >= 0 && stream.contentLength !== length) return false;
    // Content without DATA: only answers to HEAD and 304 may declare it, and we ask for neither.
    if (ends && length !== 0) return false;
    stream.contentLength = length;
  }
  return true;
}

// ----------------------------------------------------------------------------------------------------- other frames

function readPriority(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  length: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id === 0) return fail(c, PROTOCOL_ERROR, "PRIORITY on stream 0", events);
  if (length !== 5) {
    if (isIdle(c, id)) return fail(c, FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes", events);
    const stream = c.streams.get(id);
    if (stream !== undefined) streamError(c, stream, FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes", nowMs, events);
    // The stream may have closed meanwhile; the answer is the same.
    else refuse(c, id, FRAME_SIZE_ERROR, nowMs, events);
    return;
  }
  if ((readUint32(bytes, start) & STREAM_ID_MAX) === id) {
    if (isIdle(c, id)) return fail(c, PROTOCOL_ERROR, "a stream depends on itself", events);
    const stream = c.streams.get(id);
    if (stream !== undefined) streamError(c, stream, PROTOCOL_ERROR, "a stream depends on itself", nowMs, events);
    else refuse(c, id, PROTOCOL_ERROR, nowMs, events);
    return;
  }
  glitch(c, nowMs, "too many PRIORITY frames", events);
}

function readReset(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  length: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id === 0) return fail(c, PROTOCOL_ERROR, "RST_STREAM on stream 0", events);
  if (length !== 4) return fail(c, FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes", events);
  const stream = c.streams.get(id);
  if (stream === undefined || stream.isClosed) {
    if (isIdle(c, id)) return fail(c, PROTOCOL_ERROR, "RST_STREAM on an idle stream", events);
    // It may have crossed our end of the stream, once for each stream.
    if (c.lateResetsEarned > 0) c.lateResetsEarned -= 1;
    else glitch(c, nowMs, "too many frames on closed streams", events);
    return;
  }
  if (c.role === "server" && isPremature(stream, nowMs) && !c.resetBucket.take(nowMs)) {
    return fail(c, ENHANCE_YOUR_CALM, "too many streams reset", events);
  }
  c.endedIds.add(id);
  stream.flags |= STREAM_PEER_RESET;
  c.closeByReset(stream);
  events.push(EVENT_RESET, stream, readUint32(bytes, start), 0, 0, undefined);
}

/**
 * Rapid reset (CVE-2023-44487) lives on streams that are reset as soon as they are opened. A caller who breaks off a reply stream, or
 * whose deadline passes, does neither; and its slot is taken until the handler has ended, whoever resets it.
 */
function isPremature(stream: Http2Stream, nowMs: number): boolean {
  return (stream.flags & STREAM_ANSWERED) === 0 && nowMs - stream.openedAtMs < PREMATURE_MS;
}

function readSettings(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  end: number,
  flags: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id !== 0) return fail(c, PROTOCOL_ERROR, "SETTINGS on a stream", events);
  if ((flags & FLAG_ACK) !== 0) {
    if (start !== end) return fail(c, FRAME_SIZE_ERROR, "SETTINGS ACK with a payload", events);
    if (!c.areSettingsAcked) c.settingsAcked();
    else glitch(c, nowMs, "too many SETTINGS answers to nothing", events);
    return;
  }
  if ((end - start) % 6 !== 0) return fail(c, FRAME_SIZE_ERROR, "SETTINGS is not a multiple of 6 bytes", events);
  if ((end - start) / 6 > c.limits.settingsEntriesMax) {
    return fail(c, ENHANCE_YOUR_CALM, "too many settings in one frame", events);
  }
  if (c.hasPeerSettings && !glitch(c, nowMs, "too many SETTINGS", events)) return;
  const windowBefore = c.peer.initialWindow;
  let error = NO_ERROR;
  let wrong = "";
  forEachSetting(bytes, start, end, (setting, value) => {
    if (error !== NO_ERROR) return;
    error = applySetting(c.peer, setting, value, c.role === "client");
    // Each of several sizes: our table must have been as small as the smallest (RFC 7541 4.2).
    if (setting === SETTING_HEADER_TABLE_SIZE) c.encoder.setTableSizeMax(value);
    if (error !== NO_ERROR) wrong = `setting ${setting} may not be ${value}`;
  });
  if (error !== NO_ERROR) return fail(c, error, wrong, events);
  const shift = c.peer.initialWindow - windowBefore;
  if (shift !== 0) {
    for (const stream of c.streams.all()) {
      stream.sendWindow += shift;
      if (stream.sendWindow > WINDOW_MAX) {
        return fail(c, FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE overflows a stream's window", events);
      }
      if (stream.sendWindow > 0) c.wake(stream);
    }
  }
  c.ackSettings();
  if (!c.hasPeerSettings) c.hasPeerSettings = true;
  events.push(EVENT_SETTINGS, undefined, 0, 0, 0, undefined);
  // Also when windows have shrunk: streams that may send no more leave the line.
  if (shift !== 0) c.pump(events);
}

function readPing(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  length: number,
  flags: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id !== 0) return fail(c, PROTOCOL_ERROR, "PING on a stream", events);
  if (length !== 8) return fail(c, FRAME_SIZE_ERROR, "PING is not 8 bytes", events);
  if ((flags & FLAG_ACK) !== 0) {
    if (readUint32(bytes, start) === 0x686f6c64 && c.pingsUnanswered > 0) {
      c.pingsUnanswered -= 1;
      events.push(EVENT_PING_ACK, undefined, readUint32(bytes, start + 4), 0, 0, undefined);
    } else {
      glitch(c, nowMs, "too many PING answers to nothing", events);
    }
    return;
  }
  // gRFC A8: a client that pings more often than it may, without traffic of ours between, is told so.
  if (c.role === "server" && nowMs - c.lastPingAtMs < c.limits.pingGapMs) {
    if (++c.pingStrikes > c.limits.pingStrikesMax) return fail(c, ENHANCE_YOUR_CALM, "too_many_pings", events);
  }
  c.lastPingAtMs = nowMs;
  // Servers measure bandwidth with a PING for each burst of DATA that they receive (grpc-go, gRPC core): those are free.
  if (c.role === "client" && ++c.pingStrikes > c.limits.pingStrikesMax) {
    if (!glitch(c, nowMs, "too many PINGs", events)) return;
  }
  c.answerPing(bytes, start);
}

function readGoAway(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  end: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (id !== 0) return fail(c, PROTOCOL_ERROR, "GOAWAY on a stream", events);
  if (end - start < 8) return fail(c, FRAME_SIZE_ERROR, "GOAWAY is shorter than 8 bytes", events);
  const lastId = readUint32(bytes, start) & STREAM_ID_MAX;
  const code = readUint32(bytes, start + 4);
  if (c.hasReceivedGoAway && !glitch(c, nowMs, "too many GOAWAYs", events)) return;
  c.hasReceivedGoAway = true;
  c.peerLastId = Math.min(c.peerLastId, lastId);
  const debug = bytes.toString("latin1", start + 8, Math.min(end, start + 8 + 256));
  events.push(EVENT_GOAWAY, undefined, c.peerLastId, code, 0, debug);
  if (c.role !== "client") return;
  for (const stream of c.streams.all()) {
    if (stream.id <= c.peerLastId || stream.isReset) continue;
    c.closeByReset(stream);
    events.push(EVENT_UNPROCESSED, stream, 0, 0, 0, undefined);
  }
}

function readWindowUpdate(
  c: Http2Connection,
  bytes: Buffer,
  start: number,
  length: number,
  id: number,
  nowMs: number,
  events: EventList,
): void {
  if (length !== 4) return fail(c, FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes", events);
  const increment = readUint32(bytes, start) & WINDOW_MAX;
  // A tiny one is right where our DATA was tiny; without DATA of ours it only costs.
  if (c.updatesEarned > 0) c.updatesEarned -= 1;
  else if (increment < TINY_UPDATE && !glitch(c, nowMs, "too many tiny WINDOW_UPDATEs", events)) return;
  if (id === 0) {
    if (increment === 0) return fail(c, PROTOCOL_ERROR, "WINDOW_UPDATE of 0", events);
    c.sendWindow += increment;
    if (c.sendWindow > WINDOW_MAX) return fail(c, FLOW_CONTROL_ERROR, "the connection's window overflows", events);
    c.pump(events);
    return;
  }
  const stream = c.streams.get(id);
  if (stream === undefined || stream.isReset) {
    if (isIdle(c, id)) return fail(c, PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream", events);
    return;
  }
  if (increment === 0) {
    streamError(c, stream, PROTOCOL_ERROR, "WINDOW_UPDATE of 0", nowMs, events);
    return;
  }
  stream.sendWindow += increment;
  if (stream.sendWindow > WINDOW_MAX) {
    streamError(c, stream, FLOW_CONTROL_ERROR, "the stream's window overflows", nowMs, events);
    return;
  }
  if (stream.queuedBytes > 0) {
    c.wake(stream);
    c.pump(events);
  }
}

// ----------------------------------------------------------------------------------------------------------- errors

/** Neither side has opened the stream yet. */
function isIdle(c: Http2Connection, id: number): boolean {
  const isOurs = (id & 1) === (c.role === "client" ? 1 : 0);
  return isOurs ? id >= c.nextId : id > c.lastPeerId;
}

/** Ends the connection: GOAWAY with the code, and the last event. */
function fail(c: Http2Connection, code: number, text: string, events: EventList): void {
  if (c.isFailed) return;
  c.isFailed = true;
  c.dropPartial();
  c.goAway(code, c.lastPeerId, text);
  events.push(EVENT_CONNECTION_ERROR, undefined, code, 0, 0, text);
}

function failed(c: Http2Connection, code: number, text: string, events: EventList): false {
  fail(c, code, text, events);
  return false;
}

function frameTooLarge(c: Http2Connection, type: number, length: number, events: EventList): void {
  fail(c, FRAME_SIZE_ERROR, `a frame of type ${type} with ${length} bytes, at most ${DEFAULT_FRAME_BYTES}`, events);
}

/** Resets one stream for what the peer did on it. Costs us a reset each, so they are counted ("MadeYouReset"). */
function streamError(
  c: Http2Connection,
  stream: Http2Stream,
  code: number,
  text: string,
  nowMs: number,
  events: EventList,
): false {
  if (!c.ownResetBucket.take(nowMs)) return failed(c, ENHANCE_YOUR_CALM, "too many stream errors", events);
  if (stream.isClosed) {
    c.resetId(stream.id, code);
  } else {
    c.reset(stream, code);
    events.push(EVENT_STREAM_ERROR, stream, code, 0, 0, text);
  }
  return false;
}

/** Resets a stream that never came to be. */
function refuse(c: Http2Connection, id: number, code: number, nowMs: number, events: EventList): false {
  if (!c.ownResetBucket.take(nowMs)) return failed(c, ENHANCE_YOUR_CALM, "too many refused streams", events);
  c.resetId(id, code);
  return false;
}

/** Counts something that a good peer rarely does; false: it was once too often and the connection failed. */
function glitch(c: Http2Connection, nowMs: number, text: string, events: EventList): boolean {
  if (c.glitchBucket.take(nowMs)) return true;
  fail(c, ENHANCE_YOUR_CALM, text, events);
  return false;
}
