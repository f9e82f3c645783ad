import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { startServerProcess } from "../../test/calls/server-process.ts";
import { createClient } from "../client/create-client.ts";

const alone = { policy: { retry: false, hedge: false } } as const;

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  describe(signal, () => {
    it("once drains; again it cuts what is left, whose callers are answered, and ends the process as it always does", async () => {
      await using server = await startServerProcess();
      await using client = createClient(Bench, server.address, alone);
      const stuck = assertFails(client.add({ a: 3 }), "UNAVAILABLE");
      await server.saying("began 3");
      server.child.kill(signal);
      await server.saying("drain started");
      server.child.kill(signal);
      const error = await stuck;
      assert.match(error.message, /the server was closed/);
      assert.deepEqual(await server.exited, [null, signal]);
      assert.equal(await server.saying("drain ended"), "drain ended cut 1 handled 1");
    });
  });
}

describe("a signal", () => {
  it("while the program closes its server waits for that, instead of ending the process with calls underway", async () => {
    await using server = await startServerProcess();
    await using client = createClient(Bench, server.address, alone);
    const reply = client.add({ a: 2 });
    await server.saying("began 2");
    server.child.send("close");
    await server.saying("drain started");
    server.child.kill("SIGTERM");
    server.child.send("release");
    assert.equal((await reply).result, 2);
    assert.deepEqual(await server.exited, [null, "SIGTERM"]);
    assert.equal(await server.saying("drain ended"), "drain ended cut 0 handled 1");
  });

  it("drains all servers of the process before it ends it, and a second one cuts them all", async () => {
    await using server = await startServerProcess({ servers: 3 });
    const addresses = server.said
      .filter((line) => line.startsWith("listening"))
      .map((line) => line.split(" ")[1] ?? "");
    assert.equal(addresses.length, 3);
    await using client = createClient(Bench, addresses[0] ?? "", alone);
    const stuck = assertFails(client.add({ a: 3 }), "UNAVAILABLE");
    await server.saying("began 3");
    server.child.kill("SIGTERM");
    await server.saying("drain ended cut 0");
    assert.equal(server.said.filter((line) => line === "drain started").length, 3);
    server.child.kill("SIGTERM");
    await stuck;
    assert.deepEqual(await server.exited, [null, "SIGTERM"]);
    await server.saying("drain ended cut 1");
    assert.equal(server.said.filter((line) => line.startsWith("drain ended")).length, 3);
  });

  it("of another kind waits for the drain that the first began", async () => {
    await using server = await startServerProcess();
    await using client = createClient(Bench, server.address, alone);
    const reply = client.add({ a: 2 });
    await server.saying("began 2");
    server.child.kill("SIGTERM");
    await server.saying("drain started");
    server.child.kill("SIGINT");
    server.child.send("release");
    assert.equal((await reply).result, 2);
    const [code, signal] = await server.exited;
    assert.equal(code, null);
    assert.ok(signal === "SIGTERM" || signal === "SIGINT", String(signal));
  });
});
