import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createClient, RpcError } from "holdfast";
import { CallFaultLayer } from "holdfast/chaos";
import { createSwitches } from "holdfast/policy";
import { type ClusterClientOptions, createCluster } from "holdfast/testing";
import { probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";
import { seededRandom } from "../world/seeded-random.ts";

type Given = ClusterClientOptions<typeof SafeProbe>;
type GivenPolicy = Exclude<NonNullable<Given["policy"]>, string>;

/** Any of the values, or absent. */
const edge = fc.constantFrom;
/** Some of the keys. */
const some = <T extends object>(keys: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record(keys, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;

const backoff = fc.oneof(
  fc
    .tuple(edge(1, 50, 600_000), edge(1, 10), edge("none" as const, "equal" as const), edge(1, 20))
    .map(([baseMs, factor, jitter, growth]) => ({
      ...{ kind: "exponential" as const, baseMs, factor, jitter },
      maxMs: Math.min(3_600_000, baseMs * growth),
    })),
  fc
    .tuple(edge(1, 600_000), edge(1, 600_000), edge("full" as const, "decorrelated" as const))
    .map(([baseMs, stepMs, jitter]) => ({ kind: "linear" as const, baseMs, stepMs, jitter })),
  edge(1, 600_000).map((baseMs) => ({ kind: "constant" as const, baseMs, maxMs: 3_600_000 })),
);

const retry = fc.oneof(
  edge(false as const),
  some({
    attemptsMax: edge(1, 10, Infinity),
    backoff: fc.oneof(backoff, some({ failure: backoff, timeout: backoff })),
    codes: fc.subarray(["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"] as const, {
      minLength: 1,
    }),
  }),
);
const hedge = fc.oneof(
  edge(false as const),
  some({ after: edge("overdue", "p90", "p95", "p98", "p99"), copiesMax: edge(1, 3) }),
  some({ afterMs: edge(1, 86_400_000), copiesMax: edge(1, 3) }),
);
const policy = fc
  .tuple(
    some({
      preset: edge("standard", "interactive", "background", "none"),
      timeoutMs: edge(1, 1_000, 86_400_000, Infinity),
      attemptTimeoutMs: edge(1, 86_400_000, false),
      priority: edge("critical", "normal", "sheddable"),
      throttle: edge(false),
      gate: edge(false),
      integrity: edge(false),
    }),
    fc.oneof(
      edge({ mode: "failfast" }, { mode: { kind: "forking", copies: 2 } }, { mode: { kind: "forking", copies: 5 } }),
      some({ retry, hedge }),
    ),
  )
  .map(([plain, attempts]) => ({ ...plain, ...attempts }) as GivenPolicy);

const options: fc.Arbitrary<Given> = some({
  policy,
  balance: edge("p2c-ewma", "least-loaded", "round-robin", "weighted", "random"),
  zone: edge("a", "z".repeat(256)),
  budget: some({ share: edge(0, 1), perSecondMin: edge(0, 1_000), copyShareMax: edge(0, 1) }),
  gate: fc.oneof(
    edge(false as const),
    some({ consecutiveFailures: edge(1, 1_000), successShareMin: edge(0, 1), ejectedShareMax: edge(0, 1) }),
  ),
  throttle: fc.oneof(
    edge(false as const),
    some({ factor: edge(1.1, 100), decayMs: edge(100, 600_000), refusedShareMax: edge(0, 1) }),
  ),
  connections: some({
    perPeerMax: edge(1, 16),
    connectTimeoutMs: edge(100, 600_000),
    keepaliveMs: edge<(number | "adaptive")[]>("adaptive", 10_000, 86_400_000, Infinity),
  }),
  // An empty reply takes some twenty bytes once it is compressed.
  messageBytesMax: edge(64, 2_147_483_647),
  compress: edge("gzip", "deflate", false),
  health: edge<NonNullable<Given["health"]>[]>(false, { service: "" }),
  switches: fc.constant(undefined).map(() => createSwitches()),
  chaos: fc.constant(undefined).map(() => new CallFaultLayer([], seededRandom(1), 0)),
}) as fc.Arbitrary<Given>;

/** One replica that refuses the calls that ask for it; how three calls end, and whether a connection was lost over it. */
async function tryOut(given: Given): Promise<void> {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: ({ delayMs }) => {
        if (delayMs === 1) throw new RpcError("RESOURCE_EXHAUSTED", "busy");
        return {};
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop", given);
  const closed: string[] = [];
  client.$on("connection.changed", ({ state, why }) => {
    if (state === "closed") closed.push(why);
  });
  await cluster.settle(client.$channel.ready());
  const outcomes: string[] = [];
  for (const delayMs of [1, 0, 1, 0]) {
    const outcome = client.unary({ delayMs }).then(
      () => "OK",
      ({ code, reason }: RpcError) => `${code} ${reason ?? ""}`,
    );
    outcomes.push(await cluster.settle(outcome, { limitMs: 100_000_000 }));
    await cluster.advance(10);
  }
  assert.deepEqual(closed, []);
  // What ends within its own millisecond says nothing of the peer; what is refused here has built its throttle.
  const late = /^DEADLINE_EXCEEDED/;
  for (const [index, outcome] of outcomes.entries()) {
    const expected = index % 2 === 0 ? /^RESOURCE_EXHAUSTED/ : /^OK$|^RESOURCE_EXHAUSTED THROTTLED$/;
    const isShort = given.policy !== undefined && JSON.stringify(given.policy).includes('imeoutMs":1');
    assert.ok(expected.test(outcome) || (isShort && late.test(outcome)), `${index}: ${outcome}`);
  }
}

describe("options that are accepted", () => {
  it("build their mechanisms, those that are made at the first refusal too", async () => {
    await fc.assert(fc.asyncProperty(options, tryOut), { numRuns: 300 });
  });

  it("end where the mechanisms do: what is a hair beyond an edge is refused at creation", () => {
    const beyond: readonly [given: object, message: RegExp][] = [
      [{ throttle: { factor: 1 } }, /throttle\.factor must be 1\.1\.\.100, got 1/],
      [{ throttle: { factor: 100.1 } }, /throttle\.factor/],
      [{ throttle: { decayMs: 99 } }, /throttle\.decayMs must be 100\.\.600_000, got 99/],
      [{ throttle: { decayMs: 600_001 } }, /throttle\.decayMs/],
      [{ throttle: { refusedShareMax: 1.01 } }, /throttle\.refusedShareMax/],
      [{ budget: { share: 1.01 } }, /budget\.share/],
      [{ budget: { perSecondMin: 1_001 } }, /budget\.perSecondMin/],
      [{ budget: { copyShareMax: -0.01 } }, /budget\.copyShareMax/],
      [{ gate: { consecutiveFailures: 0 } }, /gate\.consecutiveFailures/],
      [{ gate: { consecutiveFailures: 1.5 } }, /gate\.consecutiveFailures/],
      [{ gate: { successShareMin: 1.01 } }, /gate\.successShareMin/],
      [{ gate: { ejectedShareMax: -0.01 } }, /gate\.ejectedShareMax/],
      [{ connections: { keepaliveMs: 9_999 } }, /connections\.keepaliveMs .*, got 9999/],
      [{ connections: { keepaliveMs: "20000" } }, /connections\.keepaliveMs .*, got "20000"/],
      [{ connections: { keepaliveMs: Number.NaN } }, /connections\.keepaliveMs .*, got NaN/],
      [{ connections: { perPeerMax: 17 } }, /connections\.perPeerMax/],
      [{ messageBytesMax: 2_147_483_648 }, /messageBytesMax/],
    ];
    for (const [given, message] of beyond) {
      assert.throws(() => createClient(SafeProbe, "localhost:1", given as Given), { message }, JSON.stringify(given));
    }
  });
});
