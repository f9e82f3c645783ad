import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { answerGrpc, framed, rawServer, type RawServer, type ServerHttp2Stream } from "../../test/calls/raw-peer.ts";
import { Probe } from "../../test/simulation/probe-cluster.ts";
import { createClient } from "./create-client.ts";
import type { TokenAsk } from "./options.ts";

const EMPTY = framed(Buffer.alloc(0));
const OK = { "grpc-status": "0" };
const REFUSED = { "grpc-status": "16", "grpc-message": "who?" };

/** A source of numbered tokens, and what each was asked for. */
function tokens(): { readonly token: (ask: TokenAsk) => string; readonly refreshes: boolean[] } {
  const refreshes: boolean[] = [];
  return { token: ({ isRefresh }) => `t${refreshes.push(isRefresh)}`, refreshes };
}

function sentTokens(peer: RawServer): readonly (string | undefined)[] {
  return peer.requests.map(({ authorization }) => authorization);
}

/** The first answer as given, all later ones fine. */
function firstAnswered(answer: (stream: ServerHttp2Stream) => void): Promise<RawServer> {
  return rawServer((stream, number) => (number === 1 ? answer(stream) : answerGrpc(stream, EMPTY, OK)));
}

describe("a call whose token is refused", () => {
  const cases: readonly [
    name: string,
    answer: (stream: ServerHttp2Stream) => void,
    method: "unknown" | "none" | "idempotent",
    isRepeated: boolean,
  ][] = [
    ["before headers, of unknown effect", (s) => answerGrpc(s, undefined, REFUSED), "unknown", true],
    ["after headers, of unknown effect", (s) => answerGrpc(s, Buffer.alloc(0), REFUSED), "unknown", false],
    [
      "before headers, of unknown effect, with the mark that no handler ran",
      (s) => answerGrpc(s, undefined, { ...REFUSED, "holdfast-not-run": "1" }),
      "unknown",
      true,
    ],
    ["after headers, of effect none", (s) => answerGrpc(s, Buffer.alloc(0), REFUSED), "none", true],
    ["after headers, idempotent", (s) => answerGrpc(s, Buffer.alloc(0), REFUSED), "idempotent", true],
  ];
  for (const [name, answer, method, isRepeated] of cases) {
    it(`${name}: ${isRepeated ? "goes out with a fresh one" : "fails, as a handler may have run"}`, async () => {
      await using peer = await firstAnswered(answer);
      const { token, refreshes } = tokens();
      await using bench = createClient(Bench, peer.address, { token });
      await using probe = createClient(Probe, peer.address, { token });
      const call = {
        unknown: () => probe.unary({}),
        none: () => bench.add({}),
        idempotent: () => bench.placeOrder({}),
      };
      if (isRepeated) {
        await call[method]();
        assert.deepEqual(sentTokens(peer), ["Bearer t1", "Bearer t2"]);
        assert.deepEqual(refreshes, [false, true]);
      } else {
        const error = await assertFails(call[method](), "UNAUTHENTICATED");
        assert.equal(error.reached, "yes");
        assert.deepEqual(sentTokens(peer), ["Bearer t1"]);
      }
    });
  }
});

describe("each attempt asks for a token", () => {
  it("also one that repeats a call whose connection was lost, and that is no refresh", async () => {
    await using peer = await firstAnswered((stream) => stream.close(7));
    const { token, refreshes } = tokens();
    await using client = createClient(Bench, peer.address, { token });
    await client.add({});
    assert.deepEqual(sentTokens(peer), ["Bearer t1", "Bearer t2"]);
    assert.deepEqual(refreshes, [false, false]);
  });

  it("and only the one after a refusal asks for a fresh one", async () => {
    await using peer = await rawServer((stream, number) => {
      if (number === 1) answerGrpc(stream, undefined, REFUSED);
      else if (number === 2) stream.close(7);
      else answerGrpc(stream, EMPTY, OK);
    });
    const { token, refreshes } = tokens();
    await using client = createClient(Bench, peer.address, { token });
    await client.add({});
    assert.deepEqual(sentTokens(peer), ["Bearer t1", "Bearer t2", "Bearer t3"]);
    assert.deepEqual(refreshes, [false, true, false]);
  });
});
