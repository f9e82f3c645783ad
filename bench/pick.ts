/**
 * The choice of a peer alone: nanoseconds a pick, by kind of balancing and number of peers.
 * `node bench/pick.ts [--json]`
 *
 * Peers have been observed at different times in the last 30 s, have calls in flight, and every one is admitted; every 16th pick starts
 * an attempt at the peer and ends the one before it, so that costs move. Rounds alternate between the cases; a figure is the fastest
 * round, as what is asked is what the code costs and not what else the machine does (the median stands in the JSON beside it). It does not measure what a gate does, nor excluded peers, nor `changed`, which is O(n) and rare.
 */
import type { Outstanding } from "../src/call/outstanding.ts";
import { type BalanceKind, type Balancer, createBalancer } from "../src/policy/balance/balancer.ts";
import { Candidate } from "../src/policy/balance/candidate.ts";
import { seededRandom } from "../src/world/seeded-random.ts";

interface Result {
  readonly kind: BalanceKind;
  readonly peers: number;
  /** The fastest round. */
  readonly nsPerPick: number;
  readonly nsPerPickMedian: number;
}

const kinds: readonly BalanceKind[] = ["p2c-ewma", "round-robin", "random", "weighted", "least-loaded"];
const sizes: readonly number[] = [10, 100, 1_000, 10_000];
const rounds = 15;
const roundMs = 15;
const batch = 4_096;

const cases = kinds.flatMap((kind) =>
  sizes.map((peers) => ({ kind, peers, run: picker(kind, peers), ns: [] as number[] })),
);
for (let round = 0; round <= rounds; round += 1) {
  // The first round warms up.
  for (const { run, ns } of cases) {
    const figure = nanosecondsOf(run);
    if (round > 0) ns.push(figure);
  }
}
const results: readonly Result[] = cases.map(({ kind, peers, ns }) => ({
  kind,
  peers,
  nsPerPick: Number(Math.min(...ns).toFixed(1)),
  nsPerPickMedian: Number(median(ns).toFixed(1)),
}));
const growth = kinds.map((kind) => ({ kind, ratio: growthOf(kind) }));

if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ results, growth }));
} else {
  console.log(`ns per pick    ${sizes.map((peers) => String(peers).padStart(8)).join("")}   10,000 against 10`);
  for (const { kind, ratio } of growth) {
    const figures = sizes.map((peers) => figureOf(kind, peers).toFixed(0).padStart(8)).join("");
    console.log(`${kind.padEnd(15)}${figures}   ${ratio}x`);
  }
}

/** A batch of picks at a balancer with so many peers. */
function picker(kind: BalanceKind, count: number): () => void {
  const random = seededRandom(count);
  const balancer: Balancer<Candidate> = createBalancer({ kind, random, gate: { admits: () => true } });
  const peers = Array.from({ length: count }, (_, index) => observedPeer(1 + (index % 4), random.float()));
  const attempts = Array.from({ length: 64 }, newAttempt);
  const owners = attempts.map((attempt, index) => {
    const peer = peers[index % count] as Candidate;
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
      const peer = balancer.pick(nowMs, undefined) as Candidate;
      if (i % 16 !== 0) continue;
      turn = (turn + 1) % attempts.length;
      const attempt = attempts[turn] as Outstanding;
      const owner = owners[turn] as Candidate;
      owner.answered(attempt, nowMs);
      owner.ended(attempt);
      peer.began(attempt, nowMs);
      owners[turn] = peer;
    }
  };
}

/** Ready for long, and seen to take about 10 ms at some time in the last 30 s. */
function observedPeer(weight: number, when: number): Candidate {
  const peer = new Candidate({ weight });
  peer.isReady = true;
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

function figureOf(kind: BalanceKind, peers: number): number {
  return results.find((result) => result.kind === kind && result.peers === peers)?.nsPerPick ?? NaN;
}

/** How much dearer a pick is among 10,000 peers than among 10. */
function growthOf(kind: BalanceKind): number {
  return Number((figureOf(kind, 10_000) / figureOf(kind, 10)).toFixed(2));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
