import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import { judge } from "./blame.ts";
import { OutlierDetector, PeerRecord } from "./outlier.ts";
import { SelfWatch } from "./self.ts";
import { Suspicion } from "./suspicion.ts";
import { condemnedWrongly } from "./testdata/lossy-connection.ts";

const SIZES = [2, 3, 5, 50] as const;
const CALL_GAP_MS = 100;
const ANSWER_MS = 2;
const STALL_MS = 1_000;

describe("suspicion at 1 % loss, as TCP stalls", () => {
  for (const callsPerSecond of [1, 10, 1_000]) {
    it(`condemns a peer that is there at most 10 times in 100 hours at ${callsPerSecond} calls/s`, () => {
      // Ten times 100 hours, since a mean says more than a lucky seed.
      let condemned = 0;
      let episodes = 0;
      for (let seed = 1; seed <= 10; seed += 1) {
        const mistakes = condemnedWrongly({ loss: 0.01, callsPerSecond, random: seededRandom(seed) }, 100);
        condemned += mistakes.condemned;
        episodes += mistakes.episodes;
      }
      assert.ok(episodes > 500, `${episodes} delays of more than 250 ms were looked at`);
      assert.ok(condemned / 10 <= 10, `${condemned / 10} in 100 hours`);
    });
  }

  it("is a model that finds mistakes where there are some: at 10 % loss there are many", () => {
    const { condemned } = condemnedWrongly({ loss: 0.1, callsPerSecond: 10, random: seededRandom(1) }, 1);
    assert.ok(condemned > 10, `${condemned}`);
  });
});

/** A peer that is called every 100 ms and answers after 2 ms, until it freezes. */
class CalledPeer {
  readonly suspicion = new Suspicion();
  suspectAtMs = Number.NaN;
  condemnedAtMs = Number.NaN;
  looks = 0;
  private readonly freezeAtMs: number;
  private readonly self: SelfWatch;
  private receivedAtMs = Number.NEGATIVE_INFINITY;
  private frameAtMs = Number.NEGATIVE_INFINITY;
  /** Calls not answered, and answers and PING acknowledgements underway. */
  private readonly calls: number[] = [];
  private readonly arrivals: { readonly atMs: number; readonly isFrame: boolean }[] = [];
  private nextCallMs: number;

  constructor(phaseMs: number, freezeAtMs: number, self: SelfWatch) {
    this.nextCallMs = phaseMs;
    this.freezeAtMs = freezeAtMs;
    this.self = self;
  }

  /** Plays until a time, the client's loop blocked from `stallAtMs` on for `stallMs`. */
  play(untilMs: number, stallAtMs: number, stallMs: number, isLookFirst: boolean): void {
    while (Number.isNaN(this.condemnedAtMs)) {
      const arrivalMs = this.arrivals[0]?.atMs ?? Number.POSITIVE_INFINITY;
      const lookMs = this.suspicion.nextLookMs;
      const dueMs = Math.min(arrivalMs, this.nextCallMs, lookMs);
      const isStalled = dueMs >= stallAtMs && dueMs < stallAtMs + stallMs;
      const nowMs = isStalled ? stallAtMs + stallMs : dueMs;
      if (nowMs > untilMs) return;
      // The first thing that any late timer does.
      if (dueMs !== arrivalMs || isStalled) this.self.beat(dueMs, nowMs);
      const isLookDue = lookMs <= nowMs;
      if (isLookDue && (isLookFirst || arrivalMs > nowMs)) this.look(nowMs);
      else if (arrivalMs <= nowMs) this.receive(nowMs);
      else this.call(nowMs);
    }
  }

  private receive(nowMs: number): void {
    const arrival = this.arrivals.shift();
    this.receivedAtMs = nowMs;
    if (arrival?.isFrame !== true) return;
    this.frameAtMs = nowMs;
    this.calls.shift();
  }

  private call(nowMs: number): void {
    this.calls.push(nowMs);
    this.answer(nowMs, true);
    this.nextCallMs = nowMs + CALL_GAP_MS;
    if (this.suspicion.nextLookMs === Number.POSITIVE_INFINITY) this.look(nowMs);
  }

  private answer(nowMs: number, isFrame: boolean): void {
    const atMs = nowMs + ANSWER_MS;
    if (atMs < this.freezeAtMs) this.arrivals.push({ atMs, isFrame });
  }

