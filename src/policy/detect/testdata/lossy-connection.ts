/**
 * One connection over a path that loses segments, as TCP shows it to its user: bytes come in order or not yet. An event-driven
 * model in virtual time with calls at a steady rate, a peer that answers each, and the detector looked at when it asks.
 *
 * TCP: a lost segment is sent again after about a round trip if three later ones can be in flight before the retransmission timer,
 * else after 200 ms, doubling. What is sent again is lost as often, and is then missed by the timer only: no RACK (RFC 8985), so
 * stalls are longer than Linux has had them since 2018.
 */
import type { Random } from "../../../world/random.ts";
import { Suspicion, type SuspicionFacts } from "../suspicion.ts";

const RTT_MS = 1;
const SERVER_MS = 1;
const RTO_MS = 200;

export interface PathFacts {
  readonly loss: number;
  readonly callsPerSecond: number;
  readonly random: Random;
}

/** What waits for its time to be read by the client; `call` is when the call began, or -1 for the answer to a PING. */
interface Arrival {
  readonly atMs: number;
  readonly call: number;
}

/** How often the detector was wrong. */
export interface Mistakes {
  condemned: number;
  episodes: number;
}

/**
 * Plays so many hours in which the peer is always there. Stretches are skipped in which no segment is delayed by more than 250 ms:
 * in them no byte is later than 500 ms (both ways), and nobody is condemned before 1,300 ms, so what is counted is exact.
 */
export function condemnedWrongly(path: PathFacts, hours: number): Mistakes {
  const { random, callsPerSecond } = path;
  const gapMs = 1_000 / callsPerSecond;
  const calls = hours * 3_600 * callsPerSecond;
  const lossesForLong = longDelayLosses(gapMs);
  const chance = path.loss ** lossesForLong;
  const either = 1 - (1 - chance) ** 2;
  const mistakes: Mistakes = { condemned: 0, episodes: 0 };
  let call = 0;
  for (;;) {
    call += 1 + Math.floor(Math.log(1 - random.float()) / Math.log(1 - either));
    if (call >= calls) return mistakes;
    const isUp = random.float() < chance / either;
    const isDown = !isUp || random.float() < chance;
    const episode = new Episode(path, call * gapMs, gapMs);
    episode.begin(isUp ? lossesForLong : 0, isDown ? lossesForLong : 0);
    mistakes.episodes += 1;
    if (episode.play()) mistakes.condemned += 1;
    call = Math.ceil(episode.nowMs / gapMs);
  }
}

/** Losses in a row that delay a segment by more than 250 ms. */
function longDelayLosses(gapMs: number): number {
  let losses = 0;
  while (delayAfter(losses, gapMs) <= 250) losses += 1;
  return losses;
}

/** How much later a segment arrives that was lost so many times in a row. */
function delayAfter(losses: number, gapMs: number): number {
  if (losses === 0) return 0;
  const fastMs = 3 * gapMs + RTT_MS;
  let delay = fastMs < RTO_MS ? fastMs : RTO_MS;
  let timeout = fastMs < RTO_MS ? RTO_MS : 2 * RTO_MS;
  for (let i = 1; i < losses; i += 1) {
    delay += timeout;
    timeout *= 2;
  }
  return delay;
}

/** From a call that is badly delayed until all is answered again. */
class Episode {
  nowMs: number;
  private readonly path: PathFacts;
  private readonly gapMs: number;
  private readonly suspicion = new Suspicion();
  private readonly arrivals: Arrival[] = [];
  private next = 0;
  private upMs = Number.NEGATIVE_INFINITY;
  private downMs = Number.NEGATIVE_INFINITY;
  private receivedAtMs: number;
  private frameAtMs: number;
  private nextCallMs: number;

  constructor(path: PathFacts, nowMs: number, gapMs: number) {
    this.path = path;
    this.nowMs = nowMs;
    this.gapMs = gapMs;
    this.receivedAtMs = nowMs - gapMs + RTT_MS + SERVER_MS;
    this.frameAtMs = this.receivedAtMs;
    this.nextCallMs = nowMs + gapMs;
  }

  /** The first call, whose segments are lost at least so often. */
  begin(upLosses: number, downLosses: number): void {
    this.send(this.nowMs, upLosses, downLosses);
    this.look();
  }

  /** Whether the peer was condemned. */
  play(): boolean {
    for (;;) {
      const arrival = this.arrivals[this.next];
      const arrivalMs = arrival?.atMs ?? Number.POSITIVE_INFINITY;
      this.nowMs = Math.min(arrivalMs, this.nextCallMs, this.suspicion.nextLookMs);
      if (arrival !== undefined && arrivalMs === this.nowMs) this.receive(arrival);
      else if (this.nextCallMs === this.nowMs) {
        if (this.isCalm()) return false;
        this.send(this.nowMs, 0, 0);
        this.nextCallMs += this.gapMs;
        if (this.suspicion.nextLookMs === Number.POSITIVE_INFINITY) this.look();
      } else if (this.look()) return true;
    }
  }

  private isCalm(): boolean {
    const oldest = this.arrivals[this.next];
    return !this.suspicion.isSuspect && (oldest === undefined || oldest.atMs - this.nowMs < 5);
  }

  private receive(arrival: Arrival): void {
    this.receivedAtMs = this.nowMs;
    if (arrival.call >= 0) this.frameAtMs = this.nowMs;
    this.next += 1;
  }

  private look(): boolean {
    const look = this.suspicion.look(this.nowMs, this.facts());
    if (look === "ping") this.send(-1, 0, 0);
    return look === "condemn";
  }

  /** In order both ways: a segment that is late keeps back all that were sent after it. */
  private send(call: number, upLosses: number, downLosses: number): void {
    this.upMs = Math.max(this.upMs, this.nowMs + this.lost(upLosses) + RTT_MS / 2);
    this.downMs = Math.max(this.downMs, this.upMs + SERVER_MS + this.lost(downLosses) + RTT_MS / 2);
    this.arrivals.push({ atMs: this.downMs, call });
  }

  private lost(losses: number): number {
    let all = losses;
    while (this.path.random.float() < this.path.loss) all += 1;
    return delayAfter(all, this.gapMs);
  }

  private facts(): SuspicionFacts {
    let at = this.next;
    while (at < this.arrivals.length && (this.arrivals[at]?.call ?? 0) < 0) at += 1;
    return {
      receivedAtMs: this.receivedAtMs,
      frameAtMs: this.frameAtMs,
      outstandingSinceMs: this.arrivals[at]?.call ?? Number.POSITIVE_INFINITY,
      p99Ms: 3,
      rttMs: RTT_MS,
      stallScore: 0,
      stalledUntilMs: Number.NEGATIVE_INFINITY,
    };
  }
}
