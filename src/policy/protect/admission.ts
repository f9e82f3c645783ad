/**
 * Hot path: which calls begin now, which wait, and which are refused. One for a server. Pure: the server tells it what arrives, begins and ends, with the
 * time; it answers at once or later through the call itself.
 *
 * While nothing is over its limit, a call costs a few numbers: {@link Admission.offer} says ADMITTED and {@link Admission.ended}
 * counts it. A call that cannot begin waits, for one of two reasons.
 *
 * The limit: as many handlers run as may ({@link ConcurrencyLimit}). It begins when another ends.
 *
 * It is for handlers that take longer than {@link SHORT_MS}: shorter ones begin without a permit for as long as that is what they take.
 *
 * The turn: a handler that computes for long keeps the event loop, so of such handlers never more than one runs, a limit of them means
 * nothing, and the true queue is in the sockets, where it has neither age nor priority. So in one turn of the loop heavy handlers (0.1 ms and
 * more, as measured by their first synchronous part) are begun for about `turnBudgetMs`, one at least. Everything else that was read waits here;
 * `isTurnDue` says so, and the server calls {@link Admission.drainTurn} from its next turn, when what arrived meanwhile was read too and the
 * best of all is known. Light handlers cost about what a refusal does: they neither wait for the turn nor are counted in it, so their
 * begin is timed once in sixteen calls, and for the rest no clock is read.
 *
 * Over capacity is what CoDel (Nichols and Jacobson 2012) calls so: the oldest call has waited longer than a target for a whole interval.
 * A burst is none of that: it waits, first come first served; nor is what waits behind methods that nobody knows yet. While it lasts, for each priority that lacks capacity
 * - the newest begins first (Facebook's adaptive LIFO, "Fail at Scale", 2015): the old have the least time left;
 * - who has waited too long is refused. The more calls come for each that begins the sooner that is, for then there is always a newer one;
 * - among the newest the one begins whose principal has had the least of late, and who holds more than its share waits no more;
 * - what is beyond the threshold of levels is refused when it arrives ({@link PriorityThreshold}), and so is what was refused before.
 * Who asks for much less than is typical ({@link Demand}) is no reason for any of it: it may wait as long as may be, and its level does not count.
 * Critical calls always begin before normal ones, those before sheddable ones.
 *
 * The target is twice what a handler takes, or keeps the loop for, and no call of such a priority waits for more than four: so an answer that
 * waited takes at most some nine times of one that did not, and work that nobody waits for any more is not begun.
 */
import type { Options } from "../../call/options.ts";
import { booleanOption, numberOption, resolveOptions } from "../../call/options.ts";
import type { Random } from "../../world/random.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";
import type { HandlerFigures } from "./handler-figures.ts";
import { HEAVY_MS } from "./handler-figures.ts";
import { AGE_TARGETS_MAX, AGE_TARGETS_MIN, OverCapacity } from "./over-capacity.ts";
import type { Principal } from "./principal.ts";
import { Demand } from "./principal.ts";
import { PriorityThreshold } from "./priority-threshold.ts";
import type { PriorityRank, RefusalWhy } from "./refusal.ts";
import { NOT_AGAIN, pushbackMs } from "./refusal.ts";
import { WaitingQueue } from "./waiting-queue.ts";

/** How much a server takes on. */
export type AdmissionOptions = Options<{
  /** The most handlers that run at once. Default 1 000, 1..1 000 000. */
  concurrencyMax: number;
  /** Whether the limit is learned, from 1 to `concurrencyMax`; false: it is `concurrencyMax`. Default true. */
  isAdaptive: boolean;
  /** The most calls that wait. Default 1 000: what a burst may bring, for age is what bounds the wait. 0..1 000 000. */
  queueMax: number;
  /** For how long heavy handlers are begun in one turn of the event loop, in milliseconds. Default 2, 0.1..1 000. One is always begun. */
  turnBudgetMs: number;
}>;

const SHAPE = {
  concurrencyMax: numberOption({ default: 1_000, min: 1, max: 1_000_000, integer: true }),
  isAdaptive: booleanOption({ default: true }),
  queueMax: numberOption({ default: 1_000, min: 0, max: 1_000_000, integer: true }),
  turnBudgetMs: numberOption({ default: 2, min: 0.1, max: 1_000 }),
};

