/**
 * Once calls whose server dies at every step, one universe for each: before each write to its journal, and at each quarter of a millisecond of
 * a call's way there and back; drained or not. What was acknowledged stays, nothing runs twice, and what is not known is said.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { annotate, RpcError } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { TestDirectory } from "../../src/durable/testdata/dedup-rigs.ts";
import type { Database, Statement } from "../../src/world/database.ts";
import { simulatedJournal } from "../calls/simulated-journal.ts";
import { pause, Probe } from "./probe-cluster.ts";

const OnceProbe = annotate(Probe, { unary: { effect: "once" } });
const HOST = "shop/0";
const IDS = ["a", "b", "c"];
const CRASHED = "its process has died";
/** How long a handler takes to its effect, and from there to its answer. */
const BEFORE_MS = 2;
const AFTER_MS = 1;

interface Death {
  /** Before so many writes to the journal; undefined: never. */
  readonly atWrite?: number | undefined;
  /** So long after the first call. */
  readonly atMs?: number | undefined;
  /** Its server drains from then on, with 2 ms for calls underway. */
  readonly drainAtMs?: number | undefined;
}

/** Whether it died where it was to die: else there are no further steps. */
async function play(death: Death): Promise<{ readonly hasDied: boolean; readonly acknowledged: number }> {
  using directory = new TestDirectory();
  await using cluster = createCluster({ seed: 5 });
  const { simulation } = cluster;
  let hasDied = false;
  const die = (): void => {
    if (hasDied || !simulation.isRunning(HOST)) return;
    hasDied = true;
    simulation.crash(HOST);
  };
  let writes = 0;
  let isCounting = false;
  const step = (database: Database): void => {
    if (isCounting) writes += 1;
    if (!isCounting || writes !== death.atWrite) return;
    die();
    // The kernel closes what a process had open: the transaction is undone, its locks are gone.
    database.close();
    throw new Error(CRASHED);
  };
  const wrap = (database: Database): Database => dying(database, step);
  await using dedup = simulatedJournal({ simulation, hosts: [HOST], directory: directory.path, wrap });
  const effects: string[] = [];
  cluster.serve(
    "shop",
    1,
    (server) =>
      server.service(OnceProbe, {
        async unary({ body }) {
          const world = simulation.host(HOST);
          await pause(world, BEFORE_MS);
          // What goes on in a process that has died is not done.
          if (simulation.host(HOST) !== world || !simulation.isRunning(HOST)) return {};
          effects.push(Buffer.from(body).toString());
          await pause(world, AFTER_MS);
          return { body: Buffer.from(`${Buffer.from(body).toString()} done ${effects.length}`) };
        },
        download: () => [],
        upload: () => ({}),
        chat: () => [],
        seen: () => ({}),
        missing: () => ({}),
      }),
    { dedup, drain: { propagationMs: 0 } },
  );
  await cluster.advance(10);
  const client = cluster.client(OnceProbe, "shop");
  // Its peer has said where answers are kept.
  await cluster.settle(client.seen({}));
  isCounting = true;
  const ask = (id: string): Promise<string | RpcError> =>
    client.unary({ body: Buffer.from(id) }, { idempotencyKey: id, timeoutMs: 30_000 }).then(
      ({ body }) => Buffer.from(body).toString(),
      (error: unknown) => RpcError.from(error),
    );
  const { world } = cluster;
  if (death.atMs !== undefined) world.timers.schedule(death.atMs, die);
  if (death.drainAtMs !== undefined)
    world.timers.schedule(death.drainAtMs, () => void cluster.server("shop", 0)?.close({ timeoutMs: 2 }));
  const first = await settled(cluster, Promise.all(IDS.map((id) => ask(id))));
  isCounting = false;
  const again = await settled(cluster, Promise.all(IDS.map((id) => ask(id))));
  const where = JSON.stringify(death);
  for (const [index, id] of IDS.entries()) {
    const times = effects.filter((effect) => effect === id).length;
    assert.ok(times <= 1, `${where}: ${id} ran ${times} times`);
    assertHonest(first[index], again[index], times, `${where}, ${id}`);
  }
  return { hasDied, acknowledged: first.filter((end) => typeof end === "string").length };
}

function assertHonest(
  first: string | RpcError | undefined,
  again: string | RpcError | undefined,
  times: number,
  where: string,
): void {
  if (typeof first === "string") {
    assert.equal(times, 1, where);
    assert.equal(again, first, where);
  } else if (typeof again === "string") {
    // Nobody knew, or it was not run: the key says it now.
    assert.equal(times, 1, where);
  } else {
    assert.deepEqual([again?.code, again?.reason], ["ABORTED", "OUTCOME_UNKNOWN"], `${where}: ${String(again)}`);
  }
  if (first instanceof RpcError) {
    const isSaid = first.reason === "OUTCOME_UNKNOWN" || first.code === "UNAVAILABLE";
    assert.ok(isSaid, `${where}: ${String(first)}`);
  }
}

/** Lets time pass until it has settled; whoever died or has drained is started again. */
async function settled<T>(cluster: Cluster, promise: Promise<T>): Promise<T> {
  const { simulation } = cluster;
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  promise.then(over, over);
  for (let steps = 0; !isOver && steps < 20_000; steps += 1) {
    await cluster.advance(2);
    if (simulation.isRunning(HOST) && cluster.server("shop", 0)?.state === "closed") simulation.crash(HOST);
    if (simulation.isRunning(HOST)) continue;
    await cluster.advance(20);
    simulation.restart(HOST);
  }
  return promise;
}

/** Hears of each write before it is done. */
function dying(database: Database, step: (database: Database) => void): Database {
  return {
    get isTransaction() {
      return database.isTransaction;
    },
    exec(sql) {
      step(database);
      database.exec(sql);
    },
    prepare: (sql) => dyingStatement(database.prepare(sql), () => step(database)),
    close: () => database.close(),
  };
}

function dyingStatement(statement: Statement, step: () => void): Statement {
  return {
    run(...values) {
      step();
      return statement.run(...values);
    },
    get: (...values) => statement.get(...values),
    all: (...values) => statement.all(...values),
  };
}

it("a server that dies before any of its writes: once calls are done once, or nobody says that they were", async () => {
  let writes = 0;
  for (let hasDied = true; hasDied; ) {
    writes += 1;
    ({ hasDied } = await play({ atWrite: writes }));
  }
  assert.ok(writes > 8, `${writes} writes`);
});

for (const drainAtMs of [undefined, 1]) {
  it(`a server that dies at any time${drainAtMs === undefined ? "" : " of its drain"}: the same`, async () => {
    const acknowledged = new Set<number>();
    for (let quarter = 0; quarter <= 32; quarter += 1) {
      const played = await play({ atMs: quarter / 4, drainAtMs });
      acknowledged.add(played.acknowledged);
    }
    // Some died too late to matter, and some before anything was known.
    assert.ok(acknowledged.has(IDS.length) && acknowledged.size > 1, [...acknowledged].join());
  });
}
