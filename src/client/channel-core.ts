/**
 * Hot path: what all calls over one set of peers share: links, the choice among them, and the calls that wait for one.
 */
import type { ErrorDetail } from "../call/error.ts";
import type { Reason } from "../call/reason.ts";
import { type RoundRobin, roundRobin } from "../policy/balance/round-robin.ts";
import type { Encoding } from "../wire/grpc/compression.ts";
import { FieldToken } from "../wire/http2/hpack-encoder.ts";
import { schemeHttp, schemeHttps } from "../wire/transport/names.ts";
import { type LinkOptions, type LinkOwner, PeerLink } from "../wire/transport/peer-link.ts";
import { type Runtime, runtimeOf } from "../wire/transport/runtime.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import type { ClientCall } from "./client-call.ts";
import type { TokenAsk } from "./options.ts";
import type { PeerTarget } from "./target.ts";

/** Calls that may wait for a peer or a stream at once. */
const WAITING_MAX = 10_000;

/** So long after its beginning an outage of all peers is waited through; a longer one fails calls at once. */
const OUTAGE_MS = 10_000;
/** Tokens are numbered for the whole process: one for each authority, as far as there are not too many. */
const AUTHORITY_TOKENS_MAX = 1_024;
const authorityTokens = new Map<string, FieldToken>();

export interface ChannelFacts {
  readonly world: World;
  readonly peers: readonly PeerTarget[];
  readonly link: LinkOptions;
  readonly messageBytesMax: number;
  readonly requestEncoding: Encoding | undefined;
  readonly token: ((ask: TokenAsk) => string | Promise<string>) | undefined;
}

/** Why a call could not be placed. */
export interface NoPeer {
  readonly reason: Reason;
  readonly text: string;
  readonly details?: readonly ErrorDetail[];
}

const CLOSED: NoPeer = Object.freeze({ reason: "CLIENT_CLOSED", text: "the client was closed" });

export class ChannelCore implements LinkOwner {
  readonly runtime: Runtime;
  readonly messageBytesMax: number;
  readonly requestEncoding: Encoding | undefined;
  readonly token: ChannelFacts["token"];
  readonly scheme: FieldToken;
  readonly links: readonly PeerLink[];
  readonly authorities: ReadonlyMap<PeerLink, FieldToken>;
  isClosed: boolean;
  #openCalls: number;
  #onIdle: (() => void) | undefined;
  readonly #balancer: RoundRobin;
  #isStarted: boolean;
  #waitingFirst: ClientCall | undefined;
  #waitingLast: ClientCall | undefined;
  #waitingCount: number;
  readonly #parked: Set<ClientCall>;
  /** Keeps the process alive while calls wait for a peer. */
  #hold: Timer | undefined;
  readonly #readyListeners: Set<() => void>;
  #excluded: readonly PeerLink[] | undefined;
  readonly #isUsable: (index: number) => boolean;

