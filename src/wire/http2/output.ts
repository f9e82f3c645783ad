/**
 * Hot path: what a connection will send, gathered so that all frames of a turn leave in one write.
 *
 * Frames are written in place into a slab. Slabs are shared by all connections of the process: one is borrowed at the
 * first write of a turn and its rest is given back when the turn's bytes are taken, so that an idle connection holds none.
 * Bytes once taken belong to the socket and are never written again.
 */

const SLAB_BYTES = 65_536;
/** A rest smaller than this is not worth lending again. */
const SLAB_REST_MIN = 4_096;
const SPARE_SLABS_MAX = 16;
/** Payloads from here on are sent from where they lie instead of being copied into the slab. */
const BORROW_BYTES_MIN = 4_096;

const NO_BYTES = Buffer.alloc(0);
const spareSlabs: Buffer[] = [];

export class Output {
  /** The slab being written. Valid until the next `reserve`. */
  bytes: Buffer;
  /** Where the next byte goes. */
  at: number;
  #start: number;
  #chunks: Buffer[];
  #chunkBytes: number;
  #spent: Buffer[] | undefined;

  constructor() {
    this.bytes = NO_BYTES;
    this.at = 0;
    this.#start = 0;
    this.#chunks = [];
    this.#chunkBytes = 0;
    this.#spent = undefined;
  }

  /** Bytes gathered and not yet taken. */
  get length(): number {
    return this.#chunkBytes + this.at - this.#start;
  }

  /** Makes sure that `count` more bytes fit at `at`, which may move to another slab. */
  reserve(count: number): void {
    if (this.bytes.length - this.at < count) this.#nextSlab(count);
  }

  /** Appends bytes: large ones by reference (they must not change any more), small ones by copy. */
  append(payload: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length < BORROW_BYTES_MIN) {
      this.reserve(length);
      this.bytes.set(start === 0 && end === payload.length ? payload : payload.subarray(start, end), this.at);
      this.at += length;
      return;
    }
    this.#closeChunk();
    this.#chunks.push(payload.subarray(start, end));
    this.#chunkBytes += length;
  }

  /** The last of a payload was appended, and its memory is nobody's once what was gathered has left. */
  spend(payload: Buffer): void {
    (this.#spent ??= []).push(payload);
  }

  /** The payloads that {@link spend} was told of since the last time; undefined: none. Take them with what was gathered. */
  takeSpent(): Buffer[] | undefined {
    const spent = this.#spent;
    this.#spent = undefined;
    return spent;
  }

  /** Hands over everything gathered, in order. The array is the caller's. */
  take(): Buffer[] {
    this.#closeChunk();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#chunkBytes = 0;
    if (this.bytes.length - this.at >= SLAB_REST_MIN && spareSlabs.length < SPARE_SLABS_MAX) {
      spareSlabs.push(this.bytes.subarray(this.at));
    }
    this.bytes = NO_BYTES;
    this.at = 0;
    this.#start = 0;
    return chunks;
  }

  #closeChunk(): void {
    if (this.at > this.#start) {
      this.#chunks.push(this.bytes.subarray(this.#start, this.at));
      this.#chunkBytes += this.at - this.#start;
      this.#start = this.at;
    }
  }

  #nextSlab(count: number): void {
    this.#closeChunk();
    const spare = count <= SLAB_REST_MIN ? spareSlabs.pop() : undefined;
    this.bytes = spare ?? Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, count));
    this.at = 0;
    this.#start = 0;
  }
}
