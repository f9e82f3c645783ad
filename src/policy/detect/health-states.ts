/**
 * What a peer says of itself: the client's side of health Watch (grpc/proposal A17) as a reducer. Not serving until the peer says
 * so; a server without the health service counts as serving; a Watch that fails is opened again, at once if it had brought a
 * message, else after a growing wait.
 */

/** What happened on the Watch: a message by its status, its end by its code, or the end of a wait. */
export type HealthEvent = "serving" | "notServing" | "unknownService" | "unimplemented" | "streamFailed" | "retryDue";

/** What is known of a peer's health. */
export interface HealthState {
  /** Whether the peer may be given calls. */
  readonly isServing: boolean;
  /** Whether the Watch that runs has brought a message: then the next failure is retried at once. */
  readonly hasMessage: boolean;
  /** Watches in a row that failed without a message. */
  readonly failures: number;
  /** The server has no health service: it is not asked again on this connection. */
  readonly isStopped: boolean;
}

/** What to do now: hold a Watch open (open one if none is), wait `delayMs` and then say "retryDue", or never ask again. */
export interface HealthStep {
  readonly state: HealthState;
  readonly isServing: boolean;
  readonly act: "watch" | "wait" | "stop";
  /** Milliseconds; 0 unless `act` is "wait". */
  readonly delayMs: number;
}

/** A new connection: a Watch is to be opened, and nothing is known. */
export const HEALTH_UNKNOWN: HealthState = Object.freeze({
  isServing: false,
  hasMessage: false,
  failures: 0,
  isStopped: false,
});

/** grpc/doc/connection-backoff.md, which A17 takes over: 1 s x 1.6 up to 120 s, +-20 %. */
const BASE_MS = 1_000;
const FACTOR = 1.6;
const MAX_MS = 120_000;
const JITTER = 0.2;
const STEPS_MAX = 20;

/** The next state. @param chance in [0, 1), for the jitter of a wait. */
export function healthStep(state: HealthState, event: HealthEvent, chance: number): HealthStep {
  // Also a message that arrives late changes nothing any more: that connection is never asked again.
  if (state.isStopped) return step(state, "stop", 0);
  switch (event) {
    case "serving":
      return step({ isServing: true, hasMessage: true, failures: 0, isStopped: false }, "watch", 0);
    case "notServing":
    case "unknownService":
      return step({ isServing: false, hasMessage: true, failures: 0, isStopped: false }, "watch", 0);
    case "unimplemented":
      return step({ isServing: true, hasMessage: false, failures: 0, isStopped: true }, "stop", 0);
    case "streamFailed":
      return failed(state, chance);
    case "retryDue":
      return step(state, "watch", 0);
  }
}

function failed(state: HealthState, chance: number): HealthStep {
  const after = (failures: number): HealthState => ({
    isServing: false,
    hasMessage: false,
    failures,
    isStopped: false,
  });
  if (state.hasMessage) return step(after(0), "watch", 0);
  const failures = Math.min(STEPS_MAX, state.failures + 1);
  const grownMs = Math.min(MAX_MS, BASE_MS * FACTOR ** (failures - 1));
  return step(after(failures), "wait", grownMs * (1 + JITTER * (2 * chance - 1)));
}

function step(state: HealthState, act: HealthStep["act"], delayMs: number): HealthStep {
  return { state: Object.freeze(state), isServing: state.isServing, act, delayMs };
}
