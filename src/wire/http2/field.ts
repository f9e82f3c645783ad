/**
 * Hot path: header fields as the engine knows them. A Field that stands in a table is one object, shared by all sections that
 * refer to it; a FieldSection is what one header block decoded to, and is reused. Names that matter are known by number.
 */
import { STATIC_TABLE } from "./static-table.ts";

/** Names known by number. These are HTTP/2's own; the layer above adds its own from FIRST_OWN_NAME on. */
export const PSEUDO_METHOD = 0;
export const PSEUDO_SCHEME = 1;
export const PSEUDO_AUTHORITY = 2;
export const PSEUDO_PATH = 3;
export const PSEUDO_STATUS = 4;
export const PSEUDO_PROTOCOL = 5;
/** connection, keep-alive, proxy-connection, transfer-encoding and upgrade: none may stand in HTTP/2 (RFC 9113 section 8.2.2). */
export const NAME_CONNECTION_SPECIFIC = 6;
export const NAME_TE = 7;
export const NAME_CONTENT_LENGTH = 8;
export const NAME_COOKIE = 9;
export const NAME_HOST = 10;
export const FIRST_OWN_NAME = 16;

/** Why a field or section is malformed (RFC 9113 sections 8.2.1, 8.2.2 and 8.3). The decoder's tables are not harmed by any of these. */
export const FLAW_NONE = 0;
export const FLAW_NAME_EMPTY = 1;
export const FLAW_NAME_UPPERCASE = 2;
/** A character that a token may not have, such as a space, a colon past the first place, or one over 126. */
export const FLAW_NAME_CHARACTER = 3;
/** NUL, CR or LF in the value. */
export const FLAW_VALUE_CHARACTER = 4;
/** The value begins or ends with a space or tab. */
export const FLAW_VALUE_SPACE = 5;
export const FLAW_CONNECTION_SPECIFIC = 6;
/** `te` with anything but "trailers". */
export const FLAW_TE = 7;
export const FLAW_PSEUDO_UNKNOWN = 8;
export const FLAW_PSEUDO_DUPLICATE = 9;
/** A pseudo-header after a regular field. */
export const FLAW_PSEUDO_ORDER = 10;

const FLAW_TEXTS: readonly string[] = [
  "none",
  "empty field name",
  "upper case in a field name",
  "forbidden character in a field name",
  "NUL, CR or LF in a field value",
  "space around a field value",
  "connection-specific field",
  "te other than trailers",
  "unknown pseudo-header",
  "pseudo-header twice",
  "pseudo-header after a regular field",
];

/** A flaw in words, for errors and logs; it names no part of the field. */
export function flawText(flaw: number): string {
  return FLAW_TEXTS[flaw] ?? "unknown flaw";
}

const FIXED_NAMES: readonly (readonly [name: string, id: number])[] = [
  [":method", PSEUDO_METHOD],
  [":scheme", PSEUDO_SCHEME],
  [":authority", PSEUDO_AUTHORITY],
  [":path", PSEUDO_PATH],
  [":status", PSEUDO_STATUS],
  [":protocol", PSEUDO_PROTOCOL],
  ["connection", NAME_CONNECTION_SPECIFIC],
  ["keep-alive", NAME_CONNECTION_SPECIFIC],
  ["proxy-connection", NAME_CONNECTION_SPECIFIC],
  ["transfer-encoding", NAME_CONNECTION_SPECIFIC],
  ["upgrade", NAME_CONNECTION_SPECIFIC],
  ["te", NAME_TE],
  ["content-length", NAME_CONTENT_LENGTH],
  ["cookie", NAME_COOKIE],
  ["host", NAME_HOST],
];

/**
 * One header field; immutable but for `slot`. Name and value hold bytes as latin1. Shared between all sections and blocks of a connection
 * while it stands in the dynamic table; a field of the static table is shared by all connections with the same FieldNames.
 */
export class Field {
  readonly name: string;
  /** PSEUDO_*, NAME_*, FIRST_OWN_NAME + i, or -1. */
  readonly nameId: number;
  readonly value: string;
  /** Bytes by RFC 7541 section 4.1: name + value + 32. */
  readonly size: number;
  /** FLAW_*: what is malformed about this field by itself. */
  readonly flaw: number;
  /** FLAW_*: what is malformed about its name, whatever the value. */
  readonly nameFlaw: number;
  /** For the decoder's loop, all that it asks about a field in one number: see `marksOf`. */
  readonly marks: number;
  /** For the layer above, such as a route or a codec found by this field. Starts undefined. */
  slot: unknown;

  constructor(name: string, nameId: number, nameFlaw: number, value: string, flaw: number) {
    this.name = name;
    this.nameId = nameId;
    this.value = value;
    this.size = name.length + value.length + 32;
    this.flaw = flaw;
    this.nameFlaw = nameFlaw;
    this.marks = marksOf(nameId, flaw);
    this.slot = undefined;
  }
}

