/**
 * One seed, one life of a small shop: thousands of calls of all kinds while machines, network and handlers fail as chance has it,
 * then calm. What must hold whatever happened is asserted here; `invariants.test.ts` plays many seeds.
 */
import assert from "node:assert/strict";
import { type CallOptions, type Client, createClient, type HandlerCall } from "holdfast";
import { type Cluster, createCluster, type Injection } from "holdfast/testing";
import type { HoldfastChannel } from "../../src/client/channel.ts";
import { runtimeOf } from "../../src/wire/transport/runtime.ts";
import type { Random } from "../../src/world/random.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { collect, pause, Probe, probe, SafeProbe } from "./probe-cluster.ts";

/** Faults begin in this time, and last at most as long. */
const STORM_MS = 6000;
const WORKERS = 12;
const REPLICAS = 3;
const TIMEOUT_MS = 800;
/** The greatest wait between two dials is 120 s +-20 %, and one dial may take 20 s. */
const CALM_MS = 170_000;

export interface Life {
  readonly calls: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly recovered: number;
  readonly hash: string;
}

/** What is known of one call while it runs, and after. */
interface Ledger {
  calls: number;
  recovered: number;
  /** Handlers, and generators of replies, that run now, of each replica's present process. */
  readonly running: Map<string, { count: number }>;
  /** Times that the handlers of a call began, by the call's id. */
  readonly begun: Map<string, number>;
  readonly outcomes: Record<string, number>;
}

/** Plays one life, and throws an AssertionError where something that must hold does not. `isCorrupting`: bits flip, too. */
export async function playLife(seed: number, isCorrupting: boolean): Promise<Life> {
  await using cluster = createCluster({ seed, link: { lossShare: 0.001, jitterMs: 1 } });
  const random = seededRandom(seed);
  const ledger: Ledger = { calls: 0, recovered: 0, running: new Map(), begun: new Map(), outcomes: {} };
  for (let index = 0; index < REPLICAS; index++) serveCounting(cluster, `shop${index}`, ledger);
  const target = Array.from({ length: REPLICAS }, (_, index) => cluster.target(`shop${index}`)).flat();
  const options = { world: cluster.world, plaintext: true, connections: { connectTimeoutMs: 5000 } } as const;
  const clients = [createClient(SafeProbe, target, options), createClient(Probe, target, options)];
  for (let count = 8 + (random.uint32() % 8); count > 0; count--) cluster.inject(randomFault(random, isCorrupting));

  const endMs = STORM_MS * 2;
  const worker = async (client: Client<typeof Probe>, isSafe: boolean): Promise<void> => {
    while (cluster.simulation.nowMs < endMs) {
      await oneCall(cluster, client, isSafe, ledger, random, isCorrupting);
      await pause(cluster.world, random.float() * 100);
    }
  };
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    worker(clients[index % 2] as unknown as Client<typeof Probe>, index % 2 === 0),
  );
  await cluster.settle(Promise.all(workers), { limitMs: endMs * 2 });

  await assertCalm(cluster, clients as unknown as Client<typeof Probe>[], ledger, isCorrupting);
  return {
    calls: ledger.calls,
    outcomes: ledger.outcomes,
    recovered: ledger.recovered,
    hash: cluster.simulation.logHash(),
  };
}

function serveCounting(cluster: Cluster, name: string, ledger: Ledger): void {
  cluster.serve(name, 1, (server) => {
    const world = cluster.simulation.host(`${name}/0`);
    const running = { count: 0 };
    ledger.running.set(name, running);
    const counted = async <T>(call: HandlerCall, work: () => Promise<T>): Promise<T> => {
      ledger.begun.set(call.id, (ledger.begun.get(call.id) ?? 0) + 1);
      running.count += 1;
      try {
        return await work();
      } finally {
        running.count -= 1;
      }
    };
    return probe(server, {
      unary: ({ body }, call) =>
        counted(call, async () => {
          await pause(world, world.random.float() * 30, call.signal);
          return { body };
        }),
      async *download({ replyCount, replySize }) {
        running.count += 1;
        try {
          for (let index = 0; index < replyCount; index++) yield { index, body: Buffer.alloc(replySize) };
        } finally {
          running.count -= 1;
        }
      },
      upload: (requests, call) =>
        counted(call, async () => {
          let seenCount = 0;
          for await (const _ of requests) seenCount += 1;
          return { seenCount };
        }),
    });
  });
}

