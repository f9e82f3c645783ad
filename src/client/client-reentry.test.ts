import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import type { EventName } from "../call/event.ts";
import { Bench } from "../../test/calls/bench-service.ts";
import { answerGrpc, framed, rawServer, type ServerHttp2Stream } from "../../test/calls/raw-peer.ts";
import { failureOf, forever, pause, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";
import { createClient } from "./create-client.ts";
import type { TokenAsk } from "./options.ts";

/** Nothing of a call is left behind: no peer is thought to owe an answer, and closing waits for nobody. */
async function assertNothingLeft(cluster: Cluster, client: ReturnType<typeof clientOf>): Promise<void> {
  assert.deepEqual(
    client.$channel.peers().map(({ inFlight }) => inFlight),
    client.$channel.peers().map(() => 0),
  );
  const beganMs = cluster.simulation.nowMs;
  await cluster.settle(client.$close({ timeoutMs: 10_000 }));
  assert.ok(cluster.simulation.nowMs - beganMs < 1_000, "no call is counted as open");
}

const clientOf = (cluster: Cluster) => cluster.client(SafeProbe, "shop");

describe("a listener that cancels the call it hears of", () => {
  const cases: readonly [event: Exclude<EventName, "*">, failing: "refuses" | "is silent" | "answers"][] = [
    ["attempt.ended", "refuses"],
    ["attempt.ended", "answers"],
    ["retry", "refuses"],
    ["hedge", "is silent"],
    ["call.ended", "answers"],
    ["call.ended", "refuses"],
    ["peer.changed", "refuses"],
    ["ejection", "refuses"],
    ["budget.empty", "refuses"],
  ];
  for (const [event, failing] of cases) {
    it(`${event}, while one of three servers ${failing}: ends it once, and leaves nothing behind`, async () => {
      await using cluster = createCluster({ seed: 11 });
      const uncaught: unknown[] = [];
      const keep = (error: unknown): void => void uncaught.push(error);
      process.on("uncaughtException", keep);
      cluster.serve("shop", 3, (server, index) => {
        const world = cluster.simulation.host(`shop/${index}`);
        return probe(server, {
          unary: async (request, call) => {
            await pause(world, 3, call.signal);
            if (index === 1 && failing === "refuses" && isSick) throw new RpcError("UNAVAILABLE", "not now");
            if (index === 1 && failing === "is silent" && isSick) return forever(request, call);
            return { body: request.body };
          },
        });
      });
      let isSick = false;
      const client = clientOf(cluster);
      for (let i = 0; i < 150; i++) await cluster.settle(client.unary({}).catch(() => {}));
      isSick = true;
      let heard = 0;
      let current = new AbortController();
      using _listening = client.$on(event, () => {
        heard += 1;
        current.abort(new Error("by the listener"));
      });
      const ends: string[] = [];
      for (let i = 0; i < 40; i++) {
        current = new AbortController();
        const end = client.unary({}, { signal: current.signal, timeoutMs: 1_000 }).then(
          () => "OK",
          ({ code }: RpcError) => code,
        );
        ends.push(await cluster.settle(end));
      }
      process.off("uncaughtException", keep);
      assert.deepEqual(uncaught, []);
      assert.equal(ends.length, 40);
      // Copies are 2 % of the calls at most: a silent server has some that time out.
      const allowed = new Set(["OK", "CANCELLED", failing === "is silent" ? "DEADLINE_EXCEEDED" : "UNAVAILABLE"]);
      assert.deepEqual(
        ends.filter((end) => !allowed.has(end)),
        [],
      );
      if (event === "attempt.ended" || event === "call.ended" || event === "hedge")
        assert.ok(heard > 0, "it was heard");
      if (event === "hedge") assert.ok(ends.includes("CANCELLED"));
      await assertNothingLeft(cluster, client);
    });
  }
});

describe("a repeat that could go out only after the deadline", () => {
  it("is not waited for: the call ends at once with what the server said", async () => {
    await using cluster = createCluster({ seed: 4 });
    cluster.serve("shop", 2, (server) =>
      probe(server, {
        unary: () => {
          throw new RpcError("RESOURCE_EXHAUSTED", "come back in a minute", { retryAfterMs: 60_000 });
        },
      }),
    );
    const client = clientOf(cluster);
    const beganMs = cluster.simulation.nowMs;
    const error = await cluster.settle(failureOf(client.unary({}, { timeoutMs: 30_000 })));
    assert.deepEqual([error.code, error.retryAfterMs, error.faults.length], ["RESOURCE_EXHAUSTED", 60_000, 1]);
    assert.ok(cluster.simulation.nowMs - beganMs < 1_000);
    await assertNothingLeft(cluster, client);
  });
});

describe("an attempt's own timeout", () => {
  it("ends with the first answer of a stream, which then takes the time that it takes", async () => {
    await using cluster = createCluster({ seed: 4 });
    cluster.serve("shop", 1, (server, index) => {
      const world = cluster.simulation.host(`shop/${index}`);
      return probe(server, {
        async *download({ replyCount }, call) {
          for (let at = 0; at < replyCount; at++) {
            yield { index: at };
            await pause(world, 300, call.signal);
          }
        },
      });
    });
    const client = cluster.client(SafeProbe, "shop", { policy: { attemptTimeoutMs: 1_000 } });
    const read = async (): Promise<number> => {
      let count = 0;
      for await (const _ of client.download({ replyCount: 10 })) count += 1;
      return count;
    };
    assert.equal(await cluster.settle(read()), 10);
    const [row] = client.$channel.reliability();
    assert.deepEqual(row?.failures, 0);
  });
});

describe("the token of a copy", () => {
  const OK = { "grpc-status": "0" };
  const policy = { hedge: { afterMs: 10 } };

  /** Two peers that answer once a second token has been asked for. */
  async function slowPair() {
    const asked = Promise.withResolvers<void>();
    const slow = (stream: ServerHttp2Stream): void =>
      void asked.promise.then(() => answerGrpc(stream, framed(Buffer.alloc(0)), OK));
    return { asked, one: await rawServer(slow), two: await rawServer(slow) };
  }

  it("that cannot be had takes nothing from the attempt in flight", async () => {
    const { asked, one: first, two: second } = await slowPair();
    await using one = first;
    await using two = second;
    let count = 0;
    const token = async (): Promise<string> => {
      count += 1;
      if (count === 1) return "t";
      asked.resolve();
      throw new Error("the issuer is down");
    };
    await using client = createClient(Bench, [one.address, two.address], { token, policy });
    await client.add({});
    assert.ok(count > 1, "a token for a copy was asked for");
    assert.equal(one.requests.length + two.requests.length, 1);
  });

  it("that is still awaited when the first attempt fails carries the call on", async () => {
    const asked = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<void>();
    const served: string[] = [];
    const answer = (name: string) => (stream: ServerHttp2Stream) => {
      served.push(name);
      if (served.length > 1) answerGrpc(stream, framed(Buffer.alloc(0)), OK);
      else void asked.promise.then(() => answerGrpc(stream, undefined, { "grpc-status": "14" }));
    };
    await using one = await rawServer(answer("one"));
    await using two = await rawServer(answer("two"));
    let count = 0;
    const token = async (): Promise<string> => {
      count += 1;
      if (count > 1) {
        asked.resolve();
        await failed.promise;
      }
      return "t";
    };
    await using client = createClient(Bench, [one.address, two.address], { token, policy });
    using _listening = client.$on("attempt.ended", () => failed.resolve());
    await client.add({});
    assert.equal(count, 2, "no third attempt beside the copy");
    assert.equal(new Set(served).size, 2, "the copy went to the other peer");
  });

  it("is asked for with a signal that is aborted when the call ends", async () => {
    const { asked, one: first, two: second } = await slowPair();
    await using one = first;
    await using two = second;
    const signals: AbortSignal[] = [];
    const token = ({ signal }: TokenAsk): string | Promise<string> => {
      if (signals.push(signal) === 1) return "t";
      asked.resolve();
      return new Promise<string>(() => {});
    };
    await using client = createClient(Bench, [one.address, two.address], { token, policy });
    await client.add({});
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [false, true],
    );
  });
});

describe("a header list that one peer does not take", () => {
  it("goes to another that does, and fails only where none does", async () => {
    const answer = (stream: ServerHttp2Stream): void =>
      answerGrpc(stream, framed(Buffer.alloc(0)), { "grpc-status": "0" });
    await using small = await rawServer(answer, { settings: { maxHeaderListSize: 2_000 } });
    await using large = await rawServer(answer);
    const metadata = { "x-long": "x".repeat(3_000) };
    await using client = createClient(Bench, [small.address, large.address]);
    for (let i = 0; i < 20; i++) await client.add({});
    const before = large.requests.length;
    for (let i = 0; i < 20; i++) await client.add({}, { metadata });
    assert.equal(large.requests.length - before, 20);
    await using lonely = createClient(Bench, small.address);
    await lonely.add({});
    const { code, reason } = await failureOf(lonely.add({}, { metadata }));
    assert.deepEqual([code, reason], ["RESOURCE_EXHAUSTED", "METADATA_TOO_LARGE"]);
  });
});
