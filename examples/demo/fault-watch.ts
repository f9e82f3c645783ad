/**
 * How long the client took to notice a fault, and its server to have its share again: from the client's events, the attempts that it
 * started, and the answers that it had.
 */
import type { Client } from "holdfast";
import type { Event } from "holdfast/call";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import type { FaultChapter, FaultKind } from "./chapters.ts";
import { Timeline } from "./timeline.ts";

/** What made the client give a server fewer calls, or none. */
export type NoticedBy = "ejection" | "silence" | "lost connection" | "balancer";

export interface Noticed {
  /** Undefined: it was not noticed while it lasted. */
  readonly detectedMs: number | undefined;
  readonly detectedBy: NoticedBy | undefined;
  /** Undefined: not within this run. */
  readonly healedMs: number | undefined;
}

/** A server that answers nothing any more is noticed by the first of the client's events; the others are also by the balancer. */
const TOTAL: ReadonlySet<FaultKind> = new Set<FaultKind>(["kill", "stop", "partition"]);
const NOTICE_STRETCH = { lastsMs: 200, countMin: 50 };
const HEAL_STRETCH = { lastsMs: 500, countMin: 50 };
const HALF = 0.5;
/** A call that began before a moment has ended so long after it: its deadline, and some. */
const CALL_MS_MAX = 1_200;
/** What is noted of one server's attempts at most. */
const STARTS_MAX = 1_000_000;

export class FaultWatch {
  readonly #chapter: FaultChapter;
  readonly #addresses: readonly string[];
  readonly #answers: Timeline;
  readonly #subscriptions: readonly Disposable[];
  /** Attempts at all servers since the fault began; and when those at its own were. */
  readonly #starts: Timeline;
  readonly #ownStarts: number[];
  readonly #beganMs: number;
  #overMs: number;
  #leftMs: number;
  #leftBy: NoticedBy | undefined;

  /** To be made right before the fault begins. */
  constructor(
    client: Client<typeof Calculator>,
    chapter: FaultChapter,
    facts: { readonly addresses: readonly string[]; readonly answers: Timeline; readonly nowMs: number },
  ) {
    const { addresses, answers, nowMs } = facts;
    this.#chapter = chapter;
    this.#addresses = addresses;
    this.#answers = answers;
    this.#starts = new Timeline(addresses.length, nowMs, 2 * chapter.faultMs + 10_000);
    this.#ownStarts = [];
    this.#beganMs = nowMs;
    this.#overMs = Number.POSITIVE_INFINITY;
    this.#leftMs = Number.POSITIVE_INFINITY;
    this.#leftBy = undefined;
    this.#subscriptions = [
      client.$on("call.ended", (event) => this.#ended(event)),
      client.$on("suspected", ({ peer, atMs }) => this.#left(peer.address, "silence", atMs)),
      client.$on("ejection", ({ peer, kind, atMs }) => {
        if (kind === "ejected") this.#left(peer.address, "ejection", atMs);
      }),
      client.$on("connection.changed", ({ peer, state, atMs }) => {
        if (state === "closed") this.#left(peer.address, "lost connection", atMs);
      }),
    ];
  }

  /** The fault is over. */
  over(nowMs: number): void {
    this.#overMs = nowMs;
  }

  /** What is known by now. */
  noticed(nowMs: number): Noticed {
    const { server } = this.#chapter;
    const seen = this.#seen(nowMs);
    const stretch = { ...HEAL_STRETCH, fromMs: this.#overMs, untilMs: nowMs };
    const healedAtMs = this.#answers.firstStretch(server, stretch, (part) => part >= HALF);
    return { ...seen, healedMs: Number.isNaN(healedAtMs) ? undefined : healedAtMs - this.#overMs };
  }

  #seen(nowMs: number): Pick<Noticed, "detectedMs" | "detectedBy"> {
    const { kind, server } = this.#chapter;
    const untilMs = Math.min(this.#overMs, nowMs);
    const isLeft = this.#leftMs <= untilMs;
    if (TOTAL.has(kind) && isLeft) {
      const last = this.#ownStarts.reduce((latest, at) => (at <= this.#leftMs ? Math.max(latest, at) : latest), 0);
      return { detectedMs: Math.max(0, last - this.#beganMs), detectedBy: this.#leftBy };
    }
    const stretch = { ...NOTICE_STRETCH, fromMs: this.#beganMs, untilMs };
    const lessAtMs = this.#starts.firstStretch(server, stretch, (part) => part < HALF);
    if (isLeft && !(lessAtMs < this.#leftMs)) {
      return { detectedMs: this.#leftMs - this.#beganMs, detectedBy: this.#leftBy };
    }
    if (Number.isNaN(lessAtMs)) return { detectedMs: undefined, detectedBy: undefined };
    return { detectedMs: lessAtMs - this.#beganMs, detectedBy: "balancer" };
  }

  #left(address: string, by: NoticedBy, atMs: number): void {
    if (address !== this.#addresses[this.#chapter.server] || atMs < this.#beganMs || atMs >= this.#leftMs) return;
    this.#leftMs = atMs;
    this.#leftBy = by;
  }

  #ended({ atMs, record }: Event<"call.ended">): void {
    const callMs = atMs - record.tookMs;
    for (const { peer, startMs } of record.attempts) {
      const server = peer === undefined ? -1 : this.#addresses.indexOf(peer.address);
      const startedMs = callMs + startMs;
      if (server < 0 || startedMs < this.#beganMs) continue;
      this.#starts.note(server, startedMs);
      if (server === this.#chapter.server && this.#ownStarts.length < STARTS_MAX) this.#ownStarts.push(startedMs);
    }
    // A record of each call costs the client some microseconds: none is made for longer than it tells something.
    if (atMs > Math.min(this.#overMs, this.#leftMs) + CALL_MS_MAX) this.stop();
  }

  /** Hears no more. */
  stop(): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
  }
}
