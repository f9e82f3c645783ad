/**
 * The end of a server in good order: say so and leave the lists, go on serving until others have noticed, tell each client which of its
 * calls is the last one (RFC 9113 6.8), close the doors, tell the handlers, let them finish, cut what is left and report it.
 *
 * A door closes when all clients have been told, so that who connects before gets a GOAWAY and not a reset. One whose port is shared closes
 * before anybody is told: a client that dials again then comes out at the successor, and not here.
 */
import type { CutCall, DrainReport } from "../call/drain-report.ts";
import type { ServerConnection } from "../wire/transport/server-connection.ts";
import type { Listener } from "../world/network.ts";
import type { World } from "../world/world.ts";
import { ServerCall } from "./server-call.ts";
import type { ServerCore } from "./server-core.ts";
import { wait } from "./wait.ts";

/** A listener, and whether other processes may listen there too. */
export interface Door {
  readonly listener: Listener;
  readonly isPortShared: boolean;
}

/** Who is told of a drain before any client is. */
export interface DrainHooks {
  /** Health says so from now on, to whoever asks or watches. */
  healthChanged(state: "DRAINING"): void;
  /** Takes this server out of the lists in which clients find it; waited for 5 s at most. One that fails is a warning of the process. */
  readonly deregister: readonly (() => unknown)[];
  /** The drain begins, and ends. */
  told(state: "started" | "ended", report: DrainReport | undefined): void;
}

export interface DrainTimes {
  /** New calls are served for so long after the drain began; no longer than `timeoutMs`. */
  readonly propagationMs: number;
  /** Calls may go on for so long after clients were told; 0: nothing is waited for. */
  readonly timeoutMs: number;
}

/** A registry that does not answer keeps nobody waiting for longer. */
const DEREGISTER_MS = 5_000;
/** Each connection says its last word within a second by itself. */
const SAID_MS = 2_000;

/** What a drain needs of a server. */
export type DrainedCore = Pick<ServerCore, "connections" | "detachedCalls" | "finishedCalls" | "unanswered" | "onIdle">;

export class Drain {
  readonly #world: World;
  readonly #core: DrainedCore;
  readonly #doors: Iterable<Door>;
  readonly #hooks: DrainHooks;
  readonly #times: DrainTimes;
  readonly #cut: PromiseWithResolvers<void>;
  /** Connections are told to go away; until then new ones are served, though the server is about to end. */
  #isGoingAway: boolean;
  #isCut: boolean;
  #areHandlersTold: boolean;
  /** Nothing is served any more. */
  isOver: boolean;

  constructor(world: World, core: DrainedCore, doors: Iterable<Door>, hooks: DrainHooks, times: DrainTimes) {
    this.#world = world;
    this.#core = core;
    this.#doors = doors;
    this.#hooks = hooks;
    this.#times = times;
    this.#cut = Promise.withResolvers();
    this.#isGoingAway = false;
    this.#isCut = times.timeoutMs === 0;
    this.#areHandlersTold = false;
    this.isOver = false;
  }

  /** Waits no longer: what is open now is cut. */
  cut(): void {
    this.#isCut = true;
    this.#cut.resolve();
  }

