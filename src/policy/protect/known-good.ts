/**
 * Requests that servers have answered lately, a sample of them: who is among them was not what brought a server down. Without it two servers
 * that die one after the other, for whatever reason, would make a suspect of each request that was on both, and the quarantine would
 * refuse all others like it for a minute: an empty request is like every other one.
 *
 * A good past excuses once: after a connection died under such a request it has to be answered again before it is excused again.
 */

/** One answer in this time is remembered: hashing a request costs about as much as sending it. */
const EVERY_MS = 100;
/** What was good so long ago may be poison today. */
const HOLD_MS = 60_000;
/** Requests remembered at once. What is less frequent than one in so many is not worth more: quarantined, it is as rare. */
const ENTRIES_MAX = 256;

interface Entry {
  goodAtMs: number;
  /** Whose connection died under it since. */
  doubtedBy: string | undefined;
}

/** Of one method. */
export class KnownGood {
  /** Made at the first answer. */
  private entries: Map<string, Entry> | undefined;
  private dueMs: number;
  private doubted: number;

  constructor() {
    this.entries = undefined;
    this.dueMs = Number.NEGATIVE_INFINITY;
    this.doubted = 0;
  }

  /** Whether the request that was answered now is to be told with {@link answered}; costs two comparisons. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.dueMs || this.doubted > 0;
  }

  /** A request was answered: a 32-bit hash of its encoded payload and how many bytes that has. */
  answered(hash: number, bytes: number, nowMs: number): void {
    this.dueMs = nowMs + EVERY_MS;
    const key = keyOf(hash, bytes);
    const entries = (this.entries ??= new Map<string, Entry>());
    this.forget(entries, key);
    if (entries.size >= ENTRIES_MAX) for (const first of entries.keys()) if (this.forget(entries, first)) break;
    entries.set(key, { goodAtMs: nowMs, doubtedBy: undefined });
  }

  /** Whether it was answered within the last minute, whatever happened since. */
  has(hash: number, bytes: number, nowMs: number): boolean {
    const entry = this.entries?.get(keyOf(hash, bytes));
    return entry !== undefined && nowMs - entry.goodAtMs <= HOLD_MS;
  }

  /** A connection to `peer` died under the request: whether its past excuses it, as it does for one such death. */
  excuses(hash: number, bytes: number, peer: string, nowMs: number): boolean {
    const key = keyOf(hash, bytes);
    const { entries } = this;
    const entry = entries?.get(key);
    if (entries === undefined || entry === undefined) return false;
    if (nowMs - entry.goodAtMs > HOLD_MS) {
      this.forget(entries, key);
      return false;
    }
    if (entry.doubtedBy === undefined) {
      entry.doubtedBy = peer;
      this.doubted += 1;
    }
    // Others like it were on the same connection.
    return entry.doubtedBy === peer;
  }

  private forget(entries: Map<string, Entry>, key: string): boolean {
    if (entries.get(key)?.doubtedBy !== undefined) this.doubted -= 1;
    return entries.delete(key);
  }
}

/** The hash is signed or unsigned, as its maker likes. */
function keyOf(hash: number, bytes: number): string {
  return `${hash >>> 0} ${bytes}`;
}