/** What {@link Admission.offer} answers: the call may begin now, it waits, or it was refused. */
export const ADMITTED = 0;
export const QUEUED = 1;
export const REFUSED = 2;
/** One of the three. */
export type Offer = typeof ADMITTED | typeof QUEUED | typeof REFUSED;

/** Where a call is, as admission sees it. */
export const OUTSIDE = 0;
export const WAITING = 1;
export const RUNNING = 2;

/** What the server's call object offers; the fields under the line are admission's own. */
export interface AdmissionCall {
  readonly priorityRank: PriorityRank;
  /** From {@link Principals}; for callers without a name one for each connection, else they all are one. */
  readonly principal: Principal;
  /** Whether it was sent before: its refusal is final. */
  readonly isRepeat: boolean;
  /** Monotonic; Infinity for none. */
  readonly deadlineMs: number;
  /** Those of its method, kept by the route. */
  readonly handlerFigures: HandlerFigures;
  /** A call that waited begins now. May call {@link Admission.ended} before it returns. Must not throw. */
  admitted(nowMs: number): void;
  /**
   * It does not begin. Called within `offer` (which then returns REFUSED) or later. `retryAfterMs` is the pushback, -1 for a repeat and for
   * what has no time left. Must not throw.
   */
  refused(why: RefusalWhy, retryAfterMs: number, nowMs: number): void;

  /** OUTSIDE, WAITING or RUNNING; at first OUTSIDE. */
  admissionState: typeof OUTSIDE | typeof WAITING | typeof RUNNING;
  queuePrevious: AdmissionCall | undefined;
  queueNext: AdmissionCall | undefined;
  queuedAtMs: number;
  admittedAtMs: number;
  /** Calls that ran with a permit when it had begun, it included; 0: it needs none. */
  runningThen: number;
}

/** What admission does now, for status and figures. Counts are since the start. */
export interface AdmissionSnapshot {
  readonly permits: number;
  readonly running: number;
  readonly waiting: readonly [critical: number, normal: number, sheddable: number];
  readonly isOverCapacity: boolean;
  readonly admitted: number;
  readonly refused: Readonly<Record<RefusalWhy, number>>;
  readonly oldestWaitMs: number;
}

/** What twice a handler's time is not below: for those that wait for the turn, and for those that wait for a permit. */
const TURN_TARGET_MIN_MS = 2;
const PERMIT_TARGET_MIN_MS = 10;
const TARGET_MAX_MS = 400;
const TARGET_FACTOR = 2;
/** So many of the newest are looked at for the one whose principal has had the least. */
const FAIR_AMONG = 16;
/** Usage that is within this of the least is alike: to choose among equals is not worth the wait of the newest. */
const FAIR_FACTOR = 2;
const FAIR_SLACK = 2;
/** The last that wait for a permit are spared, so that one that is given back finds somebody. */
const SPARE = 2;
/** So many old calls of light principals are passed over at once. */
const KEPT_MAX = 32;
/** A principal may hold twice its fair share, and two calls at least: who gets the permits is decided by what each has had. */
const SHARE_FACTOR = 2;
const SHARE_MIN = 2;
/** The share of a new sample in what handlers take and cost, over all methods. */
const SMOOTH = 0.05;

/** Why the calls in the queue cannot begin. */
type Blocker = "turn" | "permit";

/** Decides for all calls of a server. Throws for options that are out of range or unknown. */
export class Admission {
  /** Whole hours of wall time since the epoch, set by the server: levels change with it, and are the same on all servers. Default 0. */
  hour: number;
  /** Whether the server is to call {@link drainTurn} in the next turn of its loop, after what arrived was read. */
  isTurnDue: boolean;
  private readonly limit: ConcurrencyLimit;
  private readonly queue: WaitingQueue<AdmissionCall>;
  private readonly threshold: PriorityThreshold;
  private readonly demand: Demand;
  private readonly random: Random;
  private readonly queueMax: number;
  private readonly turnBudgetMs: number;
  /** Calls that run with a permit, and those that need none. */
  private running: number;
  private short: number;
  /** Calls of unknown methods that run with a permit. */
  private unknown: number;
  /** Principals that hold a call. */
  private holders: number;
  /** What the heavy handlers of this turn have cost. */
  private spentMs: number;
  private blocker: Blocker;
  /** Whether a call had to wait for a permit since the last one ended. */
  private heldBack: boolean;
  private isPumping: boolean;
  private readonly capacity: OverCapacity;
  /** When the old were dropped last. */
  private droppedAtMs: number;
  /** What handlers take, and what heavy ones cost, over all methods. */
  private serviceMs: number;
  private costMs: number;
  private admittedCount: number;
  private readonly refusedCount: Record<RefusalWhy, number>;