  /** A connection that came while the server drains. */
  accepted(connection: ServerConnection): void {
    if (!this.#isGoingAway) return;
    connection.drain(() => {
      if (this.#areHandlersTold) connection.tellDraining();
    });
  }

  /** Runs it. Called once. */
  async run(): Promise<DrainReport> {
    const startMs = this.#nowMs();
    const finishedBefore = this.#core.finishedCalls;
    const unsentBefore = new Set(unsentCalls(this.#core));
    const releasedBefore = new Set(releasedCalls(this.#core));
    this.#hooks.told("started", undefined);
    this.#hooks.healthChanged("DRAINING");
    await this.#propagate(this.#deregister());
    const goAwayMs = this.#nowMs();
    await this.#goAway();
    await this.#waitForIdle(this.#times.timeoutMs - (this.#nowMs() - goAwayMs));
    const unsent = unsentCalls(this.#core);
    const released = releasedCalls(this.#core);
    const cut = this.#cutRest(unsent);
    const lostAfterEnd =
      unsent.filter((call) => !unsentBefore.has(call)).length +
      released.filter((call) => !releasedBefore.has(call)).length;
    const finished = this.#core.finishedCalls - finishedBefore - lostAfterEnd;
    this.isOver = true;
    for (const connection of [...this.#core.connections]) connection.finish("the server was closed");
    const report = { finished, cut, tookMs: this.#nowMs() - startMs };
    this.#hooks.told("ended", report);
    return report;
  }

  #nowMs(): number {
    return this.#world.clock.monotonicMs();
  }

  /** Until `earlier`, for `ms` at most, and not at all once the drain is cut. */
  async #wait(ms: number, earlier: Promise<unknown>): Promise<void> {
    if (this.#isCut || ms <= 0) return;
    await wait(this.#world, ms, Promise.race([earlier, this.#cut.promise]).then(nothing));
  }

  async #deregister(): Promise<void> {
    const failed = (error: unknown): void => warnOfRegistry(error);
    await Promise.all(this.#hooks.deregister.map((leave) => new Promise((resolve) => resolve(leave())).catch(failed)));
  }

  async #propagate(deregistered: Promise<void>): Promise<void> {
    const { propagationMs, timeoutMs } = this.#times;
    const noticed = this.#wait(Math.min(propagationMs, timeoutMs), this.#cut.promise);
    const left = this.#hooks.deregister.length === 0 ? undefined : this.#wait(DEREGISTER_MS, deregistered);
    await noticed;
    await left;
  }

  async #goAway(): Promise<void> {
    await this.#close(true);
    this.#isGoingAway = true;
    if (!this.#isCut) await this.#wait(SAID_MS, this.#sayGoodbye());
    await this.#close(false);
    this.#areHandlersTold = true;
    if (!this.#isCut) for (const connection of [...this.#core.connections]) connection.tellDraining();
  }

  /** Resolves when each client knows the last of its calls that is taken, or is gone. */
  #sayGoodbye(): Promise<unknown> {
    const connections = [...this.#core.connections];
    return Promise.all(connections.map((connection) => new Promise<void>((said) => connection.drain(said))));
  }

  async #close(isPortShared: boolean): Promise<void> {
    const doors = [...this.#doors].filter((door) => door.isPortShared === isPortShared);
    await Promise.all(doors.map(({ listener }) => listener.close()));
  }

  async #waitForIdle(ms: number): Promise<void> {
    // Doors and connections are gone while a handler goes on for a repeat: nothing else need keep the process alive.
    const hold = this.#world.timers.hold();
    await this.#wait(ms, new Promise<void>((resolve) => this.#core.onIdle(resolve)));
    hold.cancel();
  }

  /** What was cut has not been counted as finished: its handlers are only told now. */
  #cutRest(unsent: readonly ServerCall[]): CutCall[] {
    const nowMs = this.#nowMs();
    const unanswered = this.#core.unanswered();
    const detached = [...this.#core.detachedCalls];
    const cut = [
      ...[...unanswered, ...detached].map((call) => cutCall(call, nowMs, false)),
      ...unsent.map((call) => cutCall(call, nowMs, true)),
    ];
    for (const call of unanswered) call.cut();
    for (const call of detached) call.cutDetached();
    return cut;
  }
}

/** Calls whose handlers have ended, and whose callers have not taken all of the answer. */
function unsentCalls(core: DrainedCore): ServerCall[] {
  return [...core.connections]
    .flatMap((connection) => connection.unsent())
    .map(({ owner }) => owner)
    .filter((owner): owner is ServerCall => owner instanceof ServerCall);
}

/** Calls whose slots were taken back, and count as finished, though their handlers go on for a repeat. */
function releasedCalls(core: DrainedCore): ServerCall[] {
  return [...core.detachedCalls].filter((call) => call.isReleased);
}

function cutCall(call: ServerCall, nowMs: number, hasHandlerEnded: boolean): CutCall {
  return { callId: call.id, path: call.route.plan.info.path, ageMs: nowMs - call.arrivedMs, hasHandlerEnded };
}

function warnOfRegistry(error: unknown): void {
  process.emitWarning(`a server that drains could not be deregistered: ${String(error)}`, {
    type: "HoldfastWarning",
    code: "HOLDFAST_DEREGISTER_FAILED",
  });
}

function nothing(): void {
  // The wait is over, whatever ended it.
}
