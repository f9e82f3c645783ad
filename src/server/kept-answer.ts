/**
 * An answer as a dedup store keeps it: reply and metadata, or the failure. A version, the length of what stands beside the reply, that as
 * JSON, the reply as it was encoded. An ordinary reply is its bytes behind five others.
 */
import type { CodeOrOk } from "../call/code.ts";
import { isCode } from "../call/code.ts";
import type { Status } from "../wire/transport/server-exchange.ts";

type Pairs = readonly (string | Uint8Array)[];

export interface KeptAnswer {
  /** Undefined: OK, and `trailer` is all there is to add. */
  readonly failure: Status | undefined;
  readonly header: Pairs | undefined;
  readonly trailer: Pairs | undefined;
  /** The reply as it was encoded; undefined for a failure. */
  readonly reply: Buffer | undefined;
}

interface Beside {
  readonly header?: readonly Text[] | undefined;
  readonly trailer?: readonly Text[] | undefined;
  readonly failure?:
    | {
        readonly code: string;
        readonly text: string;
        readonly metadata?: readonly Text[] | undefined;
        readonly details?: string | undefined;
        readonly retryAfterMs?: number | undefined;
      }
    | undefined;
}
/** Text, or bytes as base64. */
type Text = string | { readonly b: string };

const VERSION = 1;
const FRONT_BYTES = 5;
const NOTHING = Buffer.alloc(0);

export function encodeKept({ failure, header, trailer, reply }: KeptAnswer): Buffer {
  const isPlain = failure === undefined && header === undefined && trailer === undefined;
  const beside = isPlain ? NOTHING : Buffer.from(JSON.stringify(besideOf(failure, header, trailer)), "utf8");
  const payload = reply ?? NOTHING;
  const bytes = Buffer.allocUnsafeSlow(FRONT_BYTES + beside.length + payload.length);
  bytes[0] = VERSION;
  bytes.writeUInt32BE(beside.length, 1);
  beside.copy(bytes, FRONT_BYTES);
  payload.copy(bytes, FRONT_BYTES + beside.length);
  return bytes;
}

/** Throws an Error for what {@link encodeKept} did not write: a store may be of another version, or damaged. */
export function decodeKept(given: Uint8Array): KeptAnswer {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  if (bytes.length < FRONT_BYTES || bytes[0] !== VERSION) throw new Error("a kept answer of another version");
  const end = FRONT_BYTES + bytes.readUInt32BE(1);
  if (end > bytes.length) throw new Error("a kept answer that is cut off");
  const reply = bytes.subarray(end);
  if (end === FRONT_BYTES) return { failure: undefined, header: undefined, trailer: undefined, reply };
  const beside = JSON.parse(bytes.toString("utf8", FRONT_BYTES, end)) as Beside;
  const failure = beside.failure === undefined ? undefined : failureOf(beside.failure);
  return {
    failure,
    header: pairsOf(beside.header),
    trailer: pairsOf(beside.trailer),
    reply: failure === undefined ? reply : undefined,
  };
}

function besideOf(failure: Status | undefined, header: Pairs | undefined, trailer: Pairs | undefined): Beside {
  return {
    header: textsOf(header),
    trailer: textsOf(trailer),
    failure:
      failure === undefined
        ? undefined
        : {
            code: failure.code,
            text: failure.text,
            metadata: textsOf(failure.metadata),
            details: failure.details === undefined ? undefined : Buffer.from(failure.details).toString("base64"),
            retryAfterMs: failure.retryAfterMs,
          },
  };
}

function failureOf(kept: NonNullable<Beside["failure"]>): Status {
  const code: CodeOrOk = isCode(kept.code) ? kept.code : "UNKNOWN";
  return {
    code,
    text: kept.text,
    metadata: pairsOf(kept.metadata),
    details: kept.details === undefined ? undefined : Buffer.from(kept.details, "base64"),
    retryAfterMs: kept.retryAfterMs,
    isNotRun: false,
  };
}

function textsOf(pairs: Pairs | undefined): readonly Text[] | undefined {
  return pairs?.map((part) => (typeof part === "string" ? part : { b: Buffer.from(part).toString("base64") }));
}
function pairsOf(texts: readonly Text[] | undefined): (string | Uint8Array)[] | undefined {
  return texts?.map((part) => (typeof part === "string" ? part : Buffer.from(part.b, "base64")));
}
