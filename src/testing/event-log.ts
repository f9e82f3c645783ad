/**
 * What a simulated universe did, as far as the network could see it: a running SHA-256 over all of it, so that two runs
 * can be compared, and the last entries as text for whoever has to find out why they differ.
 */
import { createHash, type Hash } from "node:crypto";

/** What can stand in the log. */
export const logKinds = [
  "boot",
  "crash",
  "freeze",
  "thaw",
  "fault",
  "listen",
  "connect",
  "refuse",
  "open",
  "accept",
  "deliver",
  "end",
  "reset",
  "lose",
  "retransmit",
  "close",
] as const;
export type LogKind = (typeof logKinds)[number];

const kindNumbers = new Map<LogKind, number>(logKinds.map((kind, index) => [kind, index]));
const entryBytes = 32;
const blockEntries = 1024;

export class EventLog {
  private readonly hash: Hash = createHash("sha256");
  private readonly block = Buffer.alloc(entryBytes * blockEntries);
  private readonly view = new DataView(this.block.buffer, this.block.byteOffset, this.block.byteLength);
  private used = 0;
  private count = 0;
  private readonly recent: Buffer[] = [];

  /** Entries so far. */
  get size(): number {
    return this.count;
  }

  /**
   * Appends one entry: `from` and `to` are host numbers, `id` a connection (or what else the kind counts), `length`
   * and `check` the size and CRC-32 of what was delivered.
   */
  add(kind: LogKind, atMs: number, from: number, to: number, id: number, length: number, check: number): void {
    const at = this.used * entryBytes;
    const view = this.view;
    view.setFloat64(at, atMs);
    view.setUint32(at + 8, kindNumbers.get(kind) ?? 0);
    view.setInt32(at + 12, from);
    view.setInt32(at + 16, to);
    view.setUint32(at + 20, id);
    view.setUint32(at + 24, length);
    view.setUint32(at + 28, check);
    this.count++;
    if (++this.used === blockEntries) this.flush();
  }

  /** The same for the same happenings in the same order at the same virtual times. */
  digest(): string {
    return this.hash
      .copy()
      .update(this.block.subarray(0, this.used * entryBytes))
      .digest("hex");
  }

  /** The last entries (at least 1,024 if there were so many, at most 17,408), one line each. */
  lines(): readonly string[] {
    const blocks = [...this.recent, this.block.subarray(0, this.used * entryBytes)];
    return blocks.flatMap((block) => {
      const lines: string[] = [];
      for (let at = 0; at < block.length; at += entryBytes) lines.push(lineAt(block, at));
      return lines;
    });
  }

  private flush(): void {
    this.hash.update(this.block);
    this.recent.push(Buffer.from(this.block));
    if (this.recent.length > 16) this.recent.shift();
    this.used = 0;
  }
}

function lineAt(block: Buffer, at: number): string {
  const kind = logKinds[block.readUInt32BE(at + 8)] ?? "?";
  const from = block.readInt32BE(at + 12);
  const to = block.readInt32BE(at + 16);
  const check = block
    .readUInt32BE(at + 28)
    .toString(16)
    .padStart(8, "0");
  return `${block.readDoubleBE(at).toFixed(3)} ${kind} ${from}>${to} #${block.readUInt32BE(at + 20)} ${block.readUInt32BE(at + 24)} ${check}`;
}
