/**
 * What a request must be, beyond what can be decoded: a Standard Schema (https://standardschema.dev: Zod, Valibot, ArkType) says what is
 * wrong with it, and its caller is told field by field: INVALID_ARGUMENT with `google.rpc.BadRequest`.
 */
import { RpcError } from "../call/error.ts";
import { describeValue } from "../call/options.ts";
import { compileCodec } from "../schema/codec.ts";
import { BadRequestSchema } from "../schema/details.ts";
import { cutStatusMessage } from "../wire/grpc/status.ts";
import { isThenable } from "./send-replies.ts";

/** The part of Standard Schema that is used; version 1. `T`: what its input may be, at most; it may look at some of the fields alone. */
export interface RequestSchema<T = never> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaVerdict | Promise<SchemaVerdict>;
    /** Types only. */
    readonly types?: { readonly input: T; readonly output: unknown } | undefined;
  };
}

/** What a schema says: a value, or what is wrong. */
export type SchemaVerdict =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What is wrong with a request, as its caller is told; undefined: nothing. A promise if the schema needs time. */
export type Validate = (request: unknown) => RpcError | undefined | Promise<RpcError | undefined>;

/** Violations that are told; of more, so many. */
const VIOLATIONS_MAX = 100;
/** Characters of one field's name and of one description; the rest is cut. What a caller sent may stand in both. */
const TEXT_LENGTH_MAX = 256;
/** All that are told, encoded: with the text they are within what every peer takes of an answer. */
const VIOLATIONS_BYTES_MAX = 4_096;
/** What the encoding of one violation adds, at most. */
const VIOLATION_EXTRA_BYTES = 9;
/** Of the text, as it is sent. */
const MESSAGE_BYTES_MAX = 512;
const badRequest = compileCodec(BadRequestSchema);

/** Looks at a schema. TypeError, naming `name`, for what is none. */
export function checkValidate(name: string, schema: unknown): Validate {
  const standard = typeof schema === "object" || typeof schema === "function" ? standardOf(schema) : undefined;
  if (standard === undefined) throw new TypeError(`${name} must be a Standard Schema, got ${describeValue(schema)}`);
  return (request) => {
    const verdict = standard.validate(request);
    return isThenable(verdict) ? Promise.resolve(verdict).then(errorOf) : errorOf(verdict);
  };
}

/** The same messages; the first that is wrong ends them with what is wrong with it. */
export async function* validated(messages: AsyncIterable<unknown>, validate: Validate): AsyncGenerator<unknown> {
  for await (const message of messages) {
    const problem = await validate(message);
    if (problem !== undefined) throw problem;
    yield message;
  }
}

function standardOf(schema: object | null): RequestSchema["~standard"] | undefined {
  const standard = (schema as Partial<RequestSchema> | null)?.["~standard"];
  return typeof standard?.validate === "function" ? standard : undefined;
}

function errorOf(verdict: SchemaVerdict): RpcError | undefined {
  // A schema is not ours: what says neither yes nor no lets nothing through.
  if (typeof verdict !== "object") throw new TypeError(`a schema gave ${describeValue(verdict)}`);
  const { issues } = verdict;
  if (issues === undefined || issues.length === 0) return undefined;
  const fieldViolations = fitting(
    issues
      .slice(0, VIOLATIONS_MAX)
      .map(({ message, path }) => ({ field: short(fieldOf(path)), description: short(textOf(message)) })),
  );
  const text = fieldViolations
    .slice(0, 3)
    .map(({ field, description }) => (field === "" ? description : `${field}: ${description}`))
    .join("; ");
  const more = issues.length > 3 ? ` and ${issues.length - 3} more` : "";
  const value = badRequest.encode({ fieldViolations });
  return new RpcError("INVALID_ARGUMENT", `${cutStatusMessage(text, MESSAGE_BYTES_MAX)}${more}`, {
    details: [{ type: badRequest.typeName, value }],
  });
}

interface Violation {
  readonly field: string;
  readonly description: string;
}

/** Those before the first that has no room. */
function fitting(violations: readonly Violation[]): readonly Violation[] {
  let bytes = 0;
  const end = violations.findIndex(({ field, description }) => {
    bytes += VIOLATION_EXTRA_BYTES + Buffer.byteLength(field) + Buffer.byteLength(description);
    return bytes > VIOLATIONS_BYTES_MAX;
  });
  return end < 0 ? violations : violations.slice(0, end);
}

/** Cut between two characters, never inside one. */
function short(text: string): string {
  if (text.length <= TEXT_LENGTH_MAX) return text;
  const end = TEXT_LENGTH_MAX - 1;
  const isInside = (text.codePointAt(end - 1) as number) > 0xffff;
  return `${text.slice(0, isInside ? end - 1 : end)}\u2026`;
}

function textOf(message: unknown): string {
  if (typeof message !== "string") throw new TypeError(`an issue's message is ${describeValue(message)}`);
  return message;
}

function fieldOf(path: SchemaIssue["path"]): string {
  return (path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
}
