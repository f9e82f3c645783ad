/**
 * The one error of calls: what happened, where, whether it is safe to try again.
 */
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Code, isCode } from "./code.ts";
import type { Fault } from "./fault.ts";
import { emptyMetadata, type Metadata, type MetadataInit, metadataFrom } from "./metadata.ts";
import type { MethodInfo } from "./method.ts";
import { describeValue, unknownKeyError } from "./options.ts";
import type { Reason } from "./reason.ts";
import { verdictOf } from "./verdict.ts";

/** One message of `google.rpc.Status.details`: its full protobuf name (`google.rpc.BadRequest`) and its bytes. */
export interface ErrorDetail {
  readonly type: string;
  readonly value: Uint8Array;
}

/** What a user adds to an error. */
export interface RpcErrorOptions {
  /** Sent in `grpc-status-details-bin`. Default none. */
  readonly details?: readonly ErrorDetail[] | undefined;
  /** Sent as trailers. Default none. */
  readonly metadata?: MetadataInit | undefined;
  /** When the caller may try again, in milliseconds; negative: never. Sent as `grpc-retry-pushback-ms` (gRFC A6). Default nothing is said. */
  readonly retryAfterMs?: number | undefined;
  /** What led to it; stays in this process. Default none. */
  readonly cause?: unknown;
}

/** What is known when Holdfast makes an error. */
export interface FailureFacts {
  readonly code: Code;
  readonly text: string;
  readonly reason?: Reason | undefined;
  /** Whether a handler may have begun. Default "maybe". */
  readonly reached?: "no" | "maybe" | "yes" | undefined;
  readonly faults?: readonly Fault[] | undefined;
  readonly metadata?: Metadata | undefined;
  readonly details?: readonly ErrorDetail[] | undefined;
  readonly method?: MethodInfo | undefined;
  readonly callId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly tookMs?: number | undefined;
  readonly attempts?: number | undefined;
  readonly cause?: unknown;
  /** Default false: a stack shows our internals only, and costs more than the rest of a failed call. */
  readonly withStack?: boolean | undefined;
}

/** Known to every copy of the package in this process. */
const brand: unique symbol = Symbol.for("holdfast.RpcError") as never;
const inspectCustom: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;
const optionKeys: readonly string[] = ["details", "metadata", "retryAfterMs", "cause"];
const noDetails: readonly ErrorDetail[] = Object.freeze([]);
const noFaults: readonly Fault[] = Object.freeze([]);

/** Codes after which a request that may have reached a handler is repeated if its effect allows it (DESIGN section 4). */
const repeatableCodes: ReadonlySet<Code> = new Set<Code>([
  "UNAVAILABLE",
  "INTERNAL",
  "UNKNOWN",
  "DATA_LOSS",
  "DEADLINE_EXCEEDED",
]);

/** Facts on their way through the public constructor, whose parameters are the user's. */
let factsUnderway: FailureFacts | undefined;

/** The one error of calls. `instanceof` holds across two copies of the package. `message` is "CODE: text". */
export class RpcError extends Error {
  /** What kind of failure it is, by gRPC's name. */
  readonly code: Code;
  /** The server's words, without the code that `message` puts in front. */
  readonly text: string;
  /** Set if Holdfast, not a server's handler, ended the call. */
  readonly reason: Reason | undefined;
  /** The call's id, as in every record and on the server; undefined for an error that you made. */
  readonly callId: string | undefined;
  /** Whether a handler may have begun. */
  readonly reached: "no" | "maybe" | "yes";
  /** When trying again makes sense, in milliseconds; negative: the server asks not to; undefined: nothing was said. */
  readonly retryAfterMs: number | undefined;
  /** Not enumerable: what loggers copy holds no payload and no credential. */
  readonly #facts: FailureFacts;

  /**
   * An error for a caller to see: thrown in a handler it crosses the wire with code, text, details and metadata.
   * Throws TypeError for a code that is not one of the sixteen failures, and for unknown options.
   */
  constructor(code: Code, text: string, options?: RpcErrorOptions) {
    const facts = factsUnderway ?? factsFromUser(code, text, options);
    super(`${facts.code}: ${facts.text}`);
    this.code = facts.code;
    this.text = facts.text;
    this.reason = facts.reason;
    this.callId = facts.callId;
    this.reached = facts.reached ?? "maybe";
    this.retryAfterMs = facts.retryAfterMs;
    this.#facts = facts;
    if (facts.cause !== undefined) {
      Object.defineProperty(this, "cause", {
        value: facts.cause,
        writable: true,
        configurable: true,
        enumerable: false,
      });
    }
  }

