/**
 * Threads by `node:worker_threads`.
 */
import { parentPort, receiveMessageOnPort, Worker, workerData } from "node:worker_threads";
import type { WorkerSide, WorkerThread, WorkerThreadEvents } from "./worker-thread.ts";

/**
 * Starts the module at `url` in a thread. It gets none of the process's flags and nothing of its environment: it runs what ships with
 * the package and nothing else.
 */
export function startWorker(url: URL, data: unknown, events: WorkerThreadEvents): WorkerThread {
  const worker = new Worker(url, { workerData: data, execArgv: [], env: {} });
  let isEnded = false;
  const end = (error: Error): void => {
    if (isEnded) return;
    isEnded = true;
    events.ended(error);
  };
  worker.on("message", (message: unknown) => events.message(message));
  worker.on("error", (error: unknown) => end(error instanceof Error ? error : new Error(String(error))));
  worker.on("exit", (code) => end(new Error(`the thread ended with exit code ${code}`)));
  worker.unref();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    keepAlive: (isWanted) => (isWanted ? worker.ref() : worker.unref()),
    stop: async () => void (await worker.terminate()),
  };
}

/** This thread's side. Throws Error in the main thread. */
export function workerSide(): WorkerSide {
  const port = parentPort;
  if (port === null) throw new Error("this module runs in a worker thread");
  return {
    data: workerData,
    post: (message, transfer) => port.postMessage(message, transfer),
    receive: (listener) => {
      port.on("message", (first: unknown) => {
        const messages = [first];
        for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
          messages.push((next as { readonly message: unknown }).message);
        listener(messages);
      });
    },
    close: () => port.close(),
  };
}
