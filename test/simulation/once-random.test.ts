/**
 * Once calls under everything at once, at one server in virtual time: no record is left running, no id runs twice, and a repeat gets what
 * the first one got.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { annotate, type HandlerCall, type Interceptor, RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { FailingDatabase } from "../../src/durable/testdata/failing-database.ts";
import { TestDirectory } from "../../src/durable/testdata/dedup-rigs.ts";
import type { Random } from "../../src/world/random.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { simulatedJournal } from "../calls/simulated-journal.ts";
import { oneOf } from "./chance.ts";
import { pause, Probe } from "./probe-cluster.ts";

const OnceProbe = annotate(Probe, { unary: { effect: "once" } });
const SQLITE_FULL = 13;
const CALLS = 150;
const IDS = 40;
const HOST = "shop/0";

interface End {
  readonly id: string;
  readonly payload: number;
  readonly reply: string | undefined;
  readonly error: RpcError | undefined;
}

interface Play {
  readonly ends: readonly End[];
  /** The handler's runs, by id. */
  readonly runs: ReadonlyMap<string, number>;
  readonly running: number;
  readonly openCalls: number;
}

interface Kind {
  readonly isFile: boolean;
  readonly isIntercepted: boolean;
}

async function play(seed: number, { isFile, isIntercepted }: Kind): Promise<Play> {
  const random = seededRandom(seed);
  using directory = new TestDirectory();
  await using cluster = createCluster({ seed });
  const { simulation } = cluster;
  const disk = new FailingDatabase();
  await using dedup = simulatedJournal({
    simulation,
    hosts: [HOST],
    directory: isFile ? directory.path : undefined,
    wrap: (database) => disk.wrap(database),
  });
  const runs = new Map<string, number>();
  const again: Interceptor = (next) => async (call) => {
    const whim = random.float();
    if (whim < 0.1) void next(call).catch(() => {});
    if (whim < 0.05) throw new RpcError("UNAVAILABLE", "an interceptor's own");
    if (whim > 0.9) return next(call.with({ timeoutMs: 5 }));
    const reply = await next(call);
    return whim > 0.6 ? next(call) : reply;
  };
  cluster.serve(
    "shop",
    1,
    (server) =>
      server.service(
        OnceProbe,
        handlersOf(random, runs, () => simulation.host(HOST)),
      ),
    {
      dedup,
      interceptors: isIntercepted ? [again] : [],
      admission: { concurrencyMax: 4, queueMax: 3 },
    },
  );
  const world = simulation.host("client");
  const ends: End[] = [];
  const clients = [0, 1].map(() => cluster.client(OnceProbe, "shop", { policy: { retry: { attemptsMax: 3 } } }));
  await cluster.advance(10);
  const calls = Array.from({ length: CALLS }, async () => {
    await pause(world, random.float() * 2_000);
    const client = oneOf(random, clients);
    const id = `order-${Math.floor(random.float() * IDS)}`;
    // A few with another payload than the others of their id.
    const payload = random.float() < 0.05 ? 1 : 0;
    const abort = new AbortController();
    if (random.float() < 0.2) world.timers.schedule(random.float() * 40, () => abort.abort(new Error("left")));
    if (random.float() < 0.15) cluster.inject({ kind: "reset", atMs: random.float() * 20, forMs: 1 });
    if (isFile && random.float() < 0.15) disk.arm(1 + Math.floor(random.float() * 6), SQLITE_FULL);
    const timeoutMs = oneOf(random, [20, 100, 1_000, 5_000]);
    const request = { body: Buffer.from(`${id} ${payload}`) };
    const options = { idempotencyKey: id, timeoutMs, signal: abort.signal };
    await client.unary({ body: request.body }, options).then(
      ({ body }) => ends.push({ id, payload, reply: Buffer.from(body).toString(), error: undefined }),
      (error: unknown) => ends.push({ id, payload, reply: undefined, error: RpcError.from(error) }),
    );
  });
  await cluster.settle(Promise.all(calls), { limitMs: 120_000 });
  disk.disarm();
  await cluster.advance(30_000);
  const { counts } = cluster.server("shop", 0)?.status().dedup ?? {};
  const openCalls = cluster.server("shop", 0)?.status().calls.open ?? -1;
  return { ends, runs, running: counts?.running ?? -1, openCalls };
}

/** Whatever a handler may do, by chance. */
function handlersOf(
  random: Random,
  runs: Map<string, number>,
  world: () => ReturnType<ReturnType<typeof createCluster>["simulation"]["host"]>,
) {
  const unary = async ({ body }: { readonly body: Uint8Array }, call: HandlerCall): Promise<{ body: Uint8Array }> => {
    const id = call.id;
    const run = (runs.get(id) ?? 0) + 1;
    runs.set(id, run);
    const whim = random.float();
    const ms = random.float() * 60;
    if (whim < 0.1) throw new RpcError("NOT_FOUND", `run ${run}`);
    if (whim < 0.2) throw new TypeError("a handler's own");
    if (whim < 0.25) return { body: 5 } as never;
    if (whim < 0.5) await pause(world(), ms, call.signal);
    else if (whim < 0.95) await pause(world(), ms);
    else await pause(world(), 8_000);
    if (random.float() < 0.1) throw new RpcError("UNAVAILABLE", `late, run ${run}`);
    return { body: Buffer.concat([body, Buffer.from(` run ${run}`)]) };
  };
  return {
    unary,
    download: () => [],
    upload: () => ({}),
    chat: () => [],
    seen: () => ({}),
    missing: () => ({}),
  };
}

for (const isFile of [false, true]) {
  for (const isIntercepted of [false, true]) {
    const name = `${isFile ? "in a file whose disk is full now and then" : "in memory"}${isIntercepted ? ", behind an interceptor" : ""}`;
    it(`no record is left running, no id runs twice, repeats get the first answer: ${name}`, async () => {
      let answered = 0;
      let conflicts = 0;
      for (let seed = 1; seed <= 12; seed += 1) {
        const { ends, runs, running, openCalls } = await play(seed, { isFile, isIntercepted });
        const where = `seed ${seed}`;
        assert.equal(ends.length, CALLS, where);
        assert.deepEqual([running, openCalls], [0, 0], where);
        for (const [id, times] of runs) assert.equal(times, 1, `${where}: ${id} ran ${times} times`);
        const replies = new Map<string, string>();
        for (const { id, reply, error } of ends) {
          if (error?.reason === "KEY_CONFLICT") conflicts += 1;
          if (reply === undefined) continue;
          answered += 1;
          assert.equal(runs.get(id), 1, `${where}: ${id} was answered and has not run`);
          assert.equal(replies.get(id) ?? reply, reply, where);
          replies.set(id, reply);
        }
      }
      assert.ok(answered > 200 && conflicts > 5, `${answered} answered, ${conflicts} conflicts`);
    });
  }
}
