import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectRecorded } from "../testing/recorded-sockets.ts";
import { createFaultProxy } from "./proxy.ts";
import type { ProxyFault } from "./proxy-fault.ts";
import { bytes, heardReset, HOST, network, only, portOf, rig, when } from "./testdata/proxy-rig.ts";

describe("a fault proxy", { timeout: 30_000 }, () => {
  it("cuts all connections and says how many; new ones are taken as before", async () => {
    await using at = await rig();
    const pairs = [await at.pair(), await at.pair()];
    for (const { client, server } of pairs) {
      client.socket.write(bytes("first"));
      await server.seen.until(() => server.seen.text === "first");
    }
    assert.equal(at.proxy.cut(), 2);
    for (const { client, server } of pairs) {
      assert.ok(await heardReset(client));
      assert.ok(await heardReset(server));
    }
    assert.equal(at.proxy.cut(), 0);
    const again = await at.pair();
    again.client.socket.write(bytes("new"));
    await again.server.seen.until(() => again.server.seen.text === "new");
  });

  it("resets connections beyond its limit, and takes new ones when there is room", async () => {
    await using at = await rig({ connectionsMax: 1 });
    const { client, server } = await at.pair();
    assert.ok(await heardReset(at.client()));
    assert.equal(at.proxy.counts().refused, 1);
    client.socket.end();
    server.socket.end();
    await when(() => at.proxy.connections().length === 0);
    const again = await at.pair();
    again.client.socket.write(bytes("room"));
    await again.server.seen.until(() => again.server.seen.text === "room");
  });

  it("strikes the same connections for the same seed, and the share of them that was asked for", async () => {
    const struck = async (seed: number): Promise<string> => {
      await using at = await rig({ seed });
      at.proxy.set([{ kind: "half-open", share: 0.5 }]);
      const marks: string[] = [];
      for (let id = 1; id <= 40; id++) {
        at.client();
        await when(() => at.proxy.counts().accepted === id);
        marks.push(at.proxy.connections().at(-1)?.isHalfOpen === true ? "x" : ".");
      }
      return marks.join("");
    };
    const first = await struck(1);
    assert.equal(await struck(1), first);
    assert.notEqual(await struck(2), first);
    const count = first.replaceAll(".", "").length;
    assert.ok(count >= 10 && count <= 30, first);
  });

  it("closes once, cuts what it has, and frees its address; what comes after is refused", async () => {
    await using at = await rig();
    const { client, server } = await at.pair();
    const closing = at.proxy.close();
    assert.equal(at.proxy.close(), closing);
    await closing;
    await Promise.all([client.seen.has("ended", "closed"), server.seen.has("ended", "closed")]);
    assert.deepEqual(at.proxy.connections(), []);
    assert.equal(at.proxy.counts().resets, 0);
    await assert.rejects(at.proxy.listen(), /the fault proxy is closed/);
    const refused = at.client();
    await refused.seen.has("closed");
    assert.equal(refused.seen.error?.code, "ECONNREFUSED");
  });

  it("closed while it begins to listen is closed", async () => {
    const proxy = createFaultProxy({ listen: { host: HOST, port: 0 }, target: { host: HOST, port: 1 } });
    const listening = proxy.listen();
    await proxy.close();
    const { port } = await listening;
    const client = connectRecorded(network, { kind: "tcp", host: HOST, port });
    await client.seen.has("closed");
    assert.equal(client.seen.error?.code, "ECONNREFUSED");
  });

  it("says why it cannot listen, may then try again, and listens once", async () => {
    await using at = await rig();
    await assert.rejects(at.proxy.listen(), /listens already/);
    const taken = createFaultProxy({
      listen: { host: HOST, port: portOf(at.address) },
      target: { host: HOST, port: 1 },
    });
    await assert.rejects(taken.listen(), /EADDRINUSE/);
    await at.proxy.close();
    assert.equal((await taken.listen()).port, portOf(at.address));
    await taken.close();
  });

  it("listens on loopback unless it is told that others may come", () => {
    const target = { host: "10.0.0.1", port: 80 };
    const on = (host: string, allowRemote?: boolean) =>
      createFaultProxy({ listen: { host, port: 0 }, target, allowRemote });
    for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
      assert.equal(on(host).counts().accepted, 0);
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"]) {
      assert.throws(
        () => on(host),
        /listen\.host must be loopback, such as "127\.0\.0\.1", unless allowRemote is true, got/,
      );
    }
    assert.equal(on("0.0.0.0", true).counts().accepted, 0);
  });

  it("says which seed it took when it was given none", () => {
    const place = { host: HOST, port: 1 };
    const { seed } = createFaultProxy({ listen: place, target: place });
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed <= 0xffff_ffff);
    assert.equal(createFaultProxy({ listen: place, target: place, seed: 9 }).seed, 9);
  });

  it("refuses options and faults that cannot be, by name, and keeps the faults it had", async () => {
    const place = { host: HOST, port: 1 };
    const make = (options: object) => () => createFaultProxy({ listen: place, target: place, ...options });
    assert.throws(make({ target: { host: HOST, port: 0 } }), new RangeError("target.port must be 1..65_535, got 0"));
    assert.throws(make({ target: undefined }), new TypeError("target.host must be given"));
    assert.throws(make({ listen: { host: HOST } }), new TypeError("listen.port must be given"));
    assert.throws(make({ seed: -1 }), RangeError);
    assert.throws(make({ buffer: 5 }), /unknown key "buffer", did you mean "bufferBytesMax"\?/);
    await using at = await rig();
    at.proxy.set([{ kind: "stall" }]);
    await at.pair();
    const set = (fault: unknown) => () => at.proxy.set([{ kind: "refuse" }, fault as ProxyFault]);
    assert.throws(set({ kind: "latency" }), new TypeError('faults[1].latencyMs must be given for kind "latency"'));
    assert.throws(
      set({ kind: "latency", latencyMs: -1 }),
      new RangeError("faults[1].latencyMs must be 0..3_600_000, got -1"),
    );
    assert.throws(set({ kind: "stal" }), /faults\[1\]\.kind must be .*did you mean "stall"/);
    assert.throws(set({}), new TypeError("faults[1].kind must be given"));
    assert.throws(set(null), /faults\[1\] must be an object with a kind/);
    assert.throws(set({ kind: "stall", direction: "left" }), /faults\[1\]\.direction must be "up" or "down" or "both"/);
    assert.throws(set({ kind: "half-open", direction: "up" }), /unknown key "faults\[1\]\.direction"/);
    assert.throws(set({ kind: "bandwidth", bytesPerSec: 1 }), /did you mean "faults\[1\]\.bytesPerSecond"/);
    assert.throws(set({ kind: "corrupt" }), /faults\[1\] must have either everyBytes or chunkShare/);
    assert.throws(set({ kind: "corrupt", everyBytes: 1, chunkShare: 1 }), /faults\[1\] must have either/);
    assert.throws(() => at.proxy.set({} as never), /faults must be an array/);
    assert.throws(() => at.proxy.set(new Array<ProxyFault>(65).fill({ kind: "stall" })), /at most 64 items, got 65/);
    assert.deepEqual(only(at.proxy).faults, ["stall"]);
  });
});