  private look(nowMs: number): void {
    this.looks += 1;
    const look = this.suspicion.look(nowMs, {
      receivedAtMs: this.receivedAtMs,
      frameAtMs: this.frameAtMs,
      outstandingSinceMs: this.calls[0] ?? Number.POSITIVE_INFINITY,
      p99Ms: 3,
      rttMs: 1,
      stallScore: this.self.score(nowMs),
      stalledUntilMs: this.self.stalledUntilMs,
    });
    if (look !== "trust" && Number.isNaN(this.suspectAtMs)) this.suspectAtMs = nowMs;
    if (look === "ping") this.answer(nowMs, false);
    if (look === "condemn") this.condemnedAtMs = nowMs;
  }
}

for (const peers of SIZES) {
  describe(`suspicion with ${peers} peers at 10 calls/s each`, () => {
    it("suspects a frozen peer within 500 ms and condemns it within 1,500 ms, whenever it freezes, and no other", () => {
      const random = seededRandom(peers);
      for (let run = 0; run < 200; run += 1) {
        const freezeAtMs = 1_000 + random.float() * CALL_GAP_MS;
        const fleet = Array.from(
          { length: peers },
          (_, index) => new CalledPeer(random.float() * CALL_GAP_MS, index === 0 ? freezeAtMs : 1e9, new SelfWatch()),
        );
        for (const peer of fleet) peer.play(3_000, 1e9, 0, false);
        const [frozen, ...others] = fleet;
        assert.ok(frozen !== undefined);
        const suspectedAfter = frozen.suspectAtMs - freezeAtMs;
        const condemnedAfter = frozen.condemnedAtMs - freezeAtMs;
        assert.ok(suspectedAfter > 0 && suspectedAfter <= 500, `suspect after ${suspectedAfter} ms`);
        assert.ok(condemnedAfter > 1_000 && condemnedAfter <= 1_500, `condemned after ${condemnedAfter} ms`);
        for (const peer of others) assert.equal(peer.suspectAtMs, Number.NaN);
      }
    });

    for (const what of ["own loop is blocked", "own process is stopped"] as const) {
      it(`suspects and ejects nobody when the ${what} for 1 s`, () => {
        const random = seededRandom(peers + 0.25);
        for (let run = 0; run < 50; run += 1) {
          const stallAtMs = 2_000 + random.float() * CALL_GAP_MS;
          // The watch has its own beats; a late look tells it the same.
          const self = new SelfWatch();
          const isLookFirst = run % 2 === 0;
          for (let peer = 0; peer < peers; peer += 1) {
            const called = new CalledPeer(random.float() * CALL_GAP_MS, 1e9, self);
            called.play(8_000, stallAtMs, STALL_MS, isLookFirst);
            assert.equal(called.suspectAtMs, Number.NaN, `run ${run}`);
            assert.ok(called.looks > 10);
          }
        }
        assert.deepEqual(ejectedByStall(peers, what === "own process is stopped" ? 250 : 30_000), []);
      });
    }
  });
}

/** Who is ejected when calls with this timeout, ten underway at each peer, end after a stall of 1 s. */
function ejectedByStall(peers: number, timeoutMs: number): readonly string[] {
  const detector = new OutlierDetector(
    { consecutiveFailures: 5, successShareMin: 0.8, ejectedShareMax: 0.5 },
    seededRandom(peers),
  );
  const self = new SelfWatch();
  const records = Array.from({ length: peers }, (_, index) => new PeerRecord({ name: `p${index}` }));
  for (const record of records) detector.add(record, 0);
  const ejected: string[] = [];
  const sweep = (nowMs: number): void => {
    for (const { record } of detector.sweep(nowMs, self.score(nowMs))) ejected.push(record.name);
  };
  for (let nowMs = 0; nowMs < 60_000; nowMs += CALL_GAP_MS) {
    for (const record of records) detector.observe(record, 0, 0, ANSWER_MS, nowMs);
    if (nowMs % 1_000 === 0) sweep(nowMs);
  }
  self.beat(60_000, 60_000 + STALL_MS);
  const nowMs = 60_000 + STALL_MS;
  for (const record of records) {
    for (let i = 0; i < 10; i += 1) {
      const { outcome } = judge({
        code: timeoutMs < STALL_MS ? "DEADLINE_EXCEEDED" : "OK",
        faultKind: timeoutMs < STALL_MS ? "deadline" : undefined,
        reached: "maybe",
        isConnectionLost: false,
        hadMs: STALL_MS,
        p99Ms: 3,
        isCancelledByUs: false,
        stalledMs: STALL_MS,
        phase: "server",
        retryAfterMs: undefined,
      });
      if (detector.observe(record, 0, outcome, STALL_MS, nowMs)) sweep(nowMs);
    }
  }
  for (let later = 0; later < 10_000; later += 1_000) sweep(nowMs + later);
  return ejected;
}
