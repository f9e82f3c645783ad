import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32, gzipSync } from "node:zlib";
import { RpcError } from "holdfast";
import { Bench, type BenchClient } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { answerGrpc, framed, GRPC_HEADERS, rawServer, type ServerHttp2Stream } from "../../test/calls/raw-peer.ts";
import type { Event } from "../call/event.ts";
import { createClient } from "./create-client.ts";
import type { ChannelOptions, ClientOptions } from "./options.ts";
import { createSwitches } from "./switches.ts";

/** The reply { result: 5 }. */
const FIVE = Buffer.from([8, 5]);
const OK = { "grpc-status": "0" };
const OFFER = { "holdfast-integrity": "crc32" };

function checksumText(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}

type Options = ChannelOptions & ClientOptions<typeof Bench>;
type Trailers = Readonly<Record<string, string | string[]>>;

interface Request {
  readonly integrity: unknown;
  readonly checksum: unknown;
  /** The checksum that its message has. */
  readonly actual: string;
}

/** Answers with an offer in the headers, with a body, and with these trailers. */
function answerOffering(stream: ServerHttp2Stream, body: Buffer, trailers: Trailers): void {
  stream.respond({ ...GRPC_HEADERS, ...OFFER }, { waitForTrailers: true });
  stream.on("wantTrailers", () => {
    // The client may have reset it for its body.
    if (!stream.closed) stream.sendTrailers({ ...OK, ...trailers });
  });
  stream.end(body);
}

/** A client of a peer that answers as scripted, once each request has come whole. One attempt a call. */
async function withPeer(
  answer: (stream: ServerHttp2Stream, number: number) => void,
  work: (client: BenchClient, requests: readonly Request[]) => Promise<void>,
  options: Options = {},
): Promise<void> {
  const requests: Request[] = [];
  await using peer = await rawServer((stream, number) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      // A request that was given up has no answer.
      if (stream.closed) return;
      const { [number - 1]: headers = {} } = peer.requests;
      const message = Buffer.concat(chunks).subarray(5);
      requests.push({
        integrity: headers["holdfast-integrity"],
        checksum: headers["holdfast-crc"],
        actual: checksumText(message),
      });
      answer(stream, number);
    });
  });
  await using client = createClient(Bench, peer.address, { policy: { retry: false, hedge: false }, ...options });
  await work(client, requests);
  await client.$close({ timeoutMs: 0 });
}

const answerWell = (stream: ServerHttp2Stream): void =>
  answerOffering(stream, framed(FIVE), { "holdfast-crc": checksumText(FIVE) });

const answerEmpty = (stream: ServerHttp2Stream): void =>
  answerOffering(stream, framed(Buffer.alloc(0)), { "holdfast-crc": "00000000" });

describe("a peer that offers no checksums", () => {
  it("is asked for them, is sent none, and its replies are taken as they are", () =>
    withPeer(
      (stream) => answerGrpc(stream, framed(FIVE), OK),
      async (client, requests) => {
        for (let call = 0; call < 3; call++) assert.equal((await client.add({ a: call })).result, 5);
        assert.deepEqual(
          requests.map(({ integrity, checksum }) => [integrity, checksum]),
          Array.from({ length: 3 }, () => ["crc32", undefined]),
        );
      },
    ));

  it("may send one that nobody has promised: it says nothing", () =>
    withPeer(
      (stream) => answerGrpc(stream, framed(FIVE), { ...OK, "holdfast-crc": "00000000" }),
      async (client) => {
        const trailers: unknown[] = [];
        const { result } = await client.add({}, { onReply: ({ trailer }) => trailers.push([...trailer]) });
        assert.equal(result, 5);
        assert.deepEqual(trailers, [[]], "it is no metadata of the user's");
      },
    ));

  it("offers something that is not known here: that is no offer", () =>
    withPeer(
      (stream) => {
        stream.respond({ ...GRPC_HEADERS, "holdfast-integrity": "crc64" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ ...OK, "holdfast-crc": "0" }));
        stream.end(framed(FIVE));
      },
      async (client, requests) => {
        for (let call = 0; call < 2; call++) assert.equal((await client.add({})).result, 5);
        assert.equal(requests[1]?.checksum, undefined);
      },
    ));
});

