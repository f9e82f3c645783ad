import assert from "node:assert/strict";
import { it } from "node:test";
import { type Client, RpcError, type ServerOptions } from "holdfast";
import { createSwitches } from "holdfast/policy";
import { type Cluster, createCluster } from "holdfast/testing";
import { failureOf, pause, Probe, probe, type ProbeHandlers, SafeProbe, timed } from "../simulation/probe-cluster.ts";
import { AttemptLog } from "./attempt-log.ts";
import { steadyLoad } from "./steady-load.ts";

type Unary = ProbeHandlers["unary"];

/** Replicas whose handler is this one. */
function serve(
  cluster: Cluster,
  replicas: number,
  handler: (index: number) => Unary,
  options?: Omit<ServerOptions, "world">,
): void {
  cluster.serve("shop", replicas, (server, index) => probe(server, { unary: handler(index) }), options);
}

/** An answer after so long. */
function taking(cluster: Cluster, index: number, ms: number): Unary {
  const world = cluster.simulation.host(`shop/${index}`);
  return async (_request, call) => {
    await pause(world, ms, call.signal);
    return {};
  };
}

/** Every peer is connected; `ready` is content with one. */
async function allReady(cluster: Cluster, client: Pick<Client<typeof Probe>, "$channel">): Promise<void> {
  await cluster.settle(client.$channel.ready());
  await cluster.advance(50);
  assert.ok(client.$channel.peers().every(({ health }) => health === "ready"));
}

for (const gate of [undefined, false] as const) {
  const how = gate === false ? "by the choice of two alone" : "by default";
  it(`a host that fails at once does not win the balancing, ${how} (linkerd2#11669)`, async () => {
    await using cluster = createCluster({ seed: 1 });
    const bad: Unary = () => {
      throw new RpcError("UNAVAILABLE", "not now");
    };
    serve(cluster, 3, (index) => (index === 0 ? bad : taking(cluster, index, 10)));
    // Its effect is unknown, so that each call that goes there is lost.
    const client = cluster.client(Probe, "shop", { gate });
    const load = steadyLoad(cluster.world, 200, () => client.unary({}));
    await cluster.advance(30_000);
    load.stop();
    await cluster.settle(load.drained());
    const { begun, failures } = load.tally;
    const share = failures.length / begun;
    assert.ok(failures.length > 0, "it was never called");
    assert.ok(share < (gate === false ? 0.02 : 0.005), `${failures.length} of ${begun} calls went to it`);
  });
}

it("a server that is stopped and goes on runs no call twice that may not run twice (SIGSTOP, SIGCONT)", async () => {
  for (const seed of [1, 2, 3]) {
    await using cluster = createCluster({ seed });
    const ran = new Map<string, number>();
    serve(cluster, 3, (index) => async (request, call) => {
      ran.set(request.key, (ran.get(request.key) ?? 0) + 1);
      return await taking(cluster, index, 20)(request, call);
    });
    const client = cluster.client(Probe, "shop");
    const answered = new Set<string>();
    const load = steadyLoad(cluster.world, 200, async (index) => {
      await client.unary({ key: String(index) });
      assert.ok(!answered.has(String(index)), "answered twice");
      answered.add(String(index));
    });
    cluster.inject({ kind: "freeze", peer: "shop/1", atMs: 2_000, forMs: 5_000 });
    await cluster.advance(20_000);
    load.stop();
    await cluster.settle(load.drained());
    assert.deepEqual(
      [...ran.values()].filter((times) => times > 1),
      [],
      `seed ${seed}`,
    );
    assert.ok([...answered].every((key) => ran.has(key)));
    for (const failure of load.tally.failures) assert.equal(failure.reason, "CONNECTION_LOST", failure.verdict);
    assert.ok(load.tally.failures.length > 0 && load.tally.failures.length < 50, `${load.tally.failures.length} lost`);
    assert.ok(
      client.$channel.peers().every(({ health }) => health === "ready"),
      "it is back",
    );
  }
});

