/**
 * Hot path: what all calls over one set of peers share: the peers, the choice among them, opinions of them, budgets, and the
 * calls that wait for a peer.
 */
import type { ErrorDetail } from "../call/error.ts";
import { Events } from "../call/event.ts";
import type { MethodInfo } from "../call/method.ts";
import type { Reason } from "../call/reason.ts";
import { type Balancer, type BalanceKind, createBalancer, type PickGate } from "../policy/balance/balancer.ts";
import { OutlierDetector } from "../policy/detect/outlier.ts";
import { Quarantine } from "../policy/protect/poison.ts";
import { type Mechanism, SwitchBoard, type SwitchState } from "../policy/protect/switches.ts";
import { RetryBudget } from "../policy/recover/budget.ts";
import type { CallFaultLayer } from "../chaos/call-fault.ts";
import type { Encoding } from "../wire/grpc/compression.ts";
import { FieldToken } from "../wire/http2/hpack-encoder.ts";
import { schemeHttp, schemeHttps } from "../wire/transport/names.ts";
import type { LinkOptions } from "../wire/transport/peer-link.ts";
import { type Runtime, runtimeOf } from "../wire/transport/runtime.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import { ChannelTick } from "./channel-tick.ts";
import type { ClientCall } from "./client-call.ts";
import { ClientPeer, IN_FLIGHT_MAX } from "./client-peer.ts";
import type { ResolverFailure } from "./discovery.ts";
import { HealthPoll } from "./health-poll.ts";
import { type HealthRequest, healthRequest } from "./health-stream.ts";
import { MethodState, type ThrottleSettings } from "./method-state.ts";
import type { TokenAsk } from "./options.ts";
import { peerChanges } from "./peer-changes.ts";
import { type SelfBeat, selfBeatOf } from "./self-beat.ts";
import type { PeerTarget } from "./target.ts";
import { WaitingCalls } from "./waiting-calls.ts";

/** Calls that may wait for a peer or a stream at once. */
const WAITING_MAX = 10_000;

/** So long after its beginning an outage of all peers is waited through; a longer one fails calls at once. */
const OUTAGE_MS = 10_000;
/** So long after the first peer is ready calls that wait are spread over the peers that are still coming. */
const SPREAD_MS = 10;
/** For how long after a refusal the channel is short of capacity, and how often the peers that are away are looked at meanwhile. */
const SHORT_MS = 1_000;
const WANTED_EVERY_MS = 250;
/** Tokens are numbered for the whole process: one for each authority, as far as there are not too many. */
const AUTHORITY_TOKENS_MAX = 1_024;
const authorityTokens = new Map<string, FieldToken>();

export interface BudgetSettings {
  readonly share: number;
  readonly perSecondMin: number;
  readonly windowMs: number;
  readonly copyShareMax: number;
}

export interface GateSettings {
  readonly consecutiveFailures: number;
  readonly successShareMin: number;
  readonly ejectedShareMax: number;
}

export interface ChannelFacts {
  readonly world: World;
  readonly peers: readonly PeerTarget[];
  readonly link: LinkOptions;
  readonly messageBytesMax: number;
  readonly requestEncoding: Encoding | undefined;
  readonly token: ((ask: TokenAsk) => string | Promise<string>) | undefined;
  readonly balance: BalanceKind;
  readonly zone: string | undefined;
  readonly budget: BudgetSettings;
  /** Undefined: off. */
  readonly gate: GateSettings | undefined;
  readonly throttle: ThrottleSettings | undefined;
  readonly switches: SwitchBoard | undefined;
  readonly chaos: CallFaultLayer | undefined;
  /** Undefined: off unless a client's service config asks for it; false: off. */
  readonly health: { readonly service: string } | false | undefined;
  /** Its server is of this process. */
  readonly isInProcess: boolean;
  /** Watches a resolver; gives back what ends that. */
  readonly discover: ((channel: ChannelCore) => () => void) | undefined;
}

