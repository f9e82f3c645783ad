/**
 * Metadata: what travels beside the messages of a call, as an immutable list of names and values.
 *
 * It is kept as one flat array (name, value, name, value), the form in which the wire gives and takes it: most calls read
 * none of it, so that no map is built. Lookups walk the array; calls carry a handful of entries.
 */
import { isBinaryName, isReservedName, isWellFormedName } from "./metadata-names.ts";

/** Bytes for names that end in `-bin`, text for all others. */
export type MetadataValue<K extends string> = K extends `${string}-bin` ? Uint8Array : string;

/** Immutable; names are lower case; `-bin` names hold bytes. Iterates in the order of arrival or of setting. */
export interface Metadata extends Iterable<readonly [name: string, value: string | Uint8Array]> {
  /** The first value of a name, or undefined. */
  get<const K extends string>(name: K): MetadataValue<K> | undefined;
  /** All values of a name, in order. */
  getAll<const K extends string>(name: K): readonly MetadataValue<K>[];
  /**
   * A copy in which the name has this value alone, or these (sent one after the other).
   * Throws TypeError for what `MetadataInit` refuses.
   */
  with<const K extends string>(name: K, value: MetadataValue<K> | readonly MetadataValue<K>[]): Metadata;
  /** A copy without the name. */
  without(name: string): Metadata;
}

/**
 * What metadata is made of. Names are lower-cased and made of `0-9 a-z _ . -`. `-bin` names take a Uint8Array, which is copied;
 * others a text of printable ASCII (0x20..0x7e) that neither begins nor ends with a space (RFC 9113 section 8.2.1). An
 * array sends its name several times. Names of the transport (`grpc-*`, `holdfast-*`, `:path`, `content-type`, `te`, `user-agent` …) are refused.
 */
export type MetadataInit =
  | Metadata
  | {
      readonly [name: `${string}-bin`]: Uint8Array | readonly Uint8Array[];
      readonly [name: string]: string | Uint8Array | readonly string[] | readonly Uint8Array[];
    };

type Pairs = readonly (string | Uint8Array)[];

const textPattern = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

class PairsMetadata implements Metadata {
  /** name, value, name, value; never changed after construction. */
  readonly pairs: Pairs;

  constructor(pairs: Pairs) {
    this.pairs = pairs;
  }

  get<const K extends string>(name: K): MetadataValue<K> | undefined {
    const pairs = this.pairs;
    const wanted = name.toLowerCase();
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === wanted) return pairs[i + 1] as MetadataValue<K>;
    }
    return undefined;
  }

  getAll<const K extends string>(name: K): readonly MetadataValue<K>[] {
    const pairs = this.pairs;
    const wanted = name.toLowerCase();
    const values: MetadataValue<K>[] = [];
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === wanted) values.push(pairs[i + 1] as MetadataValue<K>);
    }
    return values;
  }

  with<const K extends string>(name: K, value: MetadataValue<K> | readonly MetadataValue<K>[]): Metadata {
    const pairs = withoutName(this.pairs, checkedName(name));
    appendChecked(pairs, name, value);
    return new PairsMetadata(pairs);
  }

  without(name: string): Metadata {
    return new PairsMetadata(withoutName(this.pairs, name.toLowerCase()));
  }

  *[Symbol.iterator](): Generator<readonly [name: string, value: string | Uint8Array]> {
    const pairs = this.pairs;
    for (let i = 0; i < pairs.length; i += 2) yield [pairs[i] as string, pairs[i + 1] as string | Uint8Array];
  }

  /** Names alone: values may be credentials, and JSON is what loggers write. */
  toJSON(): { readonly names: readonly string[] } {
    return { names: this.pairs.filter((_, index) => index % 2 === 0) as string[] };
  }

  /** Names alone, as in `toJSON`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Metadata(${this.toJSON().names.join(", ")})`;
  }
}

/** Metadata without entries. */
export const emptyMetadata: Metadata = Object.freeze(new PairsMetadata(Object.freeze([])));

/**
 * Metadata from what a user gave; undefined gives the empty one, an entry that is undefined is absent, and Metadata is
 * returned as it is. Throws TypeError naming the key, what came and what was expected; values never stand in the message, for
 * they may be credentials.
 */
