/**
 * Hot path: gRPC's length-prefixed messages out of the payloads of DATA frames.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Length-Prefixed-Message): 1 byte compressed flag, 4 bytes length, the message.
 */

/** Bytes in front of each message. */
export const messagePrefixBytes = 5;

/** Why a stream of messages cannot go on: a message above the limit, or a flag that is neither 0 nor 1. */
export type DeframeError = "too-large" | "bad-flag";

const noBytes: Buffer = Buffer.alloc(0);

/**
 * Takes payload ranges, gives whole messages. A message that lies in one range is given in place, without a copy; one that
 * spans ranges is gathered in a buffer of its own, which grows with what has arrived (at most four times that): a length
 * alone makes nobody allocate. After an error nothing more is given.
 *
 *     deframer.push(chunk, start, end);
 *     while (deframer.next()) decode(deframer.bytes, deframer.start, deframer.end);
 *     if (deframer.error !== undefined) …
 */
export class MessageDeframer {
  /** Where the message is, after `next()` was true: `bytes[start, end)`. Valid until the next call. */
  bytes: Buffer = noBytes;
  start = 0;
  end = 0;
  /** The message's compressed flag. */
  isCompressed = false;
  error: DeframeError | undefined = undefined;
  /** The declared length of the last prefix; of the message that was "too-large". */
  messageBytes = 0;

  readonly #messageBytesMax: number;
  #chunk: Buffer = noBytes;
  #at = 0;
  #chunkEnd = 0;
  /** Bytes of the prefix that have been read; 5 while a message is being gathered. */
  #prefixRead = 0;
  #held: Buffer = noBytes;
  #heldBytes = 0;

  /** `messageBytesMax`: the largest length (as on the wire, compressed or not) that is taken. */
  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax;
  }

  /** Sets the input range `chunk[start, end)`; the previous one must be exhausted (`next()` was false). */
  push(chunk: Buffer, start: number, end: number): void {
    if (this.#at !== this.#chunkEnd && this.error === undefined) throw new Error("the previous range is not exhausted");
    this.#chunk = chunk;
    this.#at = start;
    this.#chunkEnd = end;
  }

  /** true: a whole message is at `bytes[start, end)`. false: the range is exhausted, or `error` is set (and stays). */
  next(): boolean {
    if (this.error !== undefined) return false;
    const chunk = this.#chunk;
    const chunkEnd = this.#chunkEnd;
    let at = this.#at;
    if (this.#prefixRead === 0 && chunkEnd - at >= messagePrefixBytes) {
      const flag = chunk[at] as number;
      const length =
        (((chunk[at + 1] as number) << 24) |
          ((chunk[at + 2] as number) << 16) |
          ((chunk[at + 3] as number) << 8) |
          (chunk[at + 4] as number)) >>>
        0;
      if (flag > 1 || length > this.#messageBytesMax) return this.#fail(flag, length);
      at += messagePrefixBytes;
      this.isCompressed = flag === 1;
      this.messageBytes = length;
      if (chunkEnd - at >= length) {
        this.bytes = chunk;
        this.start = at;
        this.end = at + length;
        this.#at = at + length;
        this.isGathered = false;
        return true;
      }
      this.#at = at;
      this.#prefixRead = messagePrefixBytes;
    }
    return this.#gather();
  }

  /** The message at `bytes` was gathered: the buffer is its own. */
  isGathered = false;

  /** The memory for the whole message being gathered is within somebody's budget: it may be had at once. */
  isWholeGranted = false;

  /** Bytes that the message being gathered still lacks; 0 when none is. */
  get missingBytes(): number {
    return this.#prefixRead === messagePrefixBytes ? this.messageBytes - this.#heldBytes : 0;
  }

  /** Bytes of the range that no message has taken yet. */
  get restBytes(): number {
    return this.#chunkEnd - this.#at;
  }

  /** Lets go of the rest of the range, which the caller keeps: returns where in the pushed chunk it began. */
  dropRest(): number {
    const at = this.#at;
    this.#exhausted();
    return at;
  }

  /** Whether bytes of an unfinished message have come: at END_STREAM, the message was truncated. */
  get isMidMessage(): boolean {
    return this.#prefixRead > 0 || (this.#at < this.#chunkEnd && this.error === undefined);
  }

  /** The slow half of `next`: a prefix or a message that spans ranges. */
  #gather(): boolean {
    if (this.#prefixRead < messagePrefixBytes && !this.#gatherPrefix()) return this.#exhausted();
    const length = this.messageBytes;
    const taken = Math.min(length - this.#heldBytes, this.#chunkEnd - this.#at);
    if (taken === length) {
      // All of it is in this range after all: only the prefix spanned.
      this.bytes = this.#chunk;
      this.start = this.#at;
      this.end = this.#at + length;
      this.#at = this.end;
      this.#prefixRead = 0;
      this.isGathered = false;
      return true;
    }
    this.#hold(taken);
    if (this.#heldBytes < length) return this.#exhausted();
    this.bytes = this.#held;
    this.start = 0;
    this.end = length;
    this.isGathered = true;
    this.isWholeGranted = false;
    this.#held = noBytes;
    this.#heldBytes = 0;
    this.#prefixRead = 0;
    return true;
  }

  /** Reads on in the prefix; true if it is whole and within the limits. */
  #gatherPrefix(): boolean {
    while (this.#at < this.#chunkEnd) {
      const byte = this.#chunk[this.#at++] as number;
      if (this.#prefixRead === 0) {
        if (byte > 1) return this.#fail(byte, 0);
        this.isCompressed = byte === 1;
        this.messageBytes = 0;
      } else {
        this.messageBytes = this.messageBytes * 256 + byte;
      }
      this.#prefixRead++;
      if (this.#prefixRead === messagePrefixBytes) {
        return this.messageBytes <= this.#messageBytesMax || this.#fail(0, this.messageBytes);
      }
    }
    return false;
  }

  /** Copies the next bytes of the range behind the held ones. */
  #hold(taken: number): void {
    const needed = this.#heldBytes + taken;
    if (needed > this.#held.length) {
      // Four times what has come, so that a message of n bytes is copied n + n/3 bytes in all; all of it, once somebody vouches.
      const size = this.isWholeGranted ? this.messageBytes : Math.min(this.messageBytes, needed * 4);
      const grown = Buffer.allocUnsafeSlow(size);
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    this.#chunk.copy(this.#held, this.#heldBytes, this.#at, this.#at + taken);
    this.#heldBytes = needed;
    this.#at += taken;
  }

  /** Nothing more in this range: lets go of it, so that an idle stream does not keep a chunk alive. */
  #exhausted(): false {
    this.#chunk = noBytes;
    this.#at = 0;
    this.#chunkEnd = 0;
    this.bytes = noBytes;
    this.start = 0;
    this.end = 0;
    return false;
  }

  #fail(flag: number, length: number): false {
    this.error = flag > 1 ? "bad-flag" : "too-large";
    this.messageBytes = length;
    this.#held = noBytes;
    this.#heldBytes = 0;
    this.#prefixRead = 0;
    return this.#exhausted();
  }
}

/** Writes the five bytes that stand in front of a message of `length` bytes (0 .. 2^32 - 1). */
export function writeMessagePrefix(out: Buffer, at: number, isCompressed: boolean, length: number): void {
  out[at] = isCompressed ? 1 : 0;
  out[at + 1] = length >>> 24;
  out[at + 2] = (length >>> 16) & 0xff;
  out[at + 3] = (length >>> 8) & 0xff;
  out[at + 4] = length & 0xff;
}