  constructor(facts: ChannelFacts) {
    this.runtime = runtimeOf(facts.world);
    this.messageBytesMax = facts.messageBytesMax;
    this.requestEncoding = facts.requestEncoding;
    this.token = facts.token;
    this.scheme = facts.link.isTls ? schemeHttps : schemeHttp;
    this.links = facts.peers.map((peer) => new PeerLink(this.runtime, peer.address, peer.dial, this, facts.link));
    this.authorities = new Map(
      this.links.map((link, i) => [link, authorityToken((facts.peers[i] as PeerTarget).authority)]),
    );
    this.isClosed = false;
    this.#openCalls = 0;
    this.#onIdle = undefined;
    this.#balancer = roundRobin(facts.world.random.uint32() % this.links.length);
    this.#isStarted = false;
    this.#waitingFirst = undefined;
    this.#waitingLast = undefined;
    this.#waitingCount = 0;
    this.#parked = new Set();
    this.#hold = undefined;
    this.#readyListeners = new Set();
    this.#excluded = undefined;
    this.#isUsable = (index) => {
      const link = this.links[index] as PeerLink;
      return link.canStart && this.#excluded?.includes(link) !== true;
    };
  }

  /** Calls that have no outcome yet. */
  get openCalls(): number {
    return this.#openCalls;
  }
  callBegan(): void {
    this.#openCalls += 1;
  }
  callEnded(): void {
    this.#openCalls -= 1;
    if (this.#openCalls === 0 && this.#onIdle !== undefined) this.#onIdle();
  }
  /** Tells whenever no call is left. */
  onIdle(listener: () => void): void {
    this.#onIdle = listener;
  }

  get isAnyReady(): boolean {
    return this.links.some((link) => link.state === "ready");
  }

  /** Dials every peer, once. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    for (const link of this.links) link.connect();
  }

  /** A peer that takes a call now, other than those tried; undefined if there is none. */
  pick(tried: readonly PeerLink[] | undefined): PeerLink | undefined {
    const links = this.links;
    if (links.length === 1) {
      const only = links[0] as PeerLink;
      return only.canStart && tried?.includes(only) !== true ? only : undefined;
    }
    this.#excluded = tried;
    const index = this.#balancer.pick(links.length, this.#isUsable);
    this.#excluded = undefined;
    return index < 0 ? undefined : links[index];
  }

  /** Why waiting is of no use, or undefined if a peer may come. */
  hopeless(): NoPeer | undefined {
    if (this.isClosed) return CLOSED;
    if (this.#waitingCount >= WAITING_MAX) {
      return this.isAnyReady
        ? { reason: "STREAM_LIMIT", text: `${WAITING_MAX} calls wait for a free stream already` }
        : { reason: "NO_PEER", text: `${WAITING_MAX} calls wait for a peer already` };
    }
    return this.#unreachable();
  }

  /** Why no peer will come, or undefined if one may. */
  #unreachable(): NoPeer | undefined {
    if (this.isClosed) return CLOSED;
    const nowMs = this.runtime.world.clock.monotonicMs();
    for (const link of this.links) {
      // A link that waits without a failure was asked by its peer to leave: the next dial is due within a second or so.
      if (link.state !== "closed" && (link.state !== "backoff" || link.failure === undefined)) return undefined;
      // One that was ready a moment ago is being restarted, as like as not: its calls live through that.
      if (link.state === "backoff" && nowMs - link.readyUntilMs < OUTAGE_MS) return undefined;
    }
    const failures = this.links.map((link) => `${link.address}: ${link.failure?.text ?? "closed"}`);
    const isTls = this.links.every((link) => link.failure?.phase === "tls");
    const isOne = this.links.length === 1;
    const reason = isOne ? (isTls ? "TLS_FAILED" : "CONNECT_FAILED") : "NO_PEER";
    return { reason, text: `no peer can be reached: ${failures.join("; ")}` };
  }

  /** Lets a call wait for a peer. */
  wait(call: ClientCall): void {
    call.waitPrevious = this.#waitingLast;
    call.waitNext = undefined;
    if (this.#waitingLast === undefined) this.#waitingFirst = call;
    else this.#waitingLast.waitNext = call;
    this.#waitingLast = call;
    call.isWaiting = true;
    this.#waitingCount += 1;
    this.#hold ??= this.runtime.world.timers.hold();
    for (const link of this.links) if (link.connection !== undefined) link.connection.isRoomWanted = true;
  }

  /** Takes a call out of the queue. */
  stopWaiting(call: ClientCall): void {
    if (!call.isWaiting) return;
    call.isWaiting = false;
    this.#waitingCount -= 1;
    if (this.#waitingCount === 0) {
      this.#hold?.cancel();
      this.#hold = undefined;
    }
    if (call.waitPrevious === undefined) this.#waitingFirst = call.waitNext;
    else call.waitPrevious.waitNext = call.waitNext;
    if (call.waitNext === undefined) this.#waitingLast = call.waitPrevious;
    else call.waitNext.waitPrevious = call.waitPrevious;
    call.waitPrevious = undefined;
    call.waitNext = undefined;
  }

  linkReady(link: PeerLink): void {
    for (const listener of [...this.#readyListeners]) listener();
    this.linkHasRoom(link);
  }

  linkHasRoom(link: PeerLink): void {
    let call = this.#waitingFirst;
    while (call !== undefined && link.canStart) {
      const next: ClientCall | undefined = call.waitNext;
      if (call.tried?.includes(link) !== true || !this.#hasUntried(call.tried)) {
        this.stopWaiting(call);
        call.startOn(link);
      }
      call = next;
    }
    if (link.connection !== undefined) link.connection.isRoomWanted = this.#waitingCount > 0;
  }

  /** A peer that was not tried could take the call now: else it is not kept from one that was. */
  #hasUntried(tried: readonly PeerLink[]): boolean {
    for (const link of this.links) if (link.canStart && !tried.includes(link)) return true;
    return false;
  }

  linkFailed(): void {
    for (const listener of [...this.#readyListeners]) listener();
    const hopeless = this.#unreachable();
    if (hopeless === undefined) return;
    let call = this.#waitingFirst;
    while (call !== undefined) {
      const next: ClientCall | undefined = call.waitNext;
      this.stopWaiting(call);
      call.unplaced(hopeless);
      call = next;
    }
  }

  /** A call that stands neither in the queue nor on a connection: it waits for a token, or between two attempts. */
  park(call: ClientCall): void {
    this.#parked.add(call);
  }
  unpark(call: ClientCall): void {
    this.#parked.delete(call);
  }

  /** Tells of each change that may matter to one who waits for readiness. */
  onChange(listener: () => void): () => void {
    this.#readyListeners.add(listener);
    return () => this.#readyListeners.delete(listener);
  }

  /** Takes no more calls. Those in flight end by themselves if `isGentle`. */
  close(isGentle: boolean): void {
    if (!this.isClosed) {
      this.isClosed = true;
      this.linkFailed();
    }
    if (!isGentle) for (const call of [...this.#parked]) call.unplaced(CLOSED);
    for (const link of this.links) link.close(isGentle);
    for (const listener of [...this.#readyListeners]) listener();
  }
}

function authorityToken(authority: string): FieldToken {
  let token = authorityTokens.get(authority);
  if (token === undefined) {
    token = new FieldToken(":authority", authority);
    if (authorityTokens.size < AUTHORITY_TOKENS_MAX) authorityTokens.set(authority, token);
  }
  return token;
}
