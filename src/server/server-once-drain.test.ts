/**
 * A drain, and once calls whose callers have left: their handlers go on for a repeat.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import type { Interceptor } from "holdfast";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { type OncePair, seenJournal, type SeenJournal, startOnce } from "../../test/calls/kept-calls.ts";
import { type ManualWorld, manualWorld } from "../../test/calls/manual-world.ts";
import type { DrainReport } from "../call/drain-report.ts";

const plain: Interceptor = (next) => (call) => next(call);
const BOTH = [[], [plain]] as const;

interface Left {
  readonly world: ManualWorld;
  readonly pair: OncePair<never>;
  readonly journal: SeenJournal;
  /** Lets the handler end. */
  readonly release: () => void;
  readonly signal: AbortSignal;
}

/** A handler that runs, or never ends, and whose caller has left. */
async function leave(
  interceptors: readonly Interceptor[],
  timeoutMs: number,
  end: "released" | "aborted" | "never" = "released",
): Promise<Left> {
  const world = manualWorld();
  const journal = seenJournal();
  const release = gate();
  const began = gate<AbortSignal>();
  const pair = await startOnce(
    {
      async unary(_, { signal }) {
        began.open(signal);
        if (end === "never") await new Promise(() => {});
        await (end === "aborted" ? aborted(signal) : release.opened);
        return {};
      },
    },
    { server: { world, interceptors, dedup: journal }, client: { world } },
  );
  const left = assertFails(pair.client.unary({}, { idempotencyKey: "k", timeoutMs }), "UNAVAILABLE");
  const signal = await began.opened;
  await pair.client.$close({ timeoutMs: 0 });
  await left;
  await turns(20);
  return { world, pair, journal, release: () => release.open(), signal };
}

/** What the drain has said so far. */
function drained({ pair }: Left, timeoutMs: number): { report: DrainReport | undefined } {
  const seen: { report: DrainReport | undefined } = { report: undefined };
  void pair.server.close({ timeoutMs }).then((report) => (seen.report = report));
  return seen;
}

describe("a drain, of a once handler whose caller has left,", () => {
  it("waits until it has ended and its answer is kept", async () => {
    for (const interceptors of BOTH) {
      const left = await leave(interceptors, 3_600_000);
      await using _ = left.pair;
      const drain = drained(left, 20_000);
      await turns(20);
      left.world.advance(4_000);
      await turns(20);
      assert.deepEqual([drain.report, left.signal.aborted], [undefined, false]);
      left.release();
      await turns(20);
      assert.deepEqual([drain.report?.finished, drain.report?.cut], [1, []]);
      assert.deepEqual([left.journal.snapshot().running, left.journal.snapshot().entries], [0, 1]);
    }
  });

  it("cuts it at its end and reports it as cut alone, though its slot was taken back before", async () => {
    for (const interceptors of BOTH) {
      const left = await leave(interceptors, Infinity, "aborted");
      await using _ = left.pair;
      const drain = drained(left, 20_000);
      await turns(20);
      left.world.advance(19_900);
      await turns(20);
      assert.deepEqual([drain.report, left.signal.aborted], [undefined, false]);
      left.world.advance(200);
      await turns(20);
      assert.equal(drain.report?.finished, 0);
      assert.deepEqual(
        drain.report?.cut.map(({ path, hasHandlerEnded }) => [path.endsWith("/Unary"), hasHandlerEnded]),
        [[true, false]],
      );
      assert.equal(left.signal.aborted, true);
      assert.deepEqual([left.journal.snapshot().running, left.journal.snapshot().entries], [0, 1]);
    }
  });

  it("waits for nothing with timeoutMs 0, and reports it", async () => {
    const left = await leave([], Infinity, "aborted");
    await using _ = left.pair;
    assert.equal((await left.pair.server.close({ timeoutMs: 0 })).cut.length, 1);
    assert.equal(left.signal.aborted, true);
  });

  it("does not wait for one that had its deadline and its grace, and went on", async () => {
    for (const interceptors of BOTH) {
      const left = await leave(interceptors, 1_000, "never");
      await using _ = left.pair;
      left.world.advance(1_100);
      left.world.advance(5_100);
      assert.equal(left.signal.aborted, true);
      const drain = drained(left, 20_000);
      await turns(20);
      assert.deepEqual(drain.report?.cut, []);
    }
  });

  it("keeps its process alive, though nothing else does", async () => {
    const program = `
      import { gate, turns } from "./test/calls/gate.ts";
      import { startOnce } from "./test/calls/kept-calls.ts";
      const began = gate();
      const pair = await startOnce({ unary: () => (began.open(), new Promise(() => {})) });
      pair.client.unary({}, { idempotencyKey: "k" }).catch(() => {});
      await began.opened;
      await pair.client.$close({ timeoutMs: 0 });
      while (pair.server.status().connections > 0) await turns(1);
      console.log((await pair.server.close({ timeoutMs: 50 })).cut.length);
    `;
    const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", program];
    const { stdout } = await promisify(execFile)(process.execPath, node, { timeout: 25_000 });
    assert.equal(stdout, "1\n");
  });
});
