import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSimulation, type Simulation } from "holdfast/testing";
import type { ConnectionFacts } from "./connection-facts.ts";
import { Identity } from "./identity.ts";
import { ANYONE } from "./rule.ts";
import type { ServerCall } from "./server-call.ts";

/** As much of a call as finding out its caller looks at. */
function callWith(token: string): ServerCall {
  const stub = {
    requestPairs: ["authorization", token],
    route: { plan: { info: { path: "/a.B/C" } }, rule: ANYONE },
    priority: "normal",
    isOver: false,
    principal: undefined,
    identified: () => {},
  };
  return stub as unknown as ServerCall;
}

function scene(): { simulation: Simulation; identity: Identity; asked: string[]; ask(token: string): Promise<void> } {
  const simulation = createSimulation({ seed: 1 });
  const asked: string[] = [];
  const authenticate = (): unknown => {
    asked.push("asked");
    return { id: "alice" };
  };
  const identity = new Identity(authenticate, undefined, simulation.host("server").clock);
  const facts = { door: { asksCertificates: false }, isTrusted: true } as unknown as ConnectionFacts;
  return {
    simulation,
    identity,
    asked,
    async ask(token) {
      identity.identify(callWith(token), facts);
      await Promise.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe("verdicts on who calls", () => {
  it("are asked for once in 5 s, and dropped when they are over", async () => {
    const { simulation, identity, asked, ask } = scene();
    for (let number = 0; number < 100; number += 1) await ask(`token ${number % 50}`);
    assert.equal(asked.length, 50);
    assert.equal(identity.verdictCount, 50);
    await simulation.advance(5_001);
    await ask("another");
    assert.equal(identity.verdictCount, 1, "connections that are gone leave nothing behind");
  });

  it("are not kept for a call with much metadata, whose caller could fill memory with them", async () => {
    const { identity, asked, ask } = scene();
    await ask("x".repeat(5_000));
    await ask("x".repeat(5_000));
    assert.equal(asked.length, 2);
    assert.equal(identity.verdictCount, 0);
  });
});
