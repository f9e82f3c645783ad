/**
 * Hot path: a handler's replies, from what it returned to its caller's window.
 */
import type { ServerCall } from "./server-call.ts";

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Sends a reply stream as the caller's window allows, and always returns its iterator. */
export async function sendAll(call: ServerCall, source: unknown): Promise<void> {
  try {
    if (isAsyncIterable(source)) await sendAsync(call, source[Symbol.asyncIterator]());
    else if (isIterable(source)) await sendSync(call, source);
    else throw notIterable(call.route.plan.info.path);
    call.finish();
  } catch (error) {
    call.fail(error);
  }
  call.handlerEnded();
}

/** The iterator of what a handler returned. TypeError if it has none. */
export function iteratorOf(source: unknown, path: string): AsyncIterator<unknown> | Iterator<unknown> {
  if (isAsyncIterable(source)) return source[Symbol.asyncIterator]();
  if (isIterable(source)) return source[Symbol.iterator]();
  throw notIterable(path);
}

function notIterable(path: string): TypeError {
  return new TypeError(`${path} must return an iterable of replies`);
}

async function sendAsync(call: ServerCall, iterator: AsyncIterator<unknown>): Promise<void> {
  let isDone = false;
  try {
    while (!call.isOver) {
      const result = await iterator.next();
      if (result.done === true) {
        isDone = true;
        return;
      }
      const full = call.send(result.value);
      if (full !== undefined) await full;
    }
  } finally {
    if (!isDone) await iterator.return?.();
  }
}

async function sendSync(call: ServerCall, source: Iterable<unknown>): Promise<void> {
  for (const message of source) {
    if (call.isOver) return;
    const full = call.send(message);
    if (full !== undefined) await full;
  }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}
