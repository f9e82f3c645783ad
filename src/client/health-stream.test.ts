import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient } from "holdfast";
import { Bench, type BenchClient } from "../../test/calls/bench-service.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { answerGrpc, framed, GRPC_HEADERS, rawServer, type ServerHttp2Stream } from "../../test/calls/raw-peer.ts";
import { CANCEL, INTERNAL_ERROR, REFUSED_STREAM } from "../wire/http2/frame.ts";

const SERVING = Buffer.from([8, 1]);
const NOT_SERVING = Buffer.from([8, 2]);

/** The peer's health and why, when it has said something or failed to, and all that it said at once has been read. */
async function firstWord(client: BenchClient): Promise<readonly [health: string | undefined, why: string]> {
  const { opened, open } = gate();
  client.$on("peer.changed", ({ health }) => {
    if (health !== "connecting") open();
  });
  void client.$channel.ready().catch(() => {});
  await opened;
  await turns(1);
  const [peer] = client.$channel.peers();
  return [peer?.health, peer?.why ?? ""];
}

/** Answers with headers, and leaves the stream open. */
function open(stream: ServerHttp2Stream): ServerHttp2Stream {
  stream.respond(GRPC_HEADERS);
  return stream;
}

interface Case {
  readonly name: string;
  readonly answer: (stream: ServerHttp2Stream) => void;
  readonly health: "ready" | "not-serving";
  readonly why: RegExp;
}

const cases: readonly Case[] = [
  {
    name: "SERVING, a byte at a time",
    answer: (stream) => {
      open(stream);
      for (const byte of framed(SERVING)) stream.write(Buffer.from([byte]));
    },
    health: "ready",
    why: /^ready$/,
  },
  {
    name: "two messages at once: the last one counts",
    answer: (stream) => open(stream).write(Buffer.concat([framed(SERVING), framed(NOT_SERVING)])),
    health: "not-serving",
    why: /says NOT_SERVING/,
  },
  {
    name: "an empty message, which is UNKNOWN",
    answer: (stream) => open(stream).write(framed(Buffer.alloc(0))),
    health: "not-serving",
    why: /says UNKNOWN/,
  },
  {
    name: "a status of a later version",
    answer: (stream) => open(stream).write(framed(Buffer.from([8, 77]))),
    health: "not-serving",
    why: /says the unknown status 77/,
  },
  {
    name: "a field of a later version beside SERVING",
    answer: (stream) => open(stream).write(framed(Buffer.from([0x12, 1, 0x61, 8, 1]))),
    health: "ready",
    why: /^ready$/,
  },
  {
    name: "UNIMPLEMENTED",
    answer: (stream) => answerGrpc(stream, undefined, { "grpc-status": "12" }),
    health: "ready",
    why: /^ready; it has no health service$/,
  },
  {
    name: "UNIMPLEMENTED after headers",
    answer: (stream) => {
      stream.respond(GRPC_HEADERS, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "12" }));
      stream.end();
    },
    health: "ready",
    why: /^ready; it has no health service$/,
  },
  {
    name: "HTTP 404, which is gRPC's UNIMPLEMENTED",
    answer: (stream) => stream.respond({ ":status": 404, "content-type": "text/html" }, { endStream: true }),
    health: "ready",
    why: /^ready; it has no health service$/,
  },
  {
    name: "HTTP 503 of a proxy",
    answer: (stream) => {
      stream.respond({ ":status": 503, "content-type": "text/html" });
      stream.end("<p>away");
    },
    health: "not-serving",
    why: /UNAVAILABLE: it answered HTTP 503, not gRPC/,
  },
  {
    name: "HTTP 200 that is not gRPC",
    answer: (stream) => {
      stream.respond({ ":status": 200, "content-type": "text/html" });
      stream.end("<p>hello");
    },
    health: "not-serving",
    why: /UNKNOWN: it answered HTTP 200, not gRPC/,
  },
  {
    name: "OK without a message",
    answer: (stream) => answerGrpc(stream, undefined, { "grpc-status": "0" }),
    health: "not-serving",
    why: /Watch ended: OK; asked again in \d+ ms/,
  },
  {
    name: "a failure with words",
    answer: (stream) => answerGrpc(stream, undefined, { "grpc-status": "14", "grpc-message": "r%C3%A9gime" }),
    health: "not-serving",
    why: /Watch ended: UNAVAILABLE: régime; asked again/,
  },
  {
    name: "a status that gRPC does not have",
    answer: (stream) => answerGrpc(stream, undefined, { "grpc-status": "99" }),
    health: "not-serving",
    why: /Watch ended: UNKNOWN; asked again/,
  },
  {
    name: "an end without a status",
    answer: (stream) => open(stream).end(),
    health: "not-serving",
    why: /INTERNAL: it ended without a status/,
  },
  {
    name: "a reset",
    answer: (stream) => stream.close(INTERNAL_ERROR),
    health: "not-serving",
    why: /INTERNAL: the peer reset the stream: INTERNAL_ERROR/,
  },
  {
    name: "a refused stream",
    answer: (stream) => stream.close(REFUSED_STREAM),
    health: "not-serving",
    why: /UNAVAILABLE: the peer reset the stream: REFUSED_STREAM/,
  },
  {
    name: "a message over the limit",
    answer: (stream) => open(stream).write(Buffer.from([0, 0, 0, 0x10, 1])),
    health: "not-serving",
    why: /INTERNAL: it sent no message: too-large/,
  },
  {
    name: "a flag that is none",
    answer: (stream) => open(stream).write(framed(SERVING, 2)),
    health: "not-serving",
    why: /INTERNAL: it sent no message: bad-flag/,
  },
  {
    name: "a compressed message, which was not asked for",
    answer: (stream) => open(stream).write(framed(SERVING, 1)),
    health: "not-serving",
    why: /INTERNAL: it sent a message that cannot be read/,
  },
  {
    name: "bytes that are no message",
    answer: (stream) => open(stream).write(framed(Buffer.from([0xff, 0xff, 0xff]))),
    health: "not-serving",
    why: /INTERNAL: it sent a message that cannot be read/,
  },
];

