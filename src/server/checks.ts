/**
 * Runs a server's dependency checks and says what they say together. All of them run at the start, since a server must know before it
 * serves; after that each has a phase of its own, drawn by chance, so that replicas that started together do not ask a database
 * together (semantics.md K; the same reason for which resolvers and keepalives have jitter). What the outcomes mean: check-state.ts.
 */
import { describeValue } from "../call/options.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import type { ResolvedCheck } from "./check-options.ts";
import { CHECK_UNKNOWN, type CheckState, checkStep, checksWord } from "./check-state.ts";
import type { ChecksWord } from "./health.ts";

/** Each interval is so much longer or shorter, by chance. */
const JITTER = 0.1;
/** One that has never passed is asked again after so long, if its interval is longer: a server that starts is not kept waiting. */
const FIRST_RETRY_MS = 1_000;
/** Characters of an error's text that are kept. */
const WHY_LENGTH_MAX = 200;

/** How a check is doing. */
export interface CheckReport {
  readonly name: string;
  readonly isEssential: boolean;
  readonly isFailing: boolean;
  /** It has passed at least once. */
  readonly hasPassed: boolean;
  readonly failuresInARow: number;
  readonly isRunning: boolean;
  /** Why its last run failed; undefined if it passed, or has not ended yet. */
  readonly why: string | undefined;
  /** How long its last run took, in milliseconds; undefined before one has ended. */
  readonly tookMs: number | undefined;
  /** How long ago that was, in milliseconds; undefined before one has ended. */
  readonly ageMs: number | undefined;
}

export class Checks {
  readonly #world: World;
  readonly #checks: readonly RunningCheck[];
  readonly #changed: (word: ChecksWord) => void;
  #word: ChecksWord;
  #state: "idle" | "running" | "stopped";

  /** @param changed told when what all of them say together is another word than before. */
  constructor(world: World, checks: readonly ResolvedCheck[], changed: (word: ChecksWord) => void) {
    this.#world = world;
    this.#changed = changed;
    this.#checks = checks.map((check) => new RunningCheck(world, check, () => this.#look()));
    this.#word = checksWord(this.#checks);
    this.#state = "idle";
  }

  /** `passing` if there are none. */
  get word(): ChecksWord {
    return this.#word;
  }

