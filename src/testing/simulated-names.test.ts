import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nodeWorld } from "../world/node.ts";
import type { ListenRequest, ResolveResult } from "../world/network.ts";
import type { World } from "../world/world.ts";
import { NetworkRecorder } from "./network-recorder.ts";
import { simulatedNames } from "./simulated-names.ts";
import { createSimulation, type Simulation } from "./simulation.ts";

function request(): ListenRequest {
  return {
    address: { kind: "tcp", host: "0.0.0.0", port: 80 },
    tls: undefined,
    alpn: [],
    handshakeTimeoutMs: 1000,
    accept: () => new NetworkRecorder(),
    failed: (error) => assert.fail(error.text),
  };
}

/** What `name` resolves to, and after how long. */
async function asked(
  simulation: Simulation,
  world: World,
  name: string,
): Promise<{ readonly result: ResolveResult; readonly afterMs: number }> {
  const beganMs = simulation.nowMs;
  const result = await simulation.settle(new Promise<ResolveResult>((done) => world.network.resolve(name, done)));
  return { result, afterMs: simulation.nowMs - beganMs };
}

/** Connects to port 80 of `host`, and gives back how it ended and after how long. */
async function dialled(
  simulation: Simulation,
  world: World,
  host: string,
): Promise<{ readonly outcome: string; readonly afterMs: number; readonly remote: string }> {
  const beganMs = simulation.nowMs;
  const recorder = new NetworkRecorder();
  const socket = world.network.connect({ kind: "tcp", host, port: 80 }, { tls: undefined, alpn: [] }, recorder);
  await simulation.settle(
    recorder.until(() => recorder.happenings.length > 0),
    { limitMs: 200_000 },
  );
  const { error } = recorder;
  const outcome = error === undefined ? "opened" : `${error.phase} ${error.code}`;
  const { remoteAddress } = socket;
  socket.destroy();
  return { outcome, afterMs: simulation.nowMs - beganMs, remote: remoteAddress };
}

describe("names in a simulation", () => {
  it("mean by themselves: hosts their address, localhost the loopback, others nothing", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    simulation.host("shop");
    assert.deepEqual(await asked(simulation, world, "shop"), {
      result: { addresses: [simulation.address("shop")] },
      afterMs: 1,
    });
    assert.deepEqual((await asked(simulation, world, "localhost")).result, { addresses: ["127.0.0.1"] });
    assert.deepEqual((await asked(simulation, world, "gone")).result, {
      error: { phase: "resolve", code: "ENOTFOUND", text: "getaddrinfo ENOTFOUND gone" },
    });
    for (const literal of ["10.0.0.1", "::1", "203.0.113.9"]) {
      assert.deepEqual(await asked(simulation, world, literal), { result: { addresses: [literal] }, afterMs: 0 });
    }
  });

  it("have the addresses they are given, a host's own name too, until they are forgotten", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    const names = simulatedNames(world);
    assert.equal(simulatedNames(simulation.host("shop")), names);
    names.set("shop", ["fd00::2", "10.1.1.1"]);
    assert.deepEqual((await asked(simulation, world, "shop")).result, { addresses: ["fd00::2", "10.1.1.1"] });
    names.forget("shop");
    assert.deepEqual((await asked(simulation, world, "shop")).result, { addresses: [simulation.address("shop")] });
  });

  it("fail with the code they are told, for who resolves and for who connects", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    simulatedNames(world).fail("shop.test", "EAI_AGAIN");
    assert.deepEqual(await asked(simulation, world, "shop.test"), {
      result: { error: { phase: "resolve", code: "EAI_AGAIN", text: "getaddrinfo EAI_AGAIN shop.test" } },
      afterMs: 1,
    });
    const { outcome, afterMs } = await dialled(simulation, world, "shop.test");
    assert.deepEqual([outcome, afterMs], ["resolve EAI_AGAIN", 1]);
  });

  it("may never be answered, and a cancel then leaves nothing behind", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    simulatedNames(world).silence("shop.test");
    const told: ResolveResult[] = [];
    const cancel = world.network.resolve("shop.test", (result) => told.push(result));
    const recorder = new NetworkRecorder();
    const address = { kind: "tcp", host: "shop.test", port: 80 } as const;
    const socket = world.network.connect(address, { tls: undefined, alpn: [] }, recorder);
    await simulation.advance(3_600_000);
    assert.deepEqual([told, recorder.happenings], [[], []]);
    cancel();
    socket.destroy();
    await simulation.settle(recorder.saw("closed"));
    assert.equal(recorder.error, undefined);
  });

  it("tell a dead process nothing", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    simulation.host("shop");
    const told: ResolveResult[] = [];
    world.network.resolve("shop", (result) => told.push(result));
    simulation.crash("client");
    world.network.resolve("10.0.0.1", (result) => told.push(result));
    await simulation.advance(1000);
    assert.deepEqual(told, []);
  });
});

describe("addresses in a simulation", () => {
  it("are a host's, as many as it is given, and its connections say which one was dialled", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    const names = simulatedNames(world);
    await simulation.settle(simulation.host("shop").network.listen(request()));
    names.place("fd00::2", { host: "shop" });
    names.place("192.0.2.7", { host: "shop" });
    names.set("shop.test", ["192.0.2.7", "fd00::2"]);
    const remotes: string[] = [];
    for (const host of ["fd00::2", "192.0.2.7", "shop.test", "shop"]) {
      const { outcome, remote } = await dialled(simulation, world, host);
      assert.equal(outcome, "opened", host);
      remotes.push(remote);
    }
    assert.deepEqual(remotes, ["[fd00::2]:80", "192.0.2.7:80", "192.0.2.7:80", `${simulation.address("shop")}:80`]);
  });

  it("are silent, refuse, or are nobody's", async () => {
    const simulation = createSimulation();
    const world = simulation.host("client");
    const names = simulatedNames(world);
    names.place("fd00::dead", "black-hole");
    names.place("fd00::f", "refusing");
    const outcomes = [];
    for (const host of ["fd00::dead", "fd00::f", "203.0.113.9"]) {
      const { outcome, afterMs } = await dialled(simulation, world, host);
      outcomes.push([outcome, afterMs]);
    }
    assert.deepEqual(outcomes, [
      ["connect ETIMEDOUT", 127_000],
      ["connect ECONNREFUSED", 1],
      ["connect EHOSTUNREACH", 3000],
    ]);
  });

  it("cannot be what they are not: precise errors for words in place of addresses, and the other way round", () => {
    const names = simulatedNames(createSimulation().host("client"));
    const said = (call: () => void): string => {
      try {
        call();
      } catch (error) {
        return String(error);
      }
      return "nothing";
    };
    assert.deepEqual(
      [
        said(() => names.set("10.0.0.1", ["10.0.0.2"])),
        said(() => names.set("shop.test", [])),
        said(() => names.set("shop.test", ["shop"])),
        said(() => names.fail("", "ENOTFOUND")),
        said(() => names.silence("::1")),
        said(() => names.place("shop", "refusing")),
        said(() => simulatedNames(nodeWorld)),
      ],
      [
        'RangeError: a name must be no address, got "10.0.0.1"',
        "RangeError: shop.test must have at least one address, got none",
        'RangeError: an address must be an IPv4 or IPv6 literal, got "shop"',
        'RangeError: a name must be no address, got ""',
        'RangeError: a name must be no address, got "::1"',
        'RangeError: an address must be an IPv4 or IPv6 literal, got "shop"',
        "TypeError: the world must be one that a simulation has made",
      ],
    );
  });
});
