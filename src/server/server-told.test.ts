import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { all, Bench, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { certificateFiles } from "../../test/calls/certificate-files.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { framed } from "../../test/calls/raw-peer.ts";
import { rawTlsClient } from "../../test/calls/raw-tls-client.ts";
import type { CallRecord } from "../call/event.ts";
import { createClient } from "../client/create-client.ts";

const policy = { retry: false, hedge: false } as const;

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await turns(1);
  assert.ok(condition());
}

describe("status()", () => {
  it("tells the server's life: idle, listening, draining, closed, with its doors and its health", async () => {
    const hold = gate();
    let began = 0;
    const server = benchServer({ add: async () => ((began += 1), await hold.opened, {}) });
    const states: unknown[] = [];
    const note = (): void => {
      const { state, health, doors, services } = server.status();
      states.push([state, health, doors.length, services[Bench.typeName]]);
    };
    note();
    const { address } = await server.listen(0);
    note();
    assert.deepEqual(server.status().doors, [{ address, isTls: false, isLocal: true }]);
    await using client = createClient(Bench, address, { policy });
    const call = client.add({});
    await until(() => began === 1);
    const closing = server.close();
    await turns(2);
    note();
    hold.open();
    await call;
    await closing;
    note();
    assert.deepEqual(states, [
      ["idle", "SERVING", 0, "SERVING"],
      ["listening", "SERVING", 1, "SERVING"],
      ["draining", "DRAINING", 1, "NOT_SERVING"],
      ["closed", "NOT_SERVING", 0, "NOT_SERVING"],
    ]);
  });

  it("counts each method's calls by how they ended, and those that are open; all of them go back to none", async () => {
    const hold = gate();
    await using pair = await startPair({
      async add({ a }) {
        if (a === 1) throw new RpcError("NOT_FOUND", "none");
        if (a === 2) throw new Error("no");
        if (a === 3) await hold.opened;
        return {};
      },
    });
    for (const a of [0, 0, 0]) await pair.client.add({ a });
    for (const a of [1, 1, 2]) await pair.client.add({ a }).catch(() => {});
    await all(pair.client.down({ count: 5 }));
    const open = pair.client.add({ a: 3 });
    await until(() => pair.server.status().calls.open === 1);
    const before = pair.server.status();
    const [add, down, ...others] = before.methods;
    const { p50Ms, p99Ms, ...counted } = add ?? assert.fail();
    assert.deepEqual(counted, {
      path: "/bench.v1.Bench/Add",
      started: 7,
      inFlight: 1,
      succeeded: 3,
      failed: { NOT_FOUND: 2, UNKNOWN: 1 },
    });
    assert.ok(p50Ms !== undefined && p99Ms !== undefined && p50Ms <= p99Ms);
    assert.deepEqual([down?.started, down?.succeeded, others], [1, 1, []]);
    assert.deepEqual([before.calls.open, before.calls.finished, before.connections], [1, 7, 1]);
    assert.equal(before.admission?.running, 1);
    hold.open();
    await open;
    await until(() => pair.server.status().calls.open === 0);
    const after = pair.server.status();
    assert.deepEqual([after.methods[0]?.inFlight, after.calls.finished, after.admission?.running], [0, 8, 0]);
    assert.deepEqual([before.calls.open, Object.isFrozen(before)], [1, true], "a moment that was told stays as it was");
  });
});

describe("call.ended of a server", () => {
  it("is told once of each call, however it ended, and under the caller's id", async () => {
    const records: CallRecord[] = [];
    const hold = gate();
    let began = 0;
    await using pair = await startPair(
      {
        add({ a }) {
          if (a === 1) throw new RpcError("ABORTED", "no");
          return {};
        },
        placeOrder: async () => ((began += 1), await hold.opened, {}),
      },
      { server: { admission: { concurrencyMax: 1, queueMax: 0 } } },
    );
    using _ = pair.server.on("call.ended", ({ record }) => records.push(record));
    await pair.client.add({});
    const failed = await assertFails(pair.client.add({ a: 1 }), "ABORTED");
    await all(pair.client.down({ count: 2 }));
    const leave = new AbortController();
    const left = assertFails(pair.client.placeOrder({}, { signal: leave.signal }), "CANCELLED");
    await until(() => began === 1);
    const refused = await assertFails(pair.client.add({}), "RESOURCE_EXHAUSTED");
    leave.abort();
    await left;
    await until(() => records.some(({ code }) => code === "CANCELLED"));
    assert.deepEqual(records.map(({ method, side, code }) => [method.name, side, code]).slice(0, 3), [
      ["add", "server", "OK"],
      ["add", "server", "ABORTED"],
      ["down", "server", "OK"],
    ]);
    assert.equal(records[1]?.callId, failed.callId);
    const last = records.filter(({ code }) => code === "RESOURCE_EXHAUSTED");
    assert.ok(last.length >= 1 && last.every(({ callId }) => callId === refused.callId));
    for (const { tookMs, phasesMs } of records) {
      const { queue = Number.NaN, server = Number.NaN } = phasesMs;
      assert.ok(queue >= 0 && server >= 0 && Math.abs(queue + server - tookMs) < 1e-6);
    }
    hold.open();
  });
});

describe("streams on one connection", () => {
  it("are a hundred for strangers and a thousand for who has a certificate of ours, unless the server says", async () => {
    await using files = await certificateFiles();
    for (const [limits, expected] of [
      [undefined, [100, 1_000]],
      [{ streamsPerConnectionMax: 7 }, [7, 7]],
    ] as const) {
      await using server = benchServer({}, { limits });
      const { port } = await server.listen("127.0.0.1:0", {
        tls: { ...files.server, clientCaFile: files.caFile, clientCert: "request" },
      });

      const allowed: (number | undefined)[] = [];
      for (const hasCertificate of [false, true]) {
        await using raw = await rawTlsClient(port, files, hasCertificate);
        await raw.request("/grpc.health.v1.Health/Check", framed(new Uint8Array(0)));
        allowed.push(raw.session.remoteSettings.maxConcurrentStreams);
      }
      assert.deepEqual(allowed, expected);
    }
  });
});
