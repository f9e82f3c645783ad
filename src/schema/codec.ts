/**
 * Hot path: the codec of a message type, compiled from its descriptor: generated code where the process may generate code,
 * closures elsewhere, with the same results.
 *
 * The bytes are those of protobuf-es's `toBinary(desc, create(desc, message))`; what is read is what `fromBinary` reads, but for
 * two things. Groups (wire types 3 and 4) are refused, where protobuf-es keeps unknown ones. And a value that a closed enum does
 * not have never displaces other unknown fields. As protobuf-es does, and other implementations of protobuf do not: the wire type
 * of a known field is not looked at, and a nested message may run past the end of the one around it (not past the input).
 * Source: protobuf encoding guide; @bufbuild/protobuf 2.17.
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { generateMessage, isCodeAllowed } from "./generate-coder.ts";
import { interpretMessage } from "./interpret-coder.ts";
import { InvalidMessageError, Refusal } from "./invalid-message.ts";
import type { CoderOf, MessageCoder } from "./message-coder.ts";
import { Misfit } from "./misfit.ts";
import { cursor } from "./wire-read.ts";

export { InvalidMessageError, UnsupportedError } from "./invalid-message.ts";

/** Encodes and decodes one message type. */
export interface MessageCodec<T = unknown> {
  /** Full protobuf name. */
  readonly typeName: string;
  /**
   * Encodes a message, or its init shape (plain objects, nested ones too; `undefined` and `null` are not set), at `at`. Gives the
   * end, or -1 when it did not fit in `bytes.length` (then nothing after `at` is meaningful).
   * Throws InvalidMessageError naming the field path for a wrong value.
   */
  encodeInto(message: unknown, bytes: Buffer, at: number): number;
  /** Encodes into a buffer of its own. Throws InvalidMessageError for a wrong value. */
  encode(message: unknown): Buffer;
  /**
   * Decodes bytes[start, end) into a message as protobuf-es's `fromBinary` makes it. Nothing of it aliases `bytes`, unless
   * `isOwned` says that the buffer is this message's own and nobody else's: then a field that is most of it may.
   * Throws InvalidMessageError for malformed input, RangeError for a range that is none.
   */
  decode(bytes: Buffer, start: number, end: number, isOwned?: boolean): T;
}

/** How coders are made. */
export type CoderKind = "generated" | "interpreted";

/** What does not fit here is measured by the first try and encoded again into a buffer of its size. */
const scratchBytes = 16 * 1024;
let scratch: Buffer | undefined;

const codecs: Record<CoderKind, WeakMap<DescMessage, MessageCodec>> = {
  generated: new WeakMap(),
  interpreted: new WeakMap(),
};
const coders: Record<CoderKind, WeakMap<DescMessage, MessageCoder>> = {
  generated: new WeakMap(),
  interpreted: new WeakMap(),
};

/**
 * The codec of a message type; compiled once. Throws UnsupportedError if the type, or one it holds, has a field with the
 * delimited encoding (group).
 */
export function compileCodec<D extends DescMessage>(desc: D): MessageCodec<MessageShape<D>> {
  return compileCodecAs(desc, isCodeAllowed() ? "generated" : "interpreted");
}

/** `compileCodec` with the kind chosen. For tests and measurements. */
export function compileCodecAs<D extends DescMessage>(desc: D, kind: CoderKind): MessageCodec<MessageShape<D>> {
  let codec = codecs[kind].get(desc);
  if (codec === undefined) {
    codec = makeCodec(desc, coderOf(desc, kind));
    codecs[kind].set(desc, codec);
  }
  return codec as MessageCodec<MessageShape<D>>;
}