describe("a health Watch that is answered with", () => {
  for (const { name, answer, health, why } of cases) {
    it(name, async () => {
      await using server = await rawServer((stream) => answer(stream));
      const client = createClient(Bench, server.address, { health: { service: "" } });
      const [word, reason] = await firstWord(client);
      assert.equal(word, health, reason);
      assert.match(reason, why);
      await client.$close({ timeoutMs: 0 });
    });
  }
});

describe("a health Watch", () => {
  it("sends the service's name and nothing of its client: no token, deadline, trace or call id", async () => {
    const asked = gate<Buffer>();
    await using server = await rawServer((stream) => {
      stream.on("data", asked.open);
      open(stream).write(framed(SERVING));
    });
    const client = createClient(Bench, server.address, {
      health: { service: "shop.v1.Shop" },
      token: () => "secret",
      compress: "gzip",
    });
    await client.$channel.ready();
    const headers = server.requests[0] ?? {};
    const names = [":method", ":scheme", ":path", ":authority", "content-type", "te", "user-agent"];
    assert.deepEqual(Object.keys(headers), names);
    assert.equal(headers[":path"], "/grpc.health.v1.Health/Watch");
    assert.deepEqual(await asked.opened, framed(Buffer.from("\n\x0cshop.v1.Shop")));
    await client.$close({ timeoutMs: 0 });
  });

  it("gives way when the peer allows one stream from now on: that one is for calls", async () => {
    const watch = gate<ServerHttp2Stream>();
    await using server = await rawServer((stream, number) => {
      if (number > 1) return answerGrpc(stream, framed(Buffer.alloc(0)), { "grpc-status": "0" });
      open(stream).write(framed(SERVING));
      watch.open(stream);
    });
    const client = createClient(Bench, server.address, {
      health: { service: "" },
      connections: { perPeerMax: 1 },
    });
    assert.deepEqual(await firstWord(client), ["ready", "ready"]);
    const stream = await watch.opened;
    const left = new Promise((resolve) => stream.once("close", resolve));
    // Their acknowledgement comes when the client has obeyed.
    await new Promise<void>((resolve) => stream.session?.settings({ maxConcurrentStreams: 1 }, () => resolve()));
    assert.deepEqual(
      client.$channel.peers().map(({ health, why, streams }) => [health, why, streams]),
      [["ready", "ready; it allows no stream beside its calls, so its health is not watched", 0]],
    );
    await left;
    assert.equal(stream.rstCode, CANCEL);
    await client.add({ a: 1, b: 2 });
    await client.$close({ timeoutMs: 0 });
  });

  it("that a goodbye leaves out is opened on the next connection, and is no failure", async () => {
    await using server = await rawServer((stream, number) => {
      if (number === 1) stream.session?.goaway(0, 0);
      else open(stream).write(framed(SERVING));
    });
    const client = createClient(Bench, server.address, { health: { service: "" } });
    const seen: string[] = [];
    client.$on("peer.changed", ({ health }) => seen.push(health));
    await client.$channel.ready();
    assert.deepEqual(seen, ["ready"]);
    assert.equal(server.requests.length, 2);
    await client.$close({ timeoutMs: 0 });
  });
});
