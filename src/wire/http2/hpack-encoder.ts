/**
 * Hot path: the encoder of HPACK (RFC 7541). One per connection. What is sent again and again is a FieldToken, made once per process; the
 * encoder remembers by its number where it stands in this connection's table, so that sending it is one look-up and one byte.
 * The encoder keeps sizes of entries, no strings. Names and values must have been checked: here a character is a byte.
 */
import { huffmanEncode, huffmanLength } from "./huffman.ts";
import { STATIC_INDEX_MAX, staticFieldIndex, staticNameIndex } from "./static-table.ts";

export interface FieldTokenOptions {
  /** Never put into a table, here or at a proxy (RFC 7541 section 7.1.3). Default false. */
  readonly isSensitive?: boolean | undefined;
}

/** A field that is sent again and again: its index in each connection's table is remembered by number. Make few, and keep them. */
export class FieldToken {
  /** A number of its own in this process, from 0. */
  readonly id: number;
  readonly name: string;
  readonly value: string;
  readonly isSensitive: boolean;
  /** Index in the static table of the whole field, or 0. */
  readonly staticIndex: number;
  /** Bytes that it takes in a table (RFC 7541 section 4.1). */
  readonly size: number;
  /** The name by itself. */
  readonly fieldName: FieldName;
  /** The value as a string literal, Huffman when shorter. */
  readonly valueLiteral: Buffer;

  /** Name in lower case and value, both latin1. */
  constructor(name: string, value: string, options: FieldTokenOptions = {}) {
    this.id = nextTokenId++;
    this.name = name;
    this.value = value;
    this.isSensitive = options.isSensitive ?? false;
    this.staticIndex = this.isSensitive ? 0 : staticFieldIndex(name, value);
    this.size = name.length + value.length + 32;
    this.fieldName = new FieldName(name);
    this.valueLiteral = stringLiteral(value);
  }
}

/** A name whose values are ever new: the name is indexed, the value is a literal that is not. Make few, and keep them. */
export class FieldName {
  /** The same number for the same name in this process; -1 when there are too many of them: then it is not indexed. */
  readonly id: number;
  readonly name: string;
  /** Lowest index in the static table with this name, or 0. */
  readonly staticIndex: number;
  /** The name as a string literal, Huffman when shorter. */
  readonly literal: Buffer;

  /** Name in lower case, latin1. */
  constructor(name: string) {
    this.id = nameNumber(name);
    this.name = name;
    this.staticIndex = staticNameIndex(name);
    this.literal = stringLiteral(name);
  }
}

const INDEXED = 0x80;
const INDEXING = 0x40;
const SIZE_UPDATE = 0x20;
const NEVER_INDEXED = 0x10;
const NOT_INDEXED = 0x00;
/** Bytes of a table before SETTINGS say otherwise (RFC 9113 section 6.5.2). */
const DEFAULT_TABLE_SIZE = 4096;
/** Tokens with higher numbers go by a map. */
const TOKEN_SLOTS_MAX = 4096;
/** Tokens in that map; then it starts anew, which costs an insertion each. */
const OTHER_TOKENS_MAX = 1024;
/** Names of a process that have numbers. */
const NAMES_MAX = 1024;
/** Names of users' metadata that a connection remembers. */
const USER_NAMES_MAX = 64;
/** A single value may take this part of the table, lest it drive out all the rest. */
const LARGE_PART = 4;
/** Insertions are numbered in 32 bits; long before they end, they are numbered anew. */
const INSERTIONS_MAX = 2 ** 30;
/** `#smallest` while no update is to be sent. */
const NO_UPDATE = -1;
/** Up to here a loop copies faster than a call into the runtime. */
const SHORT_BYTES = 64;
const SHORT_TEXT = 24;

export class HpackEncoder {
  /** Bytes that `begin` may write: two updates. */
  static readonly beginSizeMax: number = 10;

  readonly #cap: number;
  readonly #insertionsMax: number;
  /** The size that both tables have; what it is to become, and the smallest it was to become since the last block. */
  #tableSizeNow: number;
  #tableSizeNext: number;
  #smallest: number;
  #tableSize: number;
  /** Entries are numbered from 1 in the order of insertion: those over #evicted and up to #inserted are in the table. */
  #inserted: number;
  #evicted: number;
  /** Sizes of entries, a ring by number. */
  readonly #sizes: Int32Array;
  readonly #mask: number;
  /** By token and by name: the number of its last entry, 0 for none. */
  #tokens: Int32Array;
  #names: Int32Array;
  #otherTokens: Map<number, number> | undefined;
  #userNames: Map<string, UserName> | undefined;

