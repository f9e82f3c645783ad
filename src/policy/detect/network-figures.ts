/**
 * Hot path: one connection's network as PINGs and bytes show it, apart from how its server behaves: round trip, jitter, bandwidth,
 * stalls, resets. With these a network fault and a server's fault are told apart. Pure.
 */

/** PINGs that may be underway at once; the oldest is forgotten for the next. */
const PINGS_MAX = 4;
/** Bytes are counted by the second, and the figure is smoothed over about four. */
const SECOND_MS = 1_000;
const RATE_SHARE = 0.25;
/** After so many seconds of silence nothing is left of the rate that would show. */
const FADED_AFTER = 64;

/** One for a connection. */
export class NetworkFigures {
  /** Smoothed round trip in milliseconds (RFC 6298, alpha 1/8); NaN: no PING was answered yet. */
  rttMs: number;
  /** Mean deviation of the round trip in milliseconds (RFC 6298's RTTVAR, beta 1/4); NaN as above. */
  jitterMs: number;
  /** How often the connection stood still while work was outstanding. */
  stalls: number;
  /** How long in all, in milliseconds. */
  stalledMs: number;
  /** How many connections to this peer ended without a word. */
  resets: number;
  /** Made at the first PING. */
  private sentMs: Float64Array | undefined;
  private firstPing: number;
  private pings: number;
  private secondEndsMs: number;
  private bytesInSecond: number;
  private rate: number;

  constructor() {
    this.rttMs = Number.NaN;
    this.jitterMs = Number.NaN;
    this.stalls = 0;
    this.stalledMs = 0;
    this.resets = 0;
    this.sentMs = undefined;
    this.firstPing = 0;
    this.pings = 0;
    this.secondEndsMs = Number.NaN;
    this.bytesInSecond = 0;
    this.rate = 0;
  }

  /** A PING left. */
  pingSent(nowMs: number): void {
    if (this.pings === PINGS_MAX) this.dropPing();
    this.sentMs ??= new Float64Array(PINGS_MAX);
    this.sentMs[(this.firstPing + this.pings) % PINGS_MAX] = nowMs;
    this.pings += 1;
  }

  /** The answer to the oldest PING underway came; one that nobody asked for is ignored. */
  pingAnswered(nowMs: number): void {
    if (this.pings === 0) return;
    const tookMs = Math.max(0, nowMs - (this.sentMs?.[this.firstPing] ?? nowMs));
    this.dropPing();
    if (Number.isNaN(this.rttMs)) {
      this.rttMs = tookMs;
      this.jitterMs = tookMs / 2;
      return;
    }
    // RFC 6298, 2.3: the deviation first, from the old mean.
    this.jitterMs += (Math.abs(this.rttMs - tookMs) - this.jitterMs) / 4;
    this.rttMs += (tookMs - this.rttMs) / 8;
  }

  /** So many bytes were read. */
  bytes(received: number, nowMs: number): void {
    if (!(nowMs < this.secondEndsMs)) this.roll(nowMs);
    this.bytesInSecond += received;
  }

  /** Bytes read a second, smoothed over about four seconds; the second that runs is not in it. */
  bytesPerSecond(nowMs: number): number {
    if (nowMs >= this.secondEndsMs) this.roll(nowMs);
    return this.rate;
  }

  /** The connection stood still for so many milliseconds while work was outstanding, and went on. */
  stalled(ms: number): void {
    this.stalls += 1;
    this.stalledMs += ms;
  }

  /** The connection ended without a word. PINGs that were underway will not be answered. */
  reset(): void {
    this.resets += 1;
    this.pings = 0;
  }

  private dropPing(): void {
    this.firstPing = (this.firstPing + 1) % PINGS_MAX;
    this.pings -= 1;
  }

  /** Seconds have ended: the first with what was counted, the others with nothing. */
  private roll(nowMs: number): void {
    if (Number.isNaN(this.secondEndsMs)) {
      this.secondEndsMs = nowMs + SECOND_MS;
      return;
    }
    const seconds = Math.floor((nowMs - this.secondEndsMs) / SECOND_MS) + 1;
    this.rate += (this.bytesInSecond - this.rate) * RATE_SHARE;
    this.rate = seconds > FADED_AFTER ? 0 : this.rate * (1 - RATE_SHARE) ** (seconds - 1);
    this.bytesInSecond = 0;
    this.secondEndsMs += seconds * SECOND_MS;
  }
}
