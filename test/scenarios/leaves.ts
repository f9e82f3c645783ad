/**
 * A root call that needs a hundred leaf calls, while one of five leaf servers dies or fails. Without recovery next to no root would
 * succeed: at one leaf in five lost, 0.8 to the power of 100.
 */
import { createClient, type HandlerCall, type Policy, RpcError, type Server } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { Bench, type BenchClient, benchHandlers } from "../calls/bench-service.ts";
import { forever } from "../simulation/probe-cluster.ts";
import { LogNormalMs } from "./draws.ts";
import { callLeaves } from "./fan-out.ts";
import { type Outcome, openLoop } from "./open-loop.ts";

/** What befalls one of the five: SIGKILL, SIGSTOP, UNAVAILABLE for every call, or no answer to any. */
export type LeafFault = "killed" | "stopped" | "unavailable" | "hanging";

export interface LeavesPlan {
  readonly seed: number;
  readonly fault: LeafFault;
  readonly rootsPerSecond: number;
  readonly forMs: number;
  /** The deadline of root and single calls; a call that takes longer than a second is late, whatever it is. */
  readonly timeoutMs: number;
  /** From when to when the fault lasts, counted from the first call. */
  readonly faultMs: readonly [from: number, until: number];
  /** Of leaf and single calls. Default the client's own. */
  readonly policy?: Policy<"none"> | undefined;
}

export interface LeavesResult {
  readonly roots: Outcome;
  /** Calls of a single leaf, made at the same time by another client. */
  readonly singles: Outcome;
  /** Attempts of root calls beyond one for each: a root that was repeated was not saved by its leaf calls. */
  readonly extraRoots: number;
  /** Leaf calls that the roots made, and the attempts beyond one for each, as their client counts them. */
  readonly leafCalls: number;
  readonly extraShare: number;
  /** Attempts that reached the ill server while it was ill, and later. */
  readonly reachedIll: number;
  readonly reachedAfter: number;
}

const LEAF_SERVERS = 5;
const ILL = 2;
const SINGLES_PER_SECOND = 50;
const LATE_MS = 1_000;

export async function playLeaves(plan: LeavesPlan): Promise<LeavesResult> {
  await using cluster = createCluster({ seed: plan.seed });
  const leaves = new Leaves(cluster, plan);
  const clients: BenchClient[] = [];
  cluster.serve("root", 1, (server) => {
    const world = cluster.simulation.host("root/0");
    const leaf = createClient(Bench, cluster.target("leaf"), { world, plaintext: true, policy: plan.policy });
    clients.push(leaf);
    return server.service(Bench, { ...benchHandlers, add: async () => ({ result: await callLeaves(leaf) }) });
  });
  const { timeoutMs } = plan;
  const root = cluster.client(Bench, "root", { policy: { timeoutMs } });
  const single = cluster.client(Bench, "leaf", { policy: { ...plan.policy, timeoutMs }, host: "single" });
  await cluster.settle(Promise.all([root.$channel.ready(), single.$channel.ready()]));
  leaves.begin();
  const arrivals = { forMs: plan.forMs, lateMs: LATE_MS };
  const [roots, singles] = await Promise.all([
    openLoop(cluster, { ...arrivals, perSecond: plan.rootsPerSecond }, () => root.add({ a: 1, b: 1 })),
    openLoop(cluster, { ...arrivals, perSecond: SINGLES_PER_SECOND }, (a) => single.add({ a, b: 1 })),
  ]);
  const row = clients[0]?.$channel.reliability()[0];
  const rootRow = root.$channel.reliability()[0];
  return {
    roots,
    singles,
    extraRoots: Math.round((rootRow?.extraLoadShare ?? Number.NaN) * roots.calls),
    leafCalls: row?.calls ?? 0,
    extraShare: row?.extraLoadShare ?? Number.NaN,
    reachedIll: leaves.reachedIll,
    reachedAfter: leaves.reachedAfter,
  };
}

/** The leaf servers, one of which falls ill. */
class Leaves {
  reachedIll = 0;
  reachedAfter = 0;
  private readonly cluster: Cluster;
  private readonly plan: LeavesPlan;
  private readonly usual: LogNormalMs;
  private beganAtMs = Number.POSITIVE_INFINITY;

  constructor(cluster: Cluster, plan: LeavesPlan) {
    this.cluster = cluster;
    this.plan = plan;
    this.usual = new LogNormalMs(seededRandom(plan.seed), 3, { share: 0.02, ms: 10 });
    cluster.serve("leaf", LEAF_SERVERS, (server, index) => this.build(server, index));
  }

  /** The plan's times count from now. */
  begin(): void {
    this.beganAtMs = this.cluster.simulation.nowMs;
    const { fault, faultMs } = this.plan;
    const peer = `leaf/${ILL}`;
    const [atMs, untilMs] = faultMs;
    const forMs = untilMs - atMs;
    if (fault === "killed") this.cluster.inject({ kind: "crash", peer, atMs, forMs });
    if (fault === "stopped") this.cluster.inject({ kind: "freeze", peer, atMs, forMs });
  }

  private build(server: Server, index: number): Server {
    const { timers } = this.cluster.simulation.host(`leaf/${index}`);
    return server.service(Bench, {
      ...benchHandlers,
      add: ({ a, b }, call) =>
        this.failure(index, call) ??
        new Promise((resolve) => timers.schedule(this.usual.draw(), () => resolve({ result: a + b }))),
    });
  }

  /** What the call meets instead of an answer, if the server is ill. */
  private failure(index: number, call: HandlerCall): Promise<never> | undefined {
    const { fault, faultMs } = this.plan;
    const atMs = this.cluster.simulation.nowMs - this.beganAtMs;
    if (index !== ILL || atMs < faultMs[0]) return undefined;
    if (atMs >= faultMs[1]) {
      this.reachedAfter += 1;
      return undefined;
    }
    this.reachedIll += 1;
    if (fault === "unavailable") return Promise.reject(new RpcError("UNAVAILABLE", "ill"));
    return fault === "hanging" ? forever(undefined, call) : undefined;
  }
}