describe("a peer that offers checksums", () => {
  it("is sent those of requests from the next call on, each its own, in one frame or in many", () =>
    withPeer(answerEmpty, async (client, requests) => {
      for (let call = 0; call < 4; call++) await client.add({ a: call * 1_000, b: call });
      for (const size of [3_000, 200_000]) await client.echo({ data: Buffer.alloc(size, 3) });
      assert.deepEqual(requests[0]?.checksum, undefined, "nothing was known yet");
      assert.equal(new Set(requests.map(({ checksum }) => checksum)).size, 6);
      for (const { checksum, actual } of requests.slice(1)) assert.equal(checksum, actual);
    }));

  it("is sent those of an empty request and of many in one turn", () =>
    withPeer(answerWell, async (client, requests) => {
      await client.add({});
      await client.add({});
      assert.equal(requests[1]?.checksum, "00000000");
      await Promise.all(Array.from({ length: 80 }, (_, a) => client.add({ a: a + 1 })));
      assert.equal(requests.length, 82);
      for (const { checksum, actual } of requests.slice(1)) assert.equal(checksum, actual);
    }));

  it("is not sent that of a request whose headers take more than a frame, and still that of the next", () =>
    withPeer(answerWell, async (client, requests) => {
      await client.add({});
      await client.add({ a: 1 }, { metadata: { "x-long": "y".repeat(17_000) } });
      await client.add({ a: 2 });
      assert.deepEqual(
        requests.map(({ integrity }) => integrity),
        ["crc32", "crc32", "crc32"],
      );
      assert.equal(requests[1]?.checksum, undefined);
      assert.equal(requests[2]?.checksum, requests[2]?.actual);
    }));

  it("is sent that of the message before compression", () =>
    withPeer(
      answerWell,
      async (client, requests) => {
        await client.add({});
        await client.add({ a: 1, b: 2 });
        assert.equal(requests[1]?.checksum, checksumText(Buffer.from([8, 1, 16, 2])));
        assert.notEqual(requests[1]?.checksum, requests[1]?.actual, "what travels is compressed");
      },
      { compress: "gzip" },
    ));

  it("is not sent those of streams of requests, but that of the one request of a reply stream", () =>
    withPeer(
      (stream, number) =>
        number === 3 ? answerOffering(stream, Buffer.concat([framed(FIVE), framed(FIVE)]), {}) : answerWell(stream),
      async (client, requests) => {
        await client.add({});
        await client.up([{ index: 1 }, { index: 2 }]);
        let replies = 0;
        for await (const _ of client.down({ count: 2 })) replies += 1;
        assert.equal(replies, 2, "a reply stream has no checksum, and none is missed");
        assert.equal(requests[1]?.checksum, undefined);
        assert.equal(requests[2]?.checksum, requests[2]?.actual);
      },
    ));

  it("is not disturbed by a request that its codec refuses after the headers were written", () =>
    withPeer(answerWell, async (client, requests) => {
      await client.add({});
      await assertFails(client.add({ a: 1.5 }), "INVALID_ARGUMENT");
      assert.equal((await client.add({ a: 7 })).result, 5);
      assert.equal(requests.at(-1)?.checksum, requests.at(-1)?.actual);
    }));

  it("has to be asked for them anew on another connection", async () => {
    for (let round = 0; round < 2; round++) {
      await withPeer(answerWell, async (client, requests) => {
        await client.add({ a: 1 });
        assert.equal(requests[0]?.checksum, undefined);
      });
    }
  });
});

