/**
 * What the chaos layer does to an attempt, innermost in the stack, so that all of the rest is exercised: it goes out late, fails
 * instead of going out, is never answered, or its reply is damaged.
 */
import type { CallOrdeal } from "../chaos/call-fault.ts";
import { cutAt, flippedAt } from "../chaos/damage.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ClientCall } from "./client-call.ts";

/** Lets an attempt suffer; one that is given up meanwhile suffers no more. */
export function suffer(call: ClientCall, attempt: CallAttempt, ordeal: CallOrdeal, nowMs: number): void {
  // However it ends: a limit on how many suffer at once counts it until then.
  attempt.injector = call.channel.chaos;
  // What is never answered is not sent either: it ends when its call gives up.
  if (ordeal.isDropped) return;
  const delayed = new DelayedAttempt(call, attempt, ordeal);
  // Never in the same turn: an attempt does not end inside its own start.
  if (ordeal.delayMs > 0 || ordeal.code !== undefined) call.channel.runtime.wheel.arm(delayed, nowMs + ordeal.delayMs);
  else delayed.expired(nowMs);
}

class DelayedAttempt extends WheelEntry {
  readonly #call: ClientCall;
  readonly #attempt: CallAttempt;
  readonly #ordeal: CallOrdeal;

  constructor(call: ClientCall, attempt: CallAttempt, ordeal: CallOrdeal) {
    super();
    this.#call = call;
    this.#attempt = attempt;
    this.#ordeal = ordeal;
  }

  expired(nowMs: number): void {
    const attempt = this.#attempt;
    const { code, corruptAt, truncateAt } = this.#ordeal;
    if (attempt.isEnded || this.#call.isOver) return;
    if (code !== undefined) attempt.failInjected(code);
    // It has not left, so another peer may have it, whatever its effect.
    else if (!attempt.connection.canStart) attempt.onReset(-1, true, "the connection went away while chaos delayed it");
    else {
      attempt.damage = damageOf(corruptAt, truncateAt);
      this.#call.send(attempt, nowMs);
    }
  }
}

function damageOf(
  corruptAt: number | undefined,
  truncateAt: number | undefined,
): ((payload: Buffer) => Buffer) | undefined {
  if (corruptAt === undefined && truncateAt === undefined) return undefined;
  return (payload) => {
    const flipped = corruptAt === undefined ? payload : Buffer.from(flippedAt(payload, corruptAt));
    return truncateAt === undefined ? flipped : Buffer.from(cutAt(flipped, truncateAt));
  };
}
