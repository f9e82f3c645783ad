import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { all, Bench, type BenchClient, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { turns } from "../../test/calls/gate.ts";
import { answerGrpc, framed, GRPC_HEADERS, rawServer, type ServerHttp2Stream } from "../../test/calls/raw-peer.ts";
import { Methods } from "../schema/testdata/gen/fixture/v3/everything_pb.ts";
import type { RpcError } from "../call/error.ts";
import { createClient } from "./create-client.ts";
import type { ChannelOptions, ClientOptions, ReplyInfo, TokenAsk } from "./options.ts";

/** The reply { result: 5 }. */
const FIVE = framed(Buffer.from([8, 5]));
const OK = { "grpc-status": "0" };

/** A client of a peer that answers as scripted. */
async function withPeer(
  answer: (stream: ServerHttp2Stream, number: number) => void,
  work: (client: BenchClient, requests: Awaited<ReturnType<typeof rawServer>>["requests"]) => Promise<void>,
  options?: ChannelOptions & ClientOptions<typeof Bench>,
): Promise<void> {
  await using peer = await rawServer(answer);
  await using client = createClient(Bench, peer.address, options);
  await work(client, peer.requests);
  await client.$close({ timeoutMs: 0 });
}

describe("a peer that answers wrongly", () => {
  const cases: readonly [
    name: string,
    answer: (stream: ServerHttp2Stream) => void,
    code: string,
    reason: string | undefined,
  ][] = [
    ["OK without a reply", (s) => answerGrpc(s, Buffer.alloc(0), OK), "UNIMPLEMENTED", "PROTOCOL_ERROR"],
    ["OK with two replies", (s) => answerGrpc(s, Buffer.concat([FIVE, FIVE]), OK), "UNIMPLEMENTED", "PROTOCOL_ERROR"],
    ["half a reply", (s) => answerGrpc(s, FIVE.subarray(0, 6), OK), "INTERNAL", "PROTOCOL_ERROR"],
    [
      "a reply that is no protobuf",
      (s) => answerGrpc(s, framed(Buffer.from([0xff, 0xff])), OK),
      "INTERNAL",
      "INVALID_MESSAGE",
    ],
    [
      "a flag that is neither 0 nor 1",
      (s) => answerGrpc(s, framed(Buffer.from([8, 5]), 7), OK),
      "INTERNAL",
      "PROTOCOL_ERROR",
    ],
    [
      "compressed without saying how",
      (s) => answerGrpc(s, framed(gzipSync(Buffer.from([8, 5])), 1), OK),
      "INTERNAL",
      "PROTOCOL_ERROR",
    ],
    ["no status", (s) => (s.respond(GRPC_HEADERS), s.end(FIVE)), "INTERNAL", "PROTOCOL_ERROR"],
    ["a status that is no number", (s) => answerGrpc(s, undefined, { "grpc-status": "x" }), "UNKNOWN", undefined],
    ["a status out of range", (s) => answerGrpc(s, undefined, { "grpc-status": "99" }), "UNKNOWN", undefined],
    [
      "an encoding we do not know",
      (s) => (s.respond({ ...GRPC_HEADERS, "grpc-encoding": "br" }), s.end(FIVE)),
      "INTERNAL",
      "COMPRESSION_UNKNOWN",
    ],
    [
      "HTML",
      (s) => (s.respond({ ":status": 200, "content-type": "text/html" }), s.end("<html>")),
      "UNKNOWN",
      "NOT_GRPC",
    ],
    ["HTTP 404", (s) => s.respond({ ":status": 404 }, { endStream: true }), "UNIMPLEMENTED", "NOT_GRPC"],
    [
      "HTTP 503",
      (s) => (s.respond({ ":status": 503, "content-type": "text/plain" }), s.end("busy")),
      "UNAVAILABLE",
      "NOT_GRPC",
    ],
    [
      "another codec",
      (s) => (s.respond({ ":status": 200, "content-type": "application/grpc+json" }), s.end("{}")),
      "INTERNAL",
      "NOT_GRPC",
    ],
    ["RST_STREAM CANCEL", (s) => s.close(8), "CANCELLED", "STREAM_RESET"],
    ["RST_STREAM INTERNAL_ERROR", (s) => s.close(2), "INTERNAL", "STREAM_RESET"],
    ["RST_STREAM ENHANCE_YOUR_CALM", (s) => s.close(11), "RESOURCE_EXHAUSTED", "STREAM_RESET"],
  ];
  for (const [name, answer, code, reason] of cases) {
    it(`${name}: ${code}, and the connection lives on`, async () => {
      await withPeer(
        (stream, number) => (number === 1 ? answer(stream) : answerGrpc(stream, FIVE, OK)),
        async (client, requests) => {
          const infos: ReplyInfo[] = [];
          const call = client.add({}, { onReply: (info) => infos.push(info) });
          const error = await assertFails(call, code as RpcError["code"]);
          assert.equal(error.reason, reason, error.text);
          assert.equal(infos.length, 1);
          assert.equal(requests.length, 1, "no repeat");
          assert.equal((await client.add({})).result, 5);
        },
        { policy: { retry: false, hedge: false } },
      );
    });
  }

  it("with a status and its message percent-encoded, and details that are broken: the status counts", async () => {
    const trailers = { "grpc-status": "5", "grpc-message": "a%20%E2%98%82 %zz", "grpc-status-details-bin": "%%%" };
    await withPeer(
      (stream) => answerGrpc(stream, undefined, trailers),
      async (client) => {
        const error = await assertFails(client.add({}), "NOT_FOUND");
        assert.equal(error.text, "a ☂ %zz");
        assert.deepEqual(error.details, []);
      },
    );
  });

  it("with replies before the failure: a stream gives them, a unary call does not", async () => {
    await withPeer(
      (stream) => answerGrpc(stream, FIVE, { "grpc-status": "9", "grpc-message": "late" }),
      async (client) => {
        await assertFails(client.add({}), "FAILED_PRECONDITION");
        const indexes: number[] = [];
        const read = async (): Promise<void> => {
          for await (const { index } of client.down({})) indexes.push(index);
        };
        assert.equal((await assertFails(read(), "FAILED_PRECONDITION")).text, "late");
        assert.deepEqual(indexes, [5]);
      },
    );
  });
});

describe("a call is sent again", () => {
  const refuse = (stream: ServerHttp2Stream): void => stream.close(7);

  it("after REFUSED_STREAM, whatever its effect, with the same id", async () => {
    await using peer = await rawServer((stream, number) =>
      number <= 2 ? refuse(stream) : answerGrpc(stream, framed(Buffer.alloc(0)), OK),
    );
    await using client = createClient(Methods, peer.address);
    const infos: ReplyInfo[] = [];
    await client.unsaid([{ name: "a" }, { name: "b" }], { onReply: (info) => infos.push(info) });
    assert.equal(peer.requests.length, 3);
    assert.equal(new Set(peer.requests.map((headers) => headers["holdfast-call-id"])).size, 1);
    assert.equal(new Set(peer.requests.map((headers) => headers["traceparent"])).size, 3, "a span of its own each");
    assert.equal(infos[0]?.attempts, 3);
    await client.$close({ timeoutMs: 0 });
  });

  it("not without end: a peer that always refuses ends it with what was seen", async () => {
    await withPeer(refuse, async (client, requests) => {
      const error = await assertFails(client.add({}), "UNAVAILABLE");
      assert.equal(error.reached, "no");
      assert.ok(requests.length >= 2 && requests.length <= 5, `${requests.length} attempts`);
      assert.equal(error.faults.length, requests.length);
      assert.ok(error.faults.every(({ kind }) => kind === "stream-refused"));
    });
  });

  it("after a lost connection if its effect allows it, and only then", async () => {
    for (const [method, isRepeated] of [
      ["add", true],
      ["placeOrder", true],
      ["unsaid", false],
    ] as const) {
      await using peer = await rawServer((stream, number) => {
        if (number === 1) stream.session?.destroy();
        else answerGrpc(stream, framed(Buffer.alloc(0)), OK);
      });
      await using bench = createClient(Bench, peer.address);
      await using methods = createClient(Methods, peer.address);
      const call = method === "unsaid" ? methods.unsaid([{}]) : bench[method]({});
      if (isRepeated) {
        await call;
        assert.equal(peer.requests.length, 2);
        assert.equal(peer.requests[1]?.["grpc-previous-rpc-attempts"], "1");
      } else {
        const error = await assertFails(call, "UNAVAILABLE");
        assert.equal(error.reason, "CONNECTION_LOST");
        assert.equal(error.reached, "maybe");
        assert.equal(error.isRepeatable, false);
        assert.equal(peer.requests.length, 1);
      }
      await bench.$close({ timeoutMs: 0 });
      await methods.$close({ timeoutMs: 0 });
    }
  });

  it("once headers have come if nothing of the reply has reached the user, and not after a stream's first message", async () => {
    for (const metadata of [{}, { "x-a": "1" }]) {
      await withPeer(
        (stream, number) => {
          if (number === 2) return answerGrpc(stream, FIVE, OK);
          stream.respond({ ...GRPC_HEADERS, ...metadata });
          if (number === 4) stream.write(Buffer.alloc(5));
          return void turns(2).then(() => stream.session?.destroy());
        },
        async (client, requests) => {
          assert.equal((await client.add({})).result, 5);
          assert.equal(requests.length, 2);
          const error = await assertFails(all(client.down({})), "UNAVAILABLE");
          assert.equal(error.reached, "yes");
          assert.equal(requests.length, 4, "again after headers alone, not after a message");
        },
      );
    }
  });

  it("never for what a handler answers, and never against the server's word", async () => {
    for (const trailers of [
      { "grpc-status": "10" },
      { "grpc-status": "14", "grpc-retry-pushback-ms": "-1" },
      { "grpc-status": "14", "holdfast-not-run": "1", "grpc-retry-pushback-ms": "-1" },
      { "grpc-status": "14", "holdfast-not-run": "1", "grpc-retry-pushback-ms": "soon" },
    ]) {
      await withPeer(
        (stream) => answerGrpc(stream, undefined, trailers),
        async (client, requests) => {
          const error = await assertFails(client.add({}), trailers["grpc-status"] === "10" ? "ABORTED" : "UNAVAILABLE");
          assert.equal(requests.length, 1);
          if (trailers["grpc-retry-pushback-ms"] !== undefined) assert.equal(error.isRepeatable, false);
        },
      );
    }
  });

  it("elsewhere first: a second peer gets it before the first is asked again", async () => {
    const asked: string[] = [];
    await using bad = await rawServer((stream) => (asked.push("bad"), refuse(stream)));
    await using good = await rawServer((stream) => (asked.push("good"), answerGrpc(stream, FIVE, OK)));
    await using client = createClient(Bench, [bad.address, good.address]);
    for (let i = 0; i < 6; i++) assert.equal((await client.add({})).result, 5);
    assert.equal(asked.filter((who) => who === "good").length, 6);
    for (const [i, who] of asked.entries()) if (who === "bad") assert.equal(asked[i + 1], "good");
    await client.$close({ timeoutMs: 0 });
  });
});

describe("a token", () => {
  it("is sent with each call, and asked for again once after UNAUTHENTICATED", async () => {
    const asks: TokenAsk[] = [];
    const token = async (ask: TokenAsk): Promise<string> => (asks.push(ask), ask.isRefresh ? "new" : "old");
    await withPeer(
      (stream, number) => {
        if (number === 1) answerGrpc(stream, undefined, { "grpc-status": "16" });
        else answerGrpc(stream, FIVE, OK);
      },
      async (client, requests) => {
        const infos: ReplyInfo[] = [];
        assert.equal((await client.add({}, { onReply: (info) => infos.push(info) })).result, 5);
        assert.deepEqual(
          requests.map(({ authorization }) => authorization),
          ["Bearer old", "Bearer new"],
        );
        assert.deepEqual(
          asks.map(({ isRefresh, method }) => [isRefresh, method.name]),
          [
            [false, "add"],
            [true, "add"],
          ],
        );
        assert.equal(infos.length, 1);
      },
      { token },
    );
  });

  it("that is refused twice ends the call: no loop", async () => {
    await withPeer(
      (stream) => answerGrpc(stream, undefined, { "grpc-status": "16", "grpc-message": "who?" }),
      async (client, requests) => {
        assert.equal((await assertFails(client.add({}), "UNAUTHENTICATED")).text, "who?");
        assert.equal(requests.length, 2);
      },
      { token: () => "same" },
    );
  });

  it("that cannot be had, or is no header, ends the call with UNAUTHENTICATED before anything is sent", async () => {
    for (const token of [
      () => {
        throw new Error("issuer is down");
      },
      () => Promise.reject(new Error("issuer is down")),
      () => "two\r\nx-admin: 1",
      () => "",
      () => undefined as never,
    ]) {
      await withPeer(
        (stream) => answerGrpc(stream, FIVE, OK),
        async (client, requests) => {
          const error = await assertFails(client.add({}), "UNAUTHENTICATED");
          assert.ok(error.cause instanceof Error);
          assert.equal(error.reached, "no");
          assert.equal(requests.length, 0);
        },
        { token },
      );
    }
  });

  it("that takes its time is told when the call is over", async () => {
    const { promise: asked, resolve } = Promise.withResolvers<AbortSignal>();
    await withPeer(
      (stream) => answerGrpc(stream, FIVE, OK),
      async (client, requests) => {
        const controller = new AbortController();
        const failed = assertFails(client.add({}, { signal: controller.signal }), "CANCELLED");
        const signal = await asked;
        controller.abort();
        await failed;
        assert.equal(signal.aborted, true);
        assert.equal(requests.length, 0);
      },
      { token: ({ signal }) => (resolve(signal), new Promise(() => {})) },
    );
  });
});

describe("compression", () => {
  for (const compress of ["gzip", "deflate"] as const) {
    it(`${compress}: requests go compressed, replies come so, and both limits hold`, async () => {
      await using pair = await startPair(
        { echo: ({ data }) => ({ data: data.length === 1 ? Buffer.alloc(500_000) : data }) },
        { client: { compress, messageBytesMax: 100_000 }, server: { limits: { messageBytesMax: 200_000 } } },
      );
      assert.equal((await pair.client.echo({ data: Buffer.alloc(90_000, 1) })).data.length, 90_000);
      assert.equal((await pair.client.echo({})).data.length, 0);
      assert.equal((await all(pair.client.both([{ text: "a".repeat(1_000) }, {}]))).length, 2);
      await assertFails(pair.client.echo({ data: Buffer.alloc(300_000) }), "RESOURCE_EXHAUSTED");
      const bomb = await assertFails(pair.client.echo({ data: Buffer.alloc(1) }), "RESOURCE_EXHAUSTED");
      assert.equal(bomb.reason, "MESSAGE_TOO_LARGE");
      assert.equal((await pair.client.add({ a: 1 })).result, 1);
    });
  }

  it("of a reply that is broken is INTERNAL", async () => {
    await withPeer(
      (stream) => (
        stream.respond({ ...GRPC_HEADERS, "grpc-encoding": "gzip" }), stream.end(framed(Buffer.from("no gzip"), 1))
      ),
      async (client) => {
        assert.equal((await assertFails(client.add({}), "INTERNAL")).reason, "INVALID_MESSAGE");
        await assertFails(all(client.down({})), "INTERNAL");
      },
    );
  });
});

describe("a listener that throws", () => {
  it("in onReply harms neither its call nor those beside it; the error reaches the process", async () => {
    const uncaught: unknown[] = [];
    const previous = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    try {
      await using pair = await startPair();
      const onReply = (): void => {
        throw new Error("my listener");
      };
      const replies = await Promise.all([pair.client.add({ a: 1 }, { onReply }), pair.client.add({ a: 2 })]);
      assert.deepEqual(
        replies.map(({ result }) => result),
        [1, 2],
      );
      assert.equal((await all(pair.client.down({ count: 2 }, { onReply }))).length, 2);
      assert.equal((await pair.client.add({ a: 3 })).result, 3);
      assert.deepEqual(uncaught.map(String), ["Error: my listener", "Error: my listener"]);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const listener of previous) process.on("uncaughtException", listener);
    }
  });
});
