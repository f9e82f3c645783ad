/** The run's plot: one chapter after the other, each with what it did to the calls. */
import type { Client } from "holdfast";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { type ChapterReport, type Counts, countedReport, faultReport } from "./chapter-report.ts";
import {
  beginning,
  type Chapter,
  ending,
  type FaultChapter,
  type FaultKind,
  type FleetChapter,
  SERVER_NAMES,
} from "./chapters.ts";
import { FaultWatch } from "./fault-watch.ts";
import { beginFault, endFault, type Stage } from "./faults.ts";
import { TIMEOUT_MS } from "./load.ts";
import { Overload } from "./overload.ts";
import { pause } from "./pause.ts";
import { RollingRestart } from "./rolling-restart.ts";
import type { Tally } from "./tally.ts";

/** What came to be before and in a chapter. */
interface Span {
  beganMs: number;
  readonly before: Counts;
  overMs: number | undefined;
  after: Counts | undefined;
}

interface ToldFault extends Span {
  readonly chapter: FaultChapter;
  readonly watch: FaultWatch;
  flippedBits: number;
}

interface ToldFleet extends Span {
  readonly chapter: FleetChapter;
  readonly event: RollingRestart | Overload;
}

type Told = ToldFault | ToldFleet;

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

  /** What befalls a server now; undefined: nothing, or what befalls all of them. */
  faultOf(server: number): FaultKind | undefined {
    const last = this.#told.at(-1);
    if (last === undefined || last.overMs !== undefined || !isFault(last)) return undefined;
    return last.chapter.server === server ? last.chapter.kind : undefined;
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
      await (chapter.server === undefined ? this.#tellFleet(chapter, stop) : this.#tellFault(chapter, stop));
    }
    await this.#calm(stop);
    this.#checkAlive();
  }

  async #tellFault(chapter: FaultChapter, stop: AbortSignal): Promise<void> {
    const span = this.#begin();
    const facts = { addresses: this.#stage.network.addresses, answers: this.#tally.timeline, nowMs: span.beganMs };
    const told = { ...span, chapter, watch: new FaultWatch(this.#client, chapter, facts), flippedBits: 0 };
    this.#told.push(told);
    await beginFault(chapter, this.#stage);
    this.#say(beginning(chapter));
    await pause(chapter.faultMs, stop);
    if (stop.aborted) return;
    const { flippedBits } = await endFault(chapter, this.#stage);
    told.overMs = performance.now();
    told.watch.over(told.overMs);
    told.flippedBits = flippedBits ?? 0;
    this.#say(ending(chapter, { flippedBits }));
  }

  async #tellFleet(chapter: FleetChapter, stop: AbortSignal): Promise<void> {
    const { servers, network } = this.#stage;
    const event =
      chapter.kind === "overload"
        ? new Overload(network.addresses, this.#client, this.#tally)
        : new RollingRestart(servers, this.#client, this.#tally);
    const told: ToldFleet = { ...this.#begin(), chapter, event };
    this.#told.push(told);
    const begun = (): void => {
      told.beganMs = performance.now();
      this.#say(beginning(chapter));
    };
    await event.run(chapter.faultMs, begun, stop);
    told.overMs = performance.now();
    if (!stop.aborted) this.#say(ending(chapter, {}));
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
    if (told === undefined || !isFault(told)) return true;
    return this.#tally.timeline.hasAny(told.chapter.server, overMs + GARBLED_AFTER_MS);
  }

  /** What came of each chapter that has begun. */
  reports(nowMs: number): readonly ChapterReport[] {
    this.#endChapter();
    return this.#told.map((told) => this.#reportOf(told, nowMs));
  }

  #begin(): Span {
    this.#endChapter();
    return { beganMs: performance.now(), before: this.#counts(), overMs: undefined, after: undefined };
  }

  #endChapter(): void {
    const last = this.#told.at(-1);
    if (last === undefined || last.after !== undefined) return;
    last.after = this.#counts();
    if (isFault(last)) last.watch.stop();
  }

  #counts(): Counts {
    const { calls, failed, extraAttempts } = this.#tally;
    return { calls, failed, extraAttempts };
  }

  #reportOf(told: Told, nowMs: number): ChapterReport {
    const { chapter, beganMs, before, overMs, after = before } = told;
    const atMs = beganMs - this.#startedMs;
    const counted = countedReport({
      server: chapter.server,
      atMs,
      lastedMs: (overMs ?? nowMs) - beganMs,
      before,
      after,
    });
    if (isFault(told)) return faultReport(told.chapter.kind, counted, { ...told, nowMs });
    const { event } = told;
    if (event instanceof Overload) return { kind: "overload", ...counted, ...event.facts() };
    return { kind: "rolling restart", ...counted, ...event.facts() };
  }

  #checkAlive(): void {
    const { servers, network } = this.#stage;
    const lost = servers.find(({ state }) => state === "lost");
    if (lost !== undefined) throw new Error(`server ${lost.name} ended, and not by the demo: ${lost.lostBy}`);
    if (network.lostBy !== undefined)
      throw new Error(`the fault proxies ended, and not by the demo: ${network.lostBy}`);
  }
}

function isFault(told: Told): told is ToldFault {
  return told.chapter.server !== undefined;
}
