/**
 * Restarts in virtual time: five servers one after the other under load, and a drain that is broken off by a crash at each of its steps.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { pause, Probe, probe } from "../simulation/probe-cluster.ts";
import { steadyLoad } from "./steady-load.ts";

/** What calls that may not be repeated have without repeats and copies: one attempt that reaches a handler. */
const alone = { policy: { retry: false, hedge: false, timeoutMs: 1_000 } } as const;
const PEERS = 5;
const CALL_MS = 10;
/** From the end of a process to its successor's first breath. */
const STARTS_AFTER_MS = 400;

/** Handlers that began, by what the request says. */
type Executions = Map<string, number>;

function serve(cluster: Cluster, replicas: number, executions: Executions, propagationMs: number): void {
  const build = (server: Parameters<typeof probe>[0], index: number): ReturnType<typeof probe> => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ key, body }, call) => {
        executions.set(key, (executions.get(key) ?? 0) + 1);
        await pause(world, CALL_MS, call.signal);
        return { body };
      },
      async *download({ replyCount: first }, call) {
        for (let index = first; ; index++) {
          yield { index };
          await pause(world, 20, AbortSignal.any([call.draining, call.signal])).catch(() => undefined);
          if (!call.draining.aborted) continue;
          call.resumeWith(String(index + 1));
          return;
        }
      },
    });
  };
  cluster.serve("shop", replicas, build, { drain: { propagationMs } });
}

for (const propagationMs of [0, 5_000]) {
  test(`five servers restarted one after the other, serving ${propagationMs} ms on: no call fails or runs twice, streams go on`, async () => {
    await using cluster = createCluster({ seed: 21 });
    const executions: Executions = new Map();
    serve(cluster, PEERS, executions, propagationMs);
    const client = cluster.client(Probe, "shop", alone);
    await cluster.advance(2_000);
    const load = steadyLoad(cluster.world, 1_000, (index) => client.unary({ key: String(index) }));
    let isStopped = false;
    let resumed = 0;
    const watch = async (): Promise<number[]> => {
      const seen: number[] = [];
      let replyCount = 0;
      while (!isStopped) {
        const stream = client.download({ replyCount }, { timeoutMs: Infinity });
        for await (const { index } of stream) {
          seen.push(index);
          if (isStopped) return seen;
        }
        assert.ok(stream.resumeToken !== undefined);
        replyCount = Number(Buffer.from(stream.resumeToken).toString());
        resumed += 1;
      }
      return seen;
    };
    const watching = Promise.all(Array.from({ length: 8 }, watch));
    await cluster.advance(500);
    for (let index = 0; index < PEERS; index++) {
      const report = await cluster.settle(cluster.server("shop", index)?.close() ?? Promise.reject(), {
        limitMs: 40_000,
      });
      assert.deepEqual(report.cut, []);
      cluster.simulation.crash(`shop/${index}`);
      await cluster.advance(STARTS_AFTER_MS);
      cluster.simulation.restart(`shop/${index}`);
    }
    await cluster.advance(500);
    load.stop();
    await cluster.settle(load.drained());
    isStopped = true;
    for (const seen of await cluster.settle(watching)) {
      assert.deepEqual(
        seen,
        seen.map((_, index) => index),
      );
      assert.ok(seen.length > 50);
    }
    assert.deepEqual(load.tally.failures, []);
    assert.equal(executions.size, load.tally.begun);
    assert.ok([...executions.values()].every((count) => count === 1));
    assert.ok(resumed >= 8, `${resumed} streams went on elsewhere`);
    assert.ok(load.tally.slowestMs < 100, `the slowest call took ${load.tally.slowestMs} ms`);
  });
}

interface Fate {
  readonly key: string;
  readonly error: RpcError | undefined;
}

/** One drain of one of three servers, whose process is killed when so many events have happened since it began. */
async function killedAfter(
  seed: number,
  events: number,
): Promise<{ readonly fates: Fate[]; readonly executions: Executions; readonly isOver: boolean }> {
  await using cluster = createCluster({ seed });
  const executions: Executions = new Map();
  serve(cluster, 3, executions, 2);
  const client = cluster.client(Probe, "shop", alone);
  await cluster.advance(100);
  const fates: Fate[] = [];
  const call = async (key: string): Promise<void> => {
    const error = await client.unary({ key }).then(
      () => undefined,
      (thrown: unknown) => RpcError.from(thrown),
    );
    fates.push({ key, error });
  };
  await cluster.settle(call("first"));
  const load = steadyLoad(cluster.world, 1_000, (index) => call(String(index)));
  await cluster.advance(12);
  let isOver = false;
  void cluster
    .server("shop", 0)
    ?.close()
    .then(() => (isOver = true));
  const { simulation } = cluster;
  const fromEvents = simulation.eventsFired;
  await simulation.runUntil(() => simulation.eventsFired >= fromEvents + events || isOver);
  simulation.crash("shop/0");
  await cluster.advance(30);
  load.stop();
  await cluster.settle(load.drained(), { limitMs: 60_000 });
  return { fates, executions, isOver };
}

for (const seed of [9, 10, 11]) {
  test(`a drain that a crash breaks off at any of its steps (seed ${seed}): what had not finished fails as such, nothing runs twice`, async () => {
    let failed = 0;
    let steps = 0;
    for (let isOver = false; !isOver; steps++) {
      const run = await killedAfter(seed, steps);
      isOver = run.isOver;
      for (const [key, count] of run.executions) assert.equal(count, 1, `step ${steps}: ${key} ran ${count} times`);
      for (const { key, error } of run.fates) {
        if (error === undefined) {
          assert.equal(run.executions.get(key), 1, `step ${steps}: ${key} succeeded without a handler`);
          continue;
        }
        failed += 1;
        assert.ok(!isOver, `the drain had ended, and ${key} failed`);
        assert.equal(error.code, "UNAVAILABLE", `step ${steps}: ${error.message}`);
        assert.notEqual(error.reached, "no", `step ${steps}: ${key} could have gone elsewhere`);
      }
    }
    assert.ok(steps > 40, `${steps} steps`);
    assert.ok(failed > 20, `${failed} calls were underway when their server was killed`);
  });
}