/** In `marks` and in what a block has seen: a regular field. The bits under it are 1 << PSEUDO_*. */
export const MARK_REGULAR = 0x40;
/** The bits under these are what the field is; from here on stand those that may not have been seen before it. */
export const MARK_CONFLICT_SHIFT = 8;
/** Conflicts with these bits are there always: the field has a flaw by itself. */
export const MARK_FLAW = 0x80;

/** One bit for what the field is, and those with which it conflicts: a pseudo-header with itself and with all regular ones before it. */
function marksOf(nameId: number, flaw: number): number {
  const isPseudo = nameId >= 0 && nameId <= PSEUDO_PROTOCOL;
  const mark = isPseudo ? 1 << nameId : MARK_REGULAR;
  const conflicts = (isPseudo ? mark | MARK_REGULAR : 0) | (flaw === FLAW_NONE ? 0 : MARK_FLAW);
  return mark | (conflicts << MARK_CONFLICT_SHIFT);
}

/** Stands where there is no field any more, so that a big one is not kept alive and arrays keep their kind. */
export const NO_FIELD: Field = new Field("", -1, FLAW_NAME_EMPTY, "", FLAW_NAME_EMPTY);

/** The names a decoder knows: HTTP/2's, the static table's and those of the layer above. One for many connections; immutable. */
export class FieldNames {
  /** How many names keep their values as bytes. */
  readonly rawCount: number;
  /** By static index (RFC 7541 appendix A): the field, shared by all decoders with these names. */
  readonly staticFields: readonly Field[];
  /** By id: position among the raw names, or -1. */
  readonly rawIndexes: Int8Array;
  readonly #ids: Map<string, number>;
  /** Every interned name as a field without value, and its place in the chains of a small hash table. */
  readonly #interned: Field[];
  readonly #heads: Int16Array;
  readonly #nexts: Int16Array;

  /**
   * own[i] gets id FIRST_OWN_NAME + i. Names in `raw`, each also in `own`, keep their value as bytes when it comes as a plain literal
   * that no table is to hold (it is then unique per call: a string would be waste).
   * RangeError: a raw name that is not in `own`, a name twice, an own name that HTTP/2 has already, over 64 raw names.
   */
  constructor(own: readonly string[], raw: readonly string[]) {
    const ids = new Map<string, number>(FIXED_NAMES);
    own.forEach((name, i) => {
      if (ids.has(name)) throw new RangeError(`own[${i}] must be a name that is not known yet, got "${name}"`);
      ids.set(name, FIRST_OWN_NAME + i);
    });
    if (raw.length > 64) throw new RangeError(`raw must have at most 64 names, got ${raw.length}`);
    this.rawCount = raw.length;
    this.rawIndexes = new Int8Array(FIRST_OWN_NAME + own.length).fill(-1);
    raw.forEach((name, i) => {
      const id = ids.get(name) ?? -1;
      if (id < FIRST_OWN_NAME || this.rawIndexes[id] !== -1) {
        throw new RangeError(`raw[${i}] must be one of the own names, once, got "${name}"`);
      }
      this.rawIndexes[id] = i;
    });
    this.#ids = ids;
    const names = new Set([...ids.keys(), ...STATIC_TABLE.slice(1).map((entry) => entry[0])]);
    this.#interned = Array.from(names, (name) => createField(name, ids.get(name) ?? -1, ""));
    this.#heads = new Int16Array(HASH_MASK + 1).fill(-1);
    this.#nexts = new Int16Array(this.#interned.length);
    this.#interned.forEach((field, i) => {
      const bytes = Buffer.from(field.name, "latin1");
      const hash = nameHash(bytes, 0, bytes.length);
      this.#nexts[i] = this.#heads[hash] as number;
      this.#heads[hash] = i;
    });
    this.staticFields = STATIC_TABLE.map(([name, value]) => createField(name, ids.get(name) ?? -1, value));
  }

  /** The id of a name, or -1. */
  idOf(name: string): number {
    return this.#ids.get(name) ?? -1;
  }

  /** The interned name in bytes[start, end), as a field without value; NO_FIELD if it is not one. Makes no string. */
  find(bytes: Buffer, start: number, end: number): Field {
    const length = end - start;
    if (length === 0) return NO_FIELD;
    let i = this.#heads[nameHash(bytes, start, end)] as number;
    while (i >= 0) {
      const field = this.#interned[i] as Field;
      const name = field.name;
      if (name.length === length) {
        let same = 0;
        while (same < length && name.charCodeAt(same) === bytes[start + same]) same++;
        if (same === length) return field;
      }
      i = this.#nexts[i] as number;
    }
    return NO_FIELD;
  }
}

