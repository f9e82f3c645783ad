import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { annotate } from "holdfast";
import { createSimulation } from "holdfast/testing";
import { asked, saying, scene } from "../../test/calls/once-scene.ts";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { createServer } from "../server/create-server.ts";
import { ClientCall } from "./client-call.ts";
import { createClient } from "./create-client.ts";
import { resolveChannelOptions } from "./options.ts";

const OnceProbe = annotate(Probe, { unary: { effect: "once" } });

/** Notes for each header section how many bytes it took, and how many it had said it would take at most. */
function measured(context: TestContext): { readonly bytes: number; readonly most: number }[] {
  const sections: { bytes: number; most: number }[] = [];
  const original = ClientCall.prototype.encodeHead;
  context.mock.method(
    ClientCall.prototype,
    "encodeHead",
    function (this: ClientCall, ...args: Parameters<typeof original>) {
      const end = original.apply(this, args);
      sections.push({ bytes: end - args[2], most: this.headBytesMax(args[3]) });
      return end;
    },
  );
  return sections;
}

/** A server on the host of this name, and a client's one call of it with all that a call may send. */
async function callOn(host: string, idempotencyKey: string): Promise<void> {
  const simulation = createSimulation();
  simulation.boot(host, (world) => {
    const server = probe(createServer({ world }));
    return server.listen("0.0.0.0:50051", { plaintext: true });
  });
  const world = simulation.host("client");
  await simulation.advance(1);
  const client = createClient(OnceProbe, `${host}:50051`, { world, plaintext: true, compress: "deflate" });
  const metadata = { "x-a": "b".repeat(100) };
  const options = { idempotencyKey, timeoutMs: 86_399_999.5, priority: "sheddable", metadata } as const;
  await simulation.settle(client.unary({}, options));
}

describe("the bound of a request's headers", () => {
  it("holds for the longest authority and idempotency key, and grows by each of their characters", async (context) => {
    const sections = measured(context);
    await callOn("h", "k");
    await callOn("h".repeat(253), "k");
    await callOn("h", "k".repeat(256));
    await callOn("h".repeat(253), "k".repeat(256));
    assert.ok((sections[3]?.bytes ?? 0) > 640, "the first call of a connection says all of it");
    for (const { bytes, most } of sections) assert.ok(bytes <= most, `${bytes} bytes, said ${most} at most`);
    const [none = 0, ...others] = sections.map(({ most }) => most);
    assert.deepEqual(
      others.map((most) => most - none),
      [252, 255, 252 + 255],
    );
  });

  it("holds with a long token too", async (context) => {
    const sections = measured(context);
    const token = "t".repeat(4_000);
    const client = createClient(OnceProbe, createServer().service(Probe, probeHandlers), { token: () => token });
    await client.unary({}, { idempotencyKey: "k".repeat(256) });
    await client.$close({ timeoutMs: 0 });
    assert.equal(sections.length, 1);
    assert.ok((sections[0]?.bytes ?? Infinity) <= (sections[0]?.most ?? 0));
  });

  it("holds for a repeat that asks for a store, and grows by each character of the store's id", async (context) => {
    const sections = measured(context);
    const mosts: number[] = [];
    for (const id of ["s", "s".repeat(64)]) {
      await using s = scene(
        1,
        saying(() => `${id} process`),
        { compress: "deflate" },
      );
      await s.warm();
      s.lines.push("lose");
      const metadata = { "x-a": "b".repeat(100) };
      const options = { idempotencyKey: "k".repeat(256), timeoutMs: 86_399_999.5, priority: "sheddable" } as const;
      assert.equal(await s.call({ ...options, metadata }), undefined);
      assert.deepEqual(asked(s), ["p0", `p0 for ${id}`]);
      mosts.push(sections.at(-1)?.most ?? 0);
    }
    for (const { bytes, most } of sections) assert.ok(bytes <= most, `${bytes} bytes, said ${most} at most`);
    assert.equal((mosts[1] ?? 0) - (mosts[0] ?? 0), 63);
  });
});

const probeHandlers = {
  unary: () => ({}),
  async *download() {},
  upload: () => ({}),
  async *chat() {},
  seen: () => ({}),
  missing: () => ({}),
};

describe("tls.serverName", () => {
  it("is a name as DNS has them: up to 253 characters", () => {
    const serverName = "n".repeat(253);
    assert.equal(resolveChannelOptions({ tls: { serverName } }).tls?.serverName, serverName);
    assert.throws(() => resolveChannelOptions({ tls: { serverName: `${serverName}n` } }), {
      name: "RangeError",
      message: /tls\.serverName/,
    });
    assert.throws(() => resolveChannelOptions({ tls: { serverName: "" } }), RangeError);
  });
});
