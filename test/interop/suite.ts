/** What any client of gRPC and any server of it must do together. Run over a pair of peers, one pair at a time. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  Probe,
  type ProbeReplySchema,
  ProbeRequestSchema,
  type SeenReply,
} from "../peers/gen/holdfast/interop/v1/probe_pb.js";
import { renamedService } from "../peers/renamed-service.ts";
import { failureOf } from "../peers/status-details.ts";
import { type Certificates, createCertificates } from "./certificates.ts";
import { limitedClient, limitedServer } from "./in-time.ts";
import {
  type CallingPeer,
  type CallOutcome,
  type CallPlan,
  type Fields,
  type PeerClient,
  type PeerServer,
  type ServingPeer,
  valuesOf,
} from "./peer.ts";

const MIB = 1_048_576;
const METHODS = ["unary", "download", "upload", "chat"] as const;
/** By short names. */
const METHOD = {
  unary: Probe.method.unary,
  download: Probe.method.download,
  upload: Probe.method.upload,
  chat: Probe.method.chat,
  missing: Probe.method.missing,
  "missing-service": renamedService(Probe, "holdfast.interop.v1.Nowhere").method.unary,
} as const;
type ProbePlan = Omit<CallPlan, "method" | "requests"> & {
  readonly method: keyof typeof METHOD;
  readonly requests: readonly MessageInitShape<typeof ProbeRequestSchema>[];
};
type ProbeOutcome = Omit<CallOutcome, "replies"> & {
  readonly replies: readonly MessageShape<typeof ProbeReplySchema>[];
};
/** Every byte once, and lengths that need each kind of base64 padding. */
const BYTES = Uint8Array.from({ length: 256 }, (_, index) => index);

/** Registers the suite for calls from `client` to `server`, in plain text and (the core of it) over TLS; `skip` as node:test takes it. */
export function probeSuite(client: CallingPeer, server: ServingPeer, skip: string | false = false): void {
  describe(`${client.name} calls ${server.name}`, { skip }, () => {
    const pair = createPair(client, server);
    before(pair.open);
    after(pair.close);
    registerKinds(pair);
    registerMetadata(pair);
    registerErrors(pair);
    registerDeadlines(pair);
    registerCancellation(pair);
    registerCompression(pair);
    registerSizes(pair);
  });
  describe(`${client.name} calls ${server.name} over TLS`, { skip }, () => {
    let certificates: Certificates | undefined;
    const pair = createPair(client, server, () => {
      certificates = createCertificates();
      return certificates;
    });
    before(pair.open);
    after(async () => {
      await pair.close();
      certificates?.dispose();
    });
    registerKinds(pair);
    registerSizes(pair);
    it("carries an error", async () => {
      const outcome = await pair.call({ method: "unary", requests: [{ failure: failureOf(5, "not here") }] });
      assert.deepEqual([outcome.code, outcome.text], [5, "not here"]);
    });
  });
}

interface Pair {
  open(): Promise<void>;
  close(): Promise<void>;
  call(plan: ProbePlan): Promise<ProbeOutcome>;
  /** Waits until the call with this key has begun, or has ended, at the server. */
  seen(key: string, until: "begun" | "ended"): Promise<SeenReply | undefined>;
  /** One of the two joins several values of bytes, the other takes joined ones for a broken connection. */
  readonly isUnfitForSeveralBytes: boolean;
  /** The client is no good at several calls at once. */
  readonly isSerial: boolean;
  /** The same client, with a server that compresses its replies. */
  callCompressing(plan: ProbePlan): Promise<ProbeOutcome>;
}

