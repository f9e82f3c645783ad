import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotate, type CallOptions, createClient, type Interceptor, RpcError } from "holdfast";
import { createSimulation } from "holdfast/testing";
import { bootDedupPeer, type DedupLine, type DedupLog, type DedupScript } from "../../test/calls/dedup-peer.ts";
import { Probe } from "../../test/simulation/probe-cluster.ts";
import type { CallRecord } from "../call/event.ts";
import type { ChannelOptions, ClientOptions } from "./options.ts";

const OnceProbe = annotate(Probe, { unary: { effect: "once" }, download: { effect: "once" } });
type Options = ClientOptions<typeof OnceProbe> & ChannelOptions;
type Peers = (index: number, lines: DedupLine[]) => DedupScript;

/** A store in each process: lost with it, and another after a restart. */
const inProcess: Peers = (index, lines) => {
  const stores: Set<string>[] = [];
  return { announces: (boot) => `p${index}-${boot} process`, kept: (boot) => (stores[boot] ??= new Set()), lines };
};
/** A store on each machine. */
const onMachine: Peers = (index, lines) => {
  const store = new Set<string>();
  return { announces: () => `m${index} machine`, kept: () => store, lines };
};
/** One store for all; or for the even and the odd ones each. */
const ofService = (count: 1 | 2): Peers => {
  const stores = [new Set<string>(), new Set<string>()];
  return (index, lines) => {
    const at = index % count;
    return { announces: () => `s${at} service`, kept: () => stores[at] as Set<string>, lines };
  };
};
/** Stores of their own, of which they say this. */
const saying =
  (text: (index: number) => string | undefined, isForeign = false): Peers =>
  (index, lines) => {
    const store = new Set<string>();
    return { announces: () => text(index), kept: () => store, lines, isForeign };
  };

/** So many peers, the lines for the next requests of any of them, a client, and what was asked and run. */
function scene(count: number, peers: Peers, options: Options = {}) {
  const simulation = createSimulation();
  const log: DedupLog = { requests: [], effects: [] };
  const lines: DedupLine[] = [];
  const hosts = Array.from({ length: count }, (_, index) => `p${index}`);
  for (const [index, host] of hosts.entries()) bootDedupPeer(simulation, host, peers(index, lines), log);
  const world = simulation.host("client");
  const client = createClient(
    OnceProbe,
    hosts.map((host) => `${host}:50051`),
    { world, plaintext: true, ...options },
  );
  const records: CallRecord[] = [];
  client.$on("call.ended", ({ record }) => records.push(record));
  const call = async (given?: CallOptions<"once">): Promise<RpcError | undefined> =>
    simulation.settle(
      client.unary({}, given).then(
        () => undefined,
        (error: unknown) => RpcError.from(error),
      ),
      { limitMs: 120_000 },
    );
  return {
    simulation,
    log,
    lines,
    client,
    records,
    call,
    /** Until each peer has said what it has to say. */
    async warm(): Promise<void> {
      await simulation.advance(1);
      await simulation.settle(client.$channel.ready());
      await simulation.advance(100);
      const isAsked = (host: string): boolean => log.requests.some((request) => request.host === host);
      for (let calls = 0; calls < 200 && !hosts.every(isAsked); calls++) assert.equal(await call(), undefined);
      assert.ok(hosts.every(isAsked));
      log.requests.length = 0;
      log.effects.length = 0;
      records.length = 0;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await simulation.settle(client.$close({ timeoutMs: 0 }));
    },
  };
}
type Scene = ReturnType<typeof scene>;

/** Who was asked, in order, and for which store. */
function asked({ log }: Scene): readonly string[] {
  return log.requests.map(({ host, asks }) => (asks === undefined ? host : `${host} for ${asks}`));
}

/** It fails as one of which nobody can tell whether it was done. */
function assertUnknown(error: RpcError | undefined, cause: RegExp): void {
  assert.deepEqual([error?.code, error?.reason, error?.reached], ["ABORTED", "OUTCOME_UNKNOWN", "maybe"]);
  assert.match(String(error?.cause), cause);
  assert.match(error?.text ?? "", /callId as idempotencyKey may be used later/);
  assert.equal(error?.isRepeatable, false);
  assert.ok((error?.faults.length ?? 0) > 0);
}