it("a budget for copies that is empty leaves the call alone that was to be copied (failsafe-go#141)", async () => {
  await using cluster = createCluster({ seed: 1 });
  let isSlow = false;
  serve(cluster, 3, (index) => (request, call) => taking(cluster, index, isSlow ? 400 : 5)(request, call));
  const client = cluster.client(SafeProbe, "shop", { budget: { share: 0, perSecondMin: 0 } });
  const attempts: number[] = [];
  const call = (): Promise<unknown> => client.unary({}, { onReply: (info) => attempts.push(info.attempts) });
  for (let index = 0; index < 200; index++) await cluster.settle(call());
  isSlow = true;
  const { error } = await timed(cluster, Promise.all(Array.from({ length: 20 }, call)));
  assert.equal(error, undefined);
  assert.ok(attempts.every((count) => count === 1));
});

it("where all hosts are bad every call still reaches one, and all is well as soon as they are", async () => {
  await using cluster = createCluster({ seed: 1 });
  let isBad = false;
  serve(cluster, 3, (index) => (request, call) => {
    if (isBad) throw new RpcError("UNAVAILABLE", "not now");
    return taking(cluster, index, 5)(request, call);
  });
  const client = cluster.client(Probe, "shop");
  const load = steadyLoad(cluster.world, 100, () => client.unary({}));
  await cluster.advance(5_000);
  isBad = true;
  for (let passedMs = 0; passedMs < 20_000; passedMs += 100) {
    await cluster.advance(100);
    const kept = client.$channel.peers().filter(({ health }) => health === "ejected");
    assert.ok(kept.length <= 1, "more than half of three are kept from calls");
  }
  isBad = false;
  const before = load.tally.failures.length;
  await cluster.advance(5_000);
  load.stop();
  await cluster.settle(load.drained());
  for (const failure of load.tally.failures) assert.equal(failure.reason, undefined, failure.verdict);
  assert.ok(before >= 1_990, `${before} calls met them`);
  assert.ok(load.tally.failures.length - before <= 1, "one was on its way");
});

it("clocks that jump by an hour, to and fro, at either side, change nothing: no deadline, no opinion, no cost", async () => {
  await using cluster = createCluster({ seed: 1 });
  serve(cluster, 3, (index) => taking(cluster, index, 5));
  const client = cluster.client(SafeProbe, "shop", { policy: { timeoutMs: 500 } });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, 100, () => client.unary({}));
  const hourMs = 3_600_000;
  cluster.inject(
    { kind: "clock-jump", peer: "client", atMs: 1_000, byMs: hourMs, forMs: 2_000 },
    { kind: "clock-jump", peer: "client", atMs: 4_000, byMs: -hourMs, forMs: 2_000 },
    { kind: "clock-jump", peer: "shop/0", atMs: 2_000, byMs: hourMs, forMs: 3_000 },
    { kind: "clock-jump", peer: "shop/1", atMs: 2_500, byMs: -hourMs, forMs: 3_000 },
  );
  await cluster.advance(10_000);
  load.stop();
  await cluster.settle(load.drained());
  assert.deepEqual(load.tally.failures.map(String), []);
  assert.ok(load.tally.slowestMs < 10, `${load.tally.slowestMs} ms`);
  const opinions = log.opinions.filter(({ name, why }) => name !== "peer.changed" || !/ready|connecting/.test(why));
  assert.deepEqual(opinions, []);
  assert.ok(client.$channel.peers().every(({ costMs }) => costMs < 10));
});

it("a client of one call a minute can still repeat each of them", async () => {
  await using cluster = createCluster({ seed: 1 });
  let met = 0;
  serve(cluster, 3, () => () => {
    met += 1;
    if (met % 2 === 1) throw new RpcError("UNAVAILABLE", "not now");
    return {};
  });
  const client = cluster.client(SafeProbe, "shop");
  for (let minute = 0; minute < 60; minute++) {
    await cluster.settle(client.unary({}));
    await cluster.advance(60_000);
  }
  assert.equal(met, 120);
});