function createPair(clientPeer: CallingPeer, serverPeer: ServingPeer, secure?: () => Certificates): Pair {
  let server: PeerServer | undefined;
  let client: PeerClient | undefined;
  const opened = (): PeerClient => {
    assert.ok(client !== undefined);
    return client;
  };
  const either = [clientPeer, serverPeer];
  return {
    isUnfitForSeveralBytes: either.some((peer) => peer.joinsBytes) && either.some((peer) => peer.refusesJoinedBytes),
    async seen(key, until) {
      const plan = { method: Probe.method.seen, requests: [{ key, untilBegun: until === "begun" }] };
      return (await opened().call(plan)).replies[0];
    },
    isSerial: secure !== undefined && clientPeer.losesRepliesOverTls === true,
    async open() {
      const certificates = secure?.();
      server = limitedServer(await serverPeer.startServer({ tls: certificates?.server }));
      client = limitedClient(await clientPeer.createClient({ port: server.port, tls: certificates?.client }));
    },
    async close() {
      await client?.close();
      await server?.close();
    },
    call: (plan) => opened().call({ ...plan, method: METHOD[plan.method] }),
    async callCompressing(plan) {
      const other = limitedServer(await serverPeer.startServer({ isCompressed: true }));
      const caller = limitedClient(await clientPeer.createClient({ port: other.port }));
      try {
        return await caller.call({ ...plan, method: METHOD[plan.method] });
      } finally {
        await caller.close();
        await other.close();
      }
    },
  };
}

function assertOk(outcome: ProbeOutcome): void {
  assert.equal(outcome.code, 0, `ended with ${outcome.code}: ${outcome.text}`);
}

/** Said without printing a megabyte. */
function assertBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  assert.ok(actual !== undefined && expected !== undefined);
  assert.equal(actual.length, expected.length);
  assert.equal(Buffer.compare(actual, expected), 0, "the same length, other bytes");
}

function bodyOf(size: number, seed = 1): Uint8Array {
  const body = new Uint8Array(size);
  for (let index = 0, state = seed; index < size; index++) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    body[index] = state >>> 16;
  }
  return body;
}

let lastKey = 0;
const newKey = (): string => `key-${process.pid}-${++lastKey}`;

function registerKinds(pair: Pair): void {
  it("answers one request with one reply", async () => {
    const body = bodyOf(1_000);
    const outcome = await pair.call({ method: "unary", requests: [{ body }] });
    assertOk(outcome);
    assert.equal(outcome.replies.length, 1);
    assertBytes(outcome.replies[0]?.body, body);
  });
  it("carries messages of no bytes each way", async () => {
    for (const method of METHODS) {
      const outcome = await pair.call({ method, requests: [{ replyCount: method === "unary" ? 0 : 0 }] });
      assertOk(outcome);
      assert.equal(outcome.replies.length, method === "unary" || method === "upload" ? 1 : 0, method);
    }
  });
  it("streams replies in order", async () => {
    const outcome = await pair.call({ method: "download", requests: [{ replyCount: 200, replySize: 100 }] });
    assertOk(outcome);
    assert.deepEqual(
      outcome.replies.map((reply) => reply.index),
      Array.from({ length: 200 }, (_, index) => index),
    );
  });
  it("streams requests, all of them counted", async () => {
    const requests = Array.from({ length: 200 }, (_, index) => ({ body: bodyOf(index) }));
    const outcome = await pair.call({ method: "upload", requests });
    assertOk(outcome);
    assert.deepEqual([outcome.replies[0]?.seenCount, outcome.replies[0]?.seenBytes], [200, 19_900n]);
  });
  it("ends a request stream that has no request", async () => {
    const upload = await pair.call({ method: "upload", requests: [] });
    assertOk(upload);
    assert.equal(upload.replies[0]?.seenCount, 0);
    const chat = await pair.call({ method: "chat", requests: [] });
    assertOk(chat);
    assert.equal(chat.replies.length, 0);
  });
  it("answers each request of a conversation before the next is sent", async () => {
    const requests = Array.from({ length: 20 }, (_, index) => ({ body: bodyOf(10 * index, index), replyCount: 1 }));
    const outcome = await pair.call({ method: "chat", requests, isLockstep: true });
    assertOk(outcome);
    assert.equal(outcome.replies.length, 20);
    for (const [index, reply] of outcome.replies.entries()) {
      assertBytes(reply.body, requests[index]?.body);
      assert.equal(reply.seenCount, index + 1);
    }
  });
  it("keeps a hundred calls on one connection apart", async () => {
    const indexes = Array.from({ length: 100 }, (_, index) => index);
    const call = async (index: number): Promise<void> => {
      const body = bodyOf(index * 37, index);
      const outcome = await pair.call({ method: "unary", requests: [{ body }] });
      assertOk(outcome);
      assertBytes(outcome.replies[0]?.body, body);
    };
    if (pair.isSerial) for (const index of indexes) await call(index);
    else await Promise.all(indexes.map(call));
  });
}

