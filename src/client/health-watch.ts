/**
 * What a peer says of itself: keeps one health Watch open while the peer is connected (gRFC A17), on one of its connections, and
 * says whether it may be given calls. The rules are `policy/detect/health-states.ts`; why it differs from A17 where it does stands in
 * docs/decisions/health-watch.md.
 */
import { codeNumber } from "../call/code.ts";
import { HEALTH_UNKNOWN, type HealthEvent, type HealthState, healthStep } from "../policy/detect/health-states.ts";
import { HealthCheckResponse_ServingStatus as Status } from "../schema/gen/grpc/health/v1/health_pb.ts";
import type { ClientConnection } from "../wire/transport/client-connection.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { ClientPeer } from "./client-peer.ts";
import { type HealthListener, type HealthRequest, type HealthStream, openHealthStream } from "./health-stream.ts";

/** `awaited`: asked, and not answered yet. `denied`: it says that it does not serve, or its Watch fails. */
export type HealthWord = "awaited" | "serving" | "denied";

/**
 * A new peer has so long to say how it is; then it counts as serving. Longer than a round trip around the world and one lost packet,
 * and short beside the 10 s that a call waits for a peer: a health service that hangs everywhere must not be an outage of all.
 */
export const ANSWER_TIMEOUT_MS = 1_000;
/** Between the beginnings of two Watches on a connection: a server that ends each of them after its first message is not asked in a loop. */
const REOPEN_MS = 1_000;
/**
 * A peer that is kept from calls, and silent for so long, is asked again. Nothing else would find out that its connection is dead: no
 * call is sent there, and the word that keeps them away would hold for ever.
 */
const DOUBT_MS = 60_000;
/** Streams that a peer must allow: a Watch never takes the only place that a call could have. */
const STREAMS_MIN = 2;

const UNIMPLEMENTED: number = codeNumber("UNIMPLEMENTED");

export class HealthWatch extends WheelEntry implements HealthListener {
  word: HealthWord;
  readonly #peer: ClientPeer;
  readonly #request: HealthRequest;
  #why: string;
  /** The word is the server's own, and no failure of the Watch. */
  #isSaid: boolean;
  #state: HealthState;
  #connection: ClientConnection | undefined;
  #stream: HealthStream | undefined;
  #openedAtMs: number;
  #waitsFor: "answer" | "reopen" | "doubt";
  #isStopped: boolean;

  /** A peer that has calls already keeps them until it says otherwise. */
  constructor(peer: ClientPeer, request: HealthRequest) {
    super();
    this.word = peer.link.state === "ready" ? "serving" : "awaited";
    this.#peer = peer;
    this.#request = request;
    this.#why = "";
    this.#isSaid = false;
    this.#state = HEALTH_UNKNOWN;
    this.#connection = undefined;
    this.#stream = undefined;
    this.#openedAtMs = -Infinity;
    this.#waitsFor = "answer";
    this.#isStopped = false;
  }

  /** In words; `word` says what of it counts. */
  why(nowMs: number): string {
    if (this.word === "awaited") return "its health service has not answered yet";
    if (this.word === "serving") return this.#why;
    const isWaiting = this.isArmed && this.#waitsFor === "reopen";
    return isWaiting ? `${this.#why}; asked again in ${Math.max(0, Math.round(this.dueMs - nowMs))} ms` : this.#why;
  }