it("a busy client adds a fifth to the load at most while all its calls fail", async () => {
  await using cluster = createCluster({ seed: 1 });
  let met = 0;
  serve(cluster, 3, () => () => {
    met += 1;
    throw new RpcError("UNAVAILABLE", "not now");
  });
  const client = cluster.client(SafeProbe, "shop");
  const load = steadyLoad(cluster.world, 1_000, () => client.unary({}));
  await cluster.advance(20_000);
  load.stop();
  await cluster.settle(load.drained());
  assert.ok(met <= 1.2 * load.tally.begun, `${met} attempts of ${load.tally.begun} calls`);
});

it("an outage that few calls meet is seen by faults in a row, not by shares: one call a second, and the fifth to it is the last", async () => {
  await using cluster = createCluster({ seed: 1 });
  let met = 0;
  serve(cluster, 3, (index) => () => {
    if (index > 0) return {};
    met += 1;
    throw new RpcError("UNAVAILABLE", "not now");
  });
  const client = cluster.client(Probe, "shop", { balance: "round-robin" });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, 1, () => client.unary({}));
  await cluster.advance(16_000);
  load.stop();
  await cluster.settle(load.drained());
  const [first, ...more] = log.named("ejection");
  assert.equal(first?.address, cluster.target("shop")[0]);
  assert.match(first?.why ?? "", /5 faults in a row/);
  assert.equal(more.length, 0);
  assert.equal(met, 5);
});

it("three calls that fail eject nobody", async () => {
  await using cluster = createCluster({ seed: 1 });
  let met = 0;
  serve(cluster, 3, (index) => () => {
    if (index > 0 || ++met > 3) return {};
    throw new RpcError("UNAVAILABLE", "not now");
  });
  const client = cluster.client(Probe, "shop", { balance: "round-robin" });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  await allReady(cluster, client);
  for (let call = 0; call < 15; call++) await cluster.settle(client.unary({}).catch(() => undefined));
  await cluster.advance(5_000);
  assert.equal(met, 5);
  assert.deepEqual(log.named("ejection"), []);
});

it("streams cost their peer the time to their first message, not their life", async () => {
  await using cluster = createCluster({ seed: 1 });
  cluster.serve("shop", 2, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      async *download(_request, call) {
        await pause(world, 5, call.signal);
        yield { index: 0 };
        await pause(world, 60_000, call.signal);
      },
    });
  });
  const client = cluster.client(SafeProbe, "shop");
  const abort = new AbortController();
  const streams = Array.from({ length: 20 }, async () => {
    for await (const _ of client.download({}, { signal: abort.signal })) if (abort.signal.aborted) break;
  });
  await cluster.advance(30_000);
  for (const peer of client.$channel.peers()) {
    assert.equal(peer.health, "ready");
    assert.ok(peer.costMs < 10, `${peer.address} costs ${peer.costMs} ms`);
    assert.ok(peer.inFlight >= 8, `${peer.address} has ${peer.inFlight} of 20 streams`);
  }
  await cluster.advance(40_000);
  for (const peer of client.$channel.peers()) assert.ok(peer.costMs < 10, `${peer.address} costs ${peer.costMs} ms`);
  abort.abort();
  await cluster.settle(Promise.allSettled(streams));
});

