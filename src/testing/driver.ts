/**
 * Who moves virtual time, and until when. Each wait of a test is a goal; while any is open, events run in order, and
 * between any two calls of user code all promise reactions run. Real time plays no part in it.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { relay } from "./drain.ts";
import { onGrid } from "./event-queue.ts";
import type { Universe } from "./universe.ts";

const limitMsDefault = 60_000;
const limitMsMax = Number.MAX_SAFE_INTEGER / 1024;

/** How far a wait may move the clock. */
export interface WaitOptions {
  /** Virtual milliseconds after which it is given up with an error; 0 or more, default 60,000: twice a call's default deadline. */
  readonly limitMs?: number | undefined;
}

interface Goal {
  readonly limitMs: number;
  /** For `advance`: to reach the limit is what is wanted. */
  readonly isAdvance: boolean;
  isMet(): boolean;
  resolve(): void;
  reject(error: unknown): void;
  readonly what: string;
}

export class Driver {
  private readonly universe: Universe;
  private goals: Goal[] = [];
  private isDriving = false;
  /** Everything simulated runs in the context in which the simulation was made, whoever moves the clock. */
  private readonly inContext = AsyncLocalStorage.snapshot();
  /** An error of a program that nobody waited for yet. */
  private failure: { readonly error: unknown } | undefined = undefined;
  private readonly step = (): boolean => this.runStep();

  constructor(universe: Universe) {
    this.universe = universe;
  }

  advance(ms: number): Promise<void> {
    if (!(ms >= 0 && ms <= limitMsMax)) throw new RangeError(`advance: ms must be 0..${limitMsMax}, got ${ms}`);
    return this.wait("advance", ms, true, () => false);
  }

  runUntil(predicate: () => boolean, options: WaitOptions = {}): Promise<void> {
    return this.wait("runUntil", options.limitMs ?? limitMsDefault, false, predicate);
  }

  async settle<T>(promise: PromiseLike<T>, options: WaitOptions = {}): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await this.wait("settle", options.limitMs ?? limitMsDefault, false, () => isSettled);
    return await promise;
  }

  /** Fails what is waited for now, or else the next wait. */
  fail(error: unknown): void {
    if (!this.finish(() => true, error)) this.failure ??= { error };
  }

  private wait(what: string, limitMs: number, isAdvance: boolean, isMet: () => boolean): Promise<void> {
    if (!(limitMs >= 0)) throw new RangeError(`${what}: limitMs must be 0 or more, got ${limitMs}`);
    return new Promise((resolve, reject) => {
      const atMs = onGrid(this.universe.nowMs + Math.min(limitMs, limitMsMax));
      this.goals.push({ limitMs: atMs, isAdvance, isMet, resolve, reject, what });
      if (this.isDriving) return;
      this.isDriving = true;
      this.inContext(() => relay(this.step));
    });
  }

  /** Up to one call of user code. False: nobody waits any more. */
  private runStep(): boolean {
    if (this.goals.length === 0) {
      this.isDriving = false;
      return false;
    }
    try {
      const { failure } = this;
      this.failure = undefined;
      if (failure !== undefined) throw failure.error;
      // Whoever got what it waited for goes on before anything else happens.
      if (this.finish((goal) => goal.isMet(), undefined)) return true;
      let limitMs = Number.POSITIVE_INFINITY;
      for (const goal of this.goals) limitMs = Math.min(limitMs, goal.limitMs);
      const outcome = this.universe.step(limitMs);
      if (outcome === "limit") this.reached(limitMs);
      else if (outcome === "empty") this.nothingLeft();
    } catch (error) {
      this.finish(() => true, error);
    }
    return true;
  }

  private reached(limitMs: number): void {
    this.universe.moveTo(limitMs);
    this.finish((goal) => goal.isAdvance && goal.limitMs <= limitMs, undefined);
    this.finish((goal) => goal.limitMs <= limitMs, "not reached within its limitMs of virtual time");
  }

  /** Time can only pass for those who asked for it to pass; nothing can come of waiting for the others. */
  private nothingLeft(): void {
    let limitMs = Number.POSITIVE_INFINITY;
    for (const goal of this.goals) if (goal.isAdvance) limitMs = Math.min(limitMs, goal.limitMs);
    if (limitMs !== Number.POSITIVE_INFINITY) this.reached(limitMs);
    else this.finish(() => true, "nothing is left to happen that could bring it about");
  }

  /** Ends those goals; `problem` is words for an error of ours, or somebody else's error. */
  private finish(which: (goal: Goal) => boolean, problem: unknown): boolean {
    const done = this.goals.filter(which);
    if (done.length === 0) return false;
    this.goals = this.goals.filter((goal) => !done.includes(goal));
    for (const goal of done) {
      if (problem === undefined) goal.resolve();
      else goal.reject(typeof problem === "string" ? this.error(goal, problem) : problem);
    }
    return true;
  }

  private error(goal: Goal, problem: string): Error {
    const { nowMs, seed } = this.universe;
    return new Error(`${goal.what}: ${problem} (virtual time ${nowMs.toFixed(3)} ms, seed ${seed})`);
  }
}
