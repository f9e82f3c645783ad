/**
 * An answer in place of a failure, made by the user's function where the call was made.
 */
import { failure, RpcError } from "../../call/error.ts";
import type { ProtectedCall } from "./protected-call.ts";

/** Resolves with the answer; rejects with the RpcError that the fallback threw, or with the call's failure and why there is no answer. */
export async function fallBack(
  fallback: (...args: readonly unknown[]) => unknown,
  error: RpcError,
  { context, args, plan }: ProtectedCall,
): Promise<unknown> {
  try {
    return await (context === undefined
      ? fallback(error, ...args)
      : context.runInAsyncScope(fallback, undefined, error, ...args));
  } catch (thrown) {
    if (thrown instanceof RpcError) throw thrown;
    const why = RpcError.from(thrown).text;
    const text = `the fallback failed (${why}) after: ${error.message}`;
    const { code, reached, faults, callId } = error;
    throw failure({ code, text, method: plan.info, callId, reached, faults, cause: thrown });
  }
}