function makeCodec(desc: DescMessage, coder: MessageCoder): MessageCodec {
  function encodeInto(message: unknown, bytes: Buffer, at: number): number {
    try {
      const end = coder.write(bytes, at, message);
      return end <= bytes.length ? end : -1;
    } catch (error) {
      throw explainEncode(desc, message, error);
    }
  }

  function encode(message: unknown): Buffer {
    try {
      scratch ??= Buffer.allocUnsafeSlow(scratchBytes);
      const size = coder.write(scratch, 0, message);
      const own = Buffer.allocUnsafe(size);
      if (size <= scratch.length) scratch.copy(own, 0, 0, size);
      else if (coder.write(own, 0, message) !== size)
        throw new TypeError(`a ${desc.typeName} changed while it was encoded`);
      return own;
    } catch (error) {
      throw explainEncode(desc, message, error);
    }
  }

  function decode(bytes: Buffer, start: number, end: number, isOwned = false): unknown {
    if (!(start >= 0 && start <= end && end <= bytes.length)) {
      throw new RangeError(`the range to decode must be within 0..${bytes.length}, got ${start}..${end}`);
    }
    cursor.limit = end;
    cursor.isOwned = isOwned;
    try {
      return coder.read(bytes, start, end, 1);
    } catch (error) {
      throw explainDecode(desc, bytes, start, end, error);
    }
  }

  return { typeName: desc.typeName, encodeInto, encode, decode };
}

/** The one coder of a type and kind. Entered in the map before it is made, for a type may hold itself. */
function coderOf(desc: DescMessage, kind: CoderKind): MessageCoder {
  const made = coders[kind];
  const known = made.get(desc);
  if (known !== undefined) return known;
  const coder: MessageCoder = { write: notMade, read: notMade, merge: notMade };
  made.set(desc, coder);
  const ofKind: CoderOf = (nested) => coderOf(nested, kind);
  try {
    Object.assign(
      coder,
      kind === "generated" ? generateMessage(desc, ofKind, interpretedOf) : interpretMessage(desc, ofKind),
    );
  } catch (error) {
    // Half a coder must not be found by the next who asks.
    made.delete(desc);
    throw error;
  }
  return coder;
}

function notMade(): never {
  throw new Error("a coder was used before it was made");
}

function interpretedOf(desc: DescMessage): MessageCoder {
  return coderOf(desc, "interpreted");
}

/** Finds the place: the interpreted coder goes over the message once more, and keeps track. */
function explainEncode(desc: DescMessage, message: unknown, error: unknown): unknown {
  const place = mayBeRefusal(error) ? placeOf(() => interpretedOf(desc).write(Buffer.alloc(0), 0, message)) : undefined;
  return invalid(desc, place, error);
}

function explainDecode(desc: DescMessage, bytes: Buffer, start: number, end: number, error: unknown): unknown {
  const place = mayBeRefusal(error) ? placeOf(() => interpretedOf(desc).read(bytes, start, end, 1)) : undefined;
  return invalid(desc, place, error);
}

/**
 * A Misfit may come from the middle of a message, where generated code has let closures merge; its path begins there. A TypeError
 * comes from arithmetic on a bigint or symbol, which generated code does not look for beforehand.
 */
function mayBeRefusal(error: unknown): boolean {
  return error instanceof Refusal || error instanceof Misfit || error instanceof TypeError;
}

function placeOf(again: () => unknown): unknown {
  try {
    again();
  } catch (error) {
    return error;
  }
  return undefined;
}

function invalid(desc: DescMessage, place: unknown, cause: unknown): unknown {
  if (place instanceof Misfit) return new InvalidMessageError(desc.typeName, joinPath(place.path), place.problem);
  if (cause instanceof Refusal || cause instanceof Misfit)
    return new InvalidMessageError(desc.typeName, "", cause.message);
  if (cause instanceof RangeError) {
    // The call stack ran out.
    return new InvalidMessageError(desc.typeName, "", "the message is nested too deeply, or holds itself", { cause });
  }
  return cause;
}

function joinPath(steps: readonly string[]): string {
  return steps.map((step, index) => (index === 0 || step.startsWith("[") ? step : `.${step}`)).join("");
}