const LOST = /UNAVAILABLE: .*(closed|reset|destroyed|lost)/;

describe("a once call whose connection was lost", () => {
  for (const count of [1, 2, 5]) {
    it(`goes back to the same process, which answers from its store (${count} peers)`, async () => {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("lose");
      assert.equal(await s.call({ idempotencyKey: "order-1" }), undefined);
      const [first, second] = s.log.requests;
      assert.equal(s.log.requests.length, 2);
      assert.deepEqual([first?.asks, first?.isRepeat], [undefined, false]);
      assert.deepEqual(
        [second?.host, second?.asks, second?.isRepeat, second?.callId],
        [first?.host, `${first?.host}-1`, true, "order-1"],
      );
      assert.deepEqual(s.log.effects, ["order-1"]);
      assert.deepEqual([s.records[0]?.savedBy, s.records[0]?.attempts.length], ["dedup", 2]);
    });
  }

  it("is repeated under the id that was minted for it", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("lose");
    assert.equal(await s.call(), undefined);
    assert.equal(s.log.requests[0]?.callId, s.log.requests[1]?.callId);
    assert.equal(s.records[0]?.callId, s.log.requests[0]?.callId);
  });

  it("is run by nobody if the process was restarted at the same address: the new one has another store, and says so", async () => {
    for (const count of [1, 2, 5]) {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("crash");
      const call = s.call();
      await s.simulation.runUntil(() => s.log.requests.length === 1);
      const host = s.log.requests[0]?.host ?? "";
      await s.simulation.advance(20);
      s.simulation.restart(host);
      assertUnknown(await call, LOST);
      assert.deepEqual(asked(s), [host, `${host} for ${host}-1`]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("waits for its process, and for no other, 10 s at most", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const startMs = s.simulation.nowMs;
    assertUnknown(await s.call(), LOST);
    const tookMs = s.simulation.nowMs - startMs;
    assert.ok(tookMs >= 9_900 && tookMs <= 10_200, `${tookMs} ms`);
    assert.equal(s.log.requests.length, 1);
  });

  it("ends at its deadline if that comes first", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const error = await s.call({ timeoutMs: 3_000 });
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["DEADLINE_EXCEEDED", "DEADLINE", "maybe"]);
    assert.equal(s.log.requests.length, 1);
  });

  it("is answered by the restarted process whose store is on its machine", async () => {
    await using s = scene(2, onMachine);
    await s.warm();
    s.lines.push("crash");
    const call = s.call();
    await s.simulation.runUntil(() => s.log.requests.length === 1);
    const host = s.log.requests[0]?.host ?? "";
    await s.simulation.advance(500);
    s.simulation.restart(host);
    assert.equal(await call, undefined);
    assert.deepEqual(asked(s), [host, `${host} for m${host.slice(1)}`]);
    assert.equal(s.log.effects.length, 1);
    assert.equal(s.records[0]?.savedBy, "dedup");
  });

  it("is answered by another peer of the same store, at once, when its own is gone for good", async () => {
    for (const count of [2, 5]) {
      await using s = scene(count, ofService(1));
      await s.warm();
      s.lines.push("crash");
      const startMs = s.simulation.nowMs;
      assert.equal(await s.call(), undefined);
      assert.ok(s.simulation.nowMs - startMs < 100);
      const [first, second] = s.log.requests;
      assert.equal(s.log.requests.length, 2);
      assert.notEqual(first?.host, second?.host);
      assert.equal(second?.asks, "s0");
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("goes to no peer of another store, though it is of the same service", async () => {
    for (let round = 0; round < 6; round++) {
      await using s = scene(5, ofService(2));
      await s.warm();
      for (let skipped = 0; skipped < round; skipped++) await s.call();
      s.log.requests.length = 0;
      s.lines.push("crash");
      assert.equal(await s.call(), undefined);
      const [first, second] = s.log.requests.map(({ host }) => Number(host.slice(1)) % 2);
      assert.equal(first, second);
    }
  });
});

describe("a peer that is not to be believed", () => {
  /** The first attempt is lost with its process for good: whoever is asked then, is asked because it was believed. */
  async function lostForGood(peers: Peers, count = 2): Promise<Scene> {
    const s = scene(count, peers);
    await s.warm();
    s.lines.push("crash");
    assertUnknown(await s.call(), LOST);
    return s;
  }

  it("says that a store reaches farther than another peer says of the same id", async () => {
    const scopes = ["process", "machine", "service"];
    for (const one of scopes) {
      for (const other of scopes.filter((scope) => scope !== one)) {
        await using s = await lostForGood(saying((index) => `x ${index === 0 ? one : other}`));
        assert.equal(s.log.requests.length, 1, `${one}, ${other}`);
      }
    }
  });

  it("has the id of another process, which no two processes have", async () => {
    await using s = await lostForGood(saying(() => "x process"));
    assert.equal(s.log.requests.length, 1);
  });

  it("announces what is no store", async () => {
    const garbage = [
      "",
      "x",
      "process",
      "x  process",
      "x galaxy",
      "x process y",
      `${"x".repeat(65)} service`,
      "é service",
    ];
    for (const text of [...garbage, "x PROCESS", "x service;q=1", undefined]) {
      await using s = scene(
        2,
        saying(() => text),
      );
      await s.warm();
      s.lines.push("lose");
      assertUnknown(await s.call(), LOST);
      assert.equal(s.log.requests.length, 1, String(text));
    }
  });

  it("is a proxy: one connection, and answers of several stores", async () => {
    let answers = 0;
    await using s = scene(
      1,
      saying(() => `x${answers++ % 2} process`),
    );
    await s.warm();
    await s.call();
    s.log.requests.length = 0;
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.requests.length, 1);
  });

  it("is a proxy that shows itself only while the call is underway", async () => {
    let answers = 0;
    await using s = scene(
      1,
      saying(() => (answers++ < 1 ? "x process" : "y process")),
    );
    await s.warm();
    s.lines.push("hang");
    const call = s.call({ policy: { attemptTimeoutMs: 500 } });
    await s.simulation.advance(100);
    await s.call();
    assertUnknown(await call, /DEADLINE_EXCEEDED/);
    assert.equal(s.log.requests.length, 2);
  });

  it("is a balancer of connections: what one of them said does not hold for the next", async () => {
    const stores: Set<string>[] = [];
    const balancer: Peers = (_, lines) => ({
      announces: (boot) => `b${boot} process`,
      kept: (boot) => (stores[boot] ??= new Set()),
      lines,
      isBalancer: true,
    });
    await using s = scene(1, balancer);
    await s.warm();
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.deepEqual(asked(s), ["p0", "p0 for b2"]);
    assert.equal(s.log.effects.length, 1, "the process behind the next connection has refused it");
    s.log.requests.length = 0;
    s.lines.push("lose", "lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.effects.length, 2);
  });

  it("takes no notice of the store that it is asked for: it is not asked again", async () => {
    await using s = scene(
      2,
      saying(() => undefined, true),
    );
    await s.warm();
    s.lines.push("lose");
    assertUnknown(await s.call(), LOST);
    assert.equal(s.log.effects.length, 1);
  });
});

describe("a once call before its peer has said anything", () => {
  it("is not repeated once its connection is gone", async () => {
    for (const count of [1, 2]) {
      await using s = scene(count, inProcess);
      await s.simulation.advance(1);
      s.lines.push("lose");
      assertUnknown(await s.call(), LOST);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("is repeated on the same connection as long as that is there", async () => {
    for (const line of ["reset", "hang"] as const) {
      await using s = scene(2, inProcess);
      await s.simulation.advance(1);
      s.lines.push(line);
      assert.equal(await s.call({ policy: { attemptTimeoutMs: 200 } }), undefined, line);
      const [first, second] = s.log.requests;
      assert.deepEqual([second?.host, second?.boot, second?.asks], [first?.host, first?.boot, undefined]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("learns where to ask from an answer to another call", async () => {
    await using s = scene(1, inProcess);
    await s.simulation.advance(1);
    s.lines.push("hang");
    const call = s.call({ policy: { attemptTimeoutMs: 500 } });
    await s.simulation.advance(100);
    assert.equal(await s.call(), undefined);
    s.lines.push("lose");
    assert.equal(await call, undefined);
    assert.deepEqual(asked(s), ["p0", "p0", "p0 for p0-1", "p0 for p0-1"]);
    assert.equal(s.log.effects.length, 2);
  });
});

describe("what a once call was answered", () => {
  const unavailable = { "grpc-status": "14", "grpc-message": "later" };

  it("is final, a failure too: the server keeps it", async () => {
    for (const status of ["2", "13", "14", "15", "4", "5"]) {
      await using s = scene(2, inProcess);
      await s.warm();
      s.lines.push({ fails: { ...unavailable, "grpc-status": status } });
      const error = await s.call();
      assert.deepEqual([error?.reason, error?.reached, error?.text], [undefined, "yes", "later"], status);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("is final also without a store, as it was", async () => {
    await using s = scene(
      2,
      saying(() => undefined),
    );
    await s.warm();
    s.lines.push({ fails: unavailable });
    const error = await s.call();
    assert.deepEqual([error?.code, error?.reason, s.log.requests.length], ["UNAVAILABLE", undefined, 1]);
  });

  it("is a proxy's word if the store is not named: the store is asked", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ isProxied: unavailable });
    assert.equal(await s.call(), undefined);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
    assert.equal(s.log.effects.length, 1);
  });

  it("is asked for again when the server says after how long", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ refuses: { "grpc-status": "8", "grpc-retry-pushback-ms": "300" } });
    const startMs = s.simulation.nowMs;
    assert.equal(await s.call(), undefined);
    assert.ok(s.simulation.nowMs - startMs >= 300);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
  });

  it("is nothing if no handler ran: any peer takes it then, whatever its store", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push({ refuses: { ...unavailable, "holdfast-not-run": "1" } });
    assert.equal(await s.call(), undefined);
    const [first, second] = s.log.requests;
    assert.notEqual(first?.host, second?.host);
    assert.equal(second?.asks, undefined);
  });

  it("is nothing if no handler ran, but an earlier attempt's may have: then only the same store takes it", async () => {
    for (const count of [2, 5]) {
      await using s = scene(count, inProcess);
      await s.warm();
      s.lines.push("lose", { refuses: { ...unavailable, "holdfast-not-run": "1" } });
      assert.equal(await s.call(), undefined);
      const host = s.log.requests[0]?.host;
      assert.deepEqual(asked(s), [host, `${host} for ${host}-1`, `${host} for ${host}-1`]);
      assert.equal(s.log.effects.length, 1);
    }
  });

  it("is not asked for elsewhere if its key was used with another request, though no handler ran", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    const refuses = { "grpc-status": "9", "holdfast-not-run": "1", "holdfast-reason": "KEY_CONFLICT" };
    s.lines.push({ refuses });
    const error = await s.call({ idempotencyKey: "order-1" });
    assert.deepEqual(
      [error?.code, error?.reason, s.log.requests.length, s.log.effects.length],
      ["FAILED_PRECONDITION", "KEY_CONFLICT", 1, 0],
    );
    assert.equal(s.client.$channel.peers()[0]?.health, "ready");
  });

  it("may be that the server cannot tell: nobody else is asked, marked as not run or not", async () => {
    for (const mark of [{}, { "holdfast-not-run": "1" }]) {
      await using s = scene(2, inProcess);
      await s.warm();
      s.lines.push({ refuses: { "grpc-status": "10", "holdfast-reason": "OUTCOME_UNKNOWN", ...mark } });
      const error = await s.call();
      assert.deepEqual([error?.code, error?.reason, error?.reached], ["ABORTED", "OUTCOME_UNKNOWN", "maybe"]);
      assert.equal(s.log.requests.length, 1);
    }
  });

  it("names its reason in words that a server can know, and in no others", async () => {
    const words = ["ADMISSION_REFUSED", "DOOMED", "SERVER_DRAINING", "CLIENT_CLOSED", "NO_PEER", "toString", ""];
    await using s = scene(1, inProcess);
    await s.warm();
    const heard: (string | undefined)[] = [];
    for (const word of words) {
      s.lines.push({ refuses: { "grpc-status": "9", "holdfast-reason": word } });
      heard.push((await s.call())?.reason);
    }
    assert.deepEqual(heard, [
      "ADMISSION_REFUSED",
      "DOOMED",
      "SERVER_DRAINING",
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe("a once call that waits for the one peer that can tell", () => {
  it("holds up nobody else", async () => {
    await using s = scene(2, inProcess, { budget: { share: 1 } });
    await s.warm();
    s.lines.push(...Array.from({ length: 40 }, () => "hang" as const));
    const calls = Array.from({ length: 40 }, () => s.call({ policy: { attemptTimeoutMs: 400 } }));
    await s.simulation.runUntil(() => s.log.requests.length === 40);
    s.simulation.crash("p0");
    const other = await s.call();
    assert.equal(other, undefined);
    assert.equal(s.client.$channel.peers().length, 2);
    const errors = await Promise.all(calls);
    const atP0 = s.log.requests.slice(0, 40).filter(({ host }) => host === "p0").length;
    assert.ok(atP0 > 0 && atP0 < 40);
    assert.equal(errors.filter((error) => error?.reason === "OUTCOME_UNKNOWN").length, atP0);
    assert.equal(errors.filter((error) => error === undefined).length, 40 - atP0);
    assert.equal(new Set(s.log.effects).size, s.log.effects.length);
  });

  it("ends with its client", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("crash");
    const call = s.call();
    await s.simulation.advance(1_000);
    await s.simulation.settle(s.client.$close({ timeoutMs: 0 }));
    const error = await call;
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["CANCELLED", "CLIENT_CLOSED", "maybe"]);
  });
});

describe("a once call with", () => {
  it("a stream of replies is repeated like any other until its headers have come", async () => {
    await using s = scene(2, inProcess);
    await s.warm();
    s.lines.push("lose");
    const read = async (): Promise<number> => {
      let replies = 0;
      for await (const _ of s.client.download({ replyCount: 1 })) replies += 1;
      return replies;
    };
    assert.equal(await s.simulation.settle(read()), 1);
    const [first, second] = s.log.requests;
    assert.deepEqual([second?.host, second?.asks], [first?.host, `${first?.host}-1`]);
    assert.equal(s.log.effects.length, 1);
  });

  it("an interceptor that calls next again asks the same store, and no peer of another", async () => {
    const twice: Interceptor = (next) => async (call) => {
      try {
        return await next(call);
      } catch {
        return await next(call);
      }
    };
    await using s = scene(5, inProcess, { interceptors: [twice], policy: { retry: { attemptsMax: 1 } } });
    await s.warm();
    s.lines.push("lose");
    assert.equal(await s.call(), undefined);
    const host = s.log.requests[0]?.host;
    assert.deepEqual(asked(s), [host, `${host} for ${host}-1`]);
    s.log.requests.length = 0;
    s.lines.push({ fails: { "grpc-status": "14" } }, { fails: { "grpc-status": "14" } });
    assert.equal((await s.call())?.code, "UNAVAILABLE");
    assert.equal(new Set(s.log.requests.map(({ host: each }) => each)).size, 1);
    assert.equal(s.log.effects.length, 2);
  });

  it("one attempt only keeps its own failure", async () => {
    await using s = scene(2, inProcess, { policy: { retry: false } });
    await s.warm();
    s.lines.push("lose");
    const error = await s.call();
    assert.deepEqual([error?.code, error?.reason, error?.reached], ["UNAVAILABLE", "CONNECTION_LOST", "maybe"]);
  });
});

describe("$explain of a once method", () => {
  const cases: readonly [name: string, peers: Peers, line: RegExp][] = [
    ["a process", inProcess, /same peer only +learned +its dedup journal has scope process/],
    ["a machine", onMachine, /same peer only +learned +its dedup journal has scope machine/],
    ["a service", ofService(1), /peers of the same store +learned +its dedup journal has scope service/],
    [
      "no store",
      saying(() => undefined),
      /only what never reached a handler +learned +its peers keep no first answers/,
    ],
  ];
  for (const [name, peers, line] of cases) {
    it(`says where it is repeated: ${name}`, async () => {
      await using s = scene(2, peers);
      assert.match(String(s.client.$explain("unary")), /same connection only +learned +no peer has said yet/);
      await s.warm();
      assert.match(String(s.client.$explain("unary")), line);
      assert.doesNotMatch(String(s.client.$explain("seen")), /journal|first answers/);
    });
  }
});
