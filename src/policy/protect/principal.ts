/**
 * Hot path: on whose behalf calls are made, as far as admission asks: how many of them it holds, what it asked for and was given of late, and its
 * level. The level (0..127, lower is
 * better) comes from a hash of the key and of the hour, as in DAGOR (WeChat, SoCC 2018): all calls of one principal are shed together, so
 * that a task of several calls is done or not begun, and nobody is always the first to be shed.
 */

/** Levels within a priority. */
export const LEVELS = 128;
/** What was asked for and what was begun count for about so long. */
const MEMORY_MS = 1_000;
/** Who asks for less than this share of what is typical is light. */
const LIGHT_SHARE = 0.25;

/** One principal's part in the server's work. Made by {@link Principals}; whoever holds it passes it with each call. */
export class Principal {
  readonly key: string;
  /** Calls that wait or run. */
  held: number;
  private begun: number;
  private begunAtMs: number;
  private asked: number;
  private askedAtMs: number;
  private levelHour: number;
  private levelNow: number;

  constructor(key: string) {
    this.key = key;
    this.held = 0;
    this.begun = -0;
    this.begunAtMs = Number.NEGATIVE_INFINITY;
    this.asked = -0;
    this.askedAtMs = Number.NEGATIVE_INFINITY;
    this.levelHour = -1;
    this.levelNow = 0;
  }

  /** 0..127. `hour` is of wall time and whole, so that all servers give a principal the same level, and another one each hour. */
  level(hour: number): number {
    if (hour !== this.levelHour) {
      this.levelHour = hour;
      this.levelNow = hashOf(this.key, hour) & (LEVELS - 1);
    }
    return this.levelNow;
  }

  /** A call was begun while others had to wait; `weight` is what such a call takes, as a multiple of what calls take. */
  countBegun(nowMs: number, weight: number): void {
    this.begun = this.begunOf(nowMs) + weight;
    this.begunAtMs = nowMs;
  }

  /** The weight of the calls begun during the last second or so while others had to wait. */
  begunOf(nowMs: number): number {
    return this.begun === 0 ? 0 : this.begun * Math.exp((this.begunAtMs - nowMs) / MEMORY_MS);
  }

  /** A call was offered while the server was over its capacity. */
  countAsked(nowMs: number): number {
    this.asked = (this.asked === 0 ? 0 : this.asked * Math.exp((this.askedAtMs - nowMs) / MEMORY_MS)) + 1;
    this.askedAtMs = nowMs;
    return this.asked;
  }

  /** Calls offered during the last second or so, as of the last one. */
  get askedOfLate(): number {
    return this.asked;
  }
}

/**
 * What principals typically ask for: the mean over calls, so that one hog among a hundred others decides it. Who asks for much less is light: it is not
 * why the server is over its capacity, and must not starve for it. Counted by what is asked, not by what was given: who is shed would be light else.
 */
export class Demand {
  private total: number;
  private squares: number;
  private atMs: number;
  private typical: number;

  constructor() {
    // -0 and not 0, so that the fields are doubles from the start.
    this.total = -0;
    this.squares = -0;
    this.atMs = Number.NEGATIVE_INFINITY;
    this.typical = -0;
  }

  /** A principal asks for one more call. */
  count(principal: Principal, nowMs: number): void {
    const asked = principal.countAsked(nowMs);
    const kept = this.total === 0 ? 0 : Math.exp((this.atMs - nowMs) / MEMORY_MS);
    this.total = this.total * kept + 1;
    this.squares = this.squares * kept * kept + 2 * asked - 1;
    this.atMs = nowMs;
    this.typical = this.squares / this.total;
  }

  /** Whether it asks for much less than is typical. */
  isLight(principal: Principal): boolean {
    return principal.askedOfLate < this.typical * LIGHT_SHARE;
  }
}

/**
 * The principals of late: at most `countMax`, the one that was asked for longest ago leaves first. One that has left and is still held by a
 * connection goes on to count by itself, so a table that is too small makes shares larger and breaks nothing.
 */
export class Principals {
  private readonly countMax: number;
  private readonly byKey: Map<string, Principal>;

  /** @param countMax default 10 000, 1..1 000 000. Throws a RangeError outside. */
  constructor(countMax = 10_000) {
    if (!(countMax >= 1 && countMax <= 1_000_000)) {
      throw new RangeError(`countMax must be 1..1_000_000, got ${countMax}`);
    }
    this.countMax = countMax;
    this.byKey = new Map();
  }

  /** How many are known. */
  get size(): number {
    return this.byKey.size;
  }

  /** The principal of this key. Ask once for each connection or verdict, not for each call. */
  of(key: string): Principal {
    const known = this.byKey.get(key);
    if (known !== undefined) {
      // Asked for again, it is the youngest.
      this.byKey.delete(key);
      this.byKey.set(key, known);
      return known;
    }
    if (this.byKey.size >= this.countMax) {
      const [oldest] = this.byKey.keys();
      this.byKey.delete(oldest as string);
    }
    const made = new Principal(key);
    this.byKey.set(key, made);
    return made;
  }
}

/** FNV-1a over the characters, the hour mixed in, finished as murmur3 is: neighbouring keys get unrelated levels. */
function hashOf(key: string, hour: number): number {
  let hash = 0x811c9dc5 ^ hour;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
