/**
 * What a channel does about once a second while it is used: looks over its peers, and over the calls that wait for one.
 */
import { StandDown } from "../policy/recover/stand-down.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { ChannelCore } from "./channel-core.ts";
import { IN_FLIGHT_MAX } from "./client-peer.ts";

const TICK_MS = 1_000;
/** So long after the last call it goes on. */
const LINGER_MS = 10_000;
/** Calls wait for a pushback or an ejection to end, of which nobody tells. */
const WAITING_TICK_MS = 50;

export class ChannelTick extends WheelEntry {
  readonly #channel: ChannelCore;
  readonly #standDown: StandDown;
  #usedAtMs: number;

  constructor(channel: ChannelCore) {
    super();
    this.#channel = channel;
    this.#standDown = new StandDown();
    this.#usedAtMs = -Infinity;
  }

  /** A call was sent. */
  used(nowMs: number): void {
    this.#usedAtMs = nowMs;
    if (!this.isArmed) this.#channel.runtime.wheel.arm(this, nowMs + TICK_MS);
  }

  /** A call waits: it is looked after in so long. */
  wanted(inMs: number = WAITING_TICK_MS): void {
    const nowMs = this.#channel.nowMs();
    if (!this.isArmed || this.dueMs > nowMs + inMs) this.#channel.runtime.wheel.arm(this, nowMs + inMs);
  }

  /** Something is to be decided at once. */
  sweepNow(nowMs: number): void {
    this.#sweep(nowMs, false);
  }

  stop(): void {
    this.#channel.runtime.wheel.cancel(this);
  }

  expired(nowMs: number): void {
    const channel = this.#channel;
    channel.selfBeat.late(this.dueMs, nowMs);
    this.#sweep(nowMs, true);
    channel.isStandingDown = this.#standDown.look(
      channel.peers.map(({ pace }) => pace),
      nowMs,
    );
    if (channel.waitingCount > 0) channel.peerHasRoom();
    if (channel.isClosed) return;
    if (channel.waitingCount > 0) channel.runtime.wheel.arm(this, nowMs + WAITING_TICK_MS);
    else if (nowMs - this.#usedAtMs < LINGER_MS) channel.runtime.wheel.arm(this, nowMs + TICK_MS);
    else if (channel.detector !== undefined && channel.detector.nextSweepMs !== Infinity) {
      channel.runtime.wheel.arm(this, Math.max(nowMs + TICK_MS, channel.detector.nextSweepMs));
    }
  }

  #sweep(nowMs: number, isWhole: boolean): void {
    const channel = this.#channel;
    const { detector } = channel;
    if (detector === undefined) return;
    for (const peer of channel.peers) peer.record.load = peer.inFlight / IN_FLIGHT_MAX;
    const score = channel.selfBeat.watch.score(nowMs);
    const changes = [...detector.sweep(nowMs, score), ...(isWhole ? detector.sweepGroups(nowMs, score) : [])];
    for (const { record, kind, why, untilMs } of changes) {
      const peer = channel.peers.find((each) => each.record === record);
      if (peer === undefined) continue;
      peer.refresh();
      if (channel.events.isHeard) {
        const isEnforced = !detector.isObserving;
        channel.events.emit("ejection", nowMs, { peer: peer.describe(), kind, why, untilMs, isEnforced });
      }
    }
  }
}