it("a host that was ejected needs the full evidence again, and each time is longer, up to a limit (envoy#40697, #26758, #37602)", async () => {
  await using cluster = createCluster({ seed: 1 });
  let isBad = true;
  let met = 0;
  serve(cluster, 3, (index) => () => {
    if (index > 0 || !isBad) return {};
    met += 1;
    throw new RpcError("UNAVAILABLE", "not now");
  });
  const client = cluster.client(Probe, "shop", { balance: "round-robin" });
  const times: { readonly faults: number; readonly lastsMs: number }[] = [];
  client.$on("ejection", ({ kind, atMs, untilMs }) => {
    if (kind === "ejected") times.push({ faults: met, lastsMs: untilMs - atMs });
    met = 0;
  });
  const load = steadyLoad(cluster.world, 30, () => client.unary({}));
  for (let minutes = 0; minutes < 40 && times.length < 10; minutes++) await cluster.advance(60_000);
  for (const [nth, { faults, lastsMs }] of times.entries()) {
    // 5 s, twice as long each time, 300 s at most; half of it for certain.
    const mostMs = Math.min(300_000, 5_000 * 2 ** nth);
    assert.ok(lastsMs >= mostMs / 2 && lastsMs <= mostMs, `ejection ${nth + 1} lasts ${lastsMs} ms`);
    assert.ok(faults >= 5, `ejection ${nth + 1} came after ${faults} faults`);
  }
  assert.ok(times.length >= 9, `${times.length} ejections`);
  isBad = false;
  await cluster.advance(400_000);
  load.stop();
  await cluster.settle(load.drained());
  const lately = load.tally.failures.length;
  assert.ok(
    client.$channel.peers().every(({ health }) => health === "ready"),
    "it is in service again",
  );
  assert.ok(lately < 100, `${lately} calls were lost to it`);
});

it("a host that is picked while it is being ejected takes no call after that (envoy#18950)", async () => {
  await using cluster = createCluster({ seed: 1 });
  const metMs: number[] = [];
  const world = (): number => cluster.simulation.nowMs;
  serve(cluster, 3, (index) => () => {
    if (index > 0) return {};
    metMs.push(world());
    throw new RpcError("UNAVAILABLE", "not now");
  });
  const client = cluster.client(Probe, "shop", { balance: "round-robin" });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  await allReady(cluster, client);
  // Forty at once: when the fifth answer ejects it, others are on their way.
  await cluster.settle(Promise.allSettled(Array.from({ length: 40 }, () => client.unary({}))));
  const load = steadyLoad(cluster.world, 1_000, () => client.unary({}));
  await cluster.advance(2_000);
  load.stop();
  await cluster.settle(load.drained());
  const ejectedMs = log.when("ejection", cluster.target("shop")[0] as string);
  assert.ok(metMs.length > 5, "some were on their way");
  assert.deepEqual(
    metMs.filter((atMs) => atMs > ejectedMs + 1),
    [],
  );
});

it("a call that is aborted between two attempts ends at once and is never sent again (cockatiel's RetryPolicy)", async () => {
  await using cluster = createCluster({ seed: 1 });
  let met = 0;
  serve(cluster, 2, () => () => {
    met += 1;
    throw new RpcError("UNAVAILABLE", "not now", { retryAfterMs: 1_500 });
  });
  const client = cluster.client(SafeProbe, "shop");
  await cluster.settle(client.$channel.ready());
  const abort = new AbortController();
  const call = timed(cluster, failureOf(client.unary({}, { signal: abort.signal })));
  cluster.world.timers.schedule(50, () => abort.abort());
  const { tookMs, value } = await call;
  assert.equal(value?.reason, "CANCELLED_BY_CALLER");
  assert.ok(tookMs >= 50 && tookMs < 51, `${tookMs} ms`);
  await cluster.advance(10_000);
  assert.equal(met, 1);
});

