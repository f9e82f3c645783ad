/**
 * The same three features around the same work, by each contender: three attempts with a backoff, a timeout for each attempt after which
 * nobody waits for it, and a circuit breaker. Each as one who knows it would write it.
 */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import {
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap,
} from "cockatiel";
import { protect } from "../src/client/protect/protect.ts";

export const policyContenders = ["protect", "protect-default", "cockatiel", "opossum"] as const;
export type PolicyContender = (typeof policyContenders)[number];

export type Work = () => Promise<number>;

const attemptsMax = 3;
const backoffMs = 50;
/** Faults in a row that open a breaker, and for how long. */
const faultsMax = 5;
const openMs = 5_000;

/** `timeoutMs` of an attempt. */
export const makeContender: Readonly<Record<PolicyContender, (work: Work, timeoutMs: number) => Work>> = {
  // Without what the others do not have: copies, a throttle, deadlines and cancellation that calls inside the work inherit.
  protect: (work, timeoutMs) =>
    protect(
      {
        name: "bench.work",
        effect: "idempotent",
        attemptTimeoutMs: timeoutMs,
        hedge: false,
        throttle: false,
        context: false,
      },
      work,
    ),
  "protect-default": (work, timeoutMs) =>
    protect({ name: "bench.work", effect: "idempotent", attemptTimeoutMs: timeoutMs }, work),
  cockatiel: (work, timeoutMs) => {
    const policy = wrap(
      // Of its retries, which come on top of the first attempt.
      retry(handleAll, { maxAttempts: attemptsMax - 1, backoff: new ExponentialBackoff({ initialDelay: backoffMs }) }),
      // The one that stops waiting, as the others do; the cooperative one waits for the work to give up.
      timeout(timeoutMs, TimeoutStrategy.Aggressive),
      circuitBreaker(handleAll, { halfOpenAfter: openMs, breaker: new ConsecutiveBreaker(faultsMax) }),
    );
    return () => policy.execute(work);
  },
  opossum: (work, timeoutMs) => {
    const breaker = new OpossumBreaker(work, {
      timeout: timeoutMs,
      errorThresholdPercentage: 50,
      volumeThreshold: faultsMax,
      resetTimeout: openMs,
      // Its percentiles sort all latencies of ten seconds every second, which at a million calls a second is all that it would do.
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    });
    // It has no retry of its own; its documentation leaves the loop to the caller.
    return async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await breaker.fire();
        } catch (error) {
          if (attempt === attemptsMax) throw error;
          await sleep(Math.random() * backoffMs * 2 ** (attempt - 1));
        }
      }
    };
  },
};

/** opossum brings no types. */
const OpossumBreaker = createRequire(import.meta.url)("opossum") as new (
  work: Work,
  options: Readonly<Record<string, number | boolean>>,
) => { fire(): Promise<number> };
