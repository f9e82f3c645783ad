/**
 * Hot path: the dedup store of one process. Two look-ups and one object a call; no timer: each claim drops up to two records whose time
 * is over. Contract and promises: dedup-store.ts.
 *
 * A record may only go if its id can never run again. An id that says when it was minted is refused once that is `retentionMs` ago, so its
 * record may go then; under pressure it goes earlier, and `forgottenMs` remembers the youngest id that went: whatever is not held and not
 * younger is refused. It never passes now - `retentionMsMin`, so that an id from a clock that runs ahead cannot lock the others out. A
 * key of the caller's own says nothing of its age: it is held for `retentionMs` from its first use, by the monotonic clock, and never less.
 * As nothing makes it go, such keys get a share of the store (own-share.ts).
 */
import type { Clock } from "../world/clock.ts";
import type { World } from "../world/world.ts";
import { believedMintMs, OwnShare } from "./own-share.ts";
import type { DedupClaim, DedupEntry, DedupKey, DedupSnapshot, DedupStore } from "./dedup-store.ts";

export interface MemoryDedupSettings {
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly retentionMs: number;
  readonly retentionMsMin: number;
}

/** What a record takes beside its key and its answer: object, map slot, string headers, the hash. */
const ENTRY_BYTES = 320;
/** Records looked at when one must go. */
const EVICTION_STEPS = 8;
/** A power of two. A map of all records would be rehashed in one go, which takes milliseconds at 100,000; these take a sixteenth each. */
const SHARDS = 16;

const CONFLICT: DedupClaim = Object.freeze({ kind: "conflict" });
const EXPIRED: DedupClaim = Object.freeze({ kind: "expired" });
const FULL: DedupClaim = Object.freeze({ kind: "full" });

type Waiter = (answer: Uint8Array | undefined) => void;

class MemoryEntry implements DedupEntry {
  readonly key: string;
  readonly principal: string;
  readonly payloadHash: string;
  /** NaN for a key of the caller's own, and what counts as one. */
  readonly mintedMs: number;
  /** On the wall clock for a minted id, on the monotonic one for a key of the caller's own. */
  readonly keptUntilMs: number;
  state: "running" | "finished" | "forgotten";
  answer: Uint8Array | undefined;
  readonly isRolledBack: boolean;
  /** What attached repeats wait for; made when the first one comes. */
  outcome: Promise<Uint8Array | undefined> | undefined;
  settle: Waiter | undefined;
  next: MemoryEntry | undefined;

  constructor(key: string, principal: string, payloadHash: string, mintedMs: number, keptUntilMs: number) {
    this.key = key;
    this.principal = principal;
    this.payloadHash = payloadHash;
    this.mintedMs = mintedMs;
    this.keptUntilMs = keptUntilMs;
    this.state = "running";
    this.answer = undefined;
    this.isRolledBack = false;
    this.outcome = undefined;
    this.settle = undefined;
    this.next = undefined;
  }
}

/** Finished records in the order in which they finished. */
class EntryQueue {
  head: MemoryEntry | undefined = undefined;
  private tail: MemoryEntry | undefined = undefined;

  add(entry: MemoryEntry): void {
    if (this.tail === undefined) this.head = entry;
    else this.tail.next = entry;
    this.tail = entry;
  }

  takeHead(): MemoryEntry {
    const entry = this.head as MemoryEntry;
    this.head = entry.next;
    entry.next = undefined;
    if (this.head === undefined) this.tail = undefined;
    return entry;
  }
}

export class MemoryDedup implements DedupStore {
  readonly scope = "process";
  readonly storeId: string;
  private readonly clock: Clock;
  private readonly settings: MemoryDedupSettings;
  private readonly shards: readonly Map<string, MemoryEntry>[];
  private readonly minted: EntryQueue;
  private readonly own: EntryQueue;
  private readonly ownShare: OwnShare;
  private entries: number;
  private running: number;
  private bytes: number;
  private forgottenMs: number;

  constructor(world: World, settings: MemoryDedupSettings) {
    // Each store is an identity of its own: what another one in this process holds, this one does not know.
    this.storeId = Array.from({ length: 4 }, () => world.random.uint32().toString(16).padStart(8, "0")).join("");
    this.clock = world.clock;
    this.settings = settings;
    this.shards = Array.from({ length: SHARDS }, () => new Map<string, MemoryEntry>());
    this.minted = new EntryQueue();
    this.own = new EntryQueue();
    this.ownShare = new OwnShare(settings.entriesMax, settings.bytesMax);
    this.entries = 0;
    this.running = 0;
    this.bytes = 0;
    this.forgottenMs = -Infinity;
  }

  async open(): Promise<void> {}

