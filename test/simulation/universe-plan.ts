/**
 * One universe as data, drawn from its seed: how many servers and clients, what is called how often, and what goes wrong when. Each
 * seed draws its own character first (which troubles it knows, how hard they are) and then the details, as TigerBeetle's VOPR and
 * swarm testing do: a universe that knows everything a little meets few of the deep mixtures.
 */
import type { CallKind, Effect } from "../../src/call/method.ts";
import type { Random } from "../../src/world/random.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { between, happens, oneOf } from "./chance.ts";
import { type PlannedFault, planFaults } from "./fault-plan.ts";

/** Attempts that may reach a handler, by the preset that a client calls with. */
export const attemptsOf = { standard: 3, interactive: 3, background: 5, none: 1 } as const;
export type SimPreset = keyof typeof attemptsOf;

export interface ServersPlan {
  /** On the hosts `shop/0`, `shop/1` ... */
  readonly replicas: number;
  /** Calls at once that a server takes on one connection. */
  readonly streamsMax: number;
  /** How long handlers work, on average. */
  readonly workMsMean: number;
  /** At which they drain connections; undefined: never. */
  readonly connectionAgeMsMax: number | undefined;
  /** Where they keep the first answers of unary calls; undefined: they keep none. */
  readonly journal: "memory" | "file" | undefined;
}

export interface ClientPlan {
  readonly host: string;
  /** Loops of calls that run at once. */
  readonly workers: number;
  /** Between two calls of a loop, on average. */
  readonly pauseMsMean: number;
  readonly timeoutMsMean: number;
  readonly connectTimeoutMs: number;
  /** Shares of calls that are cancelled underway, whose reply stream is left before its end, whose handler is asked to fail or to work on after its deadline. */
  readonly cancelShare: number;
  readonly leaveShare: number;
  readonly raiseShare: number;
  readonly stubbornShare: number;
  readonly effects: readonly Effect[];
  readonly kinds: readonly CallKind[];
  readonly preset: SimPreset;
}

export interface UniversePlan {
  readonly seed: number;
  readonly servers: ServersPlan;
  readonly clients: readonly ClientPlan[];
  readonly link: { readonly latencyMs: number; readonly jitterMs: number; readonly lossShare: number };
  /** Calls and faults belong to this time; then all is well again. */
  readonly stormMs: number;
  /** Bits flip on the way: without integrity nothing can be said about what is read then. */
  readonly isCorrupting: boolean;
  readonly faults: readonly PlannedFault[];
}

const AGES = 0x5eed;
const JOURNALS = 0x0dce;
/** The name under which the servers are served. */
export const serviceName = "shop";

const allEffects: readonly Effect[] = ["none", "idempotent", "once", "unknown"];
const allKinds: readonly CallKind[] = ["unary", "server-stream", "client-stream", "bidi"];

/** The universe of a seed, always the same. RangeError for a seed that is no whole number from 0 to 2^53 - 1. */
export function planUniverse(seed: number): UniversePlan {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed must be a whole number, got ${seed}`);
  const random = seededRandom(seed);
  const replicas = between(random, 2, 7);
  const clients = Array.from({ length: between(random, 1, 4) }, (_, index) => planClient(random, `c${index}`));
  const stormMs = between(random, 4, 20) * 1000;
  const isCorrupting = happens(random, 0.1);
  return {
    seed,
    servers: {
      replicas,
      streamsMax: oneOf(random, [2, 8, 100, 100, 100]),
      workMsMean: oneOf(random, [1, 5, 20, 60, 200]),
      // From a source of its own, so that all else of a seed's universe is as it was before there were ages.
      connectionAgeMsMax: oneOf(seededRandom((seed ^ AGES) >>> 0), [undefined, undefined, 1_000, 3_000]),
      journal: oneOf(seededRandom((seed ^ JOURNALS) >>> 0), [undefined, undefined, "memory", "file"]),
    },
    clients,
    link: {
      latencyMs: oneOf(random, [0.1, 0.5, 0.5, 2, 10]),
      jitterMs: oneOf(random, [0, 0.1, 1, 5]),
      lossShare: oneOf(random, [0, 0, 0, 0.001, 0.01, 0.1]),
    },
    stormMs,
    isCorrupting,
    faults: planFaults(random, {
      servers: Array.from({ length: replicas }, (_, index) => `${serviceName}/${index}`),
      clients: clients.map(({ host }) => host),
      stormMs,
      isCorrupting,
    }),
  };
}

function planClient(random: Random, host: string): ClientPlan {
  return {
    host,
    workers: between(random, 2, 12),
    pauseMsMean: oneOf(random, [10, 40, 100, 300]),
    timeoutMsMean: oneOf(random, [100, 500, 1000, 3000]),
    connectTimeoutMs: oneOf(random, [500, 2000, 5000]),
    cancelShare: oneOf(random, [0, 0.05, 0.2]),
    leaveShare: oneOf(random, [0, 0.1]),
    raiseShare: oneOf(random, [0, 0.05, 0.3]),
    stubbornShare: oneOf(random, [0, 0, 0.05]),
    effects: happens(random, 0.6) ? allEffects : [oneOf(random, allEffects), oneOf(random, allEffects)],
    // Most calls of the world have one request and one reply.
    kinds: happens(random, 0.5) ? ["unary", ...allKinds] : ["unary"],
    preset: oneOf<SimPreset>(random, ["standard", "standard", "standard", "interactive", "background", "none"]),
  };
}

/** The same universe with some of its faults, and a shorter storm; those faults that would begin after it are left out. */
export function reducedPlan(plan: UniversePlan, faults: readonly PlannedFault[], stormMs: number): UniversePlan {
  return { ...plan, stormMs, faults: faults.filter(({ atMs }) => atMs < stormMs) };
}
