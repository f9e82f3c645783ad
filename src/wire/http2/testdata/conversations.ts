/** Bytes that a peer might send, for properties: in order, or damaged. */
import fc from "fast-check";
import {
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_HEADERS,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_FRAME_SIZE,
} from "../frame.ts";
import {
  blockOf,
  clientStart,
  data,
  frame,
  goAway,
  headers,
  paddedData,
  ping,
  priority,
  REQUEST_FIELDS,
  RESPONSE_FIELDS,
  reset,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./frame-script.ts";

/** A header block over several frames, padded and with a priority: all that HEADERS can be. */
function scattered(id: number, fields: Parameters<typeof blockOf>[0], parts: number): Buffer {
  const block = blockOf(fields);
  const step = Math.ceil(block.length / parts);
  const first = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 15]), block.subarray(0, step), Buffer.alloc(3)]);
  const frames = [frame(FRAME_HEADERS, FLAG_PADDED | FLAG_PRIORITY, id, first)];
  for (let at = step; at < block.length; at += step) {
    const isLast = at + step >= block.length;
    frames.push(frame(FRAME_CONTINUATION, isLast ? FLAG_END_HEADERS : 0, id, block.subarray(at, at + step)));
  }
  return Buffer.concat(frames);
}

const openId = fc.integer({ min: 0, max: 5 }).map((n) => n * 2 + 1);
const payload = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1_000, max: 9_000 }));

/** Frames that both roles may meet once streams 1 to 11 are open. */
const anyFrame = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(openId, payload, fc.boolean()).map(([id, n, ends]) => data(id, n, ends)) },
  { weight: 3, arbitrary: fc.tuple(openId, fc.nat(30), fc.nat(255)).map(([id, n, pad]) => paddedData(id, n, pad)) },
  fc.tuple(openId, fc.nat(70_000)).map(([id, n]) => windowUpdate(id, n + 1)),
  fc.nat(70_000).map((n) => windowUpdate(0, n + 1)),
  openId.map((id) => trailers(id)),
  openId.map((id) => reset(id)),
  openId.map((id) => priority(id)),
  fc.constant(ping()),
  fc.constant(settings([SETTING_INITIAL_WINDOW_SIZE, 70_000], [SETTING_MAX_FRAME_SIZE, 20_000])),
  fc.constant(frame(0xee, 0xff, 3, Buffer.from("unknown"))),
  fc.constant(goAway(5)),
);

/** What a client sends: preface, SETTINGS, six requests in three forms, then anything. */
export const clientBytes: fc.Arbitrary<Buffer> = fc
  .array(anyFrame, { minLength: 4, maxLength: 25, size: "max" })
  .map((frames) => {
    const opened = [1, 3, 5, 7, 9, 11].map((id) =>
      id % 3 === 0 ? scattered(id, REQUEST_FIELDS, 3) : headers(id, REQUEST_FIELDS),
    );
    return Buffer.concat([clientStart(), settingsAck(), ...opened, ...frames]);
  });

/** What a server sends to a client that has opened streams 1 to 11. */
export const serverBytes: fc.Arbitrary<Buffer> = fc
  .array(anyFrame, { minLength: 4, maxLength: 25, size: "max" })
  .map((frames) => {
    const answered = [1, 3, 5, 7, 9, 11].map((id) =>
      id % 3 === 0
        ? scattered(id, RESPONSE_FIELDS, 2)
        : frame(FRAME_HEADERS, FLAG_END_HEADERS | (id === 7 ? FLAG_END_STREAM : 0), id, blockOf(RESPONSE_FIELDS)),
    );
    return Buffer.concat([settings(), settingsAck(), ...answered, ...frames]);
  });

/** Damage: bytes overwritten, left out, or said twice. */
export const damage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc
  .array(fc.record({ what: fc.nat(2), where: fc.double({ min: 0, max: 1, noNaN: true }), byte: fc.nat(255) }), {
    maxLength: 4,
  })
  .map((wounds) => (bytes) => {
    let result = Buffer.from(bytes);
    for (const { what, where, byte } of wounds) {
      const at = Math.floor(where * (result.length - 1));
      if (what === 0) result[at] = byte;
      else if (what === 1) result = Buffer.concat([result.subarray(0, at), result.subarray(at + (byte & 15))]);
      else result = Buffer.concat([result.subarray(0, at + (byte & 63)), result.subarray(at)]);
    }
    return result;
  });

/** Cuts bytes into chunks of these sizes, over and over. */
export function chunksOf(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}