function registerMetadata(pair: Pair): void {
  const asked: Fields = [
    ["x-probe-header", "first"],
    ["x-probe-header", "~ ascii !#$%&'*+-.^_`|"],
    ["x-probe-header-bin", BYTES],
    ["x-probe-trailer", "last"],
    ["x-probe-trailer-bin", BYTES.subarray(0, 254)],
  ];
  const assertEchoed = (outcome: ProbeOutcome, header: Fields): void => {
    assert.equal(textOf(header, "x-probe-header"), "first, ~ ascii !#$%&'*+-.^_`|");
    assert.deepEqual(bytesOf(header, "x-probe-header-bin"), [Buffer.from(BYTES)]);
    assert.equal(textOf(outcome.trailer, "x-probe-trailer"), "last");
    assert.deepEqual(bytesOf(outcome.trailer, "x-probe-trailer-bin"), [Buffer.from(BYTES.subarray(0, 254))]);
  };
  for (const method of METHODS) {
    it(`carries text and bytes in header and trailer both ways (${method})`, async () => {
      const outcome = await pair.call({ method, requests: [{ replyCount: 1 }], metadata: asked });
      assertOk(outcome);
      assertEchoed(outcome, outcome.header);
    });
    it(`carries header and trailer with an error (${method})`, async () => {
      const outcome = await pair.call({ method, requests: [{ failure: failureOf(9, "no") }], metadata: asked });
      assert.equal(outcome.code, 9);
      // Some clients give header and trailer of a failure in one.
      assertEchoed(outcome, [...outcome.header, ...outcome.trailer].slice(0, outcome.header.length || undefined));
    });
  }
  if (!pair.isUnfitForSeveralBytes) {
    it("carries several values of bytes under one name, in order", async () => {
      const values = [1, 2, 3, 0, 255].map((size) => BYTES.subarray(0, size));
      const metadata = values.flatMap(
        (value): Fields => [
          ["x-probe-header-bin", value],
          ["x-probe-trailer-bin", value],
        ],
      );
      const outcome = await pair.call({ method: "unary", requests: [{}], metadata });
      assertOk(outcome);
      const expected = values.map((value) => Buffer.from(value));
      assert.deepEqual(bytesOf(outcome.header, "x-probe-header-bin"), expected);
      assert.deepEqual(bytesOf(outcome.trailer, "x-probe-trailer-bin"), expected);
    });
  }
  it("carries metadata of 7 KiB", async () => {
    const value = "v".repeat(7_000);
    const outcome = await pair.call({ method: "unary", requests: [{}], metadata: [["x-probe-header", value]] });
    assertOk(outcome);
    assert.equal(textOf(outcome.header, "x-probe-header"), value);
  });
}

/** Several values of a name may come as one, joined by a comma (RFC 9110 section 5.2). */
function textOf(fields: Fields, name: string): string {
  return valuesOf(fields, name).join(", ");
}

function bytesOf(fields: Fields, name: string): readonly Buffer[] {
  return valuesOf(fields, name).map((value) => {
    assert.notEqual(typeof value, "string");
    return Buffer.from(value);
  });
}