  static {
    // On the prototype: own properties would be printed with every error. The stack's first line takes the name from here.
    Object.defineProperty(RpcError.prototype, "name", { value: "RpcError", writable: true, configurable: true });
    Object.defineProperty(RpcError.prototype, brand, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // A subclass asks for its own instances, not for every RpcError.
    if (this !== RpcError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && brand in value;
  }

  /**
   * Anything thrown becomes an RpcError; one that is an RpcError already is returned as it is. An AbortError becomes CANCELLED, a
   * TimeoutError DEADLINE_EXCEEDED, all else UNKNOWN; what was thrown is the `cause`.
   */
  static from(error: unknown): RpcError {
    if (error instanceof RpcError) return error;
    const name = error instanceof Error ? error.name : "";
    const code: Code = name === "AbortError" ? "CANCELLED" : name === "TimeoutError" ? "DEADLINE_EXCEEDED" : "UNKNOWN";
    return failure({ code, text: textOf(error), cause: error });
  }

  /** Trailers of the answer, or what its maker gave. */
  get metadata(): Metadata {
    return this.#facts.metadata ?? emptyMetadata;
  }

  /** What the server added; see `detail` for one of a known type. */
  get details(): readonly ErrorDetail[] {
    return this.#facts.details ?? noDetails;
  }

  /** Each thing that went wrong, in order; empty for an error you made. Never crosses the wire. */
  get faults(): readonly Fault[] {
    return this.#facts.faults ?? noFaults;
  }

  /** Trying again cannot do harm: not reached, or the method's effect allows it. Never crosses the wire. */
  get isRepeatable(): boolean {
    const { retryAfterMs, code, reached } = this;
    if (retryAfterMs !== undefined && retryAfterMs < 0) return false;
    if (reached === "no") return true;
    const effect = this.#facts.method?.effect;
    if (effect !== "none" && effect !== "idempotent") return false;
    return repeatableCodes.has(code) || (code === "RESOURCE_EXHAUSTED" && retryAfterMs !== undefined);
  }

  /** One sentence: what happened, whose part it was, what may be done. Made when read. */
  get verdict(): string {
    const { method, attempts, tookMs } = this.#facts;
    const { code, text, reason, reached, isRepeatable, retryAfterMs, faults } = this;
    return verdictOf({ code, text, reason, reached, isRepeatable, retryAfterMs, faults, method, attempts, tookMs });
  }

  /** The first detail of this message type, decoded; undefined if there is none or its bytes are malformed. */
  detail<D extends DescMessage>(schema: D): MessageShape<D> | undefined {
    const found = this.details.find(({ type }) => type === schema.typeName);
    if (found === undefined) return undefined;
    try {
      return fromBinary(schema, found.value);
    } catch {
      // A peer's bad bytes must not replace the error that is being looked into.
      return undefined;
    }
  }

  /** For logs: no stack, no payload (details by type and size), no metadata values. */
  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      text: this.text,
      reason: this.reason,
      verdict: this.verdict,
      callId: this.callId,
      reached: this.reached,
      isRepeatable: this.isRepeatable,
      retryAfterMs: this.retryAfterMs,
      faults: this.faults.map(({ peer, ...fault }) => ({ ...fault, peer: peer?.address })),
      details: this.details.map(({ type, value }) => ({ type, bytes: value.length })),
    };
  }

  /** What `console.log` shows: stack, verdict where there is more to say, cause; never a payload. */
  [inspectCustom](_depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
    const lines = [this.stack ?? String(this)];
    if (this.reason !== undefined || this.faults.length > 0) lines.push(`  verdict: ${this.verdict}`);
    if (this.callId !== undefined) lines.push(`  callId: ${this.callId}`);
    if (this.cause !== undefined) lines.push(`  cause: ${inspect(this.cause, options).replaceAll("\n", "\n  ")}`);
    return lines.join("\n");
  }
}

/** What Holdfast itself makes: facts are trusted, and there is no stack unless asked for (`performance.md`: it is most of the cost). */
export function failure(facts: FailureFacts): RpcError {
  factsUnderway = facts;
  if (facts.withStack === true || !isLimitWritable) {
    try {
      return new RpcError(facts.code, facts.text);
    } finally {
      factsUnderway = undefined;
    }
  }
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new RpcError(facts.code, facts.text);
  } finally {
    Error.stackTraceLimit = limit;
    factsUnderway = undefined;
  }
}

/** Under --frozen-intrinsics an assignment would throw: there, errors carry their stacks. */
const isLimitWritable: boolean = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true;

function factsFromUser(code: Code, text: string, options: RpcErrorOptions | undefined): FailureFacts {
  if (!isCode(code)) {
    throw new TypeError(
      `code must be the name of one of gRPC's sixteen failures ("NOT_FOUND" …), got ${describeValue(code)}`,
    );
  }
  if (typeof text !== "string") throw new TypeError(`text must be a string, got ${describeValue(text)}`);
  if (options === undefined) return { code, text };
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(`options must be an object, got ${describeValue(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!optionKeys.includes(key)) throw unknownKeyError("", key, optionKeys);
  }
  const { details, metadata, retryAfterMs, cause } = options;
  if (retryAfterMs !== undefined && !Number.isFinite(retryAfterMs)) {
    throw new RangeError(`retryAfterMs must be a finite number of milliseconds, got ${describeValue(retryAfterMs)}`);
  }
  return {
    code,
    text,
    details: details === undefined ? undefined : checkedDetails(details),
    metadata: metadata === undefined ? undefined : metadataFrom(metadata),
    retryAfterMs,
    cause,
  };
}

function checkedDetails(details: readonly ErrorDetail[]): readonly ErrorDetail[] {
  if (!Array.isArray(details)) throw new TypeError(`details must be an array, got ${describeValue(details)}`);
  return Object.freeze(
    details.map((detail: ErrorDetail, index) => {
      if (typeof detail?.type !== "string" || !(detail.value instanceof Uint8Array)) {
        throw new TypeError(
          `details[${index}] must be { type: string, value: Uint8Array }, got ${describeValue(detail)}`,
        );
      }
      return detail;
    }),
  );
}

/** The words of anything thrown. Never throws itself, whatever was thrown. */
function textOf(error: unknown): string {
  try {
    if (error instanceof Error) return String(error.message);
    return typeof error === "string" ? error : `something that is not an Error was thrown: ${describeValue(error)}`;
  } catch {
    return "something that cannot be described was thrown";
  }
}