/** What one header block decoded to. Reused by its owner: valid until the owner clears it. */
export class FieldSection {
  /** Kept fields, in the order of the block. */
  count: number;
  /** The first `count` are valid. */
  readonly fields: Field[];
  /** All fields of the block, those too that are raw or were not kept. */
  total: number;
  /** Sum of the sizes of all of them (RFC 9113 section 10.5.1). */
  size: number;
  /** FLAW_*: the first one met. What depends on request or response (a missing :path, a pseudo-header in trailers) is the owner's to see. */
  flaw: number;
  /** Bit 1 << PSEUDO_* for each pseudo-header seen; complete when the block is. */
  pseudoMask: number;
  /** A limit was exceeded. The block was decoded to its end for the table's sake, but nothing was kept from the offending field on. */
  isTruncated: boolean;
  /** The received bytes in which raw values stand; they are valid as long as the owner keeps that buffer unchanged. */
  rawBytes: Buffer;
  /** By position among the raw names: the value is rawBytes[rawStart, rawEnd). rawEnd 0 means absent. A second value of a name is a Field. */
  readonly rawStart: Int32Array;
  readonly rawEnd: Int32Array;

  constructor(names: FieldNames) {
    this.count = 0;
    this.fields = [];
    this.total = 0;
    this.size = 0;
    this.flaw = FLAW_NONE;
    this.pseudoMask = 0;
    this.isTruncated = false;
    this.rawBytes = NO_BYTES;
    this.rawStart = new Int32Array(names.rawCount);
    this.rawEnd = new Int32Array(names.rawCount);
  }

  /** Makes it empty, and lets go of what it held. To be called before each block. */
  clear(): void {
    const fields = this.fields;
    for (let i = 0; i < this.count; i++) fields[i] = NO_FIELD;
    this.count = 0;
    this.total = 0;
    this.size = 0;
    this.flaw = FLAW_NONE;
    this.pseudoMask = 0;
    this.isTruncated = false;
    this.rawBytes = NO_BYTES;
    for (let i = 0; i < this.rawEnd.length; i++) this.rawEnd[i] = 0;
  }
}

/** A field with its flaws found. For tables and tests; the decoder looks at bytes instead. */
export function createField(name: string, nameId: number, value: string): Field {
  const nameFlaw = findNameFlaw(name, nameId);
  const bytes = Buffer.from(value, "latin1");
  const valueFlaw = nameId === NAME_TE && value !== "trailers" ? FLAW_TE : findValueFlaw(bytes, 0, bytes.length);
  return new Field(name, nameId, nameFlaw, value, nameFlaw !== FLAW_NONE ? nameFlaw : valueFlaw);
}

/** What is malformed about a name that is not interned or was never looked at (RFC 9113 section 8.2.1). */
export function findNameFlaw(name: string, nameId: number): number {
  if (nameId >= 0) return nameId === NAME_CONNECTION_SPECIFIC ? FLAW_CONNECTION_SPECIFIC : FLAW_NONE;
  if (name.length === 0) return FLAW_NAME_EMPTY;
  if (name.charCodeAt(0) === 0x3a) return FLAW_PSEUDO_UNKNOWN;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (IS_NAME_CHARACTER[code] === 1) continue;
    return code >= 0x41 && code <= 0x5a ? FLAW_NAME_UPPERCASE : FLAW_NAME_CHARACTER;
  }
  return FLAW_NONE;
}

/** What is malformed about a value in bytes[start, end) (RFC 9113 section 8.2.1); `te` is looked at elsewhere. */
export function findValueFlaw(bytes: Buffer, start: number, end: number): number {
  if (start === end) return FLAW_NONE;
  // The sign bit is set when any byte is under a space; only then a second look is needed, since tabs and other controls may stand inside.
  let low = 0;
  for (let i = start; i < end; i++) low |= (bytes[i] as number) - 0x20;
  if (low < 0) {
    for (let i = start; i < end; i++) {
      const byte = bytes[i] as number;
      if (byte === 0 || byte === 0x0a || byte === 0x0d) return FLAW_VALUE_CHARACTER;
    }
  }
  const first = bytes[start] as number;
  const last = bytes[end - 1] as number;
  return first === 0x20 || first === 0x09 || last === 0x20 || last === 0x09 ? FLAW_VALUE_SPACE : FLAW_NONE;
}

const NO_BYTES = Buffer.alloc(0);
const HASH_MASK = 255;

/** The token characters of RFC 9110 section 5.6.2 without upper case. */
const IS_NAME_CHARACTER = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
  IS_NAME_CHARACTER[character.charCodeAt(0)] = 1;

/** A hash of a name that is not empty: its length, ends and middle tell the known names apart well enough. */
function nameHash(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  const middle = bytes[start + (length >>> 1)] as number;
  return (length * 7 + (bytes[start] as number) * 3 + middle * 31 + (bytes[end - 1] as number) * 13) & HASH_MASK;
}