/** Makes one call of any kind, and checks what comes of it. */
async function oneCall(
  cluster: Cluster,
  client: Client<typeof Probe>,
  isSafe: boolean,
  ledger: Ledger,
  random: Random,
  isCorrupting: boolean,
): Promise<void> {
  const startMs = cluster.simulation.nowMs;
  const size = random.uint32() % 10 === 0 ? random.uint32() % 100_000 : random.uint32() % 200;
  const body = Buffer.alloc(size, random.uint32());
  const count = random.uint32() % 10;
  let reports = 0;
  let attempts = 0;
  let id: string | undefined;
  const abort = new AbortController();
  const abortTimer =
    random.uint32() % 8 === 0
      ? cluster.world.timers.schedule(random.float() * 60, () => abort.abort(new Error("changed its mind")))
      : undefined;
  const options = {
    timeoutMs: TIMEOUT_MS,
    signal: abort.signal,
    onReply: (info: { readonly attempts: number }) => {
      reports += 1;
      attempts = info.attempts;
    },
  };
  ledger.calls += 1;
  let code = "OK";
  try {
    await anyKind(client, { body, count, pick: random.uint32() % 5, isCorrupting }, options);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    const failed = error as { readonly code?: string; readonly callId?: string; readonly reached?: string };
    if (failed.code === undefined) throw error;
    code = failed.code;
    id = failed.callId;
    if (failed.reached === "no" && id !== undefined) {
      assert.equal(ledger.begun.get(id), undefined, `the error says that no handler saw the call: ${String(error)}`);
    }
  }
  abortTimer?.cancel();
  ledger.outcomes[code] = (ledger.outcomes[code] ?? 0) + 1;
  if (code === "OK" && attempts > 1) ledger.recovered += 1;
  const tookMs = cluster.simulation.nowMs - startMs;
  assert.ok(tookMs <= TIMEOUT_MS + 1.01, `a call took ${tookMs} ms, its deadline was ${TIMEOUT_MS} ms (${code})`);
  assert.equal(reports, 1, `onReply was called ${reports} times (${code})`);
  if (!isSafe && id !== undefined) {
    const begun = ledger.begun.get(id) ?? 0;
    assert.ok(begun <= 1, `a call of effect unknown ran ${begun} times`);
  }
}

/** Makes the call, and checks what it is answered. */
async function anyKind(
  client: Client<typeof Probe>,
  { body, count, pick, isCorrupting }: { body: Buffer; count: number; pick: number; isCorrupting: boolean },
  options: CallOptions,
): Promise<void> {
  switch (pick) {
    case 0: {
      const reply = await client.unary({ body }, options);
      if (!isCorrupting) assert.ok(body.equals(reply.body), "the reply is not the request's");
      break;
    }
    case 1: {
      const replies = await collect(client.download({ replyCount: count }, options));
      if (!isCorrupting)
        assert.deepEqual(
          indexes(replies),
          Array.from({ length: count }, (_, index) => index),
        );
      break;
    }
    case 2: {
      const requests = Array.from({ length: count }, () => ({ body }));
      const { seenCount } = await client.upload(requests, options);
      if (!isCorrupting) assert.equal(seenCount, count);
      break;
    }
    default: {
      const replies = await collect(
        client.chat(
          Array.from({ length: count }, () => ({ body })),
          options,
        ),
      );
      if (!isCorrupting)
        assert.deepEqual(
          indexes(replies),
          Array.from({ length: count }, (_, index) => index),
        );
    }
  }
}

