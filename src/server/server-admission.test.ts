import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Interceptor, RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { all, Bench, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, type RawAnswer, rawClient } from "../../test/calls/raw-peer.ts";
import { pause, Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { createClient } from "../client/create-client.ts";
import type { World } from "../world/world.ts";

const EMPTY = framed(new Uint8Array(0));
/** A message that no codec can read. */
const GARBAGE = framed(Buffer.from([0xff, 0xff, 0xff]));
const REPEAT = { "grpc-previous-rpc-attempts": "1" };
const policy = { retry: false, hedge: false, throttle: false } as const;
/** One handler at once, and nobody waits. */
const ONE = { concurrencyMax: 1, queueMax: 0 } as const;

const saidOf = ({ header, trailer }: RawAnswer): Record<string, unknown> => ({ ...header, ...trailer });
const pushbackOf = (answer: RawAnswer): number => Number(saidOf(answer)["grpc-retry-pushback-ms"]);

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

describe("a refused call", () => {
  const interceptor: Interceptor = (next) => (call) => next(call);

  it("is refused before its body is parsed, as not run, with the reason and a pushback; behind interceptors too", async () => {
    for (const interceptors of [[], [interceptor]]) {
      const hold = gate();
      let handled = 0;
      const handlers = {
        add: async () => {
          handled += 1;
          await hold.opened;
          return {};
        },
      };
      await using server = benchServer(handlers, { interceptors, admission: ONE });
      const told: unknown[] = [];
      using _ = server.on("admission.refused", ({ method, priority, why }) => told.push([method.name, priority, why]));
      await using raw = await rawClient((await server.listen(0)).address);
      const first = raw.request("/bench.v1.Bench/Add", EMPTY);
      await until(() => handled === 1);
      for (const path of ["Add", "Down", "Up", "Both"]) {
        const said = saidOf(await raw.request(`/bench.v1.Bench/${path}`, GARBAGE));
        assert.equal(said["grpc-status"], "8", `${path}: RESOURCE_EXHAUSTED, and not INTERNAL`);
        assert.deepEqual([said["holdfast-not-run"], said["holdfast-reason"]], ["1", "ADMISSION_REFUSED"]);
        const retryAfterMs = Number(said["grpc-retry-pushback-ms"]);
        assert.ok(retryAfterMs >= 25 && retryAfterMs <= 3_000, String(retryAfterMs));
      }
      hold.open();
      await first;
      assert.equal(handled, 1);
      const names = ["add", "down", "up", "both"];
      assert.deepEqual(
        told,
        names.map((name) => [name, "normal", "queue-full"]),
      );
      const { calls, methods } = server.status();
      assert.deepEqual([calls.open, calls.refused], [0, { "queue-full": 4 }]);
      assert.deepEqual(
        methods.map(({ failed }) => failed),
        names.map(() => ({ RESOURCE_EXHAUSTED: 1 })),
      );
    }
  });

  it("that was sent before is not to come again; a first attempt is told when it may", async () => {
    const hold = gate();
    let handled = 0;
    await using server = benchServer({ add: async () => ((handled += 1), await hold.opened, {}) }, { admission: ONE });
    await using raw = await rawClient((await server.listen(0)).address);
    const first = raw.request("/bench.v1.Bench/Add", EMPTY);
    await until(() => handled === 1);
    const refused = await raw.request("/bench.v1.Bench/Add", EMPTY);
    const again = await raw.request("/bench.v1.Bench/Add", EMPTY, REPEAT);
    assert.ok(pushbackOf(refused) >= 0);
    assert.equal(pushbackOf(again), -1);
    assert.equal(saidOf(again)["holdfast-not-run"], "1");
    hold.open();
    await first;
  });

  it("of a low priority makes way for a call of a higher one that came later", async () => {
    const world = manualWorld();
    const hold = gate();
    const ended: string[] = [];
    let handled = 0;
    await using server = benchServer(
      { add: async () => ((handled += 1), await hold.opened, {}) },
      { world, admission: { concurrencyMax: 1, queueMax: 1 } },
    );
    await using raw = await rawClient((await server.listen(0)).address);
    const call = async (priority: string): Promise<void> => {
      const answer = await raw.request("/bench.v1.Bench/Add", EMPTY, { "holdfast-priority": priority });
      ended.push(`${priority} ${String(saidOf(answer)["grpc-status"])}`);
    };
    const first = call("normal");
    await until(() => handled === 1);
    const waiting = call("sheddable");
    await until(() => server.status().admission?.queued.sheddable === 1);
    const urgent = call("critical");
    await waiting;
    await call("sheddable");
    assert.deepEqual(ended, ["sheddable 8", "sheddable 8"]);
    assert.deepEqual(server.status().calls.refused, { displaced: 1, "queue-full": 1 });
    hold.open();
    await Promise.all([first, urgent]);
    assert.deepEqual(ended.slice(2), ["normal 0", "critical 0"]);
  });

  it("is none where admission is off", async () => {
    const hold = gate();
    let handled = 0;
    await using server = benchServer(
      { add: async () => ((handled += 1), await hold.opened, {}) },
      { admission: false, limits: { streamsPerConnectionMax: 500 } },
    );
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    const calls = Array.from({ length: 300 }, () => client.add({}));
    await until(() => handled === 300);
    hold.open();
    await Promise.all(calls);
    assert.equal(server.status().admission, undefined);
  });
});

describe("work for which there is no time", () => {
  it("never runs: neither what arrives too late nor what grows too old in the queue, and it says so", async () => {
    const world = manualWorld();
    const hold = gate();
    let handled = 0;
    const handlers = { add: async () => ((handled += 1), await hold.opened, {}) };
    await using server = benchServer(handlers, { world, admission: { concurrencyMax: 1 } });
    await using raw = await rawClient((await server.listen(0)).address);
    const late = saidOf(await raw.request("/bench.v1.Bench/Add", EMPTY, { "grpc-timeout": "0n" }));
    assert.deepEqual([late["grpc-status"], handled], ["4", 0]);
    const first = raw.request("/bench.v1.Bench/Add", EMPTY);
    await until(() => handled === 1);
    const waiting = raw.request("/bench.v1.Bench/Add", EMPTY, { "grpc-timeout": "8m" });
    await until(() => server.status().admission?.queued.normal === 1);
    world.advance(20);
    const said = saidOf(await waiting);
    assert.deepEqual([said["grpc-status"], said["holdfast-not-run"]], ["4", "1"]);
    assert.match(String(said["grpc-message"]), /before the handler could begin/);
    hold.open();
    await first;
    await turns(5);
    assert.equal(handled, 1);
    const { calls, admission } = server.status();
    assert.deepEqual([calls.open, calls.refused, admission?.queued.normal], [0, { expired: 2 }, 0]);
  });

  it("is refused at once while it would wait, and never for good: a method that became fast is found out", async () => {
    await using cluster = createCluster();
    let tookMs = 100;
    let world = cluster.world;
    cluster.serve(
      "shop",
      1,
      (server, at) => {
        world = cluster.simulation.host(`shop/${at}`);
        return probe(server, {
          unary: async () => {
            await pause(world, tookMs);
            return {};
          },
        });
      },
      { admission: { concurrencyMax: 1 } },
    );
    const client = cluster.client(Probe, "shop", { policy });
    const reasons: (string | undefined)[] = [];
    /** Two callers, each of whom calls again as soon as it has an answer. */
    const load = async (calls: number, timeoutMs: number): Promise<void> => {
      const caller = async (): Promise<void> => {
        for (let i = 0; i < calls; i++) {
          await client.unary({}, { timeoutMs }).then(
            () => reasons.push("OK"),
            async ({ code, reason }: RpcError) => {
              reasons.push(reason ?? code);
              await pause(cluster.world, 20);
            },
          );
        }
      };
      await cluster.settle(Promise.all([caller(), caller()]), { limitMs: 120_000 });
    };
    await load(20, 10_000);
    assert.deepEqual(new Set(reasons.splice(0)), new Set(["OK"]));
    // Nobody can answer in 50 ms what takes 100.
    const hogs = load(40, 10_000);
    const hasty = load(10, 50);
    await Promise.all([hogs, hasty]);
    assert.ok((cluster.server("shop", 0)?.status().calls.refused.doomed ?? 0) > 0);
    assert.ok(reasons.includes("DOOMED"), reasons.join());
    tookMs = 5;
    reasons.length = 0;
    await load(400, 50);
    assert.deepEqual(new Set(reasons.slice(-100)), new Set(["OK"]));
  });
});

describe("callers among each other", () => {
  it("each have a rate of their own: by principal, or by connection where nobody is known", async () => {
    const world = manualWorld();
    const admission = { rate: { perSecond: 2, burst: 3 } };
    for (const isKnown of [true, false]) {
      await using server = benchServer(
        {},
        {
          world,
          admission,
          authenticate: isKnown ? ({ metadata }) => ({ id: metadata.get("user") ?? "" }) : undefined,
        },
      );
      const { address } = await server.listen(0);
      await using one = await rawClient(address);
      await using two = await rawClient(address);
      const call = async (raw: typeof one, user: string, headers = {}): Promise<RawAnswer> =>
        raw.request("/bench.v1.Bench/Add", EMPTY, { user, ...headers });
      for (let i = 0; i < 3; i++) assert.equal((await call(one, "ann")).trailer["grpc-status"], "0");
      const refused = saidOf(await call(one, "ann"));
      assert.deepEqual(
        [refused["grpc-status"], refused["grpc-retry-pushback-ms"], refused["holdfast-not-run"]],
        ["8", "500", "1"],
      );
      assert.equal(pushbackOf(await call(one, "ann", REPEAT)), -1);
      assert.equal((await call(two, isKnown ? "bob" : "ann")).trailer["grpc-status"], "0");
      if (isKnown) assert.equal(saidOf(await call(two, "ann"))["grpc-status"], "8", "the same caller elsewhere");
      world.advance(600);
      assert.equal((await call(one, "ann")).trailer["grpc-status"], "0");
      assert.equal(server.status().calls.refused.rate, isKnown ? 3 : 2);
    }
  });

  it("share what there is: whoever asks for little is served while another asks for ten times too much", async () => {
    await using cluster = createCluster();
    cluster.serve(
      "shop",
      1,
      (server, at) => {
        const world = cluster.simulation.host(`shop/${at}`);
        return probe(server, {
          unary: async () => {
            await pause(world, 20);
            return {};
          },
        });
      },
      { admission: { concurrencyMax: 4 }, limits: { streamsPerConnectionMax: 1_000 } },
    );
    const hog = cluster.client(Probe, "shop", { host: "hog", policy });
    const light = cluster.client(Probe, "shop", { host: "light", policy });
    const counts = { hog: 0, hogRefused: 0, light: 0, lightRefused: 0 };
    const calls: Promise<unknown>[] = [];
    // 200 calls a second are what it can do; the hog makes 2,000, the other 20.
    for (let atMs = 0; atMs < 2_000; atMs += 10) {
      for (let i = 0; i < 20; i++) {
        calls.push(
          hog.unary({}, { timeoutMs: 1_000 }).then(
            () => counts.hog++,
            () => counts.hogRefused++,
          ),
        );
      }
      if (atMs % 50 === 0) {
        calls.push(
          light.unary({}, { timeoutMs: 1_000 }).then(
            () => counts.light++,
            () => counts.lightRefused++,
          ),
        );
      }
      await cluster.advance(10);
    }
    await cluster.settle(Promise.all(calls));
    await cluster.advance(100);
    assert.ok(counts.light >= 38, JSON.stringify(counts));
    assert.ok(counts.hog >= 250, JSON.stringify(counts));
    assert.ok(counts.hogRefused > 2_000, JSON.stringify(counts));
    const { calls: served, admission } = cluster.server("shop", 0)?.status() ?? assert.fail();
    assert.deepEqual([served.open, admission?.running], [0, 0]);
  });
});

/** A world whose loop can be late: its clock jumps before its timers come. */
function lateWorld(): { readonly world: World; late(ms: number): Promise<void> } {
  const manual = manualWorld();
  let skewMs = 0;
  const clock = {
    monotonicMs: () => manual.clock.monotonicMs() + skewMs,
    wallMs: () => manual.clock.wallMs() + skewMs,
  };
  const world: World = { ...manual, clock };
  return {
    world,
    /** Four turns in a row come so late. */
    async late(ms) {
      for (let i = 0; i < 4; i++) {
        skewMs += ms;
        manual.advance(30);
        await turns(1);
      }
    },
  };
}

describe("a loop that is late", () => {
  it("sheds calls before anybody is asked who they are, the least urgent first, and takes them when it is in time", async () => {
    const { world, late } = lateWorld();
    const hold = gate();
    let asked = 0;
    const told: string[] = [];
    await using server = benchServer(
      { placeOrder: async () => (await hold.opened, {}) },
      { world, authenticate: () => ((asked += 1), { id: "ann" }) },
    );
    using _ = server.on("admission.refused", ({ priority, why }) => told.push(`${priority} ${why}`));
    await using raw = await rawClient((await server.listen(0)).address);
    const first = raw.request("/bench.v1.Bench/PlaceOrder", EMPTY);
    await until(() => asked === 1);
    const codeOf = async (priority: string, body = EMPTY, headers = {}): Promise<unknown> => {
      const answer = await raw.request("/bench.v1.Bench/Add", body, { "holdfast-priority": priority, ...headers });
      return saidOf(answer)["grpc-status"];
    };
    const codes = async (): Promise<unknown[]> => [
      await codeOf("critical"),
      await codeOf("normal"),
      await codeOf("sheddable"),
    ];
    await late(150);
    assert.deepEqual(await codes(), ["0", "0", "8"]);
    await late(300);
    asked = 0;
    assert.equal(await codeOf("normal", GARBAGE), "8", "its body is not looked at");
    assert.equal(asked, 0, "nobody is asked who calls");
    assert.deepEqual(await codes(), ["0", "8", "8"]);
    await late(900);
    assert.deepEqual(await codes(), ["8", "8", "8"]);
    const refused = await raw.request("/bench.v1.Bench/Add", EMPTY);
    assert.deepEqual([pushbackOf(refused) > 0, saidOf(refused)["holdfast-not-run"]], [true, "1"]);
    assert.equal(pushbackOf(await raw.request("/bench.v1.Bench/Add", EMPTY, REPEAT)), -1);
    assert.equal((server.status().admission?.loopDelayMs ?? 0) > 800, true);
    assert.equal(saidOf(await raw.request("/grpc.health.v1.Health/Check", EMPTY))["grpc-status"], "0");
    const sheds = told.length;
    assert.deepEqual(new Set(told), new Set(["critical shed", "normal shed", "sheddable shed"]));
    assert.deepEqual(server.status().calls.refused, { shed: sheds });
    await late(0);
    assert.deepEqual(await codes(), ["0", "0", "0"]);
    hold.open();
    await first;
  });

  it("sheds the calls of a connection that has more than its share before those of others", async () => {
    const { world, late } = lateWorld();
    const hold = gate();
    let handled = 0;
    await using server = benchServer({ placeOrder: async () => ((handled += 1), await hold.opened, {}) }, { world });
    const { address } = await server.listen(0);
    await using busy = await rawClient(address);
    await using other = await rawClient(address);
    const open = [busy, busy, busy, busy, busy, other].map((raw) => raw.request("/bench.v1.Bench/PlaceOrder", EMPTY));
    await until(() => handled === 6);
    await late(150);
    const codes = await Promise.all([busy, other].map((raw) => raw.request("/bench.v1.Bench/Add", EMPTY)));
    assert.deepEqual(
      codes.map((answer) => saidOf(answer)["grpc-status"]),
      ["8", "0"],
    );
    assert.deepEqual(server.status().calls.refused, { share: 1 });
    hold.open();
    await Promise.all(open);
  });

  it("takes no connection without calls for one that has a share, nor one whose calls have ended", async () => {
    const { world, late } = lateWorld();
    const hold = gate();
    let handled = 0;
    await using server = benchServer({ placeOrder: async () => ((handled += 1), await hold.opened, {}) }, { world });
    const { address } = await server.listen(0);
    await using one = await rawClient(address);
    await using other = await rawClient(address);
    await using idle = await rawClient(address);
    await using _ = await rawClient(address);
    await idle.request("/bench.v1.Bench/Add", EMPTY);
    const open = [one, one, other, other].map((raw) => raw.request("/bench.v1.Bench/PlaceOrder", EMPTY));
    await until(() => handled === 4 && server.status().connections === 4);
    await late(150);
    for (const raw of [one, other]) {
      assert.equal(saidOf(await raw.request("/bench.v1.Bench/Add", EMPTY))["grpc-status"], "0");
    }
    assert.deepEqual(server.status().calls.refused, {});
    hold.open();
    await Promise.all(open);
  });
});

describe("a server that was not asked for a method before", () => {
  for (const name of ["is fresh", "has answered others"] as const) {
    it(`and ${name} refuses none of 200 calls of 2 s that come at once`, async () => {
      const world = manualWorld();
      const hold = gate();
      await using pair = await startPair(
        { placeOrder: async () => (await hold.opened, {}) },
        { isInProcess: true, server: { world }, client: { world, policy } },
      );
      if (name === "has answered others") for (let i = 0; i < 300; i++) await pair.client.add({});
      const calls = Promise.all(Array.from({ length: 200 }, () => pair.client.placeOrder({}, { timeoutMs: 30_000 })));
      for (let ms = 0; ms < 2_000; ms += 10) {
        await turns(1);
        world.advance(10);
      }
      hold.open();
      await world.settle(calls);
      assert.deepEqual(pair.server.status().calls.refused, {});
    });
  }
});

describe("permits", () => {
  it("come back whatever ends the call: its caller, its deadline, its handler's error, and streams need none once they run", async () => {
    const world = manualWorld();
    const hold = gate();
    let began = 0;
    await using server = benchServer(
      {
        add: async ({ a }, { signal }) => {
          began += 1;
          if (a === 1) throw new Error("no");
          if (a === 2) await new Promise((resolve) => signal.addEventListener("abort", resolve));
          return {};
        },
        async *down() {
          await hold.opened;
          yield {};
        },
      },
      { world, admission: ONE },
    );
    await using client = createClient(Bench, (await server.listen(0)).address, { world, policy });
    const running = (): number | undefined => server.status().admission?.running;
    await assertFails(client.add({ a: 1 }), "UNKNOWN");
    assert.equal(running(), 0);
    await assertFails(world.settle(client.add({ a: 2 }, { timeoutMs: 50 })), "DEADLINE_EXCEEDED");
    await until(() => running() === 0);
    const leave = new AbortController();
    const left = assertFails(client.add({ a: 2 }, { signal: leave.signal }), "CANCELLED");
    await until(() => began === 3);
    assert.equal(running(), 1);
    leave.abort();
    await left;
    await until(() => running() === 0);
    const streams = [all(client.down({})), all(client.down({})), all(client.down({}))];
    await turns(5);
    assert.equal(running(), 0);
    await client.add({});
    hold.open();
    await Promise.all(streams);
    assert.equal(server.status().calls.open, 0);
  });
});
