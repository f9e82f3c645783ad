/**
 * A rolling restart on one port, with real processes: the successor listens before its predecessor ends, so that a client with this one
 * address loses no call, although none may be repeated.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "holdfast";
import { Bench } from "../../bench/gen/bench/v1/bench_pb.ts";
import { type ServerProcess, startServerProcess } from "../calls/server-process.ts";

const RESTARTS = 3;

/** Calls one after the other, so many at a time, until told to stop. */
async function callOn(call: () => Promise<unknown>, isStopped: () => boolean): Promise<number> {
  let calls = 0;
  while (!isStopped()) {
    await call();
    calls += 1;
  }
  return calls;
}

test("three processes one after the other on one port: no call fails, none runs twice, a stream goes on where it was", async () => {
  const listen = { reusePort: true };
  let current: ServerProcess = await startServerProcess({ listen });
  const { address } = current;
  await using client = createClient(Bench, address, { policy: { retry: false, hedge: false, timeoutMs: 10_000 } });
  let isStopped = false;
  const workers = Array.from({ length: 8 }, () =>
    callOn(
      () => client.add({ a: 1 }),
      () => isStopped,
    ),
  );
  const seen: number[] = [];
  let resumed = 0;
  const watch = async (): Promise<void> => {
    let count = 0;
    while (!isStopped) {
      const stream = client.down({ count });
      for await (const { index } of stream) {
        seen.push(index);
        if (isStopped) return;
      }
      assert.ok(stream.resumeToken !== undefined, "it ended by itself");
      count = Number(Buffer.from(stream.resumeToken).toString());
      resumed += 1;
    }
  };
  const watching = watch();
  let handled = 0;
  try {
    for (let restart = 0; restart < RESTARTS; restart++) {
      const next = await startServerProcess({ address, listen });
      current.child.kill("SIGTERM");
      const ended = await current.saying("drain ended");
      assert.match(ended, /^drain ended cut 0 /);
      handled += Number(/handled (\d+)/.exec(ended)?.[1]);
      assert.deepEqual(await current.exited, [null, "SIGTERM"]);
      current = next;
    }
    isStopped = true;
    const calls = (await Promise.all(workers)).reduce((sum, count) => sum + count, 0);
    await watching;
    await client.$close();
    current.child.kill("SIGTERM");
    handled += Number(/handled (\d+)/.exec(await current.saying("drain ended"))?.[1]);
    assert.equal(handled, calls, "as many handlers began as calls were made");
    assert.ok(calls > 100, `${calls} calls`);
    assert.deepEqual(
      seen,
      seen.map((_, index) => index),
      "no gap and no double",
    );
    assert.ok(resumed >= RESTARTS, `${resumed} times`);
  } finally {
    isStopped = true;
    await current[Symbol.asyncDispose]();
  }
});