it("a backoff that is reset begins anew at its shortest, and is never longer than it was (grpc-js's BackoffTimeout)", async () => {
  await using cluster = createCluster({ seed: 1 });
  serve(cluster, 2, () => () => ({}));
  const client = cluster.client(Probe, "shop");
  await cluster.settle(client.$channel.ready());
  const dialsMs: number[] = [];
  client.$on("connection.changed", ({ state, peer }) => {
    if (state === "closed" && peer.address === cluster.target("shop")[0]) dialsMs.push(cluster.simulation.nowMs);
  });
  cluster.inject({ kind: "crash", peer: "shop/0" });
  await cluster.advance(60_000);
  const long = dialsMs.slice(1).map((atMs, index) => atMs - (dialsMs[index] as number));
  assert.ok(Math.max(...long) > 5_000, `waits grow: ${long.map(Math.round).join()}`);
  cluster.simulation.restart("shop/0");
  await cluster.advance(60_000);
  assert.equal(client.$channel.peers()[0]?.health, "ready");
  dialsMs.length = 0;
  cluster.inject({ kind: "crash", peer: "shop/0" });
  await cluster.advance(5_000);
  const short = dialsMs.slice(1).map((atMs, index) => atMs - (dialsMs[index] as number));
  assert.ok(short.length >= 2, "it is dialled again soon");
  assert.ok(
    short.every((ms) => ms < 2_200),
    `waits are short again: ${short.map(Math.round).join()}`,
  );
});

/**
 * One worker of 10 ms, whose queue is first in, first out, and has no end; four times slower from the 10th to the 20th second (reliability.md
 * 3.4). Gives back the share of good calls in each ten seconds.
 */
async function overwhelm(
  switches: ReturnType<typeof createSwitches>,
  admission: ServerOptions["admission"],
): Promise<readonly number[]> {
  await using cluster = createCluster({ seed: 1 });
  let serviceMs = 10;
  let freeAtMs = 0;
  serve(
    cluster,
    1,
    (index) => async () => {
      const { nowMs } = cluster.simulation;
      // What has been given up stays in the queue: the server knows nothing better.
      freeAtMs = Math.max(freeAtMs, nowMs) + serviceMs;
      await pause(cluster.simulation.host(`shop/${index}`), freeAtMs - nowMs);
      return {};
    },
    { admission },
  );
  const policy = { attemptTimeoutMs: 1_000, timeoutMs: 3_500 };
  const client = cluster.client(SafeProbe, "shop", { policy, switches });
  const good = new Array<number>(8).fill(0);
  const load = steadyLoad(cluster.world, 70, async () => {
    const beganMs = cluster.simulation.nowMs;
    await client.unary({});
    const place = Math.floor(beganMs / 10_000);
    good[place] = (good[place] ?? 0) + 1 / 700;
  });
  await cluster.advance(10_000);
  serviceMs = 40;
  await cluster.advance(10_000);
  serviceMs = 10;
  await cluster.advance(60_000);
  load.stop();
  await cluster.advance(5_000);
  return good;
}

it("goodput comes back by itself after a slow time, because repeats are bounded (metastable failure)", async () => {
  const bounded = await overwhelm(createSwitches(), false);
  assert.ok((bounded[0] ?? 0) > 0.99 && (bounded[1] ?? 1) < 0.5, `the slow time is felt: ${bounded.join(" ")}`);
  // The queue of the slow time alone takes the server some 20 s.
  for (const share of bounded.slice(4, 8)) assert.ok(share > 0.99, `well again: ${bounded.join(" ")}`);
  const unbounded = await overwhelm(createSwitches({ states: { budget: "off" } }), false);
  assert.ok((unbounded[7] ?? 1) < 0.1, `without a budget it never is: ${unbounded.join(" ")}`);
});

it("goodput is what the server can do while it is slow, and all of it at once afterwards, where it admits what it can do", async () => {
  const shares = await overwhelm(createSwitches(), undefined);
  assert.ok((shares[0] ?? 0) > 0.99, shares.join(" "));
  // A quarter of 100 calls a second, of 70 that are offered.
  assert.ok((shares[1] ?? 0) > 0.95 * (25 / 70), `slow: ${shares.join(" ")}`);
  for (const share of shares.slice(2, 8)) assert.ok(share > 0.98, `well again: ${shares.join(" ")}`);
});
