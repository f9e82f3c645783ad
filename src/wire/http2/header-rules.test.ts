import assert from "node:assert/strict";
import { test } from "node:test";
import {
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  FLAG_END_HEADERS,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_HEADERS,
  PROTOCOL_ERROR,
} from "./frame.ts";
import {
  assertConnectionError,
  assertStreamError,
  type DrivenEngine,
  readyEngine,
  retainedBytes,
} from "./testdata/driven-engine.ts";
import {
  blockOf,
  continuation,
  data,
  frame,
  headers,
  type Pair,
  ping,
  REQUEST_FIELDS,
  request,
  RESPONSE_FIELDS,
  response,
  sourceOf,
  TRAILER_FIELDS,
  trailers,
} from "./testdata/frame-script.ts";

/** The good request with one field replaced, or left out. */
function requestWith(name: string, value: string | undefined): Pair[] {
  const rest = REQUEST_FIELDS.filter(([other]) => other !== name);
  return value === undefined ? rest : [[name, value], ...rest];
}

const MALFORMED_REQUESTS: readonly (readonly [what: string, fields: readonly Pair[]])[] = [
  ["no :method", requestWith(":method", undefined)],
  ["no :scheme", requestWith(":scheme", undefined)],
  ["no :path", requestWith(":path", undefined)],
  ["an empty :path", requestWith(":path", "")],
  ["a :status", [[":status", "200"], ...REQUEST_FIELDS]],
  ["an unknown pseudo-header", [[":verb", "x"], ...REQUEST_FIELDS]],
  [":protocol, which nobody offered", [[":protocol", "websocket"], ...REQUEST_FIELDS]],
  ["a pseudo-header after a field", [["te", "trailers"], ...REQUEST_FIELDS]],
  [":path twice", [[":path", "/a/b"], ...REQUEST_FIELDS]],
  [":method twice", [[":method", "POST"], ...REQUEST_FIELDS]],
  [":authority twice", [[":authority", "a"], ...REQUEST_FIELDS]],
  ["an empty name", [...REQUEST_FIELDS, ["", "x"]]],
  ["upper case in a name", [...REQUEST_FIELDS, ["X-Call", "x"]]],
  ["a space in a name", [...REQUEST_FIELDS, ["x call", "x"]]],
  ["CR LF in a value", [...REQUEST_FIELDS, ["x", "a\r\nb: c"]]],
  ["NUL in a value", [...REQUEST_FIELDS, ["x", "a\0b"]]],
  ["a space before a value", [...REQUEST_FIELDS, ["x", " a"]]],
  ["connection", [...REQUEST_FIELDS, ["connection", "close"]]],
  ["keep-alive", [...REQUEST_FIELDS, ["keep-alive", "1"]]],
  ["proxy-connection", [...REQUEST_FIELDS, ["proxy-connection", "close"]]],
  ["transfer-encoding", [...REQUEST_FIELDS, ["transfer-encoding", "chunked"]]],
  ["upgrade", [...REQUEST_FIELDS, ["upgrade", "h2c"]]],
  ["te other than trailers", requestWith("te", "gzip").toReversed()],
  ["two content-lengths that differ", [...REQUEST_FIELDS, ["content-length", "1"], ["content-length", "2"]]],
  ["a content-length that is no number", [...REQUEST_FIELDS, ["content-length", "1x"]]],
  ["a negative content-length", [...REQUEST_FIELDS, ["content-length", "-1"]]],
];

for (const [what, fields] of MALFORMED_REQUESTS) {
  test(`server: a request with ${what} is reset with PROTOCOL_ERROR, and no handler hears of it`, () => {
    const driven = readyEngine("server");
    driven.receive(headers(1, fields), request(3));
    assert.deepEqual(
      driven.seen.map((event) => "id" in event && event.id),
      [3],
    );
    assertStreamError(driven, 1, PROTOCOL_ERROR);
    assert.equal(driven.engine.streams.count, 1);
  });
}

const MALFORMED_TRAILERS: readonly (readonly [what: string, fields: readonly Pair[]])[] = [
  ["a pseudo-header", [[":status", "200"]]],
  ["upper case in a name", [["Grpc-Status", "0"]]],
  ["a connection-specific field", [["connection", "close"]]],
];

for (const [what, fields] of MALFORMED_TRAILERS) {
  test(`trailers with ${what} end their stream with PROTOCOL_ERROR, on both sides`, () => {
    const server = readyEngine("server");
    server.receive(request(1), headers(1, fields, true));
    assertStreamError(server, 1, PROTOCOL_ERROR);
    const client = clientWithCall();
    client.receive(response(1), headers(1, fields, true));
    assertStreamError(client, 1, PROTOCOL_ERROR);
  });
}

function clientWithCall(ends = false): DrivenEngine {
  const driven = readyEngine("client");
  driven.engine.sendHeaders(driven.open(), sourceOf(REQUEST_FIELDS), ends);
  driven.take();
  return driven;
}