function registerErrors(pair: Pair): void {
  it("carries each of the sixteen codes with its text", async () => {
    for (let code = 1; code <= 16; code++) {
      const text = `code ${code} is 100 % \u00fcml\u00e4ut \u{1f600}\nsecond line\ttab`;
      const outcome = await pair.call({ method: "unary", requests: [{ failure: failureOf(code, text) }] });
      assert.deepEqual([outcome.code, outcome.text, outcome.replies.length], [code, text, 0]);
    }
  });
  it("carries the details of an error", async () => {
    const details = [
      anyPack(ProbeRequestSchema, {
        $typeName: "holdfast.interop.v1.ProbeRequest",
        body: BYTES,
        replySize: 1,
        replyCount: 2,
        delayMs: 3,
        key: "k",
        isDefect: false,
      }),
      {
        $typeName: "google.protobuf.Any" as const,
        typeUrl: "type.googleapis.com/nobody.knows.This",
        value: Uint8Array.of(8, 1),
      },
    ];
    for (const method of METHODS) {
      const outcome = await pair.call({ method, requests: [{ failure: failureOf(8, "too much", details) }] });
      assert.equal(outcome.code, 8, method);
      assert.deepEqual(
        outcome.details.map(({ typeUrl, value }) => [typeUrl, Buffer.from(value)]),
        details.map(({ typeUrl, value }) => [typeUrl, Buffer.from(value)]),
      );
    }
  });
  it("gives the replies that came before an error", async () => {
    for (const method of ["download", "chat"] as const) {
      const outcome = await pair.call({ method, requests: [{ replyCount: 3, failure: failureOf(10, "aborted") }] });
      assert.deepEqual([outcome.code, outcome.text, outcome.replies.length], [10, "aborted", 3], method);
    }
  });
  it("ends a request stream early when the server fails before reading all of it", async () => {
    const requests = [
      { failure: failureOf(3, "at the first") },
      ...Array.from({ length: 50 }, () => ({ body: bodyOf(1_000) })),
    ];
    const outcome = await pair.call({ method: "chat", requests });
    assert.deepEqual([outcome.code, outcome.text], [3, "at the first"]);
  });
  it("turns a defect of the handler into a failure of that call alone", async () => {
    const outcome = await pair.call({ method: "unary", requests: [{ isDefect: true }] });
    assert.ok(outcome.code === 2 || outcome.code === 13, `ended with ${outcome.code}`);
    assertOk(await pair.call({ method: "unary", requests: [{}] }));
  });
  it("says UNIMPLEMENTED for a method or service that is not there", async () => {
    assert.equal((await pair.call({ method: "missing", requests: [{}] })).code, 12);
    assert.equal((await pair.call({ method: "missing-service", requests: [{}] })).code, 12);
  });
}

function registerDeadlines(pair: Pair): void {
  for (const method of METHODS) {
    it(`ends a call at its deadline, and the server learns of it (${method})`, async () => {
      assertOk(await pair.call({ method: "unary", requests: [{}] }));
      const key = newKey();
      const outcome = await pair.call({ method, requests: [{ key, delayMs: 4_000, replyCount: 1 }], timeoutMs: 300 });
      assert.equal(outcome.code, 4);
      const seen = await pair.seen(key, "ended");
      assert.deepEqual([seen?.isEnded, seen?.isCancelled], [true, true]);
    });
  }
  it("tells the server how much time is left", async () => {
    const outcome = await pair.call({ method: "unary", requests: [{}], timeoutMs: 20_000 });
    assertOk(outcome);
    const remainingMs = Number(outcome.replies[0]?.remainingMs);
    // Some clients round what they send up to three digits.
    assert.ok(remainingMs > 10_000 && remainingMs <= 21_000, `${remainingMs} ms`);
  });
}

