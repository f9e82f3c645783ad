/** The run's plot: one fault after the other, each with what it did to the calls. */
import type { Client } from "holdfast";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { beginning, type Chapter, ending, type FaultKind, SERVER_NAMES } from "./chapters.ts";
import { FaultWatch, type NoticedBy } from "./fault-watch.ts";
import { beginFault, endFault, type Stage } from "./faults.ts";
import { TIMEOUT_MS } from "./load.ts";
import { pause } from "./pause.ts";
import type { Tally } from "./tally.ts";

/** One fault and what came of it. Counts are those from its beginning to that of the next one. */
export interface FaultReport {
  readonly kind: FaultKind;
  /** Whom it befell. */
  readonly server: string;
  /** When it began, from the beginning of the run. */
  readonly atMs: number;
  readonly lastedMs: number;
  /**
   * From its beginning: of a server that answers nothing any more, to the last attempt that was started there before it was left alone; else
   * to the first event about it, or the end of the first 200 ms in which it was given less than half of its fair share. Null: not noticed.
   */
  readonly detectedMs: number | null;
  readonly detectedBy: NoticedBy | null;
  /** From its end to the end of the first 500 ms in which the server had at least half of its fair share. Null: not within this run. */
  readonly healedMs: number | null;
  readonly calls: number;
  readonly failed: number;
  /** Attempts beyond the calls. */
  readonly extraAttempts: number;
  /** Bits that were flipped; 0 for the other kinds. */
  readonly flippedBits: number;
}

/** What came to be before and in a chapter. */
interface Told {
  readonly chapter: Chapter;
  readonly watch: FaultWatch;
  readonly beganMs: number;
  readonly before: Counts;
  overMs: number | undefined;
  after: Counts | undefined;
  flippedBits: number;
}

type Counts = Pick<Tally, "calls" | "failed" | "extraAttempts">;

/** A call that met the last fault has ended so long after it: the next fault is not to meet it too. */
const CALLS_OVER_MS = TIMEOUT_MS + 100;
/** The next fault waits so long at most until the last one is healed: an opinion of a server may last for longer than a demo. */
const CALM_MS_MAX = 3_000;
const CALM_LOOK_MS = 20;

/** A flipped bit may be in a message that is on its way when the flipping ends. */
const GARBLED_AFTER_MS = 1_000;

export class Story {
  readonly #stage: Stage;
  readonly #client: Client<typeof Calculator>;
  readonly #tally: Tally;
  readonly #say: (text: string) => void;
  readonly #startedMs: number;
  readonly #told: Told[];

  /** `say` is given each turn of the plot in words. */
  constructor(
    stage: Stage,
    client: Client<typeof Calculator>,
    tally: Tally,
    run: { readonly startedMs: number; readonly say: (text: string) => void },
  ) {
    this.#stage = stage;
    this.#client = client;
    this.#tally = tally;
    this.#say = run.say;
    this.#startedMs = run.startedMs;
    this.#told = [];
  }

  /** What befalls a server now; undefined: nothing. */
  faultOf(server: number): FaultKind | undefined {
    const last = this.#told.at(-1);
    return last === undefined || last.overMs !== undefined || last.chapter.server !== server
      ? undefined
      : last.chapter.kind;
  }

