/**
 * Faults of calls, decided and not done: which of its plans one attempt meets, and what they do to it. Pure: the caller does it,
 * innermost in its stack, so that everything around is exercised (Polly's rule; gRFC A33 for the dice).
 */
import type { Code } from "../call/code.ts";
import { codesByNumber, isCode } from "../call/code.ts";
import { numberOption, resolveOptions, textOption, wordOption } from "../call/options.ts";
import type { Random } from "../world/random.ts";
import { randomFromState } from "../world/seeded-random.ts";
import type { CallFaultLimit } from "./call-fault-limit.ts";

/**
 * What to do to which attempts.
 *
 * - `delay`: the attempt goes out `delayMs` later.
 * - `fail`: it ends with `code` before anything is sent (after a delay, if it meets one too).
 * - `drop`: it is never answered; it ends when its caller gives up.
 * - `corrupt`: one bit of its reply is not what it was. `truncate`: its reply ends too early.
 */
export interface CallFaultPlan {
  /** What is done; see above. */
  readonly kind: "delay" | "fail" | "corrupt" | "truncate" | "drop";
  /** The part of the attempts meant that suffers, 0..1; default 1. Each plan has dice of its own: 0.2 and 0.05 together strike 0.24. */
  readonly share?: number | undefined;
  /** A method (`/shop.v1.Shop/Buy`), or what several begin with, up to a slash (`/shop.v1.Shop/`); default all. */
  readonly path?: string | undefined;
  /**
   * A peer by its whole name; or `shop` for all peers whose names go on with a slash (`shop/0`), or with a colon and a port (`shop:50051`).
   * Default all.
   */
  readonly peer?: string | undefined;
  /** How much later, milliseconds, 0..86,400,000. For kind `delay`, which must have it; no default. */
  readonly delayMs?: number | undefined;
  /** With what it ends. For kind `fail`, which must have it; no default. */
  readonly code?: Code | undefined;
  /** When it begins, milliseconds from when the plan was added, 0..31,536,000,000; default 0. */
  readonly atMs?: number | undefined;
  /** How long it holds, milliseconds, 0..31,536,000,000 or Infinity; default Infinity. */
  readonly forMs?: number | undefined;
}

/** What one attempt suffers. First the delay, then (one of) never answered or the code, else the damage to its reply. */
export interface CallOrdeal {
  /** Milliseconds, the sum of all delays it met; 0: none. */
  readonly delayMs: number;
  /** With what it ends instead of being sent; of several the one that was planned first. */
  readonly code: Code | undefined;
  /** It is never answered. Goes before `code`. */
  readonly isDropped: boolean;
  /** Where in its reply a bit flips, as a part of all bits, [0, 1); `flippedAt` does it. Undefined: nowhere. */
  readonly corruptAt: number | undefined;
  /** Which part of its reply arrives, [0, 1); `cutAt` does it. Undefined: all of it. */
  readonly truncateAt: number | undefined;
}

/** Plans that one layer holds at most; RangeError beyond. */
export const CALL_FAULT_PLANS_MAX = 1_000;

/** The faults of one channel's attempts. Deterministic: the same plans, dice and attempts give the same ordeals. */
export class CallFaultLayer {
  private readonly random: Random;
  private readonly limit: CallFaultLimit | undefined;
  private plans: ArmedPlan[];

  /**
   * `random` gives each plan dice of its own, so that adding a plan does not change whom the others strike. `limit`, if given, may
   * be shared by several layers: beyond it nothing is injected. TypeError or RangeError for a plan that cannot be.
   */
  constructor(plans: readonly CallFaultPlan[], random: Random, nowMs: number, limit?: CallFaultLimit) {
    this.random = random;
    this.limit = limit;
    this.plans = [];
    const checked = plans.map((plan, index) => checkedPlan(`plans[${index}]`, plan));
    for (const plan of checked) this.arm(plan, nowMs);
  }

  /** Whether no plan is left that could strike, now or later. Plans that are over are forgotten when an attempt or `add` comes by. */
  get isEmpty(): boolean {
    return this.plans.length === 0;
  }

  /** One more plan, whose times count from `nowMs`. TypeError or RangeError for one that cannot be. */
  add(plan: CallFaultPlan, nowMs: number): void {
    this.forget(nowMs);
    this.arm(checkedPlan("plan", plan), nowMs);
  }

  /** No faults any more. Attempts that suffer already go on suffering. */
  clear(): void {
    this.plans = [];
  }