  /**
   * @param tableSizeMax the most that this side spends on the table, bytes, whatever the peer allows: 4096. One under 4096 is told to the
   * peer in the first block.
   * @param insertionsMax after so many insertions entries are numbered anew; lower only in tests.
   */
  constructor(tableSizeMax: number, insertionsMax: number = INSERTIONS_MAX) {
    this.#cap = tableSizeMax;
    this.#insertionsMax = insertionsMax;
    this.#tableSizeNow = DEFAULT_TABLE_SIZE;
    this.#tableSizeNext = DEFAULT_TABLE_SIZE;
    this.#smallest = NO_UPDATE;
    this.#tableSize = 0;
    this.#inserted = 0;
    this.#evicted = 0;
    const ring = 2 ** Math.ceil(Math.log2(Math.max(tableSizeMax, 32) / 32));
    this.#sizes = new Int32Array(ring);
    this.#mask = ring - 1;
    this.#tokens = new Int32Array(TOKENS_START);
    this.#names = new Int32Array(TOKENS_START);
    this.#otherTokens = undefined;
    this.#userNames = undefined;
    if (tableSizeMax < DEFAULT_TABLE_SIZE) this.setTableSizeMax(DEFAULT_TABLE_SIZE);
  }

  /** Worst case of one field in `out`, bytes; the caller guarantees the room. */
  static sizeMax(nameLength: number, valueLength: number): number {
    return nameLength + valueLength + 12;
  }

