/**
 * What goes wrong in one universe: each trouble is a small schedule of injections, drawn from the seed. All of them end with the storm.
 */
import type { Injection } from "holdfast/testing";
import type { Code } from "../../src/call/code.ts";
import type { Random } from "../../src/world/random.ts";
import { around, between, happens, oneOf, shuffled, someOf } from "./chance.ts";

/** A server that ends in good order, and is started again `forMs` later. Not an injection: no fault, but no peace either. */
export interface PlannedDrain {
  readonly kind: "drain";
  readonly peer: string;
}

/** Everything that is planned says when it begins; `forMs` is left out where it holds for a moment. */
export type PlannedFault = (Injection | PlannedDrain) & { readonly atMs: number; readonly forMs?: number | undefined };

export interface FaultScene {
  readonly servers: readonly string[];
  readonly clients: readonly string[];
  readonly stormMs: number;
  readonly isCorrupting: boolean;
}

type Trouble = (random: Random, scene: FaultScene) => readonly PlannedFault[];

/** The service that the handlers' faults are for. */
export const servicePath = "/holdfast.interop.v1.Probe/";

/** Share of universes that know a trouble, each trouble by itself. */
const KNOWN_SHARE = 0.3;

/** All the troubles there are, by name. */
export const troubles: Readonly<Record<string, Trouble>> = {
  crashes: (random, scene) =>
    times(random, scene, 4, (at) => ({ ...at(1200), kind: "crash", peer: server(random, scene) })),
  powerFailures: (random, scene) =>
    times(random, scene, 2, (at) => ({ ...at(1500), kind: "crash", peer: server(random, scene), isMachine: true })),
  restarts: (random, scene) =>
    times(random, scene, 6, (at) => ({ ...at(150), kind: "restart", peer: server(random, scene) })),
  drains: (random, scene) =>
    times(random, scene, 5, (at) => ({ ...at(800), kind: "drain", peer: server(random, scene) })),
  clientRestarts: (random, scene) =>
    times(random, scene, 2, (at) => ({ ...at(200), kind: "restart", peer: oneOf(random, scene.clients) })),
  freezes: (random, scene) =>
    times(random, scene, 3, (at) => ({
      ...at(oneOf(random, [100, 1000, 3000])),
      kind: "freeze",
      peer: server(random, scene),
    })),
  stalls: (random, scene) =>
    times(random, scene, 8, (at) => {
      const { atMs, forMs } = at(150);
      return { atMs, kind: "stall", peer: server(random, scene), stallMs: forMs };
    }),
  ownStalls: (random, scene) =>
    times(random, scene, 3, (at) => ({ ...at(400), kind: "freeze", peer: oneOf(random, scene.clients) })),
  loss: (random, scene) =>
    times(random, scene, 2, (at) => ({
      ...at(1500),
      kind: "drop",
      peer: maybePeer(random, scene),
      share: random.float() * 0.3,
    })),
  slowPeers: (random, scene) =>
    times(random, scene, 3, (at) => ({
      ...at(2000),
      kind: "delay",
      peer: maybePeer(random, scene),
      delayMs: oneOf(random, [5, 50, 300, 1500]),
      share: oneOf(random, [0.05, 0.3, 1]),
    })),
  resets: (random, scene) =>
    times(random, scene, 6, (at) => ({
      atMs: at(1).atMs,
      kind: "reset",
      peer: server(random, scene),
      share: oneOf(random, [0.5, 1]),
    })),
  resetStorms: (random, scene) =>
    times(random, scene, 2, (at) => ({
      ...at(800),
      kind: "reset",
      peer: server(random, scene),
      share: random.float() * 0.1,
    })),
  truncations: (random, scene) =>
    times(random, scene, 5, (at) => ({
      atMs: at(1).atMs,
      kind: "truncate",
      peer: server(random, scene),
      share: oneOf(random, [0.5, 1]),
    })),
  isolations: (random, scene) =>
    times(random, scene, 2, (at) => ({
      ...at(1000),
      kind: "partition",
      ...ends(random, server(random, scene), oneOf(random, scene.clients)),
    })),
  split,
  flapping,
  clockJumps: (random, scene) =>
    times(random, scene, 4, (at) => ({
      ...at(1500),
      kind: "clock-jump",
      peer: oneOf(random, [...scene.servers, ...scene.clients]),
      byMs: oneOf(random, [-3_600_000, -1000, 1000, 3_600_000]),
    })),
  failures: (random, scene) =>
    times(random, scene, 3, (at) => ({
      ...at(2000),
      kind: "fail",
      path: servicePath,
      code: oneOf<Code>(random, ["UNAVAILABLE", "UNAVAILABLE", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "ABORTED"]),
      peer: happens(random, 0.8) ? server(random, scene) : undefined,
      share: oneOf(random, [0.1, 0.5, 1]),
    })),
  slowHandlers: (random, scene) =>
    times(random, scene, 2, (at) => ({
      ...at(1500),
      kind: "delay",
      path: servicePath,
      delayMs: oneOf(random, [20, 200, 2000]),
      peer: happens(random, 0.5) ? server(random, scene) : undefined,
      share: oneOf(random, [0.02, 0.1, 0.5, 1]),
    })),
  outage: (random, scene) => {
    const { atMs, forMs } = moment(random, scene, 1000);
    return scene.servers.map((peer) => ({ kind: "crash", peer, atMs, forMs }));
  },
  rollingRestart: (random, scene) =>
    rolling(random, scene, (peer, atMs, forMs) => ({ kind: "restart", peer, atMs, forMs })),
  rollingDrain: (random, scene) =>
    rolling(random, scene, (peer, atMs, forMs) => ({ kind: "drain", peer, atMs, forMs })),
  swizzle,
};

