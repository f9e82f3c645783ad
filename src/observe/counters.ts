/**
 * Hot path: the plain numbers of one method at one service, or of one peer, from which its reliability is worked out.
 *
 * A method's owner tells of both, its attempts and its calls. A peer's owner tells of the attempts there, and of no calls.
 */
import { Outages } from "./outages.ts";

const NONE: Readonly<Outages> = Object.freeze(new Outages());

/** Counts that only grow: who wants a window takes differences. */
export class CallCounters {
  /** Calls that ended well or with an error; not those that their caller ended. */
  calls: number;
  failures: number;
  /** Calls that their caller cancelled or abandoned: nobody's success, nobody's failure. */
  cancelled: number;
  /** Calls that succeeded after a failed attempt. */
  recovered: number;
  /** Calls in which an attempt failed, recovered or not. */
  troubled: number;
  /** Attempts that all these calls started, cancelled losers included. */
  attempts: number;
  /** Attempts that ended well or not; a loser that was cancelled did neither. */
  endedAttempts: number;
  failedAttempts: number;
  /** Attempts that were started after a failed one. Its owner's to count, like the next. */
  repeats: number;
  /** Attempts that were started beside one that was overdue. */
  copies: number;
  /** Calls whose answer came from a copy. */
  copyWins: number;
  /** Those among {@link copyWins} in which an attempt had failed: they count in {@link recovered} too. */
  copyRecoveries: number;
  /** Calls that the throttle refused; they are among {@link failures} too. Its owner's to count, like the next. */
  throttled: number;
  /** Calls that were found to kill their servers; they are among {@link failures} too. */
  poisoned: number;
  /** Made at the first failure: most of those that are counted never fail. */
  private ofCalls: Outages | undefined;
  private ofAttempts: Outages | undefined;

  constructor() {
    this.calls = 0;
    this.failures = 0;
    this.cancelled = 0;
    this.recovered = 0;
    this.troubled = 0;
    this.attempts = 0;
    this.endedAttempts = 0;
    this.failedAttempts = 0;
    this.repeats = 0;
    this.copies = 0;
    this.copyWins = 0;
    this.copyRecoveries = 0;
    this.throttled = 0;
    this.poisoned = 0;
    this.ofCalls = undefined;
    this.ofAttempts = undefined;
  }

  /** Of calls. */
  get outages(): Readonly<Outages> {
    return this.ofCalls ?? NONE;
  }

  /** Of attempts: at a peer, its own; at a method, what its callers would have seen without repeats and copies. */
  get attemptOutages(): Readonly<Outages> {
    return this.ofAttempts ?? NONE;
  }

  /**
   * A call ended, with an answer or with an error.
   *
   * @param attempts how many it started; 0 if it never got so far
   * @param failedAttempts how many of them failed before it ended
   * @param isCopyWin whether its answer came from a copy
   */
  ended(nowMs: number, isOk: boolean, attempts: number, failedAttempts: number, isCopyWin: boolean = false): void {
    this.calls += 1;
    this.attempts += attempts;
    if (this.ofCalls !== undefined) this.ofCalls.note(nowMs, isOk);
    else if (!isOk) (this.ofCalls = new Outages()).note(nowMs, isOk);
    if (failedAttempts !== 0) this.troubled += 1;
    if (!isOk) {
      this.failures += 1;
      return;
    }
    if (failedAttempts !== 0) this.recovered += 1;
    if (isCopyWin) {
      this.copyWins += 1;
      if (failedAttempts !== 0) this.copyRecoveries += 1;
    }
  }

  /** A call was cancelled or abandoned by its caller after so many attempts. */
  endedByCaller(attempts: number): void {
    this.cancelled += 1;
    this.attempts += attempts;
  }

  /** An attempt ended well or not; one that was cut by the call's deadline did not. Not to be told of cancelled losers. */
  attemptEnded(nowMs: number, isOk: boolean): void {
    this.endedAttempts += 1;
    if (!isOk) this.failedAttempts += 1;
    if (this.ofAttempts !== undefined) this.ofAttempts.note(nowMs, isOk);
    else if (!isOk) (this.ofAttempts = new Outages()).note(nowMs, isOk);
  }
}