describe("a reply whose headers promise a checksum", () => {
  const good = { "holdfast-crc": checksumText(FIVE) };
  const broken = Buffer.from([0xff, 0xff]);
  const cases: readonly [name: string, body: Buffer, trailers: Trailers, words: RegExp][] = [
    ["with another one", framed(FIVE), { "holdfast-crc": "00000000" }, /its checksum is another/],
    ["with none", framed(FIVE), {}, /its checksum is missing/],
    ["with one in upper case", framed(FIVE), { "holdfast-crc": good["holdfast-crc"].toUpperCase() }, /is another/],
    ["with one too short", framed(FIVE), { "holdfast-crc": "0" }, /is another/],
    ["with two of them", framed(FIVE), { "holdfast-crc": [good["holdfast-crc"], good["holdfast-crc"]] }, /is another/],
    ["without a message", Buffer.alloc(0), { "holdfast-crc": "00000000" }, /there are 0 replies/],
    ["with two messages", Buffer.concat([framed(FIVE), framed(FIVE)]), good, /there are 2 replies/],
    ["with half a message", framed(FIVE).subarray(0, 6), good, /ended inside a message/],
    ["with a flag that is none", framed(FIVE, 4), good, /flag is neither 0 nor 1/],
    ["compressed without saying how", framed(gzipSync(FIVE), 1), good, /without grpc-encoding/],
    ["that cannot be decoded, with another checksum", framed(broken), good, /its checksum is another/],
    ["with a length far over the limit", Buffer.from([0, 0x80, 0, 0, 2, 8, 5]), good, /its length was altered/],
  ];
  for (const [name, body, trailers, words] of cases) {
    it(`${name}: DATA_LOSS, the network's fault, and the connection lives on`, () =>
      withPeer(
        (stream, number) => (number === 1 ? answerOffering(stream, body, trailers) : answerWell(stream)),
        async (client, requests) => {
          const error = await assertFails(client.add({}), "DATA_LOSS");
          assert.match(error.text, words);
          assert.deepEqual([error.reason, error.reached], ["CORRUPT", "yes"]);
          assert.deepEqual(
            error.faults.map(({ kind, blame, phase }) => [kind, blame, phase]),
            [["corrupt", "network", "receive"]],
          );
          assert.equal((await client.add({})).result, 5);
          assert.equal(requests.length, 2);
          assert.equal(client.$channel.peers()[0]?.connections, 1);
        },
      ));
  }

  it("that cannot be decoded although it is the one that was sent: no transport fault, as without checksums", () =>
    withPeer(
      (stream) => answerOffering(stream, framed(broken), { "holdfast-crc": checksumText(broken) }),
      async (client) => {
        const error = await assertFails(client.add({}), "INTERNAL");
        assert.equal(error.reason, "INVALID_MESSAGE");
        assert.ok(error.cause instanceof Error);
        assert.deepEqual(
          error.faults.map(({ kind }) => kind),
          ["unreadable"],
        );
      },
    ));

  it("and a failure: the failure counts, whatever came before it", () =>
    withPeer(
      (stream) => answerOffering(stream, framed(broken), { "grpc-status": "9", "grpc-message": "no" }),
      async (client) => assert.equal((await assertFails(client.add({}), "FAILED_PRECONDITION")).text, "no"),
    ));

  it("and no status: INTERNAL, as without checksums", () =>
    withPeer(
      (stream) => {
        stream.respond({ ...GRPC_HEADERS, ...OFFER });
        stream.end(framed(FIVE));
      },
      async (client) => assert.equal((await assertFails(client.add({}), "INTERNAL")).reason, "PROTOCOL_ERROR"),
    ));

  it("and is too large indeed: RESOURCE_EXHAUSTED, as soon as more has come than the limit", () =>
    withPeer(
      (stream) => {
        stream.respond({ ...GRPC_HEADERS, ...OFFER });
        // It never ends, so that only what has come can tell.
        stream.write(framed(Buffer.alloc(1_001)));
      },
      async (client) => {
        assert.equal((await assertFails(client.add({}), "RESOURCE_EXHAUSTED")).reason, "MESSAGE_TOO_LARGE");
      },
      { messageBytesMax: 1_000 },
    ));
});