/** What goes wrong in this scene: a few of the troubles, in the order in which they begin. */
export function planFaults(random: Random, scene: FaultScene): readonly PlannedFault[] {
  const names = Object.keys(troubles);
  const certain = oneOf(random, names);
  const faults = names.flatMap((name) =>
    name === certain || happens(random, KNOWN_SHARE) ? (troubles[name]?.(random, scene) ?? []) : [],
  );
  if (scene.isCorrupting) {
    faults.push(
      ...times(random, scene, 3, (at) => ({
        ...at(1500),
        kind: "corrupt",
        peer: server(random, scene),
        share: random.float() * 0.05,
      })),
    );
  }
  return faults.sort((left, right) => left.atMs - right.atMs);
}

function server(random: Random, scene: FaultScene): string {
  return oneOf(random, scene.servers);
}

/** One server, or (undefined) the whole network. */
function maybePeer(random: Random, scene: FaultScene): string | undefined {
  return happens(random, 0.8) ? server(random, scene) : undefined;
}

/** A beginning within the storm, and a duration around `meanMs` that ends with it at the latest. */
function moment(random: Random, scene: FaultScene, meanMs: number): { readonly atMs: number; readonly forMs: number } {
  const atMs = between(random, 0, scene.stormMs - 1);
  return { atMs, forMs: Math.min(around(random, meanMs), scene.stormMs - atMs) };
}

/** One to `timesMax` faults, each at a moment of its own. */
function times(
  random: Random,
  scene: FaultScene,
  timesMax: number,
  make: (at: (meanMs: number) => { readonly atMs: number; readonly forMs: number }) => PlannedFault,
): PlannedFault[] {
  return Array.from({ length: between(random, 1, timesMax) }, () => make((meanMs) => moment(random, scene, meanMs)));
}

/** Both ways, or one of them. */
function ends(random: Random, left: string, right: string): { between: readonly [string, string]; isOneWay: boolean } {
  return { between: happens(random, 0.5) ? [left, right] : [right, left], isOneWay: happens(random, 0.5) };
}

/** Some clients and some servers do not see each other. */
function split(random: Random, scene: FaultScene): readonly PlannedFault[] {
  const { atMs, forMs } = moment(random, scene, 1500);
  const isOneWay = happens(random, 0.3);
  const servers = someOf(random, scene.servers);
  return someOf(random, scene.clients).flatMap((client) =>
    servers.map((peer) => ({ kind: "partition" as const, between: [client, peer] as const, isOneWay, atMs, forMs })),
  );
}

/** A link that comes and goes every 200 ms. */
function flapping(random: Random, scene: FaultScene): readonly PlannedFault[] {
  const peer = server(random, scene);
  const { atMs: fromMs } = moment(random, scene, 1);
  const faults: PlannedFault[] = [];
  for (let atMs = fromMs; atMs < Math.min(fromMs + 2400, scene.stormMs - 200); atMs += 400) {
    for (const client of scene.clients) faults.push({ kind: "partition", between: [client, peer], atMs, forMs: 200 });
  }
  return faults;
}

/** One server after the other. */
function rolling(
  random: Random,
  scene: FaultScene,
  make: (peer: string, atMs: number, forMs: number) => PlannedFault,
): readonly PlannedFault[] {
  const stepMs = Math.floor(scene.stormMs / (scene.servers.length + 1));
  return scene.servers.map((peer, index) =>
    make(peer, index * stepMs + between(random, 0, stepMs - 1), between(random, 1, stepMs)),
  );
}

/** FoundationDB's swizzle-clogging: some servers are stopped or cut off one by one, and let go in another order. */
function swizzle(random: Random, scene: FaultScene): readonly PlannedFault[] {
  const chosen = shuffled(random, someOf(random, scene.servers));
  const spanMs = between(random, 500, Math.floor(scene.stormMs / 2));
  const fromMs = between(random, 0, scene.stormMs - spanMs);
  const beginsMs = chosen.map(() => between(random, fromMs, fromMs + Math.floor(spanMs / 2))).sort((a, b) => a - b);
  const isFrozen = happens(random, 0.5);
  return chosen.flatMap((peer, index): PlannedFault[] => {
    const atMs = beginsMs[index] as number;
    const untilMs = between(random, fromMs + Math.floor(spanMs / 2) + 1, fromMs + spanMs);
    const forMs = untilMs - atMs;
    if (isFrozen) return [{ kind: "freeze", peer, atMs, forMs }];
    return scene.clients.map((client) => ({ kind: "partition", between: [client, peer], atMs, forMs }));
  });
}