const MALFORMED_RESPONSES: readonly (readonly [what: string, fields: readonly Pair[]])[] = [
  ["no :status", [["content-type", "application/grpc"]]],
  [":status twice", [[":status", "200"], ...RESPONSE_FIELDS]],
  ["a pseudo-header of requests", [...RESPONSE_FIELDS.slice(0, 1), [":path", "/"]]],
  ["a pseudo-header after a field", [["x", "y"], ...RESPONSE_FIELDS]],
  ["a bad content-length", [...RESPONSE_FIELDS, ["content-length", "a"]]],
];

for (const [what, fields] of MALFORMED_RESPONSES) {
  test(`client: a response with ${what} ends its stream with PROTOCOL_ERROR`, () => {
    const driven = clientWithCall();
    driven.receive(headers(1, fields));
    assertStreamError(driven, 1, PROTOCOL_ERROR);
    assert.equal(driven.engine.streams.count, 0);
  });
}

test("client: interim responses are passed over, and one that ends the stream is an error", () => {
  const driven = clientWithCall();
  driven.receive(headers(1, [[":status", "100"]]), headers(1, [[":status", "103"]]), response(1), trailers(1));
  assert.deepEqual(
    driven.seen.map((event) => event.kind === "headers" && event.fields[0]?.[1]),
    ["200", "0"],
  );
  const ended = clientWithCall();
  ended.receive(headers(1, [[":status", "100"]], true));
  assertStreamError(ended, 1, PROTOCOL_ERROR);
});

test("client: interim responses without end, ENHANCE_YOUR_CALM", () => {
  const driven = clientWithCall();
  for (let i = 0; i < 2_000 && !driven.engine.isFailed; i++) driven.receive(headers(1, [[":status", "100"]]));
  assertConnectionError(driven, ENHANCE_YOUR_CALM, /interim/);
});

test("client: a header section over the limits is no interim response, whatever its first field is", () => {
  const driven = clientWithCall();
  const many = Array.from({ length: 101 }, (_, i): Pair => [`x${i}`, "1xx"]);
  driven.receive(headers(1, many));
  assert.equal(driven.seen[0]?.kind === "headers" && driven.seen[0].isTruncated, true);
});

test("content-length must be what DATA adds up to, on both sides", () => {
  const short: Buffer[] = [data(1, 4), data(1, 0, true)];
  const long: Buffer[] = [data(1, 6)];
  const missing: Buffer[] = [data(1, 4), trailers(1)];
  for (const body of [short, long, missing]) {
    const server = readyEngine("server");
    server.receive(headers(1, [...REQUEST_FIELDS, ["content-length", "5"]]), ...body);
    assertStreamError(server, 1, PROTOCOL_ERROR);
    const client = clientWithCall();
    client.receive(headers(1, [...RESPONSE_FIELDS, ["content-length", "5"]]), ...body);
    assertStreamError(client, 1, PROTOCOL_ERROR);
  }
  const server = readyEngine("server");
  server.receive(headers(1, [...REQUEST_FIELDS, ["content-length", "5"]], true));
  assertStreamError(server, 1, PROTOCOL_ERROR);
  const good = readyEngine("server");
  good.receive(headers(1, [...REQUEST_FIELDS, ["content-length", "5"]]), data(1, 2), data(1, 3, true));
  assert.deepEqual(
    good.seen.map((event) => event.kind),
    ["headers", "data", "data"],
  );
});

test("a header block in up to nine frames, padded and with a priority, is one section", () => {
  const driven = readyEngine("server");
  const block = blockOf(REQUEST_FIELDS);
  const first = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 15]), block.subarray(0, 10), Buffer.alloc(2)]);
  driven.receive(frame(FRAME_HEADERS, FLAG_PADDED | FLAG_PRIORITY, 1, first));
  for (let i = 0; i < 7; i++) driven.receive(continuation(1, block.subarray(10 + i, 11 + i), false));
  driven.receive(continuation(1, block.subarray(17), true));
  assert.deepEqual(driven.seen, [{ kind: "headers", id: 1, ends: false, fields: REQUEST_FIELDS, isTruncated: false }]);
});

test("CONTINUATION without end, of any size, ENHANCE_YOUR_CALM, with at most 80 KiB kept meanwhile", () => {
  for (const size of [0, 1, 16_384]) {
    const driven = readyEngine("server");
    driven.receive(frame(FRAME_HEADERS, 0, 1, blockOf(REQUEST_FIELDS)));
    let most = 0;
    let frames = 0;
    for (; frames < 1_000 && !driven.engine.isFailed; frames++) {
      driven.receive(continuation(1, Buffer.alloc(size, 0xff), false));
      most = Math.max(most, retainedBytes(driven));
    }
    assertConnectionError(driven, ENHANCE_YOUR_CALM, /CONTINUATION/);
    assert.ok(frames <= 9 && most <= 81_920, `${frames} frames, ${most} bytes`);
  }
});

