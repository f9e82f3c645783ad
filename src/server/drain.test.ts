import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { benchServer } from "../../test/calls/bench-service.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { type ManualWorld, manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import type { DrainReport } from "../call/drain-report.ts";
import { createClient } from "../client/create-client.ts";
import { FLAG_ACK, FRAME_GOAWAY, FRAME_PING, STREAM_ID_MAX } from "../wire/http2/frame.ts";
import { frame, request } from "../wire/http2/testdata/frame-script.ts";
import { type DrivenConnection, drivenConnection } from "../wire/transport/testdata/driven-connection.ts";
import { Bench } from "../../test/calls/bench-service.ts";
import { type Door, Drain, type DrainedCore, type DrainHooks } from "./drain.ts";

interface Rig {
  readonly world: ManualWorld;
  readonly drain: Drain;
  readonly core: DrainedCore;
  readonly told: string[];
  /** A connection with one call. */
  connect(name: string): DrivenConnection;
  /** Notes what was written since the last time. */
  read(name: string, driven: DrivenConnection): void;
}

interface RigOptions {
  readonly times?: { readonly propagationMs: number; readonly timeoutMs: number };
  readonly hooks?: Partial<DrainHooks>;
  readonly isPortShared?: boolean;
}

function rigOf({ times, hooks, isPortShared = false }: RigOptions = {}): Rig {
  const world = manualWorld();
  const told: string[] = [];
  const core: DrainedCore = {
    connections: new Set(),
    detachedCalls: new Set(),
    finishedCalls: 0,
    unanswered: () => [],
    onIdle: () => {},
  };
  const close = async (): Promise<void> => void told.push("door closed");
  const door: Door = { listener: { address: { kind: "tcp", host: "x", port: 1 }, close }, isPortShared };
  const drain = new Drain(
    world,
    core,
    [door],
    {
      healthChanged: (state) => void told.push(`health ${state}`),
      deregister: [() => void told.push("deregistered")],
      told: (state) => void told.push(state),
      ...hooks,
    },
    times ?? { propagationMs: 5_000, timeoutMs: 20_000 },
  );
  return {
    world,
    drain,
    core,
    told,
    connect(name) {
      const driven = drivenConnection(world);
      driven.connection.data(request(1));
      // As a call's exchange is while its handler runs.
      const stream = driven.streams[0];
      assert.ok(stream !== undefined);
      stream.owner = {};
      driven.connection.drainingOf(stream).addEventListener("abort", () => void told.push(`${name} draining`));
      driven.socket.frames();
      core.connections.add(driven.connection);
      return driven;
    },
    read(name, { socket, connection }) {
      for (const { type, payload } of socket.frames()) {
        if (type === FRAME_GOAWAY) {
          const lastId = payload.readUInt32BE(0);
          told.push(`${name} GOAWAY ${lastId === STREAM_ID_MAX ? "to come" : lastId}`);
        }
        if (type === FRAME_PING) connection.data(frame(FRAME_PING, FLAG_ACK, 0, payload));
      }
    },
  };
}

