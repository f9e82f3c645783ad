import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32, deflateSync, gzipSync } from "node:zlib";
import { type BenchHandlers, benchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { framed, type RawAnswer, type RawClient, rawClient } from "../../test/calls/raw-peer.ts";
import type { ServerOptions } from "./options.ts";

const ADD = "/bench.v1.Bench/Add";
const DOWN = "/bench.v1.Bench/Down";
const UP = "/bench.v1.Bench/Up";
const ECHO = "/bench.v1.Bench/Echo";
/** a = 2, b = 3, and the reply { result: 5 }. */
const TWO_AND_THREE = Buffer.from([8, 2, 16, 3]);
const FIVE = Buffer.from([8, 5]);
const ASK = { "holdfast-integrity": "crc32" };

type Headers = Readonly<Record<string, string | string[]>>;

function checksumText(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}

/** A server, a client of its wire, and how many calls of `add` and `down` reached their handlers. */
async function withServer(
  work: (raw: RawClient, ran: () => number) => Promise<void>,
  handlers: Partial<BenchHandlers> = {},
  options: ServerOptions = {},
): Promise<void> {
  let ran = 0;
  const counting: Partial<BenchHandlers> = {
    add: (request, call) => {
      ran += 1;
      return (handlers.add ?? benchHandlers.add)(request, call);
    },
    down: (request, call) => {
      ran += 1;
      return benchHandlers.down(request, call);
    },
  };
  await using pair = await startPair({ ...handlers, ...counting }, { server: options });
  await using raw = await rawClient(pair.address);
  await work(raw, () => ran);
}

function statusOf({ header, trailer }: RawAnswer): string {
  return String(header["grpc-status"] ?? trailer["grpc-status"]);
}

describe("a caller who asks for checksums", () => {
  it("is given the reply's in the trailers, and the offer in the headers", () =>
    withServer(async (raw) => {
      for (let call = 0; call < 3; call++) {
        const { header, trailer, body } = await raw.request(ADD, framed(TWO_AND_THREE), ASK);
        assert.equal(header["holdfast-integrity"], "crc32");
        assert.equal(trailer["grpc-status"], "0");
        assert.equal(trailer["holdfast-crc"], checksumText(FIVE));
        assert.deepEqual(body, framed(FIVE));
      }
    }));

  it("is given that of an empty reply, of a long one, and of one behind metadata in headers and trailers", () =>
    withServer(
      async (raw) => {
        const empty = await raw.request(ADD, framed(Buffer.alloc(0)), ASK);
        assert.equal(empty.trailer["holdfast-crc"], "00000000");
        assert.equal(empty.header["x-head"], "h");
        assert.equal(empty.trailer["x-trail"], "t");
        const data = Buffer.alloc(60_000, 9);
        const message = Buffer.concat([Buffer.from([10, 0xe0, 0xd4, 0x03]), data]);
        const long = await raw.request(ECHO, framed(message), ASK);
        assert.equal(long.trailer["holdfast-crc"], checksumText(message));
        assert.deepEqual(long.body.subarray(5), message);
      },
      {
        add(_, call) {
          call.setHeader("x-head", "h");
          call.setTrailer("x-trail", "t");
          return {};
        },
      },
    ));

  it("is given that of the reply before compression", () =>
    withServer(async (raw) => {
      const headers = { ...ASK, "grpc-encoding": "gzip", "grpc-accept-encoding": "identity,gzip" };
      const { trailer, body } = await raw.request(ADD, framed(gzipSync(TWO_AND_THREE), 1), headers);
      assert.equal(body[0], 1, "it is compressed");
      assert.equal(trailer["holdfast-crc"], checksumText(FIVE));
    }));

  it("is given that of the one reply to a stream of requests, and none of a reply stream, which has the offer all the same", () =>
    withServer(async (raw) => {
      const item = framed(Buffer.from([8, 5]));
      const up = await raw.request(UP, Buffer.concat([item, item]), ASK);
      assert.equal(up.trailer["holdfast-crc"], checksumText(up.body.subarray(5)));
      const down = await raw.request(DOWN, framed(Buffer.from([8, 2])), ASK);
      assert.equal(down.header["holdfast-integrity"], "crc32");
      assert.equal(down.trailer["grpc-status"], "0");
      assert.equal("holdfast-crc" in down.trailer, false);
    }));

  it("is given none with a failure", () =>
    withServer(
      async (raw) => {
        const answer = await raw.request(ADD, framed(TWO_AND_THREE), ASK);
        assert.equal(statusOf(answer), "2");
        assert.equal("holdfast-crc" in answer.header || "holdfast-crc" in answer.trailer, false);
      },
      {
        add() {
          throw new Error("no");
        },
      },
    ));
});

describe("a caller who does not ask for checksums, or for others", () => {
  it("is given neither offer nor checksum", () =>
    withServer(async (raw) => {
      for (const headers of [{}, { "holdfast-integrity": "crc64" }, { "holdfast-integrity": "" }]) {
        const { header, trailer } = await raw.request(ADD, framed(TWO_AND_THREE), headers);
        assert.equal(trailer["grpc-status"], "0");
        assert.equal("holdfast-integrity" in header, false);
        assert.equal("holdfast-crc" in trailer, false);
      }
    }));
});

describe("a request with a checksum", () => {
  const good = checksumText(TWO_AND_THREE);

  it("that is its own is run, compressed or not, in one piece or in many, and it is no metadata of the handler's", () =>
    withServer(
      async (raw, ran) => {
        const bodies: readonly [Buffer, Headers][] = [
          [framed(TWO_AND_THREE), {}],
          [framed(gzipSync(TWO_AND_THREE), 1), { "grpc-encoding": "gzip" }],
          [framed(deflateSync(TWO_AND_THREE), 1), { "grpc-encoding": "deflate" }],
        ];
        for (const [body, headers] of bodies) {
          const answer = await raw.request(ADD, body, { ...headers, "holdfast-crc": good });
          assert.equal(statusOf(answer), "0", String(answer.header["grpc-message"]));
        }
        assert.equal(ran(), 3);
        const stream = raw.session.request({
          ":method": "POST",
          ":path": ADD,
          "content-type": "application/grpc+proto",
          te: "trailers",
          "holdfast-crc": good,
        });
        const status = new Promise((resolve) => stream.on("trailers", (fields) => resolve(fields["grpc-status"])));
        stream.resume();
        for (const byte of framed(TWO_AND_THREE)) stream.write(Buffer.of(byte));
        stream.end();
        assert.equal(await status, "0");
        assert.equal(ran(), 4);
      },
      {
        add({ a, b }, call) {
          assert.deepEqual(
            [...call.metadata].filter(([name]) => name.startsWith("holdfast-")),
            [],
          );
          return { result: a + b };
        },
      },
    ));

  it("that is empty has one too", () =>
    withServer(async (raw, ran) => {
      assert.equal(statusOf(await raw.request(ADD, framed(Buffer.alloc(0)), { "holdfast-crc": "00000000" })), "0");
      assert.equal(statusOf(await raw.request(ADD, framed(Buffer.alloc(0)), { "holdfast-crc": "00000001" })), "15");
      assert.equal(ran(), 1);
    }));

  const long = Buffer.from([0, 0x80, 0, 0, 4, ...TWO_AND_THREE]);
  const altered: readonly [name: string, body: Buffer, headers: Headers, words: RegExp][] = [
    ["with another one", framed(TWO_AND_THREE), { "holdfast-crc": "12345678" }, /its checksum is another/],
    ["with one in upper case", framed(TWO_AND_THREE), { "holdfast-crc": "ABCDEF01" }, /its checksum is another/],
    ["with one too long", framed(TWO_AND_THREE), { "holdfast-crc": `${good}0` }, /its checksum is another/],
    ["with an empty one", framed(TWO_AND_THREE), { "holdfast-crc": "" }, /its checksum is another/],
    ["with two", framed(TWO_AND_THREE), { "holdfast-crc": [good, good] }, /its checksum is another/],
    ["with none of its bytes", Buffer.alloc(0), { "holdfast-crc": good }, /the call has no request/],
    ["and half of its bytes", framed(TWO_AND_THREE).subarray(0, 7), { "holdfast-crc": good }, /inside a message/],
    ["and a flag that is none", framed(TWO_AND_THREE, 0x40), { "holdfast-crc": good }, /flag is neither 0 nor 1/],
    ["and the flag of compression", framed(TWO_AND_THREE, 1), { "holdfast-crc": good }, /without grpc-encoding/],
    [
      "and compressed bytes that are none",
      framed(TWO_AND_THREE, 1),
      { "holdfast-crc": good, "grpc-encoding": "gzip" },
      /cannot be read/,
    ],
    ["and a length far over the limit", long, { "holdfast-crc": good }, /inside a message/],
  ];
  for (const [name, body, headers, words] of altered) {
    it(`${name}: DATA_LOSS, before any handler, which the answer says, and the connection lives on`, () =>
      withServer(async (raw, ran) => {
        for (const path of [ADD, DOWN]) {
          const answer = await raw.request(path, body, headers);
          assert.equal(statusOf(answer), "15", path);
          assert.match(decodeURIComponent(String(answer.header["grpc-message"])), words);
          assert.match(
            decodeURIComponent(String(answer.header["grpc-message"])),
            /^the request was altered on its way/,
          );
          assert.equal(answer.header["holdfast-not-run"], "1");
        }
        assert.equal(ran(), 0);
        assert.equal(statusOf(await raw.request(ADD, framed(TWO_AND_THREE), { "holdfast-crc": good })), "0");
      }));
  }

  it("that cannot be decoded although it is the one that was sent: INTERNAL, as without", () =>
    withServer(async (raw, ran) => {
      const broken = Buffer.from([0xff, 0xff]);
      const answer = await raw.request(ADD, framed(broken), { "holdfast-crc": checksumText(broken) });
      assert.equal(statusOf(answer), "13");
      assert.equal("holdfast-not-run" in answer.header, false);
      assert.equal(ran(), 0);
    }));

  it("that is too large indeed: RESOURCE_EXHAUSTED, by its length once it has ended, and before once too much has come", () =>
    withServer(
      async (raw, ran) => {
        const whole = await raw.request(ADD, framed(Buffer.alloc(150)), { "holdfast-crc": "00000000" });
        assert.equal(statusOf(whole), "8");
        assert.equal("holdfast-not-run" in whole.header, false);
        // Open: the answer cannot wait for its end.
        const stream = raw.session.request({
          ":method": "POST",
          ":path": ADD,
          "content-type": "application/grpc+proto",
          te: "trailers",
          "holdfast-crc": "00000000",
        });
        const status = new Promise((resolve) => stream.on("response", (fields) => resolve(fields["grpc-status"])));
        stream.on("error", () => {});
        stream.write(framed(Buffer.alloc(150)).subarray(0, 106));
        assert.equal(await status, "8");
        stream.destroy();
        assert.equal(ran(), 0);
      },
      {},
      { limits: { messageBytesMax: 100 } },
    ));

  it("and many others after it: a stream of requests has none, whatever its headers say", () =>
    withServer(async (raw) => {
      const item = framed(Buffer.from([8, 5]));
      const answer = await raw.request(UP, Buffer.concat([item, item]), { "holdfast-crc": "12345678" });
      assert.equal(statusOf(answer), "0");
    }));
});
