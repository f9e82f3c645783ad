import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planOf } from "../schema/plan.ts";
import { builtIns, type BuiltInOptions } from "./built-ins.ts";
import { debugBuiltIn } from "./debug.ts";
import { HealthBoard } from "./health.ts";
import { HealthService } from "./health-service.ts";
import { ReflectionIndex } from "./reflection-index.ts";

const HEALTH = "grpc.health.v1.Health";
const REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
const DEBUG = "grpc.channelz.v1.Channelz";
const debug = debugBuiltIn({ servers: () => [], sockets: () => [], channels: () => [] });

function named(options: Partial<BuiltInOptions>): readonly (readonly [name: string, isLocalOnly: boolean])[] {
  const health = new HealthService(new HealthBoard());
  const all = { health, index: new ReflectionIndex(), reflection: undefined, debug: undefined, ...options };
  return builtIns(all).map(({ contract, isLocalOnly }) => [contract.typeName, isLocalOnly]);
}

describe("the server's own services", () => {
  it("health is everywhere, reflection on this machine, debug answers nowhere", () => {
    assert.deepEqual(named({}), [[HEALTH, false], ...REFLECTION.map((name) => [name, true])]);
  });

  it("reflection is everywhere if asked for, and nowhere if refused", () => {
    assert.deepEqual(named({ reflection: true }), [[HEALTH, false], ...REFLECTION.map((name) => [name, false])]);
    assert.deepEqual(named({ reflection: false }), [[HEALTH, false]]);
  });

  it("debug answers never leave this machine", () => {
    assert.deepEqual(named({ reflection: true, debug }).at(-1), [DEBUG, true]);
  });

  it("reflection tells of them", () => {
    const index = new ReflectionIndex();
    named({ index, debug });
    assert.deepEqual(index.services, [DEBUG, HEALTH, ...REFLECTION]);
  });

  it("each has all its handlers", () => {
    const health = new HealthService(new HealthBoard());
    const index = new ReflectionIndex();
    for (const { contract, handlers } of builtIns({ health, index, reflection: true, debug })) {
      const byName = handlers as Readonly<Record<string, unknown>>;
      const names = [...planOf(contract).byLocalName.keys()];
      assert.ok(names.length > 0);
      assert.deepEqual(
        names.filter((name) => typeof byName[name] !== "function"),
        [],
      );
    }
  });
});