  /** Runs all of them for the first time. Does nothing when that was done before. */
  start(): void {
    if (this.#state !== "idle") return;
    this.#state = "running";
    for (const check of this.#checks) check.begin();
  }

  /** Runs none any more; the signals of those that run are aborted. */
  stop(): void {
    this.#state = "stopped";
    for (const check of this.#checks) check.stop();
  }

  /** How each is doing, in the order in which they were given. */
  report(): readonly CheckReport[] {
    const nowMs = this.#world.clock.monotonicMs();
    return Object.freeze(this.#checks.map((check) => check.report(nowMs)));
  }

  #look(): void {
    const word = checksWord(this.#checks);
    if (word === this.#word) return;
    this.#word = word;
    this.#changed(word);
  }
}

/** One check between its runs and in them. */
class RunningCheck {
  state: CheckState;
  readonly isEssential: boolean;
  readonly #world: World;
  readonly #check: ResolvedCheck;
  readonly #looked: () => void;
  /** The run that has not ended, even if it was given up. */
  #run: AbortController | undefined;
  /** That run was counted as a failure already. */
  #isGivenUp: boolean;
  /** When it runs, within its interval, was drawn. */
  #hasPhase: boolean;
  #isStopped: boolean;
  #begunMs: number;
  #endedMs: number;
  #tookMs: number;
  #why: string | undefined;
  #next: Timer | undefined;
  #limit: Timer | undefined;

  constructor(world: World, check: ResolvedCheck, looked: () => void) {
    this.state = CHECK_UNKNOWN;
    this.isEssential = check.isEssential;
    this.#world = world;
    this.#check = check;
    this.#looked = looked;
    this.#run = undefined;
    this.#isGivenUp = false;
    this.#hasPhase = false;
    this.#isStopped = false;
    this.#begunMs = Number.NaN;
    this.#endedMs = Number.NaN;
    this.#tookMs = Number.NaN;
    this.#why = undefined;
    this.#next = undefined;
    this.#limit = undefined;
  }

  /** Runs it now. One that was given up and has not ended fails once more; one that still has time is let go on. */
  begin(): void {
    if (this.#isStopped) return;
    this.#schedule();
    if (this.#run !== undefined) {
      if (this.#isGivenUp) this.#outcome(`it still runs, ${Math.round(this.#sinceBegun())} ms after it began`);
      return;
    }
    const run = new AbortController();
    this.#run = run;
    this.#isGivenUp = false;
    this.#begunMs = this.#world.clock.monotonicMs();
    this.#limit = this.#world.timers.schedule(this.#check.timeoutMs, () => this.#late(run));
    Promise.try(this.#check.check, run.signal).then(
      (value) => this.#ended(run, value === false ? "it gave false" : undefined),
      (error: unknown) => this.#ended(run, whyOf(error)),
    );
  }

  stop(): void {
    this.#isStopped = true;
    this.#next?.cancel();
    this.#limit?.cancel();
    this.#run?.abort(new Error("the server was closed"));
  }

  report(nowMs: number): CheckReport {
    const { name, isEssential } = this.#check;
    const hasEnded = !Number.isNaN(this.#endedMs);
    return Object.freeze({
      name,
      isEssential,
      ...this.state,
      isRunning: this.#run !== undefined,
      why: this.#why,
      tookMs: hasEnded ? this.#tookMs : undefined,
      ageMs: hasEnded ? nowMs - this.#endedMs : undefined,
    });
  }

  /** Its time is over. If this process stood still, the answer may lie in a socket: one more turn, and then it counts. */
  #late(run: AbortController): void {
    this.#limit = this.#world.timers.schedule(0, () => {
      if (this.#run !== run || this.#isGivenUp) return;
      this.#isGivenUp = true;
      const why = `it took longer than ${this.#check.timeoutMs} ms`;
      run.abort(new Error(`the check "${this.#check.name}" was given up: ${why}`));
      this.#outcome(why);
    });
  }

  #ended(run: AbortController, why: string | undefined): void {
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#limit?.cancel();
    // Given up: that was its outcome, and what it says so late is about a time that has passed.
    if (!this.#isStopped && !this.#isGivenUp) this.#outcome(why);
  }

  #outcome(why: string | undefined): void {
    this.#why = why?.slice(0, WHY_LENGTH_MAX);
    this.#endedMs = this.#world.clock.monotonicMs();
    this.#tookMs = this.#sinceBegun();
    const hadPassed = this.state.hasPassed;
    this.state = checkStep(this.state, why === undefined);
    // The first success ends the quick pace of a server that starts, and draws this replica's phase.
    if (!hadPassed && this.state.hasPassed) this.#schedule();
    this.#looked();
  }

  #schedule(): void {
    this.#next?.cancel();
    const isFirst = this.state.hasPassed && !this.#hasPhase;
    this.#hasPhase ||= isFirst;
    const { intervalMs } = this.#check;
    const paceMs = this.state.hasPassed ? intervalMs : Math.min(intervalMs, FIRST_RETRY_MS);
    const chance = this.#world.random.float();
    const share = isFirst ? JITTER + (1 - JITTER) * chance : 1 - JITTER + 2 * JITTER * chance;
    this.#next = this.#world.timers.schedule(paceMs * share, () => this.begin());
  }

  #sinceBegun(): number {
    return this.#world.clock.monotonicMs() - this.#begunMs;
  }
}

/** Whatever was thrown, in words; an error whose message cannot be read must not end the process. */
function whyOf(error: unknown): string {
  try {
    if (error instanceof Error) return error.message === "" ? error.name : error.message;
    return `it threw ${describeValue(error)}`;
  } catch {
    return "it threw something that cannot be read";
  }
}