describe("a drain", () => {
  it("says so and deregisters, serves on, tells clients the last call, closes the door, tells handlers, waits, cuts", async () => {
    const rig = rigOf();
    const driven = rig.connect("a");
    const running = rig.drain.run();
    await turns(3);
    assert.deepEqual(rig.told.splice(0), ["started", "health DRAINING", "deregistered"]);
    rig.world.advance(4_999);
    await turns(3);
    rig.read("a", driven);
    assert.deepEqual(rig.told, [], "new calls are still served");
    rig.world.advance(1);
    await turns(3);
    driven.connection.data(request(3));
    rig.read("a", driven);
    await turns(3);
    rig.read("a", driven);
    assert.deepEqual(rig.told.splice(0), ["a GOAWAY to come", "door closed", "a draining", "a GOAWAY 3"]);
    rig.world.advance(19_999);
    await turns(3);
    assert.deepEqual(rig.told, []);
    rig.world.advance(1);
    const report = await rig.world.settle(running);
    assert.deepEqual(rig.told, ["ended"]);
    assert.ok(report.tookMs >= 25_000 && report.tookMs < 26_000, `${report.tookMs}`);
    assert.equal(rig.drain.isOver, true);
  });

  it("closes a shared port before anybody is told, so that who dials again comes out at the successor", async () => {
    const rig = rigOf({ isPortShared: true, times: { propagationMs: 0, timeoutMs: 1_000 } });
    const driven = rig.connect("a");
    const running = rig.drain.run();
    await turns(4);
    rig.read("a", driven);
    await turns(4);
    rig.read("a", driven);
    assert.deepEqual(rig.told.slice(3), ["door closed", "a GOAWAY to come", "a draining", "a GOAWAY 1"]);
    rig.drain.cut();
    await rig.world.settle(running);
  });

  it("waits a second, and not longer, for a client that does not answer the first GOAWAY", async () => {
    const rig = rigOf({ times: { propagationMs: 0, timeoutMs: 20_000 } });
    rig.connect("mute");
    const running = rig.drain.run();
    await turns(4);
    rig.world.advance(990);
    await turns(4);
    assert.equal(rig.told.includes("door closed"), false);
    rig.world.advance(20);
    await turns(4);
    assert.deepEqual(rig.told.slice(3), ["door closed", "mute draining"]);
    rig.drain.cut();
    await rig.world.settle(running);
  });

  it("tells who connects meanwhile to go away at once, and their handlers too", async () => {
    const rig = rigOf({ times: { propagationMs: 0, timeoutMs: 20_000 } });
    rig.connect("mute");
    const early = rig.connect("early");
    rig.core.connections.delete(early.connection);
    rig.drain.accepted(early.connection);
    await turns(2);
    rig.read("early", early);
    assert.deepEqual(rig.told, [], "nobody is told before the drain has begun");
    const running = rig.drain.run();
    await turns(4);
    const late = rig.connect("late");
    rig.drain.accepted(late.connection);
    await turns(4);
    rig.read("late", late);
    await turns(4);
    rig.read("late", late);
    assert.deepEqual(rig.told.slice(3), ["late GOAWAY to come", "late GOAWAY 1"]);
    rig.world.advance(1_001);
    await turns(4);
    assert.deepEqual(rig.told.slice(5), ["door closed", "mute draining", "late draining"]);
    const last = rig.connect("last");
    rig.drain.accepted(last.connection);
    await turns(4);
    rig.read("last", last);
    await turns(4);
    assert.deepEqual(rig.told.slice(8), ["last GOAWAY to come", "last draining"]);
    rig.drain.cut();
    await rig.world.settle(running);
  });

  it("that is cut ends at once, whatever it waited for", async () => {
    const moments: ((rig: Rig) => Promise<void>)[] = [
      async () => {},
      async (rig) => rig.world.advance(5_000),
      async (rig) => rig.world.advance(7_000),
    ];
    for (const until of moments) {
      const rig = rigOf();
      rig.connect("a");
      const running = rig.drain.run();
      await turns(3);
      await until(rig);
      await turns(3);
      let report: DrainReport | undefined;
      void running.then((value) => (report = value));
      rig.drain.cut();
      await turns(4);
      assert.ok(report !== undefined, "it went on waiting");
      assert.deepEqual(rig.told.slice(-1), ["ended"]);
    }
  });

  it("with timeoutMs 0 waits for nothing, and says so all the same", async () => {
    const rig = rigOf({
      times: { propagationMs: 5_000, timeoutMs: 0 },
      hooks: { deregister: [() => new Promise(() => {})] },
    });
    const driven = rig.connect("a");
    await rig.drain.run();
    assert.deepEqual(rig.told, ["started", "health DRAINING", "door closed", "ended"]);
    assert.equal(driven.connection.isClosed, true);
  });

  it("waits 5 s at most for a registry, and warns the process of one that fails", async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on("warning", note);
    try {
      const deregister = [
        () => {
          throw new Error("no such lease");
        },
        () => new Promise(() => {}),
      ];
      const rig = rigOf({ times: { propagationMs: 0, timeoutMs: 20_000 }, hooks: { deregister } });
      rig.connect("a");
      const running = rig.drain.run();
      await turns(4);
      assert.equal((warnings[0] as { code?: string }).code, "HOLDFAST_DEREGISTER_FAILED");
      assert.match(warnings[0]?.message ?? "", /no such lease/);
      rig.world.advance(4_999);
      await turns(4);
      assert.equal(rig.told.includes("door closed"), false);
      rig.world.advance(1);
      await turns(4);
      rig.world.advance(1_010);
      await turns(4);
      assert.equal(rig.told.includes("door closed"), true);
      rig.drain.cut();
      await rig.world.settle(running);
    } finally {
      process.removeListener("warning", note);
    }
  });
});

describe("the report of a drain", () => {
  it("names a call whose handler had ended and whose caller did not take the answer, beside one whose handler still ran", async () => {
    const world = manualWorld();
    const began = gate();
    await using server = benchServer(
      {
        async add(_, call) {
          began.open();
          await aborted(call.signal);
          return {};
        },
        echo: () => ({ data: new Uint8Array(1_000) }),
      },
      { world },
    );
    const { address } = await server.listen(0);
    await using raw = await rawClient(address, { settings: { initialWindowSize: 0 } });
    const call = (method: string): ReturnType<typeof raw.session.request> => {
      const path = `/bench.v1.Bench/${method}`;
      const stream = raw.session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
      stream.on("error", () => {});
      stream.end(framed(new Uint8Array(0)));
      return stream;
    };
    await once(call("Echo"), "response");
    call("Add");
    await began.opened;
    const { cut, finished } = await world.settle(server.close({ timeoutMs: 100 }));
    assert.deepEqual(
      cut.map(({ path, hasHandlerEnded }) => [path, hasHandlerEnded]),
      [
        ["/bench.v1.Bench/Add", false],
        ["/bench.v1.Bench/Echo", true],
      ],
    );
    assert.equal(finished, 0);
    assert.ok(cut.every(({ callId, ageMs }) => /^[0-9a-f]{32}$/.test(callId) && ageMs >= 100));
  });

  it("forgets answers once they have been sent, so that none is named for having been slow", async () => {
    const driven = drivenConnection();
    driven.connection.data(request(1, true));
    assert.deepEqual(driven.connection.unsent(), []);
    await using server = benchServer({ echo: ({ data }) => ({ data }) });
    const { address } = await server.listen(0);
    await using client = createClient(Bench, address);
    const data = new Uint8Array(300_000);
    await Promise.all(Array.from({ length: 40 }, () => client.echo({ data })));
    assert.deepEqual((await server.close()).cut, []);
  });
});

describe("the event drain", () => {
  it("is told once when it starts and once when it has ended, with the report that close gives", async () => {
    await using server = benchServer();
    const told: unknown[] = [];
    using _ = server.on("drain", ({ state, report }) => void told.push([state, report]));
    await server.listen(0);
    const report = await server.close();
    await server.close();
    assert.deepEqual(told, [
      ["started", undefined],
      ["ended", report],
    ]);
    assert.throws(() => server.on("drian" as "drain", () => {}), RangeError);
  });
});
