/**
 * The choice of a peer alone: nanoseconds a pick, by kind of balancing, gate and number of peers.
 * `npm run --silent bench -- pick [--json]`
 *
 * Peers have been observed at different times in the last 30 s and have calls in flight; every 16th pick starts an attempt at the peer and
 * ends the one before it, so that costs move. With the gate "open" every peer is admitted: what the choice costs. With the gate "channel" a
 * peer is asked what a channel asks it (in flight, pushback, its connection's state, free streams, staleness), 1 in 20 asks not to be called
 * and 1 in 20 has no stream free. Rounds alternate between the cases; a figure is the median of 15 rounds, with the fastest and the
 * slowest. It does not measure excluded peers, the start of the call, nor `changed`, which is O(n) and rare; all cases share one process, so that the
 * calls of kinds and gates are polymorphic, as in a process with several channels.
 */
import type { Outstanding } from "../src/call/outstanding.ts";
import { type BalanceKind, type Balancer, createBalancer } from "../src/policy/balance/balancer.ts";
import { seededRandom } from "../src/world/seeded-random.ts";
import { BenchPeer, ChannelGate, OpenGate } from "./pick-gate.ts";

type GateName = "open" | "channel";

interface Result {
  readonly kind: BalanceKind;
  readonly gate: GateName;
  readonly peers: number;
  /** The median of the rounds, the fastest and the slowest. */
  readonly nsPerPick: number;
  readonly nsPerPickMin: number;
  readonly nsPerPickMax: number;
}

const kinds: readonly BalanceKind[] = ["p2c-ewma", "round-robin", "random", "weighted", "least-loaded"];
const gates: readonly GateName[] = ["open", "channel"];
const sizes: readonly number[] = [10, 100, 1_000, 10_000];
const rounds = 15;
const roundMs = 15;
const batch = 4_096;

const lines = gates.flatMap((gate) => kinds.map((kind) => ({ kind, gate })));
const cases = lines.flatMap(({ kind, gate }) =>
  sizes.map((peers) => ({ kind, gate, peers, run: picker(kind, gate, peers), ns: [] as number[] })),
);
for (let round = 0; round <= rounds; round += 1) {
  // The first round warms up.
  for (const { run, ns } of cases) {
    const figure = nanosecondsOf(run);
    if (round > 0) ns.push(figure);
  }
}
const results: readonly Result[] = cases.map(({ kind, gate, peers, ns }) => ({
  kind,
  gate,
  peers,
  nsPerPick: rounded(median(ns)),
  nsPerPickMin: rounded(Math.min(...ns)),
  nsPerPickMax: rounded(Math.max(...ns)),
}));
const growth = lines.map(({ kind, gate }) => ({ kind, gate, ratio: growthOf(kind, gate) }));

if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ results, growth }));
} else {
  const titles = sizes.map((peers) => `${peers} peers`.padStart(16)).join("");
  console.log(`ns per pick, median (fastest..slowest)\n${" ".repeat(23)}${titles}   10,000 against 10`);
  for (const { kind, gate, ratio } of growth) {
    const figures = sizes.map((peers) => figureText(kind, gate, peers).padStart(16)).join("");
    console.log(`${kind.padEnd(13)} ${gate.padEnd(9)}${figures}   ${ratio}x`);
  }
}

/** A batch of picks at a balancer with so many peers. */
function picker(kind: BalanceKind, gateName: GateName, count: number): () => void {
  const random = seededRandom(count);
  const gate = gateName === "open" ? new OpenGate() : new ChannelGate();
  const balancer: Balancer<BenchPeer> = createBalancer({ kind, random, gate });
  const peers = Array.from({ length: count }, (_, index) => observedPeer(index, random.float()));
  const attempts = Array.from({ length: 64 }, newAttempt);
  const owners = attempts.map((attempt, index) => {
    const peer = peers[index % count] as BenchPeer;
    peer.began(attempt, 30_000);
    return peer;
  });
  let nowMs = 30_000;
  let turn = 0;
  balancer.changed(peers, nowMs);
  return () => {
    for (let i = 0; i < batch; i += 1) {
      // A million picks a second.
      nowMs += 0.001;
      const peer = balancer.pick(nowMs, undefined) as BenchPeer;
      if (i % 16 !== 0) continue;
      turn = (turn + 1) % attempts.length;
      const attempt = attempts[turn] as Outstanding;
      const owner = owners[turn] as BenchPeer;
      owner.answered(attempt, nowMs);
      owner.ended(attempt);
      peer.began(attempt, nowMs);
      owners[turn] = peer;
    }
  };
}

/** Ready for long, and seen to take about 10 ms at some time in the last 30 s. */
function observedPeer(index: number, when: number): BenchPeer {
  const peer = new BenchPeer(1 + (index % 4), index % 20 === 7 ? 100 : index % 3);
  peer.isReady = true;
  if (index % 20 === 13) peer.pushbackUntilMs = Infinity;
  const attempt = newAttempt();
  peer.began(attempt, 30_000 * when - 10);
  peer.answered(attempt, 30_000 * when);
  peer.ended(attempt);
  return peer;
}

function newAttempt(): Outstanding {
  // Fractions, so that the field is a double from the start.
  return { startedMs: 0.5, isOutstanding: false, outstandingPrevious: undefined, outstandingNext: undefined };
}

function nanosecondsOf(run: () => void): number {
  let picks = 0;
  const startMs = performance.now();
  let nowMs = startMs;
  while (nowMs - startMs < roundMs) {
    run();
    picks += batch;
    nowMs = performance.now();
  }
  return ((nowMs - startMs) * 1e6) / picks;
}

function resultOf(kind: BalanceKind, gate: GateName, peers: number): Result | undefined {
  return results.find((result) => result.kind === kind && result.gate === gate && result.peers === peers);
}

function figureText(kind: BalanceKind, gate: GateName, peers: number): string {
  const { nsPerPick = NaN, nsPerPickMin = NaN, nsPerPickMax = NaN } = resultOf(kind, gate, peers) ?? {};
  return `${nsPerPick.toFixed(0)} (${nsPerPickMin.toFixed(0)}..${nsPerPickMax.toFixed(0)})`;
}

/** How much dearer a pick is among 10,000 peers than among 10. */
function growthOf(kind: BalanceKind, gate: GateName): number {
  const [few, many] = [resultOf(kind, gate, 10), resultOf(kind, gate, 10_000)];
  return Number(((many?.nsPerPick ?? NaN) / (few?.nsPerPick ?? NaN)).toFixed(2));
}

function rounded(ns: number): number {
  return Number(ns.toFixed(1));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
