/**
 * Where a once call's record stands beside its schema (docs/decisions/dedup-order.md).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, createServer, type Interceptor } from "holdfast";
import { sqlite } from "holdfast/durable";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { OnceProbe, onceHandlers } from "../../test/calls/kept-calls.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { TestDirectory } from "../durable/testdata/dedup-rigs.ts";
import type { DedupStatus } from "./server-status.ts";
import type { SchemaVerdict } from "./validate.ts";

const plain: Interceptor = (next) => (call) => next(call);
const BOTH = [[], [plain]] as const;
const key = { idempotencyKey: "k" };

describe("the record of a once call is made before its schema looks at it, so that", () => {
  it("a repeat that comes meanwhile waits for the first, which alone asks the schema and runs; a refused one runs the next", async () => {
    for (const interceptors of BOTH) {
      for (const isValid of [true, false]) {
        const asked = gate();
        const verdict = gate();
        let looks = 0;
        let runs = 0;
        const validate = async (value: unknown): Promise<SchemaVerdict> => {
          looks += 1;
          if (looks > 1) return { value };
          asked.open();
          await verdict.opened;
          return isValid ? { value } : { issues: [{ message: "no tea" }] };
        };
        await using server = createServer({ interceptors, drain: { signals: [] } }).service(
          OnceProbe,
          { ...onceHandlers, unary: ({ body }) => ((runs += 1), { body }) },
          { validate: { unary: { "~standard": { version: 1, vendor: "test", validate } } } },
        );
        const { address } = await server.listen(0);
        await using client = createClient(OnceProbe, address, { policy: { retry: false } });
        const first = isValid ? client.unary({}, key) : assertFails(client.unary({}, key), "INVALID_ARGUMENT");
        await asked.opened;
        const second = client.unary({}, key);
        await turns(20);
        assert.equal(looks, 1);
        verdict.open();
        await Promise.all([first, second]);
        assert.deepEqual([looks, runs], isValid ? [1, 1] : [2, 1]);
      }
    }
  });

  it("one that never settles holds the record until its call's deadline, and then the repeat that waited runs", async () => {
    for (const interceptors of BOTH) {
      const world = manualWorld();
      const asked = gate();
      let looks = 0;
      let runs = 0;
      const validate = (value: unknown): SchemaVerdict | Promise<SchemaVerdict> => {
        looks += 1;
        if (looks > 1) return { value };
        asked.open();
        return new Promise(() => {});
      };
      await using server = createServer({ world, interceptors, drain: { signals: [] } }).service(
        OnceProbe,
        { ...onceHandlers, unary: ({ body }) => ((runs += 1), { body }) },
        { validate: { unary: { "~standard": { version: 1, vendor: "test", validate } } } },
      );
      const { address } = await server.listen(0);
      await using client = createClient(OnceProbe, address, { world, policy: { retry: false } });
      const first = assertFails(client.unary({}, { ...key, timeoutMs: 100 }), "DEADLINE_EXCEEDED");
      await asked.opened;
      const second = client.unary({}, { ...key, timeoutMs: 60_000 });
      await turns(20);
      assert.deepEqual([looks, runs], [1, 0]);
      world.advance(200);
      await first;
      await turns(20);
      assert.deepEqual([looks, runs], [2, 1], `${interceptors.length} interceptors`);
      await second;
    }
  });

  it("an invalid request costs a file two operations, and leaves nothing in it", async () => {
    for (const interceptors of BOTH) {
      using directory = new TestDirectory();
      await using dedup = sqlite(directory.file);
      const validate = (): SchemaVerdict => ({ issues: [{ message: "no tea" }] });
      await using server = createServer({ interceptors, dedup, drain: { signals: [] } }).service(
        OnceProbe,
        onceHandlers,
        { validate: { unary: { "~standard": { version: 1, vendor: "test", validate } } } },
      );
      const { address } = await server.listen(0);
      await using client = createClient(OnceProbe, address, { policy: { retry: false } });
      await assertFails(client.unary({}, key), "INVALID_ARGUMENT");
      const counts = (): DedupStatus["counts"] | undefined => server.status().dedup?.counts;
      // The removal is not waited for by anybody: it is there once the file's thread has said so.
      while (counts()?.running !== 0) await turns(1);
      assert.deepEqual([counts()?.operations, counts()?.entries], [2, 0]);
    }
  });
});
