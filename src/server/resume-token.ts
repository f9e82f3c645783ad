/**
 * The token with which a reply stream ends early and another one goes on: from a handler into the trailers.
 */
import type { MethodInfo } from "../call/method.ts";
import { describeValue } from "../call/options.ts";
import { RESUME_TOKEN_NAME } from "../wire/transport/names.ts";

/** In base64 it takes 5.5 KiB of the 8 KiB that a client takes as one field, and of the 16 KiB that it takes as trailers. */
const TOKEN_BYTES_MAX = 4_096;

/** The trailers with this token, and without another. */
export function withResumeToken(
  pairs: readonly (string | Uint8Array)[] | undefined,
  token: string | Uint8Array,
  method: MethodInfo,
): (string | Uint8Array)[] {
  if (method.kind !== "server-stream" && method.kind !== "bidi")
    throw new TypeError(`resumeWith is for streams of replies, and ${method.path} has one`);
  if (typeof token !== "string" && !(token instanceof Uint8Array))
    throw new TypeError(`a resume token must be text or bytes, got ${describeValue(token)}`);
  // A copy, for the handler may use its bytes again before they leave.
  const bytes = typeof token === "string" ? Buffer.from(token, "utf8") : Buffer.from(token);
  if (bytes.length === 0 || bytes.length > TOKEN_BYTES_MAX)
    throw new RangeError(`a resume token must have 1..${TOKEN_BYTES_MAX} bytes, got ${bytes.length}`);
  const kept: (string | Uint8Array)[] = [];
  for (let i = 0; pairs !== undefined && i < pairs.length; i += 2) {
    if (pairs[i] !== RESUME_TOKEN_NAME) kept.push(pairs[i] as string, pairs[i + 1] as string | Uint8Array);
  }
  kept.push(RESUME_TOKEN_NAME, bytes);
  return kept;
}