  constructor(options: AdmissionOptions | undefined, random: Random) {
    const { concurrencyMax, isAdaptive, queueMax, turnBudgetMs } = resolveOptions("admission", options, SHAPE);
    this.hour = 0;
    this.isTurnDue = false;
    this.limit = new ConcurrencyLimit(concurrencyMax, isAdaptive);
    this.queue = new WaitingQueue();
    this.threshold = new PriorityThreshold();
    this.demand = new Demand();
    this.random = random;
    this.queueMax = queueMax;
    this.turnBudgetMs = turnBudgetMs;
    this.running = 0;
    this.short = 0;
    this.unknown = 0;
    this.holders = 0;
    this.spentMs = -0;
    this.blocker = "permit";
    this.heldBack = false;
    this.isPumping = false;
    this.capacity = new OverCapacity();
    this.droppedAtMs = Number.NEGATIVE_INFINITY;
    this.serviceMs = -0;
    this.costMs = -0;
    this.admittedCount = 0;
    this.refusedCount = {
      "queue-full": 0,
      displaced: 0,
      "too-old": 0,
      expired: 0,
      doomed: 0,
      shed: 0,
      share: 0,
      rate: 0,
      overdue: 0,
    };
  }

  /**
   * A call arrived, before its body is parsed. ADMITTED: the server begins its handler now. QUEUED: `admitted` or `refused` is called on it later,
   * or was within this call. REFUSED: `refused` was called on it. `nowMs` may be the time at which this turn's bytes were read, for as long as only light handlers
   * were begun in it.
   */
  offer(call: AdmissionCall, nowMs: number): Offer {
    if (call.deadlineMs <= nowMs) return this.refuse(call, "expired", nowMs);
    const figures = call.handlerFigures;
    if (!figures.isMet) {
      figures.isMet = true;
      this.limit.metUnknown(this.running);
    }
    if (figures.isShort && figures.costMs < HEAVY_MS && this.limit.isAdaptive) return this.beginShort(call, nowMs);
    if (this.running < this.limit.permits) {
      if (figures.costMs < HEAVY_MS) {
        // Behind those that wait for the turn a light one need not stand.
        if (this.queue.length === 0 || this.blocker === "turn") return this.begin(call, nowMs);
      } else if (this.queue.length === 0 && this.fitsTurn(figures)) return this.begin(call, nowMs);
    }
    return this.enqueue(call, nowMs);
  }

  /**
   * Whether a call of that method begins now without more: what is known of it says that it costs nobody anything. It is counted, and leaves nothing
   * behind if it has ended when its turn does; else {@link outlasts} is told, and then {@link ended}. `nowMs` as for {@link offer}.
   */
  passes(figures: HandlerFigures, deadlineMs: number, nowMs: number): boolean {
    if (!figures.isWellKnown || deadlineMs <= nowMs || !this.limit.isAdaptive) return false;
    figures.passed(nowMs);
    this.admittedCount += 1;
    return true;
  }

  /** A call that a handler waits for, which may hold the permit that this one would wait for: it begins, and takes none. */
  enter(call: AdmissionCall, nowMs: number): void {
    this.beginShort(call, nowMs);
    this.spend(call.handlerFigures);
  }

  /** A call that passed at `nowMs` goes on after its turn: it runs, and takes no permit. */
  outlasts(call: AdmissionCall, nowMs: number): void {
    call.handlerFigures.running += 1;
    this.holdShort(call, nowMs);
  }

