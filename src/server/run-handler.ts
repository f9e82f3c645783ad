/**
 * Hot path: a handler's run, from its call to what becomes of what it gave or threw.
 */
import { readable, statusOf } from "./handler-error.ts";
import { isForgettable, keptFailure, keptReply } from "./once.ts";
import { isThenable, sendAll } from "./send-replies.ts";
import type { ServerCall } from "./server-call.ts";
import { validated } from "./validate.ts";

/** Runs the interceptors inside the call's scope. Everything they can throw ends in their call. */
export function runIntercepted(call: ServerCall): void {
  try {
    call.core.intercept(call);
  } catch (error) {
    call.fail(error);
    call.handlerEnded();
  }
}

/** Runs the handler inside its scope. Everything it can throw ends in its call. */
export function runHandler(call: ServerCall, request: unknown): void {
  const route = call.route;
  try {
    const result = route.handler(route.isRequestStream ? validRequests(call) : request, call.call);
    if (route.isReplyStream) {
      void sendAll(call, result);
      call.replyKnown();
    } else if (isThenable(result)) {
      call.outlastsTurn();
      result.then(
        (reply) => settleUnary(call, reply),
        (error: unknown) => settleFailed(call, error),
      );
    } else {
      call.endsInTurn();
      settleUnary(call, result);
    }
  } catch (error) {
    settleFailed(call, error);
  }
}

/** A request stream, each message of which is looked at if it is to be. */
function validRequests(call: ServerCall): AsyncIterable<unknown> {
  const { validate } = call.route;
  return validate === undefined ? call.requests : validated(call.requests, validate);
}

function settleUnary(call: ServerCall, reply: unknown): void {
  const { entry } = call;
  let endedMs = Number.NaN;
  try {
    if (entry !== undefined) {
      call.keep(entry, entry.answer ?? keptReply(call, call.replyCodec, reply));
      return;
    }
    if (!call.isOver) {
      call.sendLast(reply);
      endedMs = call.core.recordedAtMs;
    }
  } catch (error) {
    settleFailed(call, error);
    return;
  }
  call.handlerEnded(endedMs);
}

/** A failure is an answer too: a repeat gets the same, unless all that the handler did was taken back. */
function settleFailed(call: ServerCall, error: unknown): void {
  const { entry } = call;
  if (entry === undefined) {
    call.fail(error);
    call.handlerEnded();
  } else if (isForgettable(entry)) {
    call.forget(entry, error);
  } else {
    call.keep(entry, entry.answer ?? keptFailure(call, statusOf(readable(error), call)));
  }
}