  /** What comes from this address may have been garbled on its way, now or a moment ago. */
  mayBeGarbled(address: string): boolean {
    const last = this.#told.at(-1);
    if (last === undefined || last.chapter.kind !== "corrupt") return false;
    if (this.#stage.network.addresses[last.chapter.server] !== address) return false;
    return last.overMs === undefined || performance.now() < last.overMs + GARBLED_AFTER_MS;
  }

  /**
   * Runs until the last chapter is told and its fault healed, or `stop` aborts. A chapter waits for its time, and for the fault before it to
   * be healed: one fault at a time. Rejects if a process of the demo ends by itself.
   */
  async tell(chapters: readonly Chapter[], stop: AbortSignal): Promise<void> {
    for (const chapter of chapters) {
      await pause(this.#startedMs + chapter.atMs - performance.now(), stop);
      await this.#calm(stop);
      this.#checkAlive();
      if (stop.aborted) return;
      const told = this.#begin(chapter);
      await beginFault(chapter, this.#stage);
      this.#say(beginning(chapter));
      await pause(chapter.faultMs, stop);
      if (stop.aborted) return;
      const facts = await endFault(chapter, this.#stage);
      told.overMs = performance.now();
      told.watch.over(told.overMs);
      told.flippedBits = facts.flippedBits ?? 0;
      this.#say(ending(chapter, facts));
    }
    await this.#calm(stop);
  }

  /** Resolves when no call runs any more that the last fault met, and each server is well in the client's eyes; or when it has taken too long. */
  async #calm(stop: AbortSignal): Promise<void> {
    const last = this.#told.at(-1);
    const overMs = last?.overMs;
    if (overMs !== undefined) await pause(overMs + CALLS_OVER_MS - performance.now(), stop);
    for (const giveUpMs = performance.now() + CALM_MS_MAX; !stop.aborted && performance.now() < giveUpMs; ) {
      const areReady = this.#client.$channel.peers().every(({ health }) => health === "ready");
      if (areReady && (overMs === undefined ? this.#haveAnswered() : this.#hasAnswered(last, overMs))) return;
      await pause(CALM_LOOK_MS, stop);
    }
  }

  /** Each server has: a client that has only begun has sent all its calls to the server that it reached first. */
  #haveAnswered(): boolean {
    return SERVER_NAMES.every((_name, server) => this.#tally.timeline.hasAny(server, this.#startedMs));
  }

  /** A connection on which bits were flipped may look well, and have lost its place in what comes. */
  #hasAnswered(told: Told | undefined, overMs: number): boolean {
    return told === undefined || this.#tally.timeline.hasAny(told.chapter.server, overMs + GARBLED_AFTER_MS);
  }

  /** What came of each fault that has begun. */
  reports(nowMs: number): readonly FaultReport[] {
    this.#endChapter();
    return this.#told.map((told) => this.#reportOf(told, nowMs));
  }

  #begin(chapter: Chapter): Told {
    this.#endChapter();
    const nowMs = performance.now();
    const facts = { addresses: this.#stage.network.addresses, answers: this.#tally.timeline, nowMs };
    const told: Told = {
      chapter,
      watch: new FaultWatch(this.#client, chapter, facts),
      beganMs: nowMs,
      before: this.#counts(),
      overMs: undefined,
      after: undefined,
      flippedBits: 0,
    };
    this.#told.push(told);
    return told;
  }

  #endChapter(): void {
    const last = this.#told.at(-1);
    if (last === undefined || last.after !== undefined) return;
    last.after = this.#counts();
    last.watch.stop();
  }

  #counts(): Counts {
    const { calls, failed, extraAttempts } = this.#tally;
    return { calls, failed, extraAttempts };
  }

  #reportOf({ chapter, watch, beganMs, before, overMs, after, flippedBits }: Told, nowMs: number): FaultReport {
    const { detectedMs, detectedBy, healedMs } = watch.noticed(nowMs);
    const { calls, failed, extraAttempts } = after ?? before;
    return {
      kind: chapter.kind,
      server: SERVER_NAMES[chapter.server] ?? "?",
      atMs: rounded(beganMs - this.#startedMs),
      lastedMs: rounded((overMs ?? nowMs) - beganMs),
      detectedMs: detectedMs === undefined ? null : rounded(detectedMs),
      detectedBy: detectedBy ?? null,
      healedMs: healedMs === undefined ? null : rounded(healedMs),
      calls: calls - before.calls,
      failed: failed - before.failed,
      extraAttempts: extraAttempts - before.extraAttempts,
      flippedBits,
    };
  }

  #checkAlive(): void {
    const { servers, network } = this.#stage;
    const lost = servers.find(({ state }) => state === "lost");
    if (lost !== undefined) throw new Error(`server ${lost.name} ended, and not by the demo: ${lost.lostBy}`);
    if (network.lostBy !== undefined)
      throw new Error(`the fault proxies ended, and not by the demo: ${network.lostBy}`);
  }
}

/** A tenth of a millisecond is enough. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
