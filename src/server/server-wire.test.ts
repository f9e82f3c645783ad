import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { startPair } from "../../test/calls/bench-service.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { gate } from "../../test/calls/gate.ts";

const ADD = "/bench.v1.Bench/Add";
const UP = "/bench.v1.Bench/Up";
/** a = 2, b = 3. */
const TWO_AND_THREE = Buffer.from([8, 2, 16, 3]);

describe("a request that is not gRPC", () => {
  it("is answered with HTTP: 415 for a content-type, 405 for a method, and the connection lives on", async () => {
    await using pair = await startPair();
    await using raw = await rawClient(pair.address);
    for (const type of [
      "application/json",
      "application/grpc-web",
      "text/html",
      "application/grpc+json",
      "application/grpcx",
    ]) {
      const { header, body } = await raw.request(ADD, Buffer.from("{}"), { "content-type": type });
      assert.equal(header[":status"], 415, type);
      assert.equal(body.length, 0);
    }
    const put = await raw.request(ADD, Buffer.alloc(0), { ":method": "PUT" });
    assert.equal(put.header[":status"], 405);
    const get = await raw.request("/", Buffer.alloc(0), { ":method": "GET", "content-type": "text/html" });
    assert.equal(get.header[":status"], 415);
    const { trailer, body } = await raw.request(ADD, framed(TWO_AND_THREE));
    assert.equal(trailer["grpc-status"], "0");
    assert.deepEqual(body, framed(Buffer.from([8, 5])));
  });

  it("for what is not served is UNIMPLEMENTED and says whether the service or the method is unknown", async () => {
    await using pair = await startPair();
    await using raw = await rawClient(pair.address);
    for (const [path, words] of [
      ["/bench.v1.Bench/Nothing", "method of /bench.v1.Bench/Nothing"],
      ["/other.Service/Add", "service of /other.Service/Add"],
      ["/bench.v1.Bench", "service of /bench.v1.Bench"],
      ["/", "service of /"],
      ["/bench.v1.Bench/add", "method of /bench.v1.Bench/add"],
      ["/bench.v1.Bench/Add/", "service of"],
      ["/__proto__/toString", "service of"],
    ] as const) {
      const { header } = await raw.request(path, framed(TWO_AND_THREE));
      assert.equal(header["grpc-status"], "12", path);
      assert.ok(String(header["grpc-message"]).startsWith(words), String(header["grpc-message"]));
      assert.equal(header["holdfast-not-run"], "1");
    }
  });

  it("with a malformed timeout, encoding or binary metadata reaches no handler", async () => {
    let calls = 0;
    await using pair = await startPair({ add: () => (calls++, {}) });
    await using raw = await rawClient(pair.address);
    for (const value of ["", "1", "5x", "-1S", "123456789S", "1.5S"]) {
      const { header } = await raw.request(ADD, framed(TWO_AND_THREE), { "grpc-timeout": value });
      assert.equal(header["grpc-status"], "13", value);
    }
    const unknown = await raw.request(ADD, framed(TWO_AND_THREE), { "grpc-encoding": "snappy" });
    assert.equal(unknown.header["grpc-status"], "12");
    assert.match(String(unknown.header["grpc-accept-encoding"]), /gzip/);
    const binary = await raw.request(ADD, framed(TWO_AND_THREE), { "x-a-bin": "***" });
    assert.equal(binary.header["grpc-status"], "13");
    assert.equal(calls, 0);
  });
});