describe("a request that its peer says was altered", () => {
  const refuse = (stream: ServerHttp2Stream): void =>
    answerGrpc(stream, undefined, { "grpc-status": "15", "grpc-message": "altered", "holdfast-not-run": "1" });

  it("is sent again, free of charge: it was not run", () =>
    withPeer(
      (stream, number) => (number === 2 ? refuse(stream) : answerWell(stream)),
      async (client, requests) => {
        const events: Event<"attempt.ended">[] = [];
        await client.add({});
        using _ = client.$on("attempt.ended", (event) => events.push(event));
        assert.equal((await client.add({ a: 1 })).result, 5);
        assert.equal(requests.length, 3);
        assert.equal(requests[2]?.checksum, requests[2]?.actual);
        const faults = events.map(({ code, fault }) => [code, fault?.kind, fault?.blame]);
        assert.deepEqual(faults, [
          ["DATA_LOSS", "corrupt", "network"],
          ["OK", undefined, undefined],
        ]);
      },
    ));

  it("though it had no checksum: then it is a status like any other", () =>
    withPeer(refuse, async (client) => {
      const error = await assertFails(client.add({}), "DATA_LOSS");
      assert.equal(error.reason, undefined);
      assert.equal(error.faults[0]?.kind, "status");
    }));
});

describe("integrity", () => {
  const answerWrong = (stream: ServerHttp2Stream): void =>
    answerOffering(stream, framed(FIVE), { "holdfast-crc": "00000000" });

  for (const [name, options] of [
    ["false in the policy", { policy: { integrity: false } }],
    ["switched off", { switches: createSwitches({ states: { integrity: "off" } }) }],
    ["in the preset none", { policy: "none" }],
  ] satisfies readonly [string, Options][]) {
    it(`${name}: nothing is asked for, sent or compared`, () =>
      withPeer(
        answerWrong,
        async (client, requests) => {
          for (let call = 0; call < 2; call++) assert.equal((await client.add({})).result, 5);
          for (const { integrity, checksum } of requests)
            assert.deepEqual([integrity, checksum], [undefined, undefined]);
        },
        options,
      ));
  }

  it("false for one call: that one does without", () =>
    withPeer(answerWrong, async (client) => {
      assert.equal((await client.add({}, { policy: { integrity: false } })).result, 5);
      await assertFails(client.add({}), "DATA_LOSS");
    }));

  it("only observed: a difference is noted and told, the reply is handed on, and the peer is not made to refuse", () =>
    withPeer(
      answerWrong,
      async (client, requests) => {
        const ended: Event<"attempt.ended">[] = [];
        const calls: Event<"call.ended">[] = [];
        using _attempts = client.$on("attempt.ended", (event) => ended.push(event));
        using _calls = client.$on("call.ended", (event) => calls.push(event));
        for (let call = 0; call < 2; call++) assert.equal((await client.add({ a: 1 })).result, 5);
        for (const { integrity, checksum } of requests) assert.deepEqual([integrity, checksum], ["crc32", undefined]);
        const told = ended.map(({ code, fault }) => [code, fault?.kind, fault?.text]);
        assert.deepEqual(
          told,
          Array.from({ length: 2 }, () => ["OK", "corrupt", "its checksum is another"]),
        );
        const [record] = calls.map((event) => event.record);
        assert.equal(record?.attempts[0]?.fault?.kind, "corrupt");
        assert.equal(record.savedBy, undefined);
        assert.match(record.verdict, /^OK in /);
      },
      { switches: createSwitches({ states: { integrity: "observe" } }) },
    ));

  it("only observed: a reply that cannot be read is what it is without checksums", () =>
    withPeer(
      (stream) => answerOffering(stream, framed(FIVE, 4), {}),
      async (client) => assert.equal((await assertFails(client.add({}), "INTERNAL")).reason, "PROTOCOL_ERROR"),
      { switches: createSwitches({ states: { integrity: "observe" } }) },
    ));

  it("switched while running: it holds from the next call on", async () => {
    const switches = createSwitches();
    await withPeer(
      answerWrong,
      async (client) => {
        assert.ok((await assertFails(client.add({}), "DATA_LOSS")) instanceof RpcError);
        switches.set("integrity", "off");
        assert.equal((await client.add({})).result, 5);
        switches.set("integrity", "on");
        await assertFails(client.add({}), "DATA_LOSS");
      },
      { switches },
    );
  });
});