test("empty HEADERS with an empty last CONTINUATION are an empty section, which is no request", () => {
  const driven = readyEngine("server");
  driven.receive(frame(FRAME_HEADERS, 0, 1), continuation(1, Buffer.alloc(0), true));
  assertStreamError(driven, 1, PROTOCOL_ERROR);
});

const BAD_BLOCKS: readonly (readonly [what: string, hex: string])[] = [
  ["index 0", "80"],
  ["an index beyond the table", "c0"],
  ["an integer over 2^31", "ffffffffff7f"],
  ["an integer of ten bytes", "ff80808080808080808000"],
  ["a Huffman string with EOS", "0084ffffffff00"],
  ["Huffman padding over seven bits", "0082f8ff00"],
  ["Huffman padding that is not all ones", "00818000"],
  ["a table size over the setting", "3fe2 1f".replace(" ", "")],
  ["a table size after a field", "8220"],
  ["three table sizes", "202020"],
  ["a string longer than the block", "0005616263"],
];

for (const [what, hex] of BAD_BLOCKS) {
  test(`${what} in a header block ends the connection with COMPRESSION_ERROR`, () => {
    const driven = readyEngine("server");
    driven.receive(headers(1, Buffer.from(hex, "hex")));
    assertConnectionError(driven, COMPRESSION_ERROR);
  });
}

test("a block that is refused, malformed or over the limits is still decoded to its end, for the table's sake", () => {
  const indexed = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([0x40, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  const driven = readyEngine("server", { fieldsMax: 10, streamsMax: 1 });
  driven.receive(request(1));
  driven.receive(headers(3, Buffer.concat([blockOf(REQUEST_FIELDS), indexed("x-a", "1")])));
  driven.receive(headers(5, Buffer.concat([Buffer.alloc(40, 0x82), indexed("x-b", "2")])));
  driven.engine.reset(driven.stream(1), 8);
  driven.engine.release(driven.stream(1));
  driven.receive(headers(7, Buffer.concat([blockOf(REQUEST_FIELDS), Buffer.from([0xbe, 0xbf])])));
  const last = driven.seen.at(-1);
  assert.ok(last?.kind === "headers");
  assert.deepEqual(last.fields.slice(-2), [
    ["x-b", "2"],
    ["x-a", "1"],
  ]);
});

/** Small blocks that mean much: a big table entry referred to thousands of times, and the smallest fields there are. */
const BOMBS: readonly (readonly [what: string, block: Buffer])[] = [
  [
    "a table entry of 4,058 bytes 12,000 times",
    Buffer.concat([
      Buffer.from("400161", "hex"),
      Buffer.from("7fda1e", "hex"),
      Buffer.alloc(4_057, 0x62),
      refs(12_000),
    ]),
  ],
  ["a field of one byte 16,000 times", Buffer.concat([Buffer.from("40016100", "hex"), refs(16_000)])],
  ["empty cookies 16,000 times", Buffer.concat([Buffer.from("6000", "hex"), refs(16_000)])],
];

function refs(count: number): Buffer {
  return Buffer.alloc(count, 0xbe);
}

for (const [what, block] of BOMBS) {
  test(`${what} leave at most 100 fields and 16 KiB behind, and say that they were too many`, () => {
    const driven = readyEngine("server");
    const whole = Buffer.concat([blockOf(REQUEST_FIELDS), block]);
    driven.receive(frame(FRAME_HEADERS, 0, 1, whole.subarray(0, 16_384)));
    driven.receive(continuation(1, whole.subarray(16_384), true));
    const [event] = driven.seen;
    assert.ok(event?.kind === "headers" && event.isTruncated);
    assert.ok(event.fields.length <= 100);
    assert.ok(event.fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0) <= 16_384);
    assert.ok(driven.engine.decoder.tableSize <= 4_096);
    driven.receive(ping());
    assert.equal(driven.engine.isFailed, false);
  });
}

test("HEADERS that end the block and those that do not are told apart by one flag", () => {
  const driven = readyEngine("server");
  driven.receive(frame(FRAME_HEADERS, FLAG_END_HEADERS, 1, blockOf(REQUEST_FIELDS)));
  assert.equal(driven.seen.length, 1);
  driven.receive(frame(FRAME_HEADERS, 0, 3, blockOf(REQUEST_FIELDS)));
  assert.equal(driven.seen.length, 1);
  assert.equal(driven.engine.blockStreamId, 3, "which the shell asks for, to bound the wait");
});

test("a request's raw field is read from a split block as from a whole one", () => {
  const driven = readyEngine("server");
  const block = blockOf([...REQUEST_FIELDS, ["grpc-timeout", "100m"]]);
  driven.receive(frame(FRAME_HEADERS, 0, 1, block.subarray(0, -3)), continuation(1, block.subarray(-3), true));
  driven.receive(headers(3, TRAILER_FIELDS));
  const [event] = driven.seen;
  assert.ok(event?.kind === "headers");
  assert.deepEqual(event.fields.at(-1), ["grpc-timeout", "100m"]);
});
