/**
 * Hot path: which ids count as keys of callers' own, and the share of a store that these may take. Their records stay for the whole
 * retention, whoever needs the room, so that without a share they would fill the store and lock out every call for as long. Half is theirs,
 * and an eighth is one principal's. "" is nobody in particular, and has the half alone.
 */

/**
 * How far ahead of the server's clock an id may be minted, to be believed: five minutes, as Kerberos lets clocks differ (RFC 4120, section
 * 3.2.3). A record stays until its id is old, so that ids of the future would hold their room for longer than any other.
 */
const AHEAD_MS_MAX = 300_000;

/** When an id was minted; undefined where it does not say so, or is not believed: then it counts as a key of the caller's own. */
export function believedMintMs(mintedMs: number | undefined, nowMs: number): number | undefined {
  return mintedMs === undefined || mintedMs > nowMs + AHEAD_MS_MAX ? undefined : mintedMs;
}

export class OwnShare {
  private readonly entriesMax: number;
  private readonly bytesMax: number;
  private readonly principalMax: number;
  private readonly byPrincipal: Map<string, number>;
  private entries: number;
  private bytes: number;

  /** The store's limits. */
  constructor(entriesMax: number, bytesMax: number) {
    this.entriesMax = ownEntriesMax(entriesMax);
    this.bytesMax = bytesMax / 2;
    this.principalMax = Math.ceil(entriesMax / 8);
    this.byPrincipal = new Map();
    this.entries = 0;
    this.bytes = 0;
  }

  hasRoom(principal: string): boolean {
    if (this.entries >= this.entriesMax || this.bytes >= this.bytesMax) return false;
    return principal === "" || (this.byPrincipal.get(principal) ?? 0) < this.principalMax;
  }

  add(principal: string, bytes: number): void {
    this.entries += 1;
    this.bytes += bytes;
    if (principal !== "") this.byPrincipal.set(principal, (this.byPrincipal.get(principal) ?? 0) + 1);
  }

  /** An answer has come to a record. */
  grow(bytes: number): void {
    this.bytes += bytes;
  }

  remove(principal: string, bytes: number): void {
    this.entries -= 1;
    this.bytes -= bytes;
    if (principal === "") return;
    const left = (this.byPrincipal.get(principal) ?? 0) - 1;
    if (left > 0) this.byPrincipal.set(principal, left);
    else this.byPrincipal.delete(principal);
  }
}

/** How many of a store's records may be of callers' own keys. */
export function ownEntriesMax(entriesMax: number): number {
  return Math.ceil(entriesMax / 2);
}