/** After the storm: every peer comes back, every call succeeds, and closing leaves nothing open on either side. */
async function assertCalm(
  cluster: Cluster,
  clients: readonly Client<typeof Probe>[],
  ledger: Ledger,
  isCorrupting: boolean,
): Promise<void> {
  await cluster.advance(CALM_MS);
  if (!isCorrupting) {
    for (const client of clients) {
      const health = client.$channel.peers().map((peer) => `${peer.address} ${peer.health} ${peer.inFlight}`);
      for (const peer of health) assert.match(peer, / ready 0$/, `after the storm: ${health.join(", ")}`);
      const calls = Array.from({ length: 30 }, (_, index) => client.unary({ body: Buffer.alloc(index * 1000) }));
      await cluster.settle(Promise.all(calls));
    }
  }
  for (const [name, { count }] of ledger.running) assert.equal(count, 0, `${count} handlers of ${name} never ended`);
  for (const [id, begun] of ledger.begun) assert.ok(begun <= 3 + REPLICAS, `call ${id} ran ${begun} times`);

  const closing = clients.map((client) => client.$close());
  await cluster.settle(Promise.all(closing));
  for (const client of clients) {
    const { core } = client.$channel as HoldfastChannel;
    assert.equal(core.openCalls, 0, "calls are open after the client was closed");
  }
  await cluster.advance(1000);
  for (let index = 0; index < REPLICAS; index++) {
    const server = cluster.server(`shop${index}`, 0);
    assert.ok(server !== undefined, `shop${index} is down after the storm`);
    const report = await cluster.settle(server.close({ timeoutMs: 1 }));
    assert.deepEqual(report.cut, []);
  }
  await cluster.advance(1000);
  assertEmpty(cluster, "client");
  for (let index = 0; index < REPLICAS; index++) assertEmpty(cluster, `shop${index}/0`);
}

/** Nothing of what was closed waits for a time or keeps memory for itself. */
function assertEmpty(cluster: Cluster, host: string): void {
  const { wheel, windows } = runtimeOf(cluster.simulation.host(host));
  assert.equal(wheel.size, 0, `${wheel.size} deadlines are armed on ${host}`);
  assert.equal(windows.granted, 0, `windows of ${host} were not given back`);
}

function indexes(replies: readonly { readonly index: number }[]): number[] {
  return replies.map(({ index }) => index);
}

function randomFault(random: Random, isCorrupting: boolean): Injection {
  const atMs = random.uint32() % STORM_MS;
  const forMs = 100 + (random.uint32() % 3000);
  const peer = `shop${random.uint32() % REPLICAS}`;
  const share = random.float() * 0.5;
  const kinds: readonly (() => Injection)[] = [
    () => ({ kind: "crash", peer, atMs, forMs }),
    () => ({ kind: "crash", peer, atMs, forMs, isMachine: true }),
    () => ({ kind: "restart", peer, atMs, forMs: 50 }),
    () => ({ kind: "freeze", peer, atMs, forMs }),
    () => ({ kind: "stall", peer, atMs, stallMs: forMs }),
    () => ({ kind: "delay", peer, atMs, forMs, delayMs: random.float() * 200, share }),
    () => ({ kind: "drop", peer, atMs, forMs, share }),
    () => ({ kind: "reset", peer, atMs }),
    () => ({ kind: "truncate", peer, atMs }),
    () => ({ kind: "partition", between: ["client", peer], atMs, forMs }),
    () => ({ kind: "partition", between: ["client", peer], atMs, forMs, isOneWay: true }),
    () => ({ kind: "partition", between: [peer, "client"], atMs, forMs, isOneWay: true }),
    () => ({ kind: "clock-jump", peer, atMs, forMs, byMs: random.uint32() % 100_000 }),
    () => ({ kind: "fail", peer, atMs, forMs, path: "/holdfast.interop.v1.Probe/", code: "UNAVAILABLE", share }),
    () => ({ kind: "delay", peer, atMs, forMs, path: "/", delayMs: random.float() * 1000, share }),
  ];
  if (isCorrupting && random.uint32() % 3 === 0) return { kind: "corrupt", peer, atMs, forMs, share: share / 10 };
  return kinds[random.uint32() % kinds.length]?.() ?? { kind: "reset", peer, atMs };
}
