/**
 * The error that something must end with.
 */
import assert from "node:assert/strict";
import { type Code, RpcError } from "holdfast";

/** The RpcError that a promise rejects with; fails if it does not, or with another code. */
export async function assertFails(promise: Promise<unknown>, code: Code): Promise<RpcError> {
  let settled: unknown;
  try {
    settled = { resolvedWith: await promise };
  } catch (error) {
    settled = error;
  }
  assert.ok(settled instanceof RpcError, `expected ${code}, got ${JSON.stringify(settled)} ${String(settled)}`);
  assert.equal(settled.code, code, settled.message);
  return settled;
}
