/**
 * Hot path: Huffman strings of HPACK (RFC 7541 section 5.2). The decoder takes ten bits at a time from a table, which serves every
 * symbol that text is made of; the long codes of controls and bytes over 127 are walked bit by bit. It never throws, reads nothing
 * outside of its range, and its work is bounded by the bits it is given.
 */
import {
  HUFFMAN_CODES,
  HUFFMAN_COUNT,
  HUFFMAN_EOS,
  HUFFMAN_FIRST_CODE,
  HUFFMAN_LENGTH_MAX,
  HUFFMAN_LENGTHS,
  HUFFMAN_LOOKUP,
  HUFFMAN_LOOKUP_BITS,
  HUFFMAN_OFFSET,
  HUFFMAN_SYMBOLS,
} from "./huffman-table.ts";

/** What `huffmanDecode` answers for a string that is not one: EOS inside, padding over 7 bits or not all ones. */
export const HUFFMAN_MALFORMED = -1;

const LOOKUP_MASK = (1 << HUFFMAN_LOOKUP_BITS) - 1;

/**
 * Decodes bytes[start, end) into `out` from its beginning. Answers the length of the decoded string, or HUFFMAN_MALFORMED. The
 * string may be longer than `out`: then only its beginning is there, but all of it was checked and counted.
 */
export function huffmanDecode(bytes: Buffer, start: number, end: number, out: Buffer): number {
  const room = out.length;
  let at = start;
  let length = 0;
  // The low `bits` bits of `window` are still to be read; what stands above them is stale.
  let window = 0;
  let bits = 0;
  for (;;) {
    let look: number;
    if (bits < HUFFMAN_LOOKUP_BITS && at < end) {
      if (at + 1 < end) {
        window = (window << 16) | ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
        bits += 16;
        at += 2;
      } else {
        window = (window << 8) | (bytes[at] as number);
        bits += 8;
        at += 1;
      }
    }
    if (bits >= HUFFMAN_LOOKUP_BITS) {
      look = (window >>> (bits - HUFFMAN_LOOKUP_BITS)) & LOOKUP_MASK;
    } else {
      // The end is near: as if it were followed by ones, so that padding looks like the beginning of a longer code.
      const missing = HUFFMAN_LOOKUP_BITS - bits;
      look = ((window << missing) | ((1 << missing) - 1)) & LOOKUP_MASK;
    }
    let found = HUFFMAN_LOOKUP[look] as number;
    if (found === 0) {
      const position = at * 8 - bits;
      found = longCode(bytes, position, end * 8);
      if (found === HUFFMAN_MALFORMED) return HUFFMAN_MALFORMED;
      if (found === INCOMPLETE) break;
      const next = position + (found >>> 8);
      at = Math.ceil(next / 8);
      bits = at * 8 - next;
      window = bytes[at - 1] as number;
    } else {
      const codeLength = found >>> 8;
      if (codeLength > bits) break;
      bits -= codeLength;
    }
    if (length < room) out[length] = found & 0xff;
    length++;
  }
  // What is left is padding: the beginning of EOS, less than a byte of it.
  bits = (end - at) * 8 + bits;
  const ones = (1 << bits) - 1;
  return bits <= 7 && (window & ones) === ones ? length : HUFFMAN_MALFORMED;
}

/** Bytes that the Huffman form of a latin1 text takes. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += HUFFMAN_LENGTHS[text.charCodeAt(i) & 0xff] as number;
  return Math.ceil(bits / 8);
}

/** Writes the Huffman form of a latin1 text at `at`, padded with ones; answers where it ends. `out` must have the room. */
export function huffmanEncode(text: string, out: Buffer, at: number): number {
  let window = 0;
  let bits = 0; // at most 7 between symbols
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let code = HUFFMAN_CODES[symbol] as number;
    let length = HUFFMAN_LENGTHS[symbol] as number;
    if (length > 24) {
      // 7 + 30 bits would not fit into 32: the upper ones go first.
      window = (window << (length - 24)) | (code >>> 24);
      bits += length - 24;
      if (bits >= 8) {
        bits -= 8;
        out[at++] = window >>> bits;
      }
      code &= 0xffffff;
      length = 24;
    }
    window = (window << length) | code;
    bits += length;
    while (bits >= 8) {
      bits -= 8;
      out[at++] = window >>> bits;
    }
  }
  if (bits > 0) out[at++] = (window << (8 - bits)) | (0xff >>> bits);
  return at;
}

/** The bits ended within a code. */
const INCOMPLETE = -2;

/** Reads a code of more than ten bits: length << 8 | symbol, or INCOMPLETE, or HUFFMAN_MALFORMED for EOS. */
function longCode(bytes: Buffer, position: number, endPosition: number): number {
  let code = 0;
  for (let length = 1; length <= HUFFMAN_LENGTH_MAX; length++) {
    if (position === endPosition) return INCOMPLETE;
    code = (code << 1) | (((bytes[position >>> 3] as number) >>> (7 - (position & 7))) & 1);
    position++;
    const rank = code - (HUFFMAN_FIRST_CODE[length] as number);
    if (rank >= 0 && rank < (HUFFMAN_COUNT[length] as number)) {
      const symbol = HUFFMAN_SYMBOLS[(HUFFMAN_OFFSET[length] as number) + rank] as number;
      return symbol === HUFFMAN_EOS ? HUFFMAN_MALFORMED : (length << 8) | symbol;
    }
  }
  return HUFFMAN_MALFORMED;
}