export function metadataFrom(init: MetadataInit | undefined): Metadata {
  if (init === undefined) return emptyMetadata;
  if (init instanceof PairsMetadata) return init;
  if (typeof init !== "object" || init === null || Array.isArray(init)) {
    throw new TypeError(`metadata must be an object of names and values, got ${kindOf(init)}`);
  }
  const pairs: (string | Uint8Array)[] = [];
  if (isForeignMetadata(init)) {
    for (const [name, value] of init) appendChecked(pairs, name, value);
  } else {
    for (const name of Object.keys(init)) {
      const value: unknown = init[name];
      if (value !== undefined) appendChecked(pairs, name, value);
    }
  }
  return pairs.length === 0 ? emptyMetadata : new PairsMetadata(pairs);
}

/**
 * Metadata from a trusted flat array [name, value, name, value …] that came from the wire: names lower case, values of
 * `-bin` names bytes. The array is kept, not copied: its giver forgets it.
 */
export function metadataFromPairs(pairs: Pairs): Metadata {
  return pairs.length === 0 ? emptyMetadata : new PairsMetadata(pairs);
}

/** The flat array [name, value, name, value …] behind metadata; for the wire, which writes it without iterators. Never change it. */
export function metadataPairs(metadata: Metadata): readonly (string | Uint8Array)[] {
  if (metadata instanceof PairsMetadata) return metadata.pairs;
  const pairs: (string | Uint8Array)[] = [];
  for (const [name, value] of metadata) pairs.push(name, value);
  return pairs;
}

/** One (more) value of a name behind `pairs`, checked as `metadataFrom` does; for headers and trailers set one by one. */
export function appendMetadata(pairs: (string | Uint8Array)[], name: string, value: string | Uint8Array): void {
  appendChecked(pairs, name, value);
}

/** Metadata of another copy of this package. A user's own entries are never functions. */
function isForeignMetadata(init: object): init is Metadata {
  return (
    Symbol.iterator in init &&
    "getAll" in init &&
    typeof init.getAll === "function" &&
    typeof init[Symbol.iterator] === "function"
  );
}

function withoutName(pairs: Pairs, name: string): (string | Uint8Array)[] {
  const kept: (string | Uint8Array)[] = [];
  for (let i = 0; i < pairs.length; i += 2) {
    if (pairs[i] !== name) kept.push(pairs[i] as string, pairs[i + 1] as string | Uint8Array);
  }
  return kept;
}

function appendChecked(pairs: (string | Uint8Array)[], given: string, value: unknown): void {
  const name = checkedName(given);
  if (Array.isArray(value)) {
    for (const one of value as unknown[]) pairs.push(name, checkedValue(name, one));
  } else {
    pairs.push(name, checkedValue(name, value));
  }
}

function checkedName(given: string): string {
  if (typeof given !== "string") throw new TypeError(`a metadata name must be a string, got ${kindOf(given)}`);
  const name = given.toLowerCase();
  if (isReservedName(name)) {
    throw new TypeError(`metadata "${name}" is set by the transport and must not be given`);
  }
  if (!isWellFormedName(name)) {
    throw new TypeError(`metadata name ${JSON.stringify(given)} must be made of 0-9 a-z _ - and the dot`);
  }
  return name;
}

function checkedValue(name: string, value: unknown): string | Uint8Array {
  if (isBinaryName(name)) {
    // A copy: Metadata is immutable, the giver's array is not.
    if (value instanceof Uint8Array) return new Uint8Array(value);
    throw new TypeError(`metadata "${name}" must be a Uint8Array, for its name ends in -bin, got ${kindOf(value)}`);
  }
  if (typeof value !== "string") {
    const hint = value instanceof Uint8Array ? ` (bytes need a name that ends in -bin)` : "";
    throw new TypeError(`metadata "${name}" must be a string, got ${kindOf(value)}${hint}`);
  }
  if (!textPattern.test(value)) throw new TypeError(`metadata "${name}" ${whyNotText(value)}`);
  return value;
}

function whyNotText(value: string): string {
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) {
      const shown = `U+${unit.toString(16).toUpperCase().padStart(4, "0")}`;
      return `must be printable ASCII (0x20..0x7e), got ${shown} at index ${i} (other text needs a name that ends in -bin)`;
    }
  }
  return "must neither begin nor end with a space";
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Uint8Array) return "a Uint8Array";
  return typeof value === "object" ? "an object" : typeof value;
}
