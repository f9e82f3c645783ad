/**
 * Hot path: the decoder of HPACK (RFC 7541). One per connection, since its table is the connection's. An indexed field costs one array
 * read and one array write; the Field object is shared. It never throws; what is malformed but decodable is a flaw of the section,
 * so that the tables of both sides stay the same (RFC 9113 section 4.3).
 */
import {
  Field,
  type FieldNames,
  type FieldSection,
  FLAW_NONE,
  FLAW_PSEUDO_DUPLICATE,
  FLAW_PSEUDO_ORDER,
  FLAW_TE,
  findNameFlaw,
  findValueFlaw,
  MARK_CONFLICT_SHIFT,
  MARK_FLAW,
  MARK_REGULAR,
  NAME_TE,
  NO_FIELD,
} from "./field.ts";
import { HUFFMAN_MALFORMED, huffmanDecode } from "./huffman.ts";
import { STATIC_INDEX_MAX } from "./static-table.ts";

export interface HpackDecoderLimits {
  /**
   * The size of the dynamic table, bytes (our SETTINGS_HEADER_TABLE_SIZE; a peer that has not read it yet goes by 4096). A value under
   * 4096 is taken as agreed from the first block on; to lower it later, call `setTableSizeMax` when the SETTINGS were acknowledged.
   */
  readonly tableSizeMax: number;
  /** Fields in a block, cookie crumbs and raw ones included. */
  readonly fieldsMax: number;
  /** Sum of the decoded sizes, 32 bytes added for each field (our SETTINGS_MAX_HEADER_LIST_SIZE). */
  readonly listBytesMax: number;
  /** Name and value of one field, bytes. */
  readonly fieldBytesMax: number;
}

/** Bytes of a table before SETTINGS say otherwise (RFC 9113 section 6.5.2). */
const DEFAULT_TABLE_SIZE = 4096;
/** Integers over this are an attack or an error; a header block is never that long. */
const INTEGER_MAX = 2 ** 28;
const CONTINUATION_BYTES_MAX = 5;
/** What `#fail` answers, in place of a position or number. */
const FAILED = -1;
/** `#smallestMax` while the peer owes us no size update. */
const NOTHING_OWED = Number.MAX_SAFE_INTEGER;
/** Strings up to this many bytes are cheaper to make in JavaScript than by a call into the runtime. */
const SHORT_TEXT_BYTES = 8;

export class HpackDecoder {
  /** A short text after `decode` answered false, else "". */
  error: string;
  readonly #names: FieldNames;
  readonly #staticFields: readonly Field[];
  readonly #fieldsMax: number;
  readonly #listBytesMax: number;
  readonly #fieldBytesMax: number;
  /** Decoded Huffman strings, one at a time. */
  #scratch: Buffer;
  /** The dynamic table, a ring whose length is a power of two: the newest entry stands at (#inserted - 1) & #mask. */
  #ring: Field[];
  #mask: number;
  #inserted: number;
  #entries: number;
  #tableSize: number;
  /** The size the peer's encoder has chosen, and the most it may choose. */
  #tableSizeNow: number;
  #tableSizeMax: number;
  /** The smallest maximum that we set since the last block, if under the size in use: the next block must begin by obeying it. */
  #smallestMax: number;
  /** Marks of the fields that the block has had. */
  #seen: number;
  /** Where the last integer or string ended; where the last string stands, and how long it is. */
  #at: number;
  #text: Buffer;
  #textStart: number;
  #textLength: number;

  constructor(names: FieldNames, limits: HpackDecoderLimits) {
    this.error = "";
    this.#names = names;
    this.#staticFields = names.staticFields;
    this.#fieldsMax = limits.fieldsMax;
    this.#listBytesMax = limits.listBytesMax;
    this.#fieldBytesMax = limits.fieldBytesMax;
    this.#scratch = NO_BYTES;
    this.#ring = new Array<Field>(RING_START).fill(NO_FIELD);
    this.#mask = RING_START - 1;
    this.#inserted = 0;
    this.#entries = 0;
    this.#tableSize = 0;
    this.#tableSizeNow = Math.min(limits.tableSizeMax, DEFAULT_TABLE_SIZE);
    this.#tableSizeMax = limits.tableSizeMax;
    this.#smallestMax = NOTHING_OWED;
    this.#seen = 0;
    this.#at = 0;
    this.#text = NO_BYTES;
    this.#textStart = 0;
    this.#textLength = 0;
  }

  /** Entries in the dynamic table. */
  get tableCount(): number {
    return this.#entries;
  }

  /** Bytes in the dynamic table, by RFC 7541 section 4.1. */
  get tableSize(): number {
    return this.#tableSize;
  }

