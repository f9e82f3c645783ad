import assert from "node:assert/strict";
import { test } from "node:test";
import { startWorker, workerSide } from "./node-worker.ts";
import type { WorkerThread } from "./worker-thread.ts";

/** A thread, what it says, and its end. */
function started(url = new URL("./testdata/echo-thread.ts", import.meta.url)) {
  const heard: unknown[] = [];
  const { promise: ended, resolve: end } = Promise.withResolvers<Error>();
  let wake = (): void => {};
  const events = {
    message: (message: unknown): void => {
      heard.push(message);
      wake();
    },
    ended: end,
  };
  const thread: WorkerThread = startWorker(url, { given: 1 }, events);
  thread.keepAlive(true);
  const next = async (): Promise<unknown> => {
    while (heard.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return heard.shift();
  };
  return { thread, next, ended };
}

test("it gets its data, no flags and no environment; messages that wait come together and in order", async () => {
  const { thread, next, ended } = started();
  for (const message of ["a", "b", "c"]) thread.post(message, []);
  assert.deepEqual(await next(), { data: { given: 1 }, flags: [], variables: [] });
  const heard: unknown[] = [];
  while (heard.length < 3) heard.push(...((await next()) as readonly unknown[]));
  assert.deepEqual(heard, ["a", "b", "c"]);
  const bytes = new Uint8Array([1, 2, 3]);
  thread.post(bytes, [bytes.buffer]);
  assert.equal(bytes.byteLength, 0, "handed over");
  assert.deepEqual(await next(), new Uint8Array([1, 2, 3]));
  thread.post("close", []);
  assert.match((await ended).message, /ended with exit code 0/);
});

test("its end is told once, whether it throws, is stopped or is not there", async () => {
  const throws = started();
  throws.thread.post("throw", []);
  assert.match((await throws.ended).message, /as asked/);
  await throws.thread.stop();
  const stopped = started();
  await stopped.thread.stop();
  assert.match((await stopped.ended).message, /ended with exit code/);
  stopped.thread.post("late", []);
  const missing = started(new URL("./testdata/none.ts", import.meta.url));
  assert.match((await missing.ended).message, /none\.ts/);
});

test("the main thread has no such side", () => {
  assert.throws(() => workerSide(), /runs in a worker thread/);
});
