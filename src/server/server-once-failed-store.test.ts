/**
 * A dedup store that fails: what callers, records and the server's health say of it.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createServer, type Interceptor, RpcError } from "holdfast";
import { assertFails } from "../../test/calls/failure.ts";
import { turns } from "../../test/calls/gate.ts";
import { OnceProbe, onceHandlers, seenJournal, startOnce } from "../../test/calls/kept-calls.ts";
import { rawCall } from "../../test/calls/raw-once.ts";
import type { RequestSchema } from "./validate.ts";

const body = (text: string): Uint8Array => Buffer.from(text);
const key = (idempotencyKey: string): { readonly idempotencyKey: string } => ({ idempotencyKey });

describe("a server whose dedup store fails", () => {
  it("tells its callers nothing of what the store says, behind interceptors either: that stands in the call's record", async () => {
    const secret = new RpcError("UNAVAILABLE", "the dedup store /srv/secret/orders.db is closed");
    const interceptors: readonly (readonly Interceptor[])[] = [[], [(next) => (call) => next(call)]];
    for (const broken of ["claim", "finish"] as const) {
      for (const chain of interceptors) {
        const dedup = seenJournal(() => ({ [broken]: () => Promise.reject(secret) }));
        await using pair = await startOnce({}, { server: { dedup, interceptors: chain } });
        const verdicts: string[] = [];
        pair.server.on("call.ended", ({ record }) =>
          verdicts.push(`${record.callId} ${record.code} ${record.verdict}`),
        );
        const { fields } = await rawCall(pair.address, { id: "k-1", payload: body("") });
        const told = decodeURIComponent(String(fields["grpc-message"]));
        assert.doesNotMatch(JSON.stringify(fields) + told, /secret|orders|closed/, broken);
        assert.match(told, broken === "claim" ? /\(call k-1\)$/ : /could not be kept/);
        assert.equal(fields["grpc-status"], broken === "claim" ? "14" : "10");
        assert.equal(verdicts.length, 1);
        assert.match(String(verdicts[0]), /^k-1 (?:UNAVAILABLE|ABORTED) .*\/srv\/secret\/orders\.db is closed/);
      }
    }
  });

  it("is DEGRADED once its store has failed for good, says so in every answer, and serves what is not kept", async () => {
    for (const broken of ["claim", "finish", "forget", "nothing"] as const) {
      let failure: string | undefined;
      const fail = (): Promise<never> => {
        failure = "the disk failed";
        return Promise.reject(new RpcError("UNAVAILABLE", failure));
      };
      const dedup = seenJournal((store) => ({
        ...(broken === "nothing" ? {} : { [broken]: fail }),
        snapshot: () => ({ ...store.snapshot(), failure }),
      }));
      const invalid: RequestSchema = {
        "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "no tea" }] }) },
      };
      const validate = broken === "forget" ? { unary: invalid } : undefined;
      const server = createServer({ drain: { signals: [] }, dedup }).service(OnceProbe, onceHandlers, { validate });
      const { address } = await server.listen(0);
      const before = server.status();
      assert.deepEqual([before.health, before.dedup?.failure], ["SERVING", undefined]);
      await rawCall(address, { id: "k", payload: body("") });
      await turns(5);
      if (broken === "nothing") failure = "the disk failed";
      // Without status() only what its calls met tells the server.
      if (broken !== "nothing") {
        const { fields } = await rawCall(address, { id: "j", payload: body(""), method: "Seen" });
        assert.deepEqual([fields["grpc-status"], fields["holdfast-health"]], ["0", "degraded"], broken);
      }
      const after = server.status();
      assert.deepEqual([after.health, after.dedup?.failure], ["DEGRADED", "the disk failed"], broken);
      await server.close({ timeoutMs: 0 });
    }
  });

  it("stays as it was when its store refuses one call and lives on", async () => {
    const dedup = seenJournal(() => ({ claim: () => Promise.reject(new RpcError("UNAVAILABLE", "busy")) }));
    await using pair = await startOnce({}, { server: { dedup } });
    await assertFails(pair.client.unary({}, key("k")), "UNAVAILABLE");
    const { health, dedup: status } = pair.server.status();
    assert.deepEqual([health, status?.failure], ["SERVING", undefined]);
  });
});