  claim(request: DedupKey): DedupClaim {
    const { principal, payloadHash } = request;
    const { retentionMs, entriesMax, bytesMax } = this.settings;
    const nowMs = this.clock.wallMs();
    this.dropExpired(nowMs);
    // The principal's length stands in front, so that no two triples make one key. A path has no space.
    const key = `${request.path} ${principal.length} ${principal}${request.id}`;
    const shard = this.shardOf(key);
    const found = shard.get(key);
    if (found !== undefined) return found.payloadHash === payloadHash ? heldClaim(found) : CONFLICT;
    const mintedMs = believedMintMs(request.mintedMs, nowMs) ?? NaN;
    if (mintedMs <= nowMs - retentionMs || mintedMs <= this.forgottenMs) return EXPIRED;
    const isOwn = mintedMs !== mintedMs;
    if (isOwn && !this.ownShare.hasRoom(principal)) return FULL;
    if ((this.entries >= entriesMax || this.bytes >= bytesMax) && !this.makeRoom(nowMs)) return FULL;
    const keptUntilMs = (!isOwn ? mintedMs : this.clock.monotonicMs()) + retentionMs;
    const entry = new MemoryEntry(key, principal, payloadHash, mintedMs, keptUntilMs);
    shard.set(key, entry);
    this.entries += 1;
    this.running += 1;
    this.bytes += ENTRY_BYTES + key.length;
    if (isOwn) this.ownShare.add(principal, ENTRY_BYTES + key.length);
    return { kind: "run", entry };
  }

  finish(entry: DedupEntry, answer: Uint8Array): void {
    const own = entry as MemoryEntry;
    if (own.state !== "running") return;
    own.state = "finished";
    own.answer = answer;
    this.running -= 1;
    this.bytes += answer.byteLength;
    if (own.mintedMs === own.mintedMs) this.minted.add(own);
    else {
      this.own.add(own);
      this.ownShare.grow(answer.byteLength);
    }
    if (own.settle !== undefined) own.settle(answer);
  }

  forget(entry: DedupEntry): void {
    const own = entry as MemoryEntry;
    if (own.state !== "running") return;
    own.state = "forgotten";
    this.running -= 1;
    this.drop(own);
    if (own.settle !== undefined) own.settle(undefined);
  }

  async close(): Promise<void> {
    // Nothing to give back. Handlers that still run find the store as it was.
  }

  snapshot(): DedupSnapshot {
    const { scope, storeId, running, entries, bytes, forgottenMs } = this;
    return { scope, storeId, running, entries, bytes, forgottenMs, operations: 0, commits: 0, failure: undefined };
  }

  private shardOf(key: string): Map<string, MemoryEntry> {
    // The end of an id is its most random part.
    return this.shards[key.charCodeAt(key.length - 1) & (SHARDS - 1)] as Map<string, MemoryEntry>;
  }

  private drop(entry: MemoryEntry): void {
    this.shardOf(entry.key).delete(entry.key);
    this.entries -= 1;
    const bytes = ENTRY_BYTES + entry.key.length + (entry.answer === undefined ? 0 : entry.answer.byteLength);
    this.bytes -= bytes;
    if (entry.mintedMs !== entry.mintedMs) this.ownShare.remove(entry.principal, bytes);
  }

  /** Two a claim: as each claim adds one at most, what is over is gone in time. */
  private dropExpired(nowMs: number): void {
    for (let step = 0; step < 2; step += 1) {
      const oldest = this.minted.head;
      if (oldest === undefined || oldest.keptUntilMs > nowMs) break;
      this.dropMinted();
    }
    if (this.own.head === undefined) return;
    const monotonicMs = this.clock.monotonicMs();
    for (let step = 0; step < 2; step += 1) {
      const oldest = this.own.head;
      if (oldest === undefined || oldest.keptUntilMs > monotonicMs) break;
      this.drop(this.own.takeHead());
    }
  }

  /** Also when its time is over: the wall clock may go back, and the id would look young again. */
  private dropMinted(): void {
    const entry = this.minted.takeHead();
    this.drop(entry);
    if (entry.mintedMs > this.forgottenMs) this.forgottenMs = entry.mintedMs;
  }

  /** Whether there is room for one more, after finished records old enough have gone. */
  private makeRoom(nowMs: number): boolean {
    const { entriesMax, bytesMax, retentionMsMin } = this.settings;
    for (let step = 0; step < EVICTION_STEPS; step += 1) {
      const oldest = this.minted.head;
      if (oldest === undefined) break;
      if (oldest.mintedMs <= nowMs - retentionMsMin) this.dropMinted();
      // From a clock that runs ahead: it must not shield those behind it.
      else this.minted.add(this.minted.takeHead());
      if (this.entries < entriesMax && this.bytes < bytesMax) return true;
    }
    return false;
  }
}

function heldClaim(entry: MemoryEntry): DedupClaim {
  if (entry.answer !== undefined) return { kind: "answer", answer: entry.answer };
  entry.outcome ??= new Promise((resolve) => {
    entry.settle = resolve;
  });
  return { kind: "running", answer: entry.outcome };
}
