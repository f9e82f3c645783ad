/**
 * A reply in place of a failure, made by the user's function and checked as a server's reply would be.
 */
import { failure, RpcError } from "../call/error.ts";
import type { MessageCodec } from "../schema/codec.ts";
import type { MethodPlan } from "../schema/plan.ts";

/** Resolves with the reply message; rejects with what the fallback threw, or with why its reply is none. */
export async function fallBack(
  fallback: (error: RpcError, request: unknown) => unknown,
  error: RpcError,
  plan: MethodPlan,
  request: unknown,
): Promise<unknown> {
  let given: unknown;
  try {
    given = await fallback(error, messageOf(plan.request, request));
    return messageOf(plan.reply, given);
  } catch (thrown) {
    if (thrown instanceof RpcError) throw thrown;
    const text = `the fallback failed (${thrown instanceof Error ? thrown.message : String(thrown)}) after: ${error.message}`;
    throw failure({
      code: error.code,
      text,
      method: plan.info,
      reached: error.reached,
      faults: error.faults,
      cause: thrown,
    });
  }
}

/** What one who receives the value would get. */
function messageOf(codec: MessageCodec, value: unknown): unknown {
  const bytes = codec.encode(value);
  return codec.decode(bytes, 0, bytes.length);
}