describe("a request's messages", () => {
  it("must be one for a unary method: none, two or half of one are refused", async () => {
    let calls = 0;
    await using pair = await startPair({ add: () => (calls++, {}) });
    await using raw = await rawClient(pair.address);
    const status = async (body: Buffer): Promise<unknown> => {
      const { header, trailer } = await raw.request(ADD, body);
      return trailer["grpc-status"] ?? header["grpc-status"];
    };
    assert.equal(await status(Buffer.alloc(0)), "12");
    assert.equal(await status(Buffer.concat([framed(TWO_AND_THREE), framed(TWO_AND_THREE)])), "12");
    assert.equal(await status(framed(TWO_AND_THREE).subarray(0, 7)), "13");
    assert.equal(await status(framed(TWO_AND_THREE).subarray(0, 3)), "13");
    assert.equal(await status(framed(TWO_AND_THREE, 2)), "13", "a flag that is neither 0 nor 1");
    assert.equal(await status(framed(Buffer.from([0xff, 0xff, 0xff]))), "13", "no protobuf");
    assert.equal(await status(framed(TWO_AND_THREE, 1)), "13", "compressed without grpc-encoding");
    const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]);
    assert.equal(await status(huge), "8", "a length of 4 GiB is refused from its prefix");
    assert.equal(calls, 0);
    assert.equal(await status(framed(TWO_AND_THREE)), "0");
  });

  it("that end inside a message end the handler's loop with an error", async () => {
    const seen = gate<unknown>();
    await using pair = await startPair({
      async up(items) {
        try {
          for await (const _ of items);
          seen.open("a clean end");
        } catch (error) {
          seen.open(error);
        }
        return {};
      },
    });
    await using raw = await rawClient(pair.address);
    const item = framed(Buffer.from([8, 1]));
    const { trailer, header } = await raw.request(UP, Buffer.concat([item, item.subarray(0, 6)]));
    assert.equal(trailer["grpc-status"] ?? header["grpc-status"], "13");
    assert.ok((await seen.opened) instanceof Error, String(await seen.opened));
  });

  it("may be compressed, and are answered alike; a bomb is refused by its inflated size", async () => {
    await using pair = await startPair(
      { echo: ({ data }) => ({ data: Buffer.alloc(data.length, 1) }) },
      { server: { limits: { messageBytesMax: 100_000 } } },
    );
    await using raw = await rawClient(pair.address);
    const encoded = { "grpc-encoding": "gzip", "grpc-accept-encoding": "gzip" };
    const small = await raw.request(ADD, framed(gzipSync(TWO_AND_THREE), 1), encoded);
    assert.equal(small.trailer["grpc-status"], "0");
    assert.equal(small.header["grpc-encoding"], "gzip");
    assert.equal(small.body[0], 1, "the reply is compressed");
    const plain = await raw.request(ADD, framed(gzipSync(TWO_AND_THREE), 1), {
      "grpc-encoding": "gzip",
      "grpc-accept-encoding": "identity",
    });
    assert.equal(plain.header["grpc-encoding"], undefined);
    assert.deepEqual(plain.body, framed(Buffer.from([8, 5])));
    const bomb = framed(gzipSync(Buffer.alloc(10_000_000)), 1);
    const refused = await raw.request("/bench.v1.Bench/Echo", bomb, encoded);
    assert.equal(refused.header["grpc-status"] ?? refused.trailer["grpc-status"], "8");
    const corrupt = await raw.request("/bench.v1.Bench/Echo", framed(Buffer.from("no gzip"), 1), encoded);
    assert.equal(corrupt.header["grpc-status"] ?? corrupt.trailer["grpc-status"], "13");
  });
});

describe("bytes that are not HTTP/2", () => {
  it("end their connection alone: HTTP/1, TLS, noise, nothing", async () => {
    await using pair = await startPair();
    const port = Number(pair.address.split(":")[1]);
    for (const bytes of [
      "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
      Buffer.from("16030100c8010000c40303", "hex"),
      Buffer.alloc(100_000, 0xa5),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGARBAGE THAT IS NO FRAME AT ALL",
    ]) {
      const socket = connectTcp(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      socket.write(bytes);
      await once(socket, "close");
    }
    const silent = connectTcp(port, "127.0.0.1");
    await once(silent, "connect");
    silent.destroy();
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("after good ones cancel the calls that were open", async () => {
    const began = gate<AbortSignal>();
    await using pair = await startPair({
      add(_, call) {
        began.open(call.signal);
        return new Promise(() => {});
      },
    });
    await using raw = await rawClient(pair.address);
    const answer = raw.request(ADD, framed(TWO_AND_THREE)).catch(() => {});
    const signal = await began.opened;
    const ended = once(signal, "abort");
    raw.session.socket.destroy();
    raw.session.destroy();
    await ended;
    await answer;
    assert.equal(signal.reason.code, "CANCELLED");
  });
});

describe("a call's id", () => {
  it("is the caller's own text if it is no id of ours, and minted where none came", async () => {
    const ids: string[] = [];
    await using pair = await startPair({ add: (_, call) => (ids.push(call.id), {}) });
    await using raw = await rawClient(pair.address);
    const given = ["order-1", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF", "z".repeat(32)];
    for (const id of given) await raw.request(ADD, framed(TWO_AND_THREE), { "holdfast-call-id": id });
    await raw.request(ADD, framed(TWO_AND_THREE));
    assert.deepEqual(ids.slice(0, 4), given);
    assert.match(ids[4] ?? "", /^[0-9a-f]{32}$/);
  });
});