  /** Bytes in the dynamic table, by RFC 7541 section 4.1. */
  get tableSize(): number {
    return this.#tableSize;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with the updates that say what we make of it (RFC 7541 section 4.2). */
  setTableSizeMax(n: number): void {
    const size = Math.min(n, this.#cap);
    if (this.#smallest !== NO_UPDATE) this.#smallest = Math.min(this.#smallest, size);
    else if (size !== this.#tableSizeNow) this.#smallest = size;
    this.#tableSizeNext = size;
  }

  /** Must be the first call of a block, and the block must reach the peer: writes pending size updates. Answers the new position. */
  begin(out: Buffer, at: number): number {
    return this.#smallest === NO_UPDATE ? at : this.#sizeUpdates(out, at);
  }

  /** Writes a token: an index; or a literal that enters the table the first time, or again after eviction. */
  token(token: FieldToken, out: Buffer, at: number): number {
    const id = token.id;
    if (token.staticIndex !== 0) {
      out[at] = INDEXED | token.staticIndex;
      return at + 1;
    }
    if (id < this.#tokens.length) {
      const number = this.#tokens[id] as number;
      if (number > this.#evicted) {
        const index = this.#indexOf(number);
        if (index < 0x7f) {
          out[at] = INDEXED | index;
          return at + 1;
        }
        return integer(out, at, INDEXED, 0x7f, index);
      }
    }
    return this.#tokenLiteral(token, out, at);
  }

  /** Writes a name with value[start, end): not indexed, not Huffman. The first time it enters the table so that the name has an index. */
  literalBytes(name: FieldName, value: Buffer, start: number, end: number, out: Buffer, at: number): number {
    const length = end - start;
    let next = this.#literalName(name, length, out, at);
    next = integer(out, next, 0, 0x7f, length);
    return copy(value, start, end, out, next);
  }

  /** The same with a latin1 text. */
  literalText(name: FieldName, value: string, out: Buffer, at: number): number {
    return textLiteral(value, out, this.#literalName(name, value.length, out, at));
  }

  /**
   * Writes a field of the user's metadata: any name in lower case, any latin1 value. A value that is the same as last time for this name is
   * indexed; ever-new values are literals with an indexed name. Remembers at most 64 names; more of them are plain literals.
   */
  field(name: string, value: string, out: Buffer, at: number): number {
    const user = this.#userName(name);
    const nameIndex = user === undefined ? staticNameIndex(name) : this.#userNameIndex(user);
    const size = name.length + value.length + 32;
    if (user === undefined || size > this.#tableSizeNow / LARGE_PART) {
      return textLiteral(value, out, userName(name, nameIndex, NOT_INDEXED, 0x0f, out, at));
    }
    if (value === user.value) {
      if (user.number > this.#evicted) return integer(out, at, INDEXED, 0x7f, this.#indexOf(user.number));
    } else {
      user.value = value;
      user.number = 0;
      if (nameIndex !== 0) return textLiteral(value, out, integer(out, at, NOT_INDEXED, 0x0f, nameIndex));
    }
    const next = userName(name, nameIndex, INDEXING, 0x3f, out, at);
    user.number = this.#insert(size, user.nameId);
    user.nameNumber = user.number;
    return shorterLiteral(value, out, next);
  }

  /** Writes a field that no table may hold, here or at a proxy: credentials, cookies (RFC 7541 section 7.1.3). */
  sensitive(name: string, value: string, out: Buffer, at: number): number {
    const user = this.#userNames?.get(name);
    const nameIndex = user === undefined ? staticNameIndex(name) : this.#userNameIndex(user);
    return textLiteral(value, out, userName(name, nameIndex, NEVER_INDEXED, 0x0f, out, at));
  }

  #tokenLiteral(token: FieldToken, out: Buffer, at: number): number {
    let known = 0;
    if (token.id >= TOKEN_SLOTS_MAX && this.#otherTokens !== undefined) known = this.#otherTokens.get(token.id) ?? 0;
    if (known > this.#evicted) return integer(out, at, INDEXED, 0x7f, this.#indexOf(known));
    let next: number;
    if (token.isSensitive) {
      next = this.#name(token.fieldName, NEVER_INDEXED, 0x0f, out, at);
    } else if (token.size > this.#tableSizeNow) {
      next = this.#name(token.fieldName, NOT_INDEXED, 0x0f, out, at);
    } else {
      next = this.#name(token.fieldName, INDEXING, 0x3f, out, at);
      this.#remember(token.id, this.#insert(token.size, token.fieldName.id));
    }
    return copy(token.valueLiteral, 0, token.valueLiteral.length, out, next);
  }

  #remember(id: number, number: number): void {
    if (id < TOKEN_SLOTS_MAX) {
      this.#tokens = withSlot(this.#tokens, id);
      this.#tokens[id] = number;
      return;
    }
    this.#otherTokens ??= new Map();
    if (this.#otherTokens.size >= OTHER_TOKENS_MAX) this.#otherTokens.clear();
    this.#otherTokens.set(id, number);
  }

  /** Writes the first byte and the name of a field with an ever-new value, which enters the table if the name is not there. */
  #literalName(name: FieldName, valueLength: number, out: Buffer, at: number): number {
    const index = this.#nameIndex(name);
    if (index !== 0) return integer(out, at, NOT_INDEXED, 0x0f, index);
    const size = name.name.length + valueLength + 32;
    if (name.id < 0 || size > this.#tableSizeNow / LARGE_PART) return this.#name(name, NOT_INDEXED, 0x0f, out, at);
    const next = this.#name(name, INDEXING, 0x3f, out, at);
    this.#insert(size, name.id);
    return next;
  }

  /** The index of a name, or 0. */
  #nameIndex(name: FieldName): number {
    if (name.staticIndex !== 0) return name.staticIndex;
    const id = name.id;
    if (id < 0 || id >= this.#names.length) return 0;
    const number = this.#names[id] as number;
    return number > this.#evicted ? this.#indexOf(number) : 0;
  }

  #userNameIndex(user: UserName): number {
    if (user.staticIndex !== 0) return user.staticIndex;
    const shared = user.nameId >= 0 && user.nameId < this.#names.length ? (this.#names[user.nameId] as number) : 0;
    const number = Math.max(user.nameNumber, shared);
    return number > this.#evicted ? this.#indexOf(number) : 0;
  }

  /** The index of the entry with this number, which is in the table. */
  #indexOf(number: number): number {
    return STATIC_INDEX_MAX + 1 + this.#inserted - number;
  }

  /** Writes the first byte, with these flags and this mask for the index, and the name by index or as it is. */
  #name(name: FieldName, flags: number, mask: number, out: Buffer, at: number): number {
    const index = this.#nameIndex(name);
    if (index !== 0) return integer(out, at, flags, mask, index);
    out[at] = flags;
    return copy(name.literal, 0, name.literal.length, out, at + 1);
  }

  /** Makes the room in the table and answers the number of the new entry. The field must fit. */
  #insert(size: number, nameId: number): number {
    this.#evict(this.#tableSizeNow - size);
    if (this.#inserted >= this.#insertionsMax) this.#renumber();
    const number = ++this.#inserted;
    this.#sizes[number & this.#mask] = size;
    this.#tableSize += size;
    if (nameId >= 0) {
      this.#names = withSlot(this.#names, nameId);
      this.#names[nameId] = number;
    }
    return number;
  }

  #evict(size: number): void {
    while (this.#tableSize > size) {
      this.#evicted++;
      this.#tableSize -= this.#sizes[this.#evicted & this.#mask] as number;
    }
  }

  /** Begins to number from the oldest entry again, before the numbers grow out of 32 bits. */
  #renumber(): void {
    const shift = this.#evicted & ~this.#mask;
    const moved = (number: number): number => (number > this.#evicted ? number - shift : 0);
    for (let i = 0; i < this.#tokens.length; i++) this.#tokens[i] = moved(this.#tokens[i] as number);
    for (let i = 0; i < this.#names.length; i++) this.#names[i] = moved(this.#names[i] as number);
    for (const [id, number] of this.#otherTokens ?? []) this.#otherTokens?.set(id, moved(number));
    for (const user of this.#userNames?.values() ?? []) {
      user.number = moved(user.number);
      user.nameNumber = moved(user.nameNumber);
    }
    this.#inserted -= shift;
    this.#evicted -= shift;
  }

  #userName(name: string): UserName | undefined {
    const known = this.#userNames?.get(name);
    if (known !== undefined) return known;
    this.#userNames ??= new Map();
    if (this.#userNames.size >= USER_NAMES_MAX) return undefined;
    const user: UserName = {
      staticIndex: staticNameIndex(name),
      nameId: nameNumbers.get(name) ?? -1,
      nameNumber: 0,
      value: "",
      number: 0,
    };
    this.#userNames.set(name, user);
    return user;
  }

  #sizeUpdates(out: Buffer, at: number): number {
    let next = at;
    if (this.#smallest < this.#tableSizeNext) {
      next = integer(out, next, SIZE_UPDATE, 0x1f, this.#smallest);
      this.#evict(this.#smallest);
    }
    next = integer(out, next, SIZE_UPDATE, 0x1f, this.#tableSizeNext);
    this.#tableSizeNow = this.#tableSizeNext;
    this.#evict(this.#tableSizeNow);
    this.#smallest = NO_UPDATE;
    return next;
  }
}

/**
 * A name of the user's metadata. It uses a number of the process when the name has one, and takes none: those are few, and users' names
 * may be many.
 */
interface UserName {
  readonly staticIndex: number;
  readonly nameId: number;
  /** The number of an entry with this name. */
  nameNumber: number;
  /** The last value, and the number of the entry with this name and that value; 0 for none. */
  value: string;
  number: number;
}

/** What Node's Buffer has beyond its types: less work a call than `write` and `toString`. */
interface Latin1Writer {
  latin1Write(text: string, at: number, length: number): number;
}

/** Slots at first; they double as higher numbers are sent. */
const TOKENS_START = 64;
let nextTokenId = 0;
const nameNumbers = new Map<string, number>();

/** Names are numbered for the whole process, so that tokens and names share the entries of a table. */
function nameNumber(name: string): number {
  const known = nameNumbers.get(name);
  if (known !== undefined) return known;
  if (nameNumbers.size >= NAMES_MAX) return -1;
  nameNumbers.set(name, nameNumbers.size);
  return nameNumbers.size - 1;
}

function withSlot(slots: Int32Array, id: number): Int32Array {
  if (id < slots.length) return slots;
  const grown = new Int32Array(2 ** Math.ceil(Math.log2(id + 1)));
  grown.set(slots);
  return grown;
}

/** Writes an integer with its flags (RFC 7541 section 5.1); `mask` covers the prefix. */
function integer(out: Buffer, at: number, flags: number, mask: number, value: number): number {
  if (value < mask) {
    out[at] = flags | value;
    return at + 1;
  }
  out[at++] = flags | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at] = rest;
  return at + 1;
}

function stringLiteral(text: string): Buffer {
  const out = Buffer.alloc(text.length + 6);
  return out.subarray(0, shorterLiteral(text, out, 0));
}

/** Writes a text as a string literal in its shorter form. */
function shorterLiteral(text: string, out: Buffer, at: number): number {
  const coded = huffmanLength(text);
  if (coded >= text.length) return textLiteral(text, out, at);
  return huffmanEncode(text, out, integer(out, at, 0x80, 0x7f, coded));
}

/** Writes a text as a string literal without Huffman. */
function textLiteral(text: string, out: Buffer, at: number): number {
  const length = text.length;
  const start = integer(out, at, 0, 0x7f, length);
  if (length > SHORT_TEXT) return start + (out as unknown as Latin1Writer).latin1Write(text, start, length);
  for (let i = 0; i < length; i++) out[start + i] = text.charCodeAt(i);
  return start + length;
}

/** Writes the first byte with these flags, and the name by its index or, if that is 0, as it is. */
function userName(name: string, index: number, flags: number, mask: number, out: Buffer, at: number): number {
  if (index !== 0) return integer(out, at, flags, mask, index);
  out[at] = flags;
  return shorterLiteral(name, out, at + 1);
}

function copy(from: Buffer, start: number, end: number, out: Buffer, at: number): number {
  if (end - start > SHORT_BYTES) return at + from.copy(out, at, start, end);
  for (let i = start; i < end; i++) out[at++] = from[i] as number;
  return at;
}