function registerCancellation(pair: Pair): void {
  for (const method of METHODS) {
    it(`cancels a running call, and the server learns of it (${method})`, async () => {
      assertOk(await pair.call({ method: "unary", requests: [{}] }));
      const key = newKey();
      const outcome = await pair.call({
        method,
        requests: [{ key, delayMs: 4_000, replyCount: method === "chat" || method === "download" ? 1 : 0 }],
        // A request stream with one result is answered only when it ends, and a plan that cancels never ends it.
        keepsOpen: true,
        cancelWhen: method === "upload" ? Promise.resolve() : pair.seen(key, "begun"),
      });
      assert.equal(outcome.code, 1);
      if (method === "upload") return;
      const seen = await pair.seen(key, "ended");
      assert.deepEqual([seen?.isEnded, seen?.isCancelled], [true, true]);
    });
  }
  for (const method of ["download", "chat"] as const) {
    it(`cancels after some replies (${method})`, async () => {
      const key = newKey();
      const outcome = await pair.call({
        method,
        requests: [{ key, replyCount: 1_000, delayMs: 20 }],
        cancelAfterReplies: 2,
        keepsOpen: true,
      });
      assert.equal(outcome.code, 1);
      assert.ok(outcome.replies.length >= 2 && outcome.replies.length < 1_000);
      const seen = await pair.seen(key, "ended");
      assert.deepEqual([seen?.isEnded, seen?.isCancelled], [true, true]);
    });
  }
  it("goes on with other calls of the connection after a cancelled one", async () => {
    assertOk(await pair.call({ method: "unary", requests: [{}] }));
  });
}

function registerCompression(pair: Pair): void {
  const requests = [
    { body: bodyOf(100), replySize: 100_000, replyCount: 2 },
    { body: new Uint8Array(100_000), replyCount: 1 },
  ];
  for (const method of METHODS) {
    it(`understands gzip each way (${method})`, async () => {
      const given = method === "unary" || method === "download" ? requests.slice(0, 1) : requests;
      for (const outcome of [
        await pair.call({ method, requests: given, isCompressed: true }),
        await pair.callCompressing({ method, requests: given, isCompressed: true }),
        await pair.callCompressing({ method, requests: given }),
      ]) {
        assertOk(outcome);
        const count = { unary: 1, download: 2, upload: 1, chat: 3 }[method];
        assert.equal(outcome.replies.length, count);
        const body = outcome.replies.at(-1)?.body;
        assert.equal(body?.length, method === "unary" || method === "download" ? 100_100 : 100_000);
      }
    });
  }
  it("understands compressed calls that fail", async () => {
    const outcome = await pair.callCompressing({
      method: "unary",
      requests: [{ failure: failureOf(7, "denied") }],
      isCompressed: true,
    });
    assert.deepEqual([outcome.code, outcome.text], [7, "denied"]);
  });
}

function registerSizes(pair: Pair): void {
  it("carries 1 MiB each way in one message", async () => {
    const body = bodyOf(MIB);
    const outcome = await pair.call({ method: "unary", requests: [{ body }] });
    assertOk(outcome);
    assertBytes(outcome.replies[0]?.body, body);
  });
  it("carries 8 MiB as messages of 1 MiB each way", async () => {
    const download = await pair.call({ method: "download", requests: [{ replySize: MIB, replyCount: 8 }] });
    assertOk(download);
    assert.deepEqual(
      download.replies.map((reply) => reply.body.length),
      new Array(8).fill(MIB),
    );
    const requests = Array.from({ length: 8 }, (_, index) => ({ body: bodyOf(MIB, index), replyCount: 1 }));
    const upload = await pair.call({ method: "upload", requests });
    assertOk(upload);
    assert.equal(upload.replies[0]?.seenBytes, BigInt(8 * MIB));
    const chat = await pair.call({ method: "chat", requests });
    assertOk(chat);
    for (const [index, reply] of chat.replies.entries()) assertBytes(reply.body, bodyOf(MIB, index));
    assert.equal(chat.replies.length, 8);
  });
  it("refuses a message over 4 MiB, either way, with RESOURCE_EXHAUSTED", async () => {
    const request = await pair.call({ method: "unary", requests: [{ body: new Uint8Array(4 * MIB + 1) }] });
    assert.equal(request.code, 8);
    const reply = await pair.call({ method: "unary", requests: [{ replySize: 4 * MIB + 1 }] });
    assert.equal(reply.code, 8);
    assertOk(await pair.call({ method: "unary", requests: [{}] }));
  });
}