  /** The entry with this index, 1 .. 61 + tableCount; NO_FIELD if there is none. */
  entry(index: number): Field {
    if (index <= STATIC_INDEX_MAX) return index > 0 ? (this.#staticFields[index] as Field) : NO_FIELD;
    const age = index - STATIC_INDEX_MAX;
    return age <= this.#entries ? (this.#ring[(this.#inserted - age) & this.#mask] as Field) : NO_FIELD;
  }

  /**
   * Decodes a whole header block, bytes[start, end), into a section that is clear. True, or false for a COMPRESSION_ERROR, which ends the
   * connection, with `error` a short text; the decoder is of no use then. Never throws. Raw values of the section point into `bytes`.
   */
  decode(bytes: Buffer, start: number, end: number, into: FieldSection): boolean {
    let at = start;
    if (this.#smallestMax !== NOTHING_OWED || (start < end && ((bytes[start] as number) & 0xe0) === 0x20)) {
      at = this.#sizeUpdates(bytes, start, end);
    }
    this.#seen = 0;
    while (at >= 0 && at < end) {
      const first = bytes[at] as number;
      if (first >= 0x80) at = this.#indexed(bytes, this.#indexedRun(bytes, at, end, into), end, into);
      else if (first < 0x20 || first >= 0x40) at = this.#literal(bytes, first, at + 1, end, into);
      else at = this.#fail("table size update after a field");
    }
    into.pseudoMask = this.#seen & (MARK_REGULAR - 1);
    return at >= 0;
  }

  /**
   * Our SETTINGS_HEADER_TABLE_SIZE, now that the peer acknowledged it. If it is under the size in use, the next block must begin with an
   * update that obeys it (RFC 7541 section 4.2).
   */
  setTableSizeMax(n: number): void {
    this.#tableSizeMax = n;
    if (n < this.#tableSizeNow) this.#smallestMax = Math.min(this.#smallestMax, n);
  }

  /** Reads the updates at the beginning of a block; answers where the fields begin, or FAILED. */
  #sizeUpdates(bytes: Buffer, start: number, end: number): number {
    let at = start;
    for (let updates = 0; at < end && ((bytes[at] as number) & 0xe0) === 0x20; updates++) {
      if (updates === 2) return this.#fail("more than two table size updates");
      let size = (bytes[at] as number) & 0x1f;
      at++;
      if (size === 0x1f) {
        size = this.#integer(bytes, at, end, 0x1f);
        if (size < 0) return FAILED;
        at = this.#at;
      }
      if (size > this.#tableSizeMax) return this.#fail("table size update over the limit");
      if (size <= this.#smallestMax) this.#smallestMax = NOTHING_OWED;
      this.#tableSizeNow = size;
      this.#evict(size);
    }
    if (this.#smallestMax !== NOTHING_OWED && at < end) return this.#fail("missing table size update");
    return at;
  }

  /**
   * Reads indexed fields as long as they follow each other and nothing is to be said about them; answers where that ends. What changes with
   * each field is in variables and the loop has no call, since most fields come this way.
   */
  #indexedRun(bytes: Buffer, start: number, end: number, into: FieldSection): number {
    const staticFields = this.#staticFields;
    const ring = this.#ring;
    const mask = this.#mask;
    const indexMax = this.#entries + STATIC_INDEX_MAX;
    const newest = this.#inserted + STATIC_INDEX_MAX;
    const sizeMax = this.#fieldBytesMax + 32;
    const fields = into.fields;
    let count = into.count;
    const countMax = into.isTruncated ? 0 : this.#fieldsMax - into.total + count;
    let room = this.#listBytesMax - into.size;
    let seen = this.#seen;
    let at = start;
    while (at < end) {
      const index = (bytes[at] as number) - 0x80;
      if (index <= 0 || index >= 0x7f || index > indexMax || count >= countMax) break;
      const field = (index <= STATIC_INDEX_MAX ? staticFields[index] : ring[(newest - index) & mask]) as Field;
      const size = field.size;
      const marks = field.marks;
      if (size > room || size > sizeMax || ((marks >> MARK_CONFLICT_SHIFT) & (seen | MARK_FLAW)) !== 0) break;
      room -= size;
      seen |= marks;
      fields[count++] = field;
      at++;
    }
    into.total += at - start;
    into.count = count;
    into.size = this.#listBytesMax - room;
    this.#seen = seen & (MARK_FLAW - 1);
    return at;
  }

  /** Reads an indexed field of any kind, if one stands there; answers where the next field begins, or FAILED. */
  #indexed(bytes: Buffer, start: number, end: number, into: FieldSection): number {
    if (start >= end || (bytes[start] as number) < 0x80) return start;
    let at = start + 1;
    let index = (bytes[start] as number) & 0x7f;
    if (index === 0x7f) {
      index = this.#integer(bytes, at, end, 0x7f);
      at = this.#at;
    }
    const field = this.entry(index);
    if (field === NO_FIELD) return this.#failIndex(index);
    this.#keep(field, into);
    return at;
  }

  /** Counts a field, notes its flaws, and keeps it if the limits allow. */
  #keep(field: Field, into: FieldSection): void {
    this.#count(field.size, into);
    if (!into.isTruncated) {
      into.fields[into.count] = field;
      into.count++;
    }
    const seen = this.#seen;
    const marks = field.marks;
    this.#seen = seen | (marks & (MARK_FLAW - 1));
    const conflicts = (marks >> MARK_CONFLICT_SHIFT) & (seen | MARK_FLAW);
    if (conflicts !== 0 && into.flaw === FLAW_NONE) into.flaw = flawOf(field, conflicts);
  }

  #count(size: number, into: FieldSection): void {
    into.total++;
    into.size += size;
    if (into.total > this.#fieldsMax || into.size > this.#listBytesMax || size - 32 > this.#fieldBytesMax)
      into.isTruncated = true;
  }

  /** Reads a literal field after its first byte; answers where the next field begins, or FAILED. */
  #literal(bytes: Buffer, first: number, start: number, end: number, into: FieldSection): number {
    const isIndexing = first >= 0x40;
    const prefix = isIndexing ? 0x3f : 0x0f;
    let at = start;
    let index = first & prefix;
    if (index === prefix) {
      if (at < end && (bytes[at] as number) < 0x80) {
        index += bytes[at++] as number;
      } else {
        index = this.#integer(bytes, at, end, prefix);
        if (index < 0) return FAILED;
        at = this.#at;
      }
    }
    let named = NO_FIELD;
    let name = "";
    let nameLength = 0;
    if (index !== 0) {
      named = this.entry(index);
      if (named === NO_FIELD) return this.#failIndex(index);
      nameLength = named.name.length;
      name = named.name;
    } else {
      if (!this.#string(bytes, at, end)) return FAILED;
      at = this.#at;
      nameLength = this.#textLength;
      if (nameLength <= this.#textMax()) {
        named = this.#names.find(this.#text, this.#textStart, this.#textStart + nameLength);
        name = named === NO_FIELD ? text(this.#text, this.#textStart, nameLength) : named.name;
      }
    }
    const nameId = named.nameId;
    if (!isIndexing && nameId >= 0 && at < end) {
      const raw = this.#names.rawIndexes[nameId] as number;
      const length = bytes[at] as number;
      if (raw >= 0 && length < 0x7f && at + length < end && into.rawEnd[raw] === 0) {
        return this.#keepRaw(bytes, at + 1, length, raw, nameLength, into);
      }
    }
    if (!this.#string(bytes, at, end)) return FAILED;
    this.#literalValue(isIndexing, name, nameLength, named, into);
    return this.#at;
  }

  #keepRaw(bytes: Buffer, at: number, length: number, raw: number, nameLength: number, into: FieldSection): number {
    this.#count(nameLength + length + 32, into);
    this.#seen |= MARK_REGULAR;
    if (!into.isTruncated) {
      into.rawBytes = bytes;
      into.rawStart[raw] = at;
      into.rawEnd[raw] = at + length;
    }
    if (into.flaw === FLAW_NONE) into.flaw = findValueFlaw(bytes, at, at + length);
    return at + length;
  }

  /** Makes the field whose value was read last, if a table or the section is to have it. */
  #literalValue(isIndexing: boolean, name: string, nameLength: number, named: Field, into: FieldSection): void {
    const length = this.#textLength;
    const size = nameLength + length + 32;
    const isStored = isIndexing && size <= this.#tableSizeNow;
    // An entry larger than the table empties it (RFC 7541 section 4.4).
    if (isIndexing) this.#evict(isStored ? this.#tableSizeNow - size : 0);
    if (!isStored && (into.isTruncated || size - 32 > this.#fieldBytesMax)) {
      this.#count(size, into);
      return;
    }
    const start = this.#textStart;
    const value = text(this.#text, start, length);
    const nameId = named.nameId;
    const nameFlaw = named === NO_FIELD ? findNameFlaw(name, -1) : named.nameFlaw;
    let flaw = nameFlaw;
    if (flaw === FLAW_NONE) flaw = findValueFlaw(this.#text, start, start + length);
    if (flaw === FLAW_NONE && nameId === NAME_TE && value !== "trailers") flaw = FLAW_TE;
    const field = new Field(name, nameId, nameFlaw, value, flaw);
    if (isStored) this.#insert(field);
    this.#keep(field, into);
  }

  /** Puts a field into the table, which has the room. */
  #insert(field: Field): void {
    if (this.#entries > this.#mask) this.#growRing();
    this.#ring[this.#inserted & this.#mask] = field;
    this.#inserted = (this.#inserted + 1) | 0;
    this.#entries++;
    this.#tableSize += field.size;
  }

  /** Drops the oldest entries until at most `size` bytes are left. */
  #evict(size: number): void {
    while (this.#tableSize > size) {
      const slot = (this.#inserted - this.#entries) & this.#mask;
      this.#tableSize -= (this.#ring[slot] as Field).size;
      this.#ring[slot] = NO_FIELD;
      this.#entries--;
    }
  }

  #growRing(): void {
    const old = this.#ring;
    const oldMask = this.#mask;
    this.#mask = old.length * 2 - 1;
    this.#ring = new Array<Field>(old.length * 2).fill(NO_FIELD);
    for (let age = 1; age <= this.#entries; age++) {
      this.#ring[(this.#inserted - age) & this.#mask] = old[(this.#inserted - age) & oldMask] as Field;
    }
  }

  /** The longest string of which a field could be kept or stored; of longer ones only the length matters. */
  #textMax(): number {
    return Math.max(this.#fieldBytesMax, this.#tableSizeMax);
  }

  /** Reads a string: sets #text, #textStart, #textLength and #at. False after #fail. */
  #string(bytes: Buffer, start: number, end: number): boolean {
    if (start >= end) return this.#fail("truncated string") >= 0;
    const first = bytes[start] as number;
    let at = start + 1;
    let length = first & 0x7f;
    if (length === 0x7f) {
      length = this.#integer(bytes, at, end, 0x7f);
      if (length < 0) return false;
      at = this.#at;
    }
    if (length > end - at) return this.#fail("truncated string") >= 0;
    this.#at = at + length;
    if (first < 0x80) {
      this.#text = bytes;
      this.#textStart = at;
      this.#textLength = length;
      return true;
    }
    // The shortest code has five bits.
    const lengthMax = Math.min((length * 8) / 5, this.#textMax());
    if (lengthMax > this.#scratch.length) this.#scratch = scratchOf(lengthMax);
    const decoded = huffmanDecode(bytes, at, at + length, this.#scratch);
    if (decoded === HUFFMAN_MALFORMED) return this.#fail("malformed Huffman string") >= 0;
    this.#text = this.#scratch;
    this.#textStart = 0;
    this.#textLength = decoded;
    return true;
  }

  /** Reads an integer whose prefix was all ones (RFC 7541 section 5.1): sets #at and answers it, or FAILED. */
  #integer(bytes: Buffer, start: number, end: number, prefix: number): number {
    let value = prefix;
    let weight = 1;
    for (let at = start; at < end; at++) {
      const byte = bytes[at] as number;
      value += (byte & 0x7f) * weight;
      if (value > INTEGER_MAX) return this.#fail("integer overflow");
      if (byte < 0x80) {
        this.#at = at + 1;
        return value;
      }
      if (at - start + 1 === CONTINUATION_BYTES_MAX) return this.#fail("integer overflow");
      weight *= 128;
    }
    return this.#fail("truncated integer");
  }

  #fail(error: string): number {
    this.error = error;
    this.#at = FAILED;
    return FAILED;
  }

  #failIndex(index: number): number {
    // A negative index is an integer that has failed already.
    return index < 0 ? FAILED : this.#fail(index === 0 ? "index 0" : "index beyond the table");
  }
}

const NO_BYTES = Buffer.alloc(0);
/** Entries of a ring at first; it doubles, up to a thirty-second of the table's size. */
const RING_START = 16;

/** What Node's Buffer has beyond its types: less work a call than `toString`. */
interface Latin1Reader {
  latin1Slice(start: number, end: number): string;
}

/** One for all decoders: it holds a string only until that became a Field. */
let scratch = Buffer.alloc(4096);

function scratchOf(length: number): Buffer {
  if (length > scratch.length) scratch = Buffer.alloc(2 ** Math.ceil(Math.log2(length)));
  return scratch;
}

function flawOf(field: Field, conflicts: number): number {
  if ((conflicts & MARK_FLAW) !== 0) return field.flaw;
  return (conflicts & MARK_REGULAR) !== 0 ? FLAW_PSEUDO_ORDER : FLAW_PSEUDO_DUPLICATE;
}

/** The latin1 text of length bytes from start. */
function text(bytes: Buffer, start: number, length: number): string {
  return length <= SHORT_TEXT_BYTES
    ? shortText(bytes, start, length)
    : (bytes as unknown as Latin1Reader).latin1Slice(start, start + length);
}

function shortText(bytes: Buffer, start: number, length: number): string {
  let short = "";
  for (let i = start; i < start + length; i++) short += String.fromCharCode(bytes[i] as number);
  return short;
}