/** Why a call could not be placed. */
export interface NoPeer {
  readonly reason: Reason;
  readonly text: string;
  readonly details?: readonly ErrorDetail[];
}

/** Whose health is watched, and who said so. */
export interface HealthSettings {
  readonly request: HealthRequest;
  readonly from: string;
}

const CLOSED: NoPeer = Object.freeze({ reason: "CLIENT_CLOSED", text: "the client was closed" });

export class ChannelCore implements PickGate<ClientPeer> {
  readonly runtime: Runtime;
  readonly facts: ChannelFacts;
  readonly messageBytesMax: number;
  readonly requestEncoding: Encoding | undefined;
  readonly token: ChannelFacts["token"];
  readonly scheme: FieldToken;
  readonly isInProcess: boolean;
  readonly events: Events;
  readonly switches: SwitchBoard;
  readonly chaos: CallFaultLayer | undefined;
  readonly selfBeat: SelfBeat;
  readonly tick: ChannelTick;
  readonly detector: OutlierDetector | undefined;
  readonly quarantine: Quarantine;
  readonly sinceMs: number;
  /** Undefined: peers are not asked how they are. */
  health: HealthSettings | undefined;
  readonly healthPoll: HealthPoll;
  peers: readonly ClientPeer[];
  /** Undefined while the resolver's last word was a list that holds. */
  resolverFailure: ResolverFailure | undefined;
  isClosed: boolean;
  // What the switches say, read on the way of every call.
  hedgeState: SwitchState;
  throttleState: SwitchState;
  budgetState: SwitchState;
  suspicionState: SwitchState;
  poisonState: SwitchState;
  retryState: SwitchState;
  gateState: SwitchState;
  slowStartState: SwitchState;
  /** Most peers have become slower at once: no copies. */
  isStandingDown: boolean;
  readonly #balancer: Balancer<ClientPeer>;
  #isBalancerStale: boolean;
  /** Of the pick that is being made. */
  #isLongPick: boolean;
  #mayProve: boolean;
  #plainNext: number;
  readonly #methods: Map<string, MethodState>;
  #openCalls: number;
  #onIdle: (() => void) | undefined;
  #isStarted: boolean;
  #hasBeenReady: boolean;
  /** Until then, calls that wait are spread over the peers whose first dials are coming to their end. */
  #spreadUntilMs: number;
  /** Until then, peers that are away are wanted back: others have refused calls for want of capacity. */
  #shortUntilMs: number;
  #wantedDueMs: number;
  #stopDiscovery: (() => void) | undefined;
  readonly #stopStalls: () => void;
  readonly #stopSwitches: (() => void) | undefined;
  readonly #waiting: WaitingCalls;
  readonly #startWaiting: (call: ClientCall, peer: ClientPeer) => void;
  #parked: Set<ClientCall> | undefined;
  /** Removed, and not yet without calls. */
  #leaving: Set<ClientPeer> | undefined;
  /** Keeps the process alive while calls wait for a peer. */
  #hold: Timer | undefined;
  #readyListeners: Set<() => void> | undefined;