  /** What one attempt suffers; undefined: nothing. Draws each plan's dice once, for those that mean this attempt now. */
  meet(path: string, peer: string, nowMs: number): CallOrdeal | undefined {
    let delayMs = 0;
    let code: Code | undefined;
    let isDropped = false;
    let corruptAt: number | undefined;
    let truncateAt: number | undefined;
    let isStruck = false;
    let isOver = false;
    for (const plan of this.plans) {
      if (nowMs >= plan.untilMs) isOver = true;
      if (nowMs < plan.fromMs || nowMs >= plan.untilMs || !isMeant(plan, path, peer)) continue;
      if (plan.random.float() >= plan.share) continue;
      isStruck = true;
      if (plan.kind === "delay") delayMs += plan.delayMs;
      else if (plan.kind === "fail") code ??= plan.code;
      else if (plan.kind === "drop") isDropped = true;
      // A struck plan draws its place also when another one has set it: whom it strikes next must not depend on the others.
      else if (plan.kind === "corrupt") corruptAt = first(corruptAt, plan.random.float());
      else truncateAt = first(truncateAt, plan.random.float());
    }
    if (isOver) this.forget(nowMs);
    if (!isStruck || this.limit?.take() === false) return undefined;
    return { delayMs, code, isDropped, corruptAt, truncateAt };
  }

  /** The attempt that got an ordeal has ended. Needed only where a limit was given, then once for each ordeal. */
  ended(): void {
    this.limit?.giveBack();
  }

  private arm(plan: CheckedPlan, nowMs: number): void {
    if (this.plans.length >= CALL_FAULT_PLANS_MAX) {
      throw new RangeError(`plans must be at most ${CALL_FAULT_PLANS_MAX} at once, got one more`);
    }
    const { random } = this;
    this.plans.push({
      kind: plan.kind,
      share: plan.share,
      path: plan.path,
      isPathPrefix: plan.path.endsWith("/"),
      peer: plan.peer,
      delayMs: plan.delayMs ?? 0,
      code: plan.code,
      fromMs: nowMs + plan.atMs,
      untilMs: nowMs + plan.atMs + plan.forMs,
      random: randomFromState(random.uint32(), random.uint32(), random.uint32(), random.uint32()),
    });
  }

  private forget(nowMs: number): void {
    if (this.plans.some(({ untilMs }) => nowMs >= untilMs)) {
      this.plans = this.plans.filter(({ untilMs }) => nowMs < untilMs);
    }
  }
}

interface ArmedPlan {
  readonly kind: CallFaultPlan["kind"];
  readonly share: number;
  readonly path: string;
  readonly isPathPrefix: boolean;
  readonly peer: string | undefined;
  readonly delayMs: number;
  readonly code: Code | undefined;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly random: Random;
}

const MS_MAX = 31_536_000_000;
const SHAPE = {
  kind: wordOption(["delay", "fail", "corrupt", "truncate", "drop"]),
  share: numberOption({ default: 1, min: 0, max: 1 }),
  path: textOption({ default: "/", lengthMax: 1_024 }),
  peer: textOption({ lengthMax: 1_024 }),
  delayMs: numberOption({ default: undefined, min: 0, max: 86_400_000 }),
  code: wordOption(codesByNumber.filter(isCode)),
  atMs: numberOption({ default: 0, min: 0, max: MS_MAX }),
  forMs: numberOption({ default: Infinity, min: 0, max: MS_MAX, infinity: true }),
};

type CheckedPlan = ReturnType<typeof resolvedPlan> & { readonly kind: CallFaultPlan["kind"] };

function resolvedPlan(at: string, plan: CallFaultPlan) {
  return resolveOptions(at, plan, SHAPE);
}

function checkedPlan(at: string, given: CallFaultPlan): CheckedPlan {
  const plan = resolvedPlan(at, given);
  const { kind, path } = plan;
  if (kind === undefined) throw new TypeError(`${at}.kind must be given`);
  if (!path.startsWith("/")) throw new RangeError(`${at}.path must begin with "/", got ${JSON.stringify(path)}`);
  checkOwn(at, kind, "delay", "delayMs", plan.delayMs);
  checkOwn(at, kind, "fail", "code", plan.code);
  return { ...plan, kind };
}

/** A key that one kind must have and no other may. */
function checkOwn(at: string, kind: string, owner: string, key: string, value: unknown): void {
  if (kind === owner && value === undefined) throw new TypeError(`${at}.${key} must be given for kind "${owner}"`);
  if (kind !== owner && value !== undefined) {
    throw new TypeError(`${at}.${key} is only for kind "${owner}", got it with kind "${kind}"`);
  }
}

function isMeant(plan: ArmedPlan, path: string, peer: string): boolean {
  const isPath = plan.path === path || (plan.isPathPrefix && path.startsWith(plan.path));
  return isPath && (plan.peer === undefined || isPeerMeant(plan.peer, peer));
}

/** Whether a plan's `peer` means this one: the same name, or one that goes on with `/` (a replica) or `:` (a port). */
export function isPeerMeant(pattern: string, peer: string): boolean {
  if (!peer.startsWith(pattern)) return false;
  if (peer.length === pattern.length) return true;
  const next = peer.charAt(pattern.length);
  return next === "/" || next === ":";
}

function first(found: number | undefined, drawn: number): number {
  return found ?? drawn;
}