  /**
   * The synchronous part of a call's begin took so long. The server times it when `call.handlerFigures.isTimed` was true before the call was
   * admitted, and may leave out the rest.
   */
  timed(call: AdmissionCall, costMs: number): void {
    const figures = call.handlerFigures;
    const wasHeavy = figures.isHeavy;
    if (wasHeavy) this.spentMs += costMs - figures.costMs;
    figures.timed(costMs);
    if (costMs < HEAVY_MS) return;
    if (!wasHeavy) this.spentMs += costMs;
    this.isTurnDue = true;
    // What the method is known to cost, not what this one did: that may have been another process's time.
    this.costMs = this.costMs === 0 ? figures.costMs : this.costMs + (figures.costMs - this.costMs) * SMOOTH;
  }

  /**
   * The handler of a call that was admitted has ended, or no longer counts: a stream may leave here when it has begun to reply. Others may begin.
   * `isSample` says whether its time is what its handler takes. Of a stream it is not, nor of a handler that stopped because its call was cancelled; of one that
   * went on though nobody waits for it any more it is, else the worst times would be the ones that are never seen.
   */
  ended(call: AdmissionCall, nowMs: number, isSample: boolean): void {
    if (call.admissionState !== RUNNING) return;
    const figures = call.handlerFigures;
    const { running } = this;
    call.admissionState = OUTSIDE;
    figures.running -= 1;
    if (call.runningThen === 0) {
      this.short -= 1;
      this.leaves(call.principal);
      if (isSample) figures.sample(nowMs - call.admittedAtMs, nowMs, true);
      return;
    }
    this.running = running - 1;
    if (figures.isUnknown) {
      figures.unknown -= 1;
      this.unknown -= 1;
      if (figures.learns(isSample)) this.unknown -= figures.unknown;
    }
    this.leaves(call.principal);
    if (isSample) {
      const isHeldBack = this.heldBack || (this.queue.length > 0 && this.blocker === "permit");
      this.heldBack = false;
      const tookMs = nowMs - call.admittedAtMs;
      figures.sample(tookMs, nowMs, !isHeldBack);
      this.serviceMs += ((figures.baseMs > 0 ? figures.baseMs : tookMs) - this.serviceMs) * SMOOTH;
      this.limit.sample(nowMs, call.admittedAtMs, figures.baseMs, call.runningThen, running, isHeldBack);
    }
    if (this.queue.length > 0) this.pump(nowMs);
  }

  /** A call that waits is no longer wanted: cancelled, or its connection is gone. Nothing is called on it. */
  withdraw(call: AdmissionCall): void {
    if (call.admissionState !== WAITING) return;
    this.leaveQueue(call);
  }

  /** A new turn of the loop: those that waited for it begin, those that waited too long are refused. */
  drainTurn(nowMs: number): void {
    this.spentMs = 0;
    this.isTurnDue = false;
    this.timeCame(nowMs);
  }

  /** The time of {@link nextDueMs}: those that waited too long are refused, and others may begin. What the turn has spent stays spent. */
  timeCame(nowMs: number): void {
    if (this.queue.length > 0) this.pump(nowMs);
  }

  /** When {@link timeCame} must be called though nothing arrives or ends; Infinity for never. Read it after every call of the methods above. */
  get nextDueMs(): number {
    if (this.queue.length === 0) return Number.POSITIVE_INFINITY;
    if (this.isLearning()) return this.limit.blindDueMs;
    const dueMs = this.capacity.isOver
      ? this.ageDueMs()
      : this.capacity.lookDueMs(this.queue.oldestAtMs(), this.targetMs());
    return this.blocker === "permit" ? Math.min(dueMs, this.limit.blindDueMs) : dueMs;
  }

  /** Whether the server is over its capacity: it refuses. */
  isOverCapacity(nowMs: number): boolean {
    return this.capacity.isOver && (this.queue.length > 0 || this.capacity.isRefusing(this.targetMs(), nowMs));
  }

  /** What is so now. */
  snapshot(nowMs: number): AdmissionSnapshot {
    const [critical = 0, normal = 0, sheddable = 0] = this.queue.lengths;
    return {
      permits: this.limit.permits,
      running: this.running + this.short,
      waiting: [critical, normal, sheddable],
      isOverCapacity: this.isOverCapacity(nowMs),
      admitted: this.admittedCount,
      refused: { ...this.refusedCount },
      oldestWaitMs: this.queue.length === 0 ? 0 : nowMs - this.queue.oldestAtMs(),
    };
  }

