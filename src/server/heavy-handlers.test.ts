import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { benchServer } from "../../test/calls/bench-service.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import type { Socket, SocketEvents } from "../world/network.ts";
import { nodeWorld } from "../world/node.ts";
import type { World } from "../world/world.ts";

const EMPTY = framed(new Uint8Array(0));

/** A world in which handlers say what they cost, and whose server notes when it writes. */
function noting(spentMs: () => number, write: () => void): World {
  const world = nodeWorld;
  const noted = (socket: Socket): Socket =>
    new Proxy(socket, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (name === "write" || name === "writeAll") write();
          return Reflect.apply(value, target, args);
        };
      },
    });
  return {
    ...world,
    clock: { ...world.clock, monotonicMs: () => world.clock.monotonicMs() + spentMs() },
    network: {
      ...world.network,
      listen: (request) =>
        world.network.listen({
          ...request,
          accept: (socket): SocketEvents => request.accept(noted(socket)),
        }),
    },
  };
}

describe("handlers that keep the loop", () => {
  const rig = (isAsync: boolean) => {
    const told: string[] = [];
    let spentMs = 0;
    const begin = (): { result: number } => {
      told.push("begin");
      spentMs += 1;
      return { result: 1 };
    };
    const world = noting(
      () => spentMs,
      () => told.push("write"),
    );
    return { told, server: benchServer({ add: isAsync ? async () => begin() : begin }, { world }) };
  };

  for (const isAsync of [false, true]) {
    it(`${isAsync ? "and are async" : "one after the other"}: answers are written before others begin`, async () => {
      const { told, server: made } = rig(isAsync);
      await using server = made;
      await using raw = await rawClient((await server.listen(0)).address);
      const ask = (): Promise<unknown> => raw.request("/bench.v1.Bench/Add", EMPTY);
      // The method is known for what it costs after some calls.
      for (let i = 0; i < 20; i++) await ask();
      told.length = 0;
      await Promise.all(Array.from({ length: 8 }, ask));
      assert.equal(told.filter((what) => what === "begin").length, 8);
      // Those of one turn begin together, two of them, and async ones answer when they have.
      const beginsMax = isAsync ? 2 : 1;
      const runs = told.join(" ").split("write");
      for (const run of runs) assert.ok(run.split("begin").length - 1 <= beginsMax, told.join(" "));
    });
  }
});
