/** The static table of HPACK (RFC 7541 appendix A): 61 fields that both sides know by number, from 1. */

/** By index: name and value. Index 0 is no field. */
// biome-ignore format: a table
export const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = [
  ["", ""],
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

/** The index of the last one; the dynamic table begins after it. */
export const STATIC_INDEX_MAX = 61;

const NAME_INDEXES: ReadonlyMap<string, number> = nameIndexes();

/** The lowest index with this name, or 0. */
export function staticNameIndex(name: string): number {
  return NAME_INDEXES.get(name) ?? 0;
}

/** The index of this field with name and value, or 0. */
export function staticFieldIndex(name: string, value: string): number {
  for (let index = staticNameIndex(name); index !== 0 && index <= STATIC_INDEX_MAX; index++) {
    const entry = STATIC_TABLE[index] as readonly [string, string];
    if (entry[0] !== name) return 0;
    if (entry[1] === value) return index;
  }
  return 0;
}

function nameIndexes(): Map<string, number> {
  const indexes = new Map<string, number>();
  for (let index = STATIC_INDEX_MAX; index > 0; index--)
    indexes.set((STATIC_TABLE[index] as readonly [string, string])[0], index);
  return indexes;
}