  private begin(call: AdmissionCall, nowMs: number): typeof ADMITTED {
    if (call.principal.held++ === 0) this.holders += 1;
    this.run(call, nowMs);
    return ADMITTED;
  }

  /** It takes no permit and makes nobody wait. */
  private beginShort(call: AdmissionCall, nowMs: number): typeof ADMITTED {
    call.handlerFigures.began(nowMs);
    this.holdShort(call, nowMs);
    this.admittedCount += 1;
    return ADMITTED;
  }

  private holdShort(call: AdmissionCall, nowMs: number): void {
    if (call.principal.held++ === 0) this.holders += 1;
    call.admissionState = RUNNING;
    call.admittedAtMs = nowMs;
    call.runningThen = 0;
    this.short += 1;
  }

  private run(call: AdmissionCall, nowMs: number): void {
    const figures = call.handlerFigures;
    call.admissionState = RUNNING;
    call.admittedAtMs = nowMs;
    figures.began(nowMs);
    call.runningThen = ++this.running;
    if (figures.isUnknown) {
      figures.unknown += 1;
      this.unknown += 1;
    }
    this.admittedCount += 1;
    this.spend(figures);
  }

  /** A heavy handler begins: what the turn still has time for is less. */
  private spend(figures: HandlerFigures): void {
    if (figures.costMs < HEAVY_MS) return;
    this.spentMs += figures.costMs;
    this.isTurnDue = true;
  }

  /** Whether a heavy handler may begin in this turn: the first always, another if most of it lies within the budget. */
  private fitsTurn(figures: HandlerFigures): boolean {
    return this.spentMs === 0 || this.spentMs + figures.costMs / 2 <= this.turnBudgetMs;
  }

  private enqueue(call: AdmissionCall, nowMs: number): Offer {
    const { queue } = this;
    if (this.running < this.limit.permits) this.block("turn");
    else {
      this.block("permit");
      this.heldBack = true;
      call.handlerFigures.heldBack(nowMs);
      if (this.limit.growsBlind(nowMs) && queue.length === 0) return this.begin(call, nowMs);
    }
    this.look(nowMs);
    if (this.capacity.isOver) {
      const why = this.unwanted(call, nowMs);
      if (why !== undefined) return this.refuse(call, why, nowMs);
    }
    if (this.isDoomed(call, nowMs)) return this.refuse(call, "doomed", nowMs);
    if (queue.length >= this.queueMax) {
      const worst = queue.worst(call.priorityRank);
      if (worst === undefined) return this.refuse(call, "queue-full", nowMs);
      this.leaveQueue(worst);
      this.refuse(worst, "displaced", nowMs);
    }
    if (call.principal.held++ === 0) this.holders += 1;
    call.admissionState = WAITING;
    queue.push(call, nowMs);
    if (this.blocker === "turn") this.isTurnDue = true;
    // What was refused above may have made room, and a limit that grew has.
    if (!this.isPumping && this.running < this.limit.permits && this.blocker === "permit") this.pump(nowMs);
    return QUEUED;
  }

  /** Why a call is refused when it arrives over capacity. */
  private unwanted(call: AdmissionCall, nowMs: number): "shed" | "share" | undefined {
    const { principal, priorityRank } = call;
    this.demand.count(principal, nowMs);
    // Its first attempt was refused, here or by another: first attempts are many enough. So what was put off does not keep the server over its capacity.
    if (call.isRepeat && this.capacity.lacks[priorityRank]) return "shed";
    const isTakenOn = this.threshold.admits(priorityRank, principal.level(this.hour), nowMs);
    if (!isTakenOn && !this.demand.isLight(principal)) return "shed";
    return this.hasItsShare(call) ? "share" : undefined;
  }

  private block(blocker: Blocker): void {
    if (this.queue.length === 0) this.blocker = blocker;
  }

