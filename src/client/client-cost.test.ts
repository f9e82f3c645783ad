import assert from "node:assert/strict";
import { it } from "node:test";
import { createSimulation } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";
import { createServer } from "../server/create-server.ts";
import type { World } from "../world/world.ts";
import { createClient } from "./create-client.ts";

const CALLS = 1_000;

/** The world, and how many timers were set in it. */
function counting(world: World): { readonly world: World; timers: number } {
  const counted = {
    timers: 0,
    world: {
      ...world,
      timers: {
        ...world.timers,
        schedule: (delayMs: number, callback: () => void) => {
          counted.timers += 1;
          return world.timers.schedule(delayMs, callback);
        },
        hold: () => world.timers.hold(),
        afterTurn: (callback: () => void) => world.timers.afterTurn(callback),
      },
    },
  };
  return counted;
}

it("a call sets no timer of its own and makes no AbortController, deadline, overdue copy and all", async (context) => {
  const simulation = createSimulation({ seed: 5 });
  simulation.boot("shop", (world) =>
    probe(createServer({ world }), {
      unary: async ({ body }) => {
        await pause(world, 1);
        return { body };
      },
    }).listen("0.0.0.0:50051", { plaintext: true }),
  );
  await simulation.advance(1);
  const counted = counting(simulation.host("client"));
  let controllers = 0;
  const { AbortController: Original } = globalThis;
  context.after(() => (globalThis.AbortController = Original));
  globalThis.AbortController = class extends Original {
    constructor() {
      super();
      controllers += 1;
    }
  };
  const client = createClient(SafeProbe, "shop:50051", { world: counted.world, plaintext: true });
  const many = (): Promise<unknown> => Promise.all(Array.from({ length: CALLS }, () => client.unary({})));
  await simulation.settle(many());
  const before = counted.timers;
  controllers = 0;
  await simulation.settle(many());
  assert.equal(controllers, 0);
  assert.ok(counted.timers - before < CALLS / 10, `${counted.timers - before} timers for ${CALLS} calls`);
  await simulation.settle(client.$close({ timeoutMs: 0 }));
});