  /** Connections have come or gone: the Watch goes to one that takes calls, if its own does not any more. */
  look(): void {
    if (this.#isStopped) return;
    const { connections } = this.#peer.link;
    const isThere = (one: ClientConnection): boolean => !one.isClosed && !one.isDraining;
    const own = this.#connection;
    if (own !== undefined && isThere(own) && connections.includes(own)) return;
    this.#leave();
    this.#connection = connections.find(isThere);
    if (this.#connection === undefined) {
      // Whoever is there next must speak for itself.
      this.word = "awaited";
      return;
    }
    // Another connection to a peer that has spoken: its word holds until it is heard again.
    this.#state = HEALTH_UNKNOWN;
    this.#open();
  }

  /** No Watch any more. */
  stop(): void {
    this.#isStopped = true;
    this.#leave();
  }

  healthSaid(status: number): void {
    this.#peer.channel.runtime.wheel.cancel(this);
    this.#state = this.#step(eventOf(status)).state;
    this.#isSaid = true;
    if (this.#state.isServing) {
      this.#turn("serving", "");
    } else {
      this.#arm("doubt", this.#peer.channel.nowMs() + DOUBT_MS);
      this.#turn("denied", this.#sayingOf(status));
    }
  }

  healthEnded(code: number, text: string): void {
    this.#stream = undefined;
    const { act, delayMs, state } = this.#step(code === UNIMPLEMENTED ? "unimplemented" : "streamFailed");
    this.#state = state;
    const nowMs = this.#peer.channel.nowMs();
    if (act === "stop") {
      this.#withoutWord("it has no health service");
    } else if (act === "watch") {
      // It has spoken on this connection: its word holds for the round trip that asking again takes.
      this.#arm("reopen", Math.max(nowMs, this.#openedAtMs + REOPEN_MS));
    } else {
      this.#isSaid = false;
      this.#arm("reopen", nowMs + delayMs);
      this.#turn("denied", `its health Watch ended: ${text}`);
    }
  }

  healthGaveWay(): void {
    this.#stream = undefined;
    this.#withoutWord("it allows no stream beside its calls, so its health is not watched");
  }

  expired(nowMs: number): void {
    switch (this.#waitsFor) {
      case "reopen":
        this.#state = this.#step("retryDue").state;
        this.#open();
        return;
      case "doubt":
        this.#doubt(nowMs);
        return;
      case "answer":
        this.#unanswered(nowMs);
    }
  }

  #doubt(nowMs: number): void {
    const dueMs = (this.#connection as ClientConnection).receivedAtMs + DOUBT_MS;
    if (dueMs > nowMs) {
      this.#arm("doubt", dueMs);
      return;
    }
    this.#leave();
    this.#open();
  }

  #unanswered(nowMs: number): void {
    const silentMs = nowMs - this.#openedAtMs;
    if (this.word !== "denied" || !this.#isSaid) {
      // That its Watch failed before says nothing any more: this one does not.
      this.#turn("serving", `its health service has not answered for ${Math.round(silentMs)} ms`);
      return;
    }
    // What it said of itself holds, if it is there at all.
    const connection = this.#connection as ClientConnection;
    if (connection.receivedAtMs < this.#openedAtMs) connection.prove(nowMs);
    this.#arm("doubt", nowMs + DOUBT_MS);
  }

  #open(): void {
    const connection = this.#connection as ClientConnection;
    const nowMs = this.#peer.channel.nowMs();
    if (connection.engine.peer.streamsMax < STREAMS_MIN) {
      this.healthGaveWay();
      return;
    }
    if (!connection.canStart) {
      // All its streams are taken, by calls that were there before.
      this.#arm("reopen", nowMs + REOPEN_MS);
      return;
    }
    this.#openedAtMs = nowMs;
    this.#stream = openHealthStream(connection, this, this.#request, this.#peer.authority, nowMs);
    this.#arm("answer", nowMs + ANSWER_TIMEOUT_MS);
  }

  #leave(): void {
    this.#peer.channel.runtime.wheel.cancel(this);
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.leave();
  }

  #withoutWord(why: string): void {
    this.#peer.channel.runtime.wheel.cancel(this);
    this.#isSaid = false;
    this.#turn("serving", why);
  }

  #arm(waitsFor: "answer" | "reopen" | "doubt", dueMs: number): void {
    this.#waitsFor = waitsFor;
    this.#peer.channel.runtime.wheel.arm(this, dueMs);
  }

  #step(event: HealthEvent): ReturnType<typeof healthStep> {
    return healthStep(this.#state, event, this.#peer.channel.runtime.world.random.float());
  }

  #turn(word: HealthWord, why: string): void {
    this.#why = why;
    if (word === this.word) return;
    this.word = word;
    this.#peer.healthTurned();
  }

  #sayingOf(status: number): string {
    const name = Object.entries(Status).find(([, number]) => number === status)?.[0] ?? `the unknown status ${status}`;
    const { service } = this.#request;
    return `its health service says ${name}${service === "" ? "" : ` of ${service}`}`;
  }
}

/** A17: SERVING alone means that calls may be sent. */
function eventOf(status: number): HealthEvent {
  if (status === Status.SERVING) return "serving";
  return status === Status.SERVICE_UNKNOWN ? "unknownService" : "notServing";
}