  constructor(facts: ChannelFacts) {
    const runtime = runtimeOf(facts.world);
    this.runtime = runtime;
    this.facts = facts;
    this.messageBytesMax = facts.messageBytesMax;
    this.requestEncoding = facts.requestEncoding;
    this.token = facts.token;
    this.isInProcess = facts.isInProcess;
    this.scheme = facts.link.isTls ? schemeHttps : schemeHttp;
    this.events = new Events();
    this.switches = facts.switches ?? new SwitchBoard();
    this.chaos = facts.chaos;
    this.selfBeat = selfBeatOf(runtime);
    this.detector = facts.gate === undefined ? undefined : new OutlierDetector(facts.gate, facts.world.random);
    this.quarantine = new Quarantine();
    this.sinceMs = facts.world.clock.monotonicMs();
    this.health = facts.health
      ? { request: healthRequest(facts.health.service, this.scheme), from: "health" }
      : undefined;
    this.healthPoll = new HealthPoll();
    this.resolverFailure = undefined;
    this.isClosed = false;
    this.hedgeState = "on";
    this.throttleState = "on";
    this.budgetState = "on";
    this.suspicionState = "on";
    this.poisonState = "on";
    this.retryState = "on";
    this.gateState = "on";
    this.slowStartState = "on";
    this.isStandingDown = false;
    this.#balancer = createBalancer({
      kind: facts.balance,
      random: facts.world.random,
      gate: this,
      zone: facts.zone,
    });
    this.#isBalancerStale = true;
    this.#isLongPick = false;
    this.#mayProve = false;
    this.#plainNext = 0;
    this.#methods = new Map();
    this.#openCalls = 0;
    this.#onIdle = undefined;
    this.#isStarted = false;
    this.#hasBeenReady = false;
    this.#spreadUntilMs = -Infinity;
    this.#shortUntilMs = -Infinity;
    this.#wantedDueMs = -Infinity;
    this.#stopDiscovery = undefined;
    this.#waiting = new WaitingCalls();
    this.#startWaiting = (call, peer) => {
      this.stopWaiting(call);
      call.startOn(peer);
    };
    this.#parked = undefined;
    this.#leaving = undefined;
    this.#hold = undefined;
    this.#readyListeners = undefined;
    this.peers = [];
    this.tick = new ChannelTick(this);
    this.#readSwitches();
    // A board of its own is in nobody's hands.
    this.#stopSwitches = facts.switches?.onChange(() => this.#readSwitches());
    this.#stopStalls = this.selfBeat.onStall((stallMs) => {
      if (this.events.isHeard) this.events.emit("stall", this.nowMs(), { stallMs });
    });
    this.setPeers(facts.peers);
  }

  nowMs(): number {
    return this.runtime.world.clock.monotonicMs();
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
    return this.peers.some((peer) => peer.isReady && peer.link.state === "ready");
  }
  get isShort(): boolean {
    return this.nowMs() < this.#shortUntilMs || !this.isAnyReady;
  }
  get isPanicking(): boolean {
    return this.#balancer.isPanicking;
  }
  get waitingCount(): number {
    return this.#waiting.count;
  }

  /** What the channel knows of a method; made when first asked for. */
  methodState(info: MethodInfo): MethodState {
    let state = this.#methods.get(info.path);
    if (state === undefined) {
      const sibling = this.methodStates.find(({ info: { service } }) => service === info.service);
      const budget = sibling?.budget ?? new RetryBudget(this.facts.budget);
      state = new MethodState(info, this.#methods.size, budget, this.facts.throttle);
      this.#methods.set(info.path, state);
    }
    return state;
  }
  get methodStates(): readonly MethodState[] {
    return [...this.#methods.values()];
  }

  #readSwitches(): void {
    const get = (mechanism: Mechanism): SwitchState => this.switches.get(mechanism);
    this.hedgeState = get("hedge");
    this.throttleState = get("throttle");
    this.budgetState = get("budget");
    this.suspicionState = get("suspicion");
    this.poisonState = get("poison");
    this.retryState = get("retry");
    this.gateState = get("gate");
    this.slowStartState = get("slow-start");
    this.#balancer.mayPanic = get("panic") === "on";
    if (this.healthPoll.allow(get("panic") === "on")) this.healthBelievedAnew();
    this.#isBalancerStale = true;
    if (this.detector === undefined) return;
    this.detector.isObserving = get("outlier") !== "on";
    this.detector.isObservingGroups = get("correlated") !== "on";
  }

  // --------------------------------------------------------------------------------------------------- peers

  /** The whole list: those that are new are dialled, those that are gone end when their calls have. */
  setPeers(targets: readonly PeerTarget[]): void {
    const nowMs = this.nowMs();
    const make = (target: PeerTarget): ClientPeer =>
      new ClientPeer(this, target, authorityToken(target.authority), this.facts.link, nowMs);
    const { list, added, removed, revised } = peerChanges(this.peers, targets, make);
    this.peers = list;
    this.#isBalancerStale = true;
    for (const peer of added) this.detector?.add(peer.record, nowMs);
    for (const [peer, target] of revised) peer.revise(target);
    for (const peer of removed) {
      peer.isRemoved = true;
      this.detector?.remove(peer.record);
      (this.#leaving ??= new Set()).add(peer);
      peer.refresh();
      peer.health?.stop();
      peer.link.close(true);
      this.peerLeft(peer);
    }
    if (this.#isStarted) for (const peer of added) peer.link.connect();
    if (this.#isStarted && added.length + removed.length > 0) this.#resolved(added, removed, false);
  }

  listHeldBack(): void {
    this.#resolved([], this.peers, true);
  }

  #resolved(added: readonly ClientPeer[], removed: readonly ClientPeer[], isHeldBack: boolean): void {
    if (!this.events.isHeard) return;
    const names = (of: readonly ClientPeer[]): readonly string[] => of.map(({ address }) => address);
    this.events.emit("peers.resolved", this.nowMs(), { added: names(added), removed: names(removed), isHeldBack });
  }

  resolverFailed(failure: ResolverFailure | undefined): void {
    this.resolverFailure = failure;
  }

  /** Why the health of this service will not be watched, or undefined if it is, or can be. */
  whyNoHealth(service: string): string | undefined {
    if (this.facts.health === false) return "turned off by health";
    if (this.health === undefined || this.health.request.service === service) return undefined;
    return `the channel watches ${JSON.stringify(this.health.request.service)} (${this.health.from})`;
  }

  /** Watches the health of a service, if none is watched yet and `health` allows it. `from`: who wants it. */
  watchHealth(service: string, from: string): void {
    if (this.health !== undefined || this.whyNoHealth(service) !== undefined || this.isClosed) return;
    this.health = { request: healthRequest(service, this.scheme), from };
    for (const peer of this.peers) peer.watchHealth(this.health.request);
  }

  /** Whether peers are believed that deny to serve has changed. */
  healthBelievedAnew(): void {
    for (const peer of this.peers) peer.refresh();
  }

  /** A connection of a removed peer has ended: it may have been the last. */
  peerLeft(peer: ClientPeer): void {
    if (peer.link.connectionCount === 0) this.#leaving?.delete(peer);
  }

  /** Readiness or opinion has changed. */
  peerChanged(peer: ClientPeer, mayPlace: boolean): void {
    this.#isBalancerStale = true;
    if (!peer.isReady && !this.isAnyReady) for (const { link } of this.peers) link.nobodyReady();
    this.#tellReadiness();
    if (this.events.isHeard) {
      const { health, why } = healthOf(peer, this.nowMs());
      this.events.emit("peer.changed", this.nowMs(), { peer: peer.describe(), health, why });
    }
    if (mayPlace && this.#waiting.count > 0) this.peerHasRoom();
  }

  /**
   * A peer has refused an attempt for want of capacity. Those that are away would bring some: the wait between two dials, two minutes in the end, is for peers
   * that nobody misses.
   */
  wasRefused(nowMs: number): void {
    this.#shortUntilMs = nowMs + SHORT_MS;
    if (nowMs < this.#wantedDueMs || this.peers.length === 1) return;
    this.#wantedDueMs = nowMs + WANTED_EVERY_MS;
    for (const { link } of this.peers) link.wanted();
  }

  peerReady(peer: ClientPeer): void {
    this.#tellReadiness();
    if (this.#waiting.count === 0) return;
    peer.link.wantRoom(true);
    // Who was ready first would get all calls that wait, and might be the one that is ill: the others' first dials have a moment to end.
    const coming = this.peers.filter(({ isComing }) => isComing).length;
    if (!this.#hasBeenReady) this.#spreadUntilMs = this.nowMs() + SPREAD_MS;
    this.#hasBeenReady = true;
    if (coming === 0) {
      this.#spreadUntilMs = -Infinity;
      this.peerHasRoom();
    } else {
      this.peerHasRoom(Math.ceil(this.#waiting.count / (coming + 1)));
      this.tick.wanted(SPREAD_MS);
    }
  }

  peerFailed(): void {
    this.#tellReadiness();
    const hopeless = this.#unreachable();
    if (hopeless === undefined) return;
    this.#giveUp(hopeless);
  }

  #giveUp(why: NoPeer): void {
    for (const call of this.#waiting.all()) {
      // One that was ended before may have ended others.
      if (!call.isWaiting) continue;
      this.stopWaiting(call);
      call.unplaced(why);
    }
  }

  connectionChanged(peer: ClientPeer, state: "open" | "closed", why: string): void {
    if (this.events.isHeard) {
      this.events.emit("connection.changed", this.nowMs(), { peer: peer.describe(), state, why });
    }
  }

  /** A mechanism in the state "observe" would have acted. */
  observed(mechanism: Mechanism, what: string, callId: string | undefined, peer: ClientPeer | undefined): void {
    if (!this.events.hears("observed")) return;
    this.events.emit("observed", this.nowMs(), { mechanism, what, callId, peer: peer?.describe() });
  }

  suspected(peer: ClientPeer, silentMs: number): void {
    if (this.events.isHeard) this.events.emit("suspected", this.nowMs(), { peer: peer.describe(), silentMs });
  }
  condemned(peer: ClientPeer, silentMs: number): void {
    if (this.events.isHeard) this.events.emit("condemned", this.nowMs(), { peer: peer.describe(), silentMs });
  }

  // ---------------------------------------------------------------------------------------------------- pick

  /** Dials every peer, once. */
  start(): void {
    if (this.#isStarted || this.isClosed) return;
    this.#isStarted = true;
    for (const peer of this.peers) peer.link.connect();
    this.#stopDiscovery = this.facts.discover?.(this);
  }

  /** The gate: facts that change with every call. */
  admits(peer: ClientPeer, nowMs: number): boolean {
    return peer.inFlight < IN_FLIGHT_MAX && nowMs >= peer.pushbackUntilMs && this.#hasRoom(peer, nowMs);
  }

  /**
   * The peer's connection takes the call now. If it was idle for long, it is asked for a sign of life first: one peer for each pick, for
   * servers count PINGs that no call follows. Another is asked if the call still waits at the next tick.
   */
  #hasRoom(peer: ClientPeer, nowMs: number): boolean {
    if (peer.link.mayTake(nowMs, this.#isLongPick)) return true;
    if (this.#mayProve && peer.link.prove(nowMs)) this.#mayProve = false;
    return false;
  }

  /** A peer that takes a call now, other than those excluded; undefined if there is none. */
  pick(
    nowMs: number,
    excluded: readonly ClientPeer[] | undefined,
    isLong: boolean,
    isGated: boolean,
  ): ClientPeer | undefined {
    this.#isLongPick = isLong;
    this.#mayProve = true;
    if (!isGated || this.gateState !== "on") return this.#plainPick(nowMs, excluded);
    if (this.#isBalancerStale) {
      this.#isBalancerStale = false;
      this.#balancer.changed(this.peers, nowMs);
    }
    return this.#balancer.pick(nowMs, excluded);
  }

  /** Whether this peer takes a call now, whatever is thought of it. */
  mayTake(peer: ClientPeer, nowMs: number, isLong: boolean): boolean {
    this.#isLongPick = isLong;
    this.#mayProve = true;
    return this.admits(peer, nowMs);
  }

  /** Without opinions, caps and pushback: the next that is connected, as plain gRPC's round robin has it. */
  #plainPick(nowMs: number, excluded: readonly ClientPeer[] | undefined): ClientPeer | undefined {
    const { peers } = this;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[(this.#plainNext + i) % peers.length] as ClientPeer;
      if (!peer.isReady || excluded?.includes(peer) === true || !this.#hasRoom(peer, nowMs)) continue;
      this.#plainNext = (this.#plainNext + i + 1) % peers.length;
      return peer;
    }
    return undefined;
  }

  /** Some peer outside of the list is connected. */
  hasOther(excluded: readonly ClientPeer[] | undefined): boolean {
    for (const peer of this.peers) if (peer.isReady && excluded?.includes(peer) !== true) return true;
    return false;
  }

  // ------------------------------------------------------------------------------------------------- waiting

  /** Why waiting is of no use, or undefined if a peer may come. */
  hopeless(mayWait: boolean): NoPeer | undefined {
    if (this.isClosed) return CLOSED;
    if (!mayWait && !this.isAnyReady) return { reason: "NO_PEER", text: `no peer is ready: ${this.reasonsText()}` };
    if (this.#waiting.count >= WAITING_MAX) {
      return this.isAnyReady
        ? { reason: "STREAM_LIMIT", text: `${WAITING_MAX} calls wait for a free stream already` }
        : { reason: "NO_PEER", text: `${WAITING_MAX} calls wait for a peer already` };
    }
    return this.#unreachable();
  }

  /** For each peer why it takes no call now. */
  reasonsText(): string {
    const nowMs = this.nowMs();
    const shown = this.peers.slice(0, 8).map((peer) => `${peer.address} is ${wordsOf(peer, nowMs)}`);
    if (this.peers.length > shown.length) shown.push(`and ${this.peers.length - shown.length} more`);
    if (this.resolverFailure === undefined) return shown.length === 0 ? "there are no peers" : shown.join("; ");
    const { text } = this.resolverFailure;
    return shown.length === 0 ? `there are no peers: ${text}` : `${shown.join("; ")}; ${text}`;
  }

  /** Why no peer will come, or undefined if one may. */
  #unreachable(): NoPeer | undefined {
    if (this.isClosed) return CLOSED;
    if (this.peers.length === 0) {
      return this.facts.discover === undefined ? { reason: "NO_PEER", text: "there are no peers" } : undefined;
    }
    const nowMs = this.nowMs();
    for (const { link } of this.peers) {
      // A link that waits without a failure was asked by its peer to leave: the next dial is due within a second or so.
      if (link.state !== "closed" && (link.state !== "backoff" || link.failure === undefined)) return undefined;
      // One that was ready a moment ago is being restarted, as like as not: its calls live through that.
      if (link.state === "backoff" && nowMs - link.readyUntilMs < OUTAGE_MS) return undefined;
    }
    const failures = this.peers.map(({ address, link }) => `${address}: ${link.failure?.text ?? "closed"}`);
    if (this.resolverFailure !== undefined) failures.push(this.resolverFailure.text);
    const isTls = this.peers.every(({ link }) => link.failure?.phase === "tls");
    const isOne = this.peers.length === 1;
    const reason = isOne ? (isTls ? "TLS_FAILED" : "CONNECT_FAILED") : "NO_PEER";
    return { reason, text: `no peer can be reached: ${failures.join("; ")}` };
  }

  /** Lets a call wait for a peer. */
  wait(call: ClientCall): void {
    this.#waiting.add(call);
    this.#hold ??= this.runtime.world.timers.hold();
    if (this.#waiting.count === 1) for (const peer of this.peers) peer.link.wantRoom(true);
    this.tick.wanted();
  }

  /** Takes a call out of the queue. */
  stopWaiting(call: ClientCall): void {
    if (!call.isWaiting) return;
    this.#waiting.remove(call);
    if (this.#waiting.count > 0) return;
    this.#hold?.cancel();
    this.#hold = undefined;
    for (const peer of this.peers) peer.link.wantRoom(false);
  }

  /** A place has become free somewhere: calls that wait take it, in their order; at most so many. */
  peerHasRoom(most: number = Infinity): void {
    if (this.#waiting.count === 0) return;
    const nowMs = this.nowMs();
    if (most === Infinity && nowMs < this.#spreadUntilMs) return;
    this.#waiting.place(nowMs, most, this.#startWaiting);
  }

  /** The same, when this turn is over: what is being ended now is still where it was. */
  placeLater(): void {
    if (this.#waiting.count > 0) this.runtime.world.timers.afterTurn(() => this.peerHasRoom());
  }

  /** Peers that a call under which a connection has died may not go to: those that were tried, and those that have another such call. */
  notAlone(tried: readonly ClientPeer[]): readonly ClientPeer[] {
    return this.peers.filter((peer) => peer.marked > 0 || tried.includes(peer));
  }

  /** A call that stands neither in the queue nor on a connection: it waits for a token, or between two attempts. */
  park(call: ClientCall): void {
    (this.#parked ??= new Set()).add(call);
  }
  unpark(call: ClientCall): void {
    this.#parked?.delete(call);
  }

  /** Tells of each change that may matter to one who waits for readiness. */
  onChange(listener: () => void): () => void {
    const listeners = (this.#readyListeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  #tellReadiness(): void {
    if (this.#readyListeners !== undefined) for (const listener of [...this.#readyListeners]) listener();
  }

  /** Takes no more calls. Those in flight end by themselves if `isGentle`. */
  close(isGentle: boolean): void {
    if (!this.isClosed) {
      this.isClosed = true;
      this.#stopDiscovery?.();
      this.#stopStalls();
      this.#stopSwitches?.();
      this.tick.stop();
      this.#giveUp(CLOSED);
    }
    if (!isGentle) for (const call of [...(this.#parked ?? [])]) call.unplaced(CLOSED);
    for (const { health, link } of [...this.peers, ...(this.#leaving ?? [])]) {
      health?.stop();
      link.close(isGentle);
    }
    this.#tellReadiness();
  }
}

/** How a peer is, in a word and in words. */
export function healthOf(peer: ClientPeer, nowMs: number): { readonly health: PeerHealth; readonly why: string } {
  const { link, record } = peer;
  if (peer.isRemoved) return { health: "draining", why: "it is no longer named by its resolver" };
  if (link.state === "closed") return { health: "closed", why: "the channel was closed" };
  if (link.state === "idle") return { health: "idle", why: "nothing was called yet" };
  if (link.state === "backoff") {
    const inMs = Math.max(0, Math.round(link.redialAtMs - nowMs));
    return { health: "failed", why: `${link.failure?.text ?? "it went away"}; next dial in ${inMs} ms` };
  }
  if (link.state === "connecting") return { health: "connecting", why: link.failure?.text ?? "connecting" };
  const { word = "serving" } = peer.health ?? {};
  const said = peer.health?.why(nowMs) ?? "";
  if (word === "awaited") return { health: "connecting", why: said };
  if (word === "denied") {
    const isForgotten = peer.channel.healthPoll.isForgetting;
    return {
      health: "not-serving",
      why: isForgotten ? `${said}; called all the same, for more than half say so` : said,
    };
  }
  if (record.isEjected) return { health: "ejected", why: record.why };
  if (peer.isSuspect) return { health: "suspect", why: "it is silent while calls wait for it" };
  if (nowMs < peer.pushbackUntilMs) {
    return { health: "ready", why: `asked not to be called for ${Math.round(peer.pushbackUntilMs - nowMs)} ms` };
  }
  const words = ["ready"];
  if (peer.isDegraded) words.push("it says that it is degraded: half the weight");
  if (said !== "") words.push(said);
  return { health: "ready", why: words.join("; ") };
}

export type PeerHealth =
  | "idle"
  | "ready"
  | "connecting"
  | "suspect"
  | "ejected"
  | "not-serving"
  | "draining"
  | "failed"
  | "closed";

function wordsOf(peer: ClientPeer, nowMs: number): string {
  const { health, why } = healthOf(peer, nowMs);
  if (health === "ready") return nowMs < peer.pushbackUntilMs ? why : why.replace("ready", "ready, but full");
  return health === why ? health : `${health} (${why})`;
}

function authorityToken(authority: string): FieldToken {
  let token = authorityTokens.get(authority);
  if (token === undefined) {
    token = new FieldToken(":authority", authority);
    if (authorityTokens.size < AUTHORITY_TOKENS_MAX) authorityTokens.set(authority, token);
  }
  return token;
}
