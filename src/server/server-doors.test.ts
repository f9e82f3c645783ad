import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench, benchHandlers, benchServer } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { createClient } from "../client/create-client.ts";
import type { NetworkError } from "../world/network.ts";
import { createServer } from "./create-server.ts";

describe("a service added while its server listens", () => {
  it("is found by connections that had asked for it in vain", async () => {
    await using server = createServer({ drain: { signals: [] } });
    const { address } = await server.listen(0);
    await using client = createClient(Bench, address);
    for (let i = 0; i < 3; i++) await assertFails(client.add({ a: 1 }), "UNIMPLEMENTED");
    server.service(Bench, benchHandlers);
    assert.equal((await client.add({ a: 1 })).result, 1);
  });
});

describe("a server that has begun to close", () => {
  it("serves new connections like old ones until others have had the time to notice", async () => {
    const world = manualWorld();
    const server = benchServer({}, { world, drain: { propagationMs: 5_000 } });
    const { address } = await server.listen(0);
    const closing = server.close();
    await using raw = await rawClient(address);
    const goAways: number[] = [];
    raw.session.on("goaway", (code) => goAways.push(code));
    const add = async (): Promise<unknown> =>
      (await raw.request("/bench.v1.Bench/Add", framed(new Uint8Array(0)))).trailer["grpc-status"];
    assert.equal(await add(), "0");
    assert.equal(await add(), "0");
    assert.deepEqual(goAways, []);
    world.advance(5_001);
    while (goAways.length === 0) await turns(1);
    await raw[Symbol.asyncDispose]();
    const { cut } = await world.settle(closing);
    assert.deepEqual(cut, []);
  });
});

describe("a door that cannot accept", () => {
  it("warns the process with its address and the cause, at most once a second", async () => {
    const real = manualWorld();
    let failed: ((error: NetworkError) => void) | undefined;
    const world = {
      ...real,
      network: {
        ...real.network,
        listen: (request: Parameters<typeof real.network.listen>[0]) => {
          failed = (error) => request.failed(error);
          return real.network.listen(request);
        },
      },
    };
    await using server = benchServer({}, { world });
    const { port } = await server.listen(0);
    assert.ok(port > 0);
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on("warning", note);
    try {
      const error: NetworkError = { phase: "listen", code: "EMFILE", text: "accept EMFILE" };
      for (let i = 0; i < 100; i++) failed?.(error);
      await turns(2);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]?.message ?? "", /127\.0\.0\.1:0 could not be accepted: accept EMFILE/);
      assert.equal((warnings[0] as { code?: string }).code, "HOLDFAST_ACCEPT_FAILED");
      real.advance(1_000);
      failed?.(error);
      await turns(2);
      assert.equal(warnings.length, 2);
      assert.match(warnings[1]?.message ?? "", /and 99 times since the last warning/);
    } finally {
      process.removeListener("warning", note);
    }
  });
});
