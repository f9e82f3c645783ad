import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "../../test/calls/bench-service.ts";
import { planOf } from "../schema/plan.ts";
import { HealthBoard } from "./health.ts";
import { type MethodCounts, type ServerFacts, serverStatus } from "./server-status.ts";

const [add, other] = planOf(Bench).methods.map(({ info }) => info);

function facts(given: Partial<ServerFacts> = {}): ServerFacts {
  return {
    state: "listening",
    nowMs: 5_000,
    openedAtMs: 2_000,
    board: new HealthBoard(),
    checks: [],
    doors: [],
    connections: 2,
    calls: { open: 1, finished: 4, refused: { "queue-full": 3 }, overdue: 0 },
    methods: [],
    admission: undefined,
    dedup: undefined,
    ...given,
  };
}

function counts(given: Partial<MethodCounts>): MethodCounts {
  return { info: add ?? assert.fail(), started: 0, codes: {}, quantileMs: () => undefined, ...given };
}

describe("a server's status", () => {
  it("says how the server and its services are", () => {
    const board = new HealthBoard();
    board.serviceAdded("shop.v1.Shop");
    board.serviceAdded("__proto__");
    board.setHealth("shop.v1.Shop", "NOT_SERVING");
    board.checksChanged("degraded");
    const status = serverStatus(facts({ board }));
    assert.equal(status.health, "DEGRADED");
    assert.deepEqual(Object.entries(status.services), [
      ["shop.v1.Shop", "NOT_SERVING"],
      ["__proto__", "SERVING"],
    ]);
    assert.deepEqual([status.state, status.uptimeMs, status.connections], ["listening", 3_000, 2]);
    assert.equal(serverStatus(facts({ openedAtMs: undefined })).uptimeMs, 0);
  });

  it("counts each method that was called: started, under way, well ended, failed by code, and how long", () => {
    const asked: number[] = [];
    const quantileMs = (nowMs: number, share: number): number => {
      asked.push(nowMs, share);
      return share * 10;
    };
    const codes = { OK: 5, NOT_FOUND: 2, INTERNAL: 1 };
    const methods = [counts({ started: 10, codes, quantileMs }), counts({ info: other ?? assert.fail() })];
    assert.deepEqual(serverStatus(facts({ methods })).methods, [
      {
        path: add?.path,
        started: 10,
        inFlight: 2,
        succeeded: 5,
        failed: { NOT_FOUND: 2, INTERNAL: 1 },
        p50Ms: 5,
        p99Ms: 9.9,
      },
    ]);
    assert.deepEqual(asked, [5_000, 0.5, 5_000, 0.99]);
  });

  it("is a moment: frozen to its leaves, and none of the facts' own objects", () => {
    const refused = { "queue-full": 3 };
    const tally = { running: 0, entries: 1, operations: 2, commits: 1 };
    const queued = { critical: 0, normal: 1, sheddable: 2 };
    const status = serverStatus(
      facts({
        calls: { open: 0, finished: 0, refused, overdue: 1 },
        doors: [{ address: "127.0.0.1:1", isTls: false, isLocal: true }],
        methods: [counts({ started: 1, codes: { OK: 1 } })],
        admission: { concurrencyMax: 8, running: 1, queued, loopDelayMs: 0.5 },
        dedup: { storeId: "s", scope: "process", counts: tally, failure: undefined },
        checks: [Object.freeze({ name: "disk" }) as never],
      }),
    );
    const unfrozen: string[] = [];
    const look = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return;
      if (!Object.isFrozen(value)) unfrozen.push(path);
      for (const [key, inner] of Object.entries(value)) look(inner, `${path}.${key}`);
    };
    look(status, "status");
    assert.deepEqual(unfrozen, []);
    refused["queue-full"] = 9;
    queued.normal = 9;
    assert.equal(status.calls.refused["queue-full"], 3);
    assert.deepEqual(status.admission?.queued, { critical: 0, normal: 1, sheddable: 2 });
    assert.deepEqual(JSON.parse(JSON.stringify(status)).dedup.counts, {
      running: 0,
      entries: 1,
      operations: 2,
      commits: 1,
    });
    tally.entries = 9;
    assert.equal(status.dedup?.counts.entries, 1);
  });
});
