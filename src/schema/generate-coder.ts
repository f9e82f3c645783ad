/**
 * Coders made of generated code: for each message type one function that writes and one that reads; straight-line code, one
 * hidden class for what is read.
 *
 * Nothing of a descriptor enters the source but numbers and names quoted by JSON.stringify. What generated code calls stands in
 * `runtime`; what belongs to one type (coders of nested types, plans, zero values) is given as arrays.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import { planMessage } from "./field-plan.ts";
import { readerSource } from "./generate-reader.ts";
import { writerSource } from "./generate-writer.ts";
import { Constants } from "./generated-constants.ts";
import { badTag, tooDeep, truncated, wrongValue } from "./invalid-message.ts";
import { localOf, messageOf, setOwn } from "./local-form.ts";
import { booleanKey, checkInit, type CoderOf, integerKey, type MessageCoder, writeUnknown } from "./message-coder.ts";
import * as reading from "./wire-read.ts";
import * as writing from "./wire-write.ts";

type ReadText = (bytes: Buffer, start: number, end: number) => string;

/** ASCII text up to this length is made by one String.fromCharCode; above it the native call is cheaper (measured). */
const asciiMax = 24;

let canGenerate: boolean | undefined;

/** Whether this process may make functions from source. Looked up once. */
export function isCodeAllowed(): boolean {
  if (canGenerate === undefined) {
    try {
      canGenerate = new Function("return true")() === true;
    } catch {
      canGenerate = false;
    }
  }
  return canGenerate;
}

/**
 * A coder of generated code. `interpretedOf` gives the closures that merge: merging is rare, and must cost by the bytes that come,
 * not by the fields of the type.
 */
export function generateMessage(desc: DescMessage, coderOf: CoderOf, interpretedOf: CoderOf): MessageCoder {
  const plan = planMessage(desc);
  const forWriter = new Constants();
  const forReader = new Constants();
  return {
    write: build<MessageCoder["write"]>(writerSource(plan, forWriter, coderOf), forWriter),
    read: build<MessageCoder["read"]>(readerSource(plan, forReader, coderOf), forReader),
    merge: (bytes, at, end, depth, into) => interpretedOf(desc).merge(bytes, at, end, depth, into),
  };
}

function build<F>(source: string, constants: Constants): F {
  const names = constants.values.map((_, index) => `k${index}`);
  const make = new Function(
    "runtime",
    ...names,
    `"use strict"; const { ${Object.keys(runtime()).join(", ")} } = runtime; ${source}`,
  );
  return make(runtime(), ...constants.values) as F;
}

let runtimeNow: Readonly<Record<string, unknown>> | undefined;

/** All that generated code may call, by name. */
function runtime(): Readonly<Record<string, unknown>> {
  runtimeNow ??= {
    ...reading,
    ...writing,
    ...{
      badTag,
      tooDeep,
      truncated,
      wrongValue,
      setOwn,
      messageOf,
      localOf,
      checkInit,
      writeUnknown,
      integerKey,
      booleanKey,
    },
    readText: asciiReader(reading.readText),
    readUncheckedText: asciiReader(reading.readUncheckedText),
    smallLongs: Array.from({ length: 128 }, (_, value) => BigInt(value)),
    emptyBytes: () => new Uint8Array(0),
  };
  return runtimeNow;
}

/** Short ASCII text, by far the most frequent, without a call out of JavaScript: a third of the time. */
function asciiReader(otherwise: ReadText): ReadText {
  const cases = Array.from({ length: asciiMax }, (_, index) => {
    const codes = Array.from({ length: index + 1 }, (_, i) => `c${i}`);
    const loads = codes.map((code, i) => `${code} = bytes[start + ${i}]`).join(", ");
    return `case ${index + 1}: { const ${loads};
      return (${codes.join(" | ")}) < 128 ? fromCharCode(${codes.join(", ")}) : otherwise(bytes, start, end); }`;
  });
  const source = `"use strict"; return function readAscii(bytes, start, end) {
    switch (end - start) { case 0: return ""; ${cases.join("\n")} default: return otherwise(bytes, start, end); } }`;
  return new Function("fromCharCode", "otherwise", source)(String.fromCharCode, otherwise) as ReadText;
}