  /** Begins what may begin, best first. Not entered again by a call that ends within its begin: the loop goes on instead. */
  private pump(nowMs: number): void {
    if (this.isPumping) return;
    this.isPumping = true;
    // What throws is not to end all waiting for good.
    try {
      this.look(nowMs);
      if (this.capacity.isOver) this.dropOld(nowMs);
      const { queue } = this;
      while (queue.length > 0) {
        if (this.running >= this.limit.permits && !this.limit.growsBlind(nowMs)) {
          this.blocker = "permit";
          break;
        }
        if (this.spentMs > 0 && this.spentMs + this.costMs / 2 > this.turnBudgetMs) {
          this.blocker = "turn";
          this.isTurnDue = true;
          break;
        }
        const call = this.best(nowMs);
        if (call === undefined) break;
        queue.remove(call);
        this.countBegun(call, nowMs);
        this.run(call, nowMs);
        call.admitted(nowMs);
      }
      if (queue.length === 0) this.capacity.calm(this.targetMs(), nowMs);
    } finally {
      this.isPumping = false;
    }
  }

  /** The call that begins next, of the best priority that waits. Those that it meets whose time is over are refused. */
  private best(nowMs: number): AdmissionCall | undefined {
    for (let rank = 0; rank < 3; rank++) {
      const found =
        this.capacity.isOver && this.capacity.lacks[rank] ? this.fairest(rank, nowMs) : this.first(rank, nowMs);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private first(rank: number, nowMs: number): AdmissionCall | undefined {
    for (;;) {
      const call = this.queue.oldest[rank];
      if (call === undefined || this.isInTime(call, nowMs)) return call;
    }
  }

  /** The newest whose principal has not had much more of late than another that waits. */
  private fairest(rank: number, nowMs: number): AdmissionCall | undefined {
    let least = Number.POSITIVE_INFINITY;
    let looked = 0;
    for (let call = this.queue.newest[rank]; call !== undefined && looked < FAIR_AMONG; ) {
      // What a refusal sets off may take any other call out: then the rest is looked at next time.
      if (call.admissionState !== WAITING) break;
      const older: AdmissionCall | undefined = call.queuePrevious;
      if (this.isInTime(call, nowMs)) {
        looked += 1;
        const usage = call.principal.begunOf(nowMs);
        if (usage < least) least = usage;
      }
      call = older;
    }
    // Of those that this turn has time for the older goes first: its wait counts already, and the last to begin waits for all others.
    let fitting = Math.min(looked, this.fittingCalls());
    let found: AdmissionCall | undefined;
    for (let call = this.queue.newest[rank]; call !== undefined && fitting > 0; call = call.queuePrevious) {
      if (call.principal.begunOf(nowMs) > least * FAIR_FACTOR + FAIR_SLACK) continue;
      found = call;
      fitting -= 1;
    }
    return found;
  }

  /** How many heavy calls still begin in this turn; one, where they wait for a permit. */
  private fittingCalls(): number {
    if (this.blocker === "permit" || this.costMs === 0) return 1;
    return Math.max(1, Math.floor((this.turnBudgetMs - this.spentMs) / this.costMs + 0.5));
  }

  /** False, and it is refused, if there is no time left for it. */
  private isInTime(call: AdmissionCall, nowMs: number): boolean {
    const isExpired = call.deadlineMs <= nowMs;
    if (!isExpired && !this.isDoomed(call, nowMs)) return true;
    this.leaveQueue(call);
    this.refuse(call, isExpired ? "expired" : "doomed", nowMs);
    return false;
  }

  /** Whether what remains would not do even at the method's best. One passes when none has begun for a while: else nobody would learn that it got better. */
  private isDoomed(call: AdmissionCall, nowMs: number): boolean {
    if (call.deadlineMs === Number.POSITIVE_INFINITY) return false;
    const figures = call.handlerFigures;
    return call.deadlineMs - nowMs < figures.best(nowMs) && !figures.mayTry(nowMs);
  }

  /**
   * Whether its principal holds its share of what can run and of what can wait without growing old. Asked only over capacity, and only where the
   * calls that go before it, or with it, fill half of that: nobody is refused for the sake of calls that come after it anyway.
   */
  private hasItsShare(call: AdmissionCall): boolean {
    const { principal } = call;
    // Its critical calls are not refused for what else it asks.
    if (call.priorityRank === 0) return false;
    const others = principal.held > 0 ? this.holders : this.holders + 1;
    const begunPerMs = this.capacity.begunPerMs();
    if (others < 2 || begunPerMs === 0) return false;
    const room = begunPerMs * this.capacity.ageMaxMs(call.priorityRank, this.targetMs());
    let ahead = 0;
    for (let rank = 0; rank <= call.priorityRank; rank++) ahead += this.queue.lengths[rank] as number;
    if (ahead * 2 < room) return false;
    const held = this.blocker === "permit" ? this.running + room : room;
    return principal.held >= Math.max(SHARE_MIN, (SHARE_FACTOR * held) / others);
  }

  /** Decides whether the server is over its capacity. */
  private look(nowMs: number): void {
    if (this.isLearning()) return;
    if (this.capacity.look(this.queue.oldestAtMs(), this.targetMs(), nowMs)) this.threshold.reset(nowMs);
  }

  /**
   * Calls wait for a permit behind handlers of which most are of methods whose time nobody knows, so the limit is not learned from them. That none of these ends says
   * nothing, however long it takes: the wait is no sign that the server is over its capacity, and only the queue's length and deadlines bound it.
   */
  private isLearning(): boolean {
    if (this.blocker !== "permit" || this.capacity.isOver || !this.limit.isAdaptive) return false;
    return this.unknown * 2 > this.running;
  }

  /** Those of light principals grow as old as may be: what makes others old early is not theirs. So do the last few, for a permit that is given back. */
  private dropOld(nowMs: number): void {
    this.droppedAtMs = nowMs;
    const spare = this.blocker === "permit" ? SPARE : 0;
    const lightAgeMs = AGE_TARGETS_MAX * this.targetMs();
    for (let rank = 0; rank < 3; rank++) {
      const ageMaxMs = this.capacity.ageMaxMs(rank, this.targetMs());
      let call = this.queue.oldest[rank];
      for (let kept = 0; call !== undefined && kept < KEPT_MAX && nowMs >= call.queuedAtMs + ageMaxMs; ) {
        if (call.admissionState !== WAITING) break;
        const newer: AdmissionCall | undefined = call.queueNext;
        const isSpared = this.queue.length <= spare || this.demand.isLight(call.principal);
        if (nowMs < call.queuedAtMs + lightAgeMs && isSpared) kept += 1;
        else {
          this.leaveQueue(call);
          this.refuse(call, "too-old", nowMs);
        }
        call = newer;
      }
    }
  }

  private targetMs(): number {
    const target =
      this.blocker === "turn"
        ? Math.max(TURN_TARGET_MIN_MS, TARGET_FACTOR * this.costMs)
        : Math.max(PERMIT_TARGET_MIN_MS, TARGET_FACTOR * this.serviceMs);
    return target < TARGET_MAX_MS ? target : TARGET_MAX_MS;
  }

  private ageDueMs(): number {
    let dueMs = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < 3; rank++) {
      const call = this.queue.oldest[rank];
      if (call !== undefined) dueMs = Math.min(dueMs, call.queuedAtMs + this.capacity.ageMaxMs(rank, this.targetMs()));
    }
    // One that was passed over is looked at again, not at once.
    return Math.max(dueMs, this.droppedAtMs + AGE_TARGETS_MIN * this.targetMs());
  }

  private leaveQueue(call: AdmissionCall): void {
    this.queue.remove(call);
    call.admissionState = OUTSIDE;
    this.leaves(call.principal);
  }

  private leaves(principal: Principal): void {
    if (--principal.held === 0) this.holders -= 1;
  }

  private refuse(call: AdmissionCall, why: RefusalWhy, nowMs: number): typeof REFUSED {
    this.refusedCount[why] += 1;
    this.capacity.countRefused(call.priorityRank, why, nowMs);
    const isLack = why !== "expired" && why !== "doomed";
    call.refused(why, isLack ? this.pushback(call) : NOT_AGAIN, nowMs);
    return REFUSED;
  }

  /** By how long the server would take for all that it was asked of late. */
  private pushback(call: AdmissionCall): number {
    return pushbackMs(this.capacity.drainMs(this.queue.length), call.isRepeat, this.random);
  }

  private countBegun(call: AdmissionCall, nowMs: number): void {
    if (!this.capacity.isOver) return;
    const { baseMs } = call.handlerFigures;
    call.principal.countBegun(nowMs, baseMs > 0 && this.serviceMs > 0 ? baseMs / this.serviceMs : 1);
    this.threshold.countBegun();
    this.capacity.countBegun(call.priorityRank, nowMs);
  }
}
