/**
 * The Huffman code of HPACK (RFC 7541 appendix B), built from the lengths of its codes. The code is canonical: within a length the
 * codes follow the symbols' order, and a longer code continues where the shorter ones ended. So 257 lengths say all of it.
 */

/** The symbol that ends a string. It must never stand in one (RFC 7541 section 5.2). */
export const HUFFMAN_EOS = 256;
/** Bits of the longest code. */
export const HUFFMAN_LENGTH_MAX = 30;
/** Bits that the first look-up of a decoder takes; all symbols that text is made of are shorter than that. */
export const HUFFMAN_LOOKUP_BITS = 10;

// biome-ignore format: a table
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

/** Bits of the code of each symbol, 5 .. 30. */
export const HUFFMAN_LENGTHS: Uint8Array = Uint8Array.from(LENGTHS);
/** The code of each symbol, in its low bits. */
export const HUFFMAN_CODES: Uint32Array = new Uint32Array(257);
/** All symbols in the order of their codes. */
export const HUFFMAN_SYMBOLS: Uint16Array = new Uint16Array(257);
/** By length: the first code of that length. */
export const HUFFMAN_FIRST_CODE: Uint32Array = new Uint32Array(HUFFMAN_LENGTH_MAX + 1);
/** By length: how many codes have it. */
export const HUFFMAN_COUNT: Uint16Array = new Uint16Array(HUFFMAN_LENGTH_MAX + 1);
/** By length: where its symbols begin in HUFFMAN_SYMBOLS. */
export const HUFFMAN_OFFSET: Uint16Array = new Uint16Array(HUFFMAN_LENGTH_MAX + 1);
/** By the next 10 bits: length << 8 | symbol for a code of at most 10 bits, 0 for the beginning of a longer one. */
export const HUFFMAN_LOOKUP: Uint16Array = new Uint16Array(1 << HUFFMAN_LOOKUP_BITS);

buildTables();

function buildTables(): void {
  let code = 0;
  let rank = 0;
  for (let length = 1; length <= HUFFMAN_LENGTH_MAX; length++) {
    code *= 2;
    HUFFMAN_FIRST_CODE[length] = code;
    HUFFMAN_OFFSET[length] = rank;
    for (let symbol = 0; symbol <= HUFFMAN_EOS; symbol++) {
      if (HUFFMAN_LENGTHS[symbol] !== length) continue;
      HUFFMAN_CODES[symbol] = code;
      HUFFMAN_SYMBOLS[rank] = symbol;
      if (length <= HUFFMAN_LOOKUP_BITS) {
        const free = HUFFMAN_LOOKUP_BITS - length;
        HUFFMAN_LOOKUP.fill((length << 8) | symbol, code << free, (code + 1) << free);
      }
      code++;
      rank++;
    }
    HUFFMAN_COUNT[length] = rank - (HUFFMAN_OFFSET[length] as number);
  }
}
