import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSimulation } from "holdfast/testing";
import { Bench, benchServer } from "../../test/calls/bench-service.ts";
import { createClient } from "./create-client.ts";
import { createSwitches } from "./switches.ts";

describe("switches", () => {
  it("are on unless told, and refuse what they do not know at once", () => {
    const switches = createSwitches({ states: { hedge: "off" } });
    assert.deepEqual([switches.get("hedge"), switches.get("retry")], ["off", "on"]);
    assert.throws(() => createSwitches({ states: { hegde: "off" } as never }), {
      name: "TypeError",
      message: /did you mean "hedge"/,
    });
    assert.throws(() => createSwitches({ states: { hedge: "of" as never } }), { name: "RangeError", message: /"of"/ });
    assert.throws(() => createSwitches({ pollMs: 1 }), { name: "RangeError", message: /pollMs must be 100\.\./ });
  });

  it("follow their file, keep the last good states when it is spoilt, and say why", async () => {
    const simulation = createSimulation();
    const errors: string[] = [];
    const world = simulation.host("client");
    const switches = createSwitches({ file: "switches.json", world, onError: ({ message }) => errors.push(message) });
    await simulation.settle(switches.refresh());
    assert.equal(switches.get("retry"), "on");
    assert.deepEqual(errors, [], "a file that is not there says nothing");
    simulation.writeFile("client", "switches.json", '{"retry":"off"}');
    await simulation.advance(1_000);
    assert.equal(switches.get("retry"), "off");
    simulation.writeFile("client", "switches.json", '{"retry":"onn"}');
    await simulation.advance(1_000);
    assert.equal(switches.get("retry"), "off");
    assert.match(errors[0] ?? "", /switches\.json.*retry.*"onn"/);
    await switches[Symbol.asyncDispose]();
    simulation.writeFile("client", "switches.json", "{}");
    await simulation.advance(5_000);
    assert.equal(switches.get("retry"), "off", "nobody looks any more");
  });

  it("turn a mechanism off in a running client, and $explain says so", async () => {
    let asked = 0;
    await using server = benchServer({
      add() {
        asked += 1;
        throw new Error("always");
      },
    });
    const switches = createSwitches();
    await using client = createClient(Bench, (await server.listen(0)).address, { switches });
    await assert.rejects(client.add({}), { code: "UNKNOWN" });
    assert.equal(asked, 3);
    switches.set("retry", "off");
    await assert.rejects(client.add({}), { code: "UNKNOWN" });
    assert.equal(asked, 4);
    assert.match(String(client.$explain("add")), /retry +off +by createSwitches/);
  });
});

describe("a mechanism that only observes", () => {
  it("says what it would have done, and does nothing", async () => {
    await using server = benchServer({
      add() {
        throw new Error("always");
      },
    });
    const switches = createSwitches({ states: { retry: "observe" } });
    await using client = createClient(Bench, (await server.listen(0)).address, { switches });
    const seen: string[] = [];
    using _listening = client.$on("observed", ({ mechanism, what }) => seen.push(`${mechanism}: ${what}`));
    await assert.rejects(client.add({}), { code: "UNKNOWN" });
    assert.deepEqual(seen, ["retry: repeated after UNKNOWN"]);
    assert.equal(client.$channel.reliability()[0]?.extraLoadShare, 0);
  });

  it("may be the balancer's panic: off, a call waits while all are thought ill", async () => {
    const { createBalancer } = await import("../policy/balance/balancer.ts");
    const { Candidate } = await import("../policy/balance/candidate.ts");
    const { seededRandom } = await import("../world/seeded-random.ts");
    const peer = new Candidate();
    peer.isReady = true;
    peer.isHealthy = false;
    const balancer = createBalancer({ kind: "p2c-ewma", random: seededRandom(1), gate: { admits: () => true } });
    balancer.changed([peer], 0);
    assert.equal(balancer.pick(0, undefined), peer);
    balancer.mayPanic = false;
    balancer.changed([peer], 0);
    assert.equal(balancer.pick(0, undefined), undefined);
  });
});
