/** What must hold for every attempt, as the wire shows it: what may be repeated, where, and how often. */
import { type Attempt, storyOf } from "./history.ts";
import type { Invariant, Look } from "./look.ts";
import type { UniversePlan } from "./universe-plan.ts";

/** gRPC status numbers after which a method of effect none or idempotent may be repeated (DESIGN section 4). */
const repeatable: ReadonlySet<number> = new Set([2, 4, 13, 14, 15]);
const resourceExhausted = 8;
/** DESIGN section 4, Budget: 10 % of the calls and one a second, over 10 s; copies are at most 2 % of the calls. */
const budget = { share: 0.1, reserve: 10, windowMs: 10_000, copyShare: 0.02 } as const;
/** A call's attempts end with it; a client that resets many streams at once may let some go on for its turn. */
const farewellMs = 50;
const resetsPerSecondMax = 20;

export const noAttemptAfterEnd: Invariant = {
  name: "no-attempt-after-end",
  claim: "no attempt begins when its call is over",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstBad(fresh.attempts, ({ call, sentAtMs }) =>
      call.endedAtMs < sentAtMs ? `attempt sent at ${sentAtMs} ms, its call was over` : undefined,
    ),
};

export const repeatsAsAllowed: Invariant = {
  name: "repeats-as-allowed",
  claim: "a call that may have reached a handler is repeated or copied only if its effect and the failure allow it",
  bearsCorruption: false,
  always: ({ fresh, plan }) =>
    firstBad(fresh.attempts, (attempt) => firstOfEarlier(attempt, (earlier) => forbidden(earlier, attempt, plan))),
};

export const noAttemptAfterCommit: Invariant = {
  name: "no-attempt-after-commit",
  claim: "nothing is tried again once something of the answer has reached the caller",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstBad(fresh.attempts, (attempt) =>
      firstOfEarlier(attempt, (earlier) =>
        committedAtMs(earlier) < attempt.sentAtMs ? `attempt ${earlier.number} had committed the call` : undefined,
      ),
    ),
};

export const attemptsWithinLimit: Invariant = {
  name: "attempts-within-limit",
  claim: "a call has at most its policy's attempts, and one free one for each peer",
  bearsCorruption: false,
  always: ({ fresh, plan }) =>
    firstBad(fresh.attempts, ({ number, call }) => {
      const most = call.attemptsMax + plan.servers.replicas;
      return number <= most ? undefined : `attempt ${number}, at most ${most} are allowed`;
    }),
};

/** `ALONE_MS` of the client, and a tick. */
const aloneMs = 252;

export const noExcludedPick: Invariant = {
  name: "no-excluded-pick",
  claim: "no call goes back to a peer that it has tried while one that it has not tried could take it",
  bearsCorruption: false,
  // A call of effect once goes where its answer may be kept, and nowhere else.
  always: ({ fresh, plan }) =>
    firstBad(fresh.attempts, (attempt) => (isKept(attempt, plan) ? undefined : excludedPick(attempt))),
};

export const pushbackIsObeyed: Invariant = {
  name: "pushback-is-obeyed",
  claim: "after a negative pushback nothing is tried again, after another the same peer not before its time",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstBad(fresh.attempts, (attempt) =>
      firstOfEarlier(attempt, ({ pushbackMs, endedAtMs, peer, number }) => {
        if (pushbackMs === undefined || endedAtMs >= attempt.sentAtMs) return undefined;
        if (pushbackMs < 0) return `attempt ${number} had brought a negative pushback`;
        const isEarly = peer === attempt.peer && attempt.sentAtMs < endedAtMs + pushbackMs;
        return isEarly ? `attempt ${number} had asked for ${pushbackMs} ms of patience` : undefined;
      }),
    ),
};

export const attemptsEndWithCall: Invariant = {
  name: "attempts-end-with-call",
  claim: "when a call is over its attempts are ended too, as far as the pace of resets allows",
  bearsCorruption: false,
  always: ({ clients, nowMs }) => {
    for (const { tap } of clients) {
      for (const connection of tap.connections) {
        if (connection.isClosed || connection.isBlind || connection.queuedBytes() > 0) continue;
        if (connection.resetsAtMs.filter((atMs) => atMs > nowMs - 1000).length >= resetsPerSecondMax) continue;
        for (const { attempt } of connection.streams.values()) {
          if (attempt === undefined || attempt.call.endedAtMs > nowMs - farewellMs) continue;
          return [`its attempt ${attempt.number} is still open at ${nowMs} ms`, ...storyOf(attempt.call)].join("\n");
        }
      }
    }
    return undefined;
  },
};

export const attemptsWithinBudget: Invariant = {
  name: "attempts-within-budget",
  claim:
    "a client's repeats and copies are at most 10 % of its calls + 1/s over 10 s; what never reached a handler is free",
  bearsCorruption: false,
  always: (look) => overBudget(look, isCharged, (calls) => budget.share * calls + budget.reserve, "repeats and copies"),
};

export const copiesWithinShare: Invariant = {
  name: "copies-within-share",
  claim: "a client's copies are at most 2 % of its calls, or one",
  bearsCorruption: false,
  always: (look) => overBudget(look, isCopy, (calls) => Math.max(1, budget.copyShare * calls), "copies"),
};

export const attemptInvariants: readonly Invariant[] = [
  noAttemptAfterEnd,
  repeatsAsAllowed,
  noAttemptAfterCommit,
  attemptsWithinLimit,
  noExcludedPick,
  pushbackIsObeyed,
  attemptsEndWithCall,
  attemptsWithinBudget,
  copiesWithinShare,
];

/** An attempt that began while another of its call was open. */
export function isCopy(attempt: Attempt): boolean {
  return earlierOnes(attempt).some(({ endedAtMs }) => endedAtMs > attempt.sentAtMs);
}

/**
 * Whether it draws on the budget: not the first one, nor one that follows what provably never reached a handler. A repeat follows the
 * failure that came last, which need not be that of the youngest: where a copy failed while an older attempt went on, the older was
 * awaited, and if that never reached a handler the repeat takes its place. What did reach one is then no more than the first and what was paid.
 */
function isCharged(attempt: Attempt): boolean {
  if (attempt.number === 1) return false;
  return isCopy(attempt) || lastToEnd(earlierOnes(attempt))?.end !== "unprocessed";
}

/** The one whose end came last; of several at once the youngest. */
function lastToEnd(attempts: readonly Attempt[]): Attempt | undefined {
  let last: Attempt | undefined;
  for (const attempt of attempts) if (last === undefined || attempt.endedAtMs >= last.endedAtMs) last = attempt;
  return last;
}

function earlierOnes({ call, number }: Attempt): readonly Attempt[] {
  return call.attempts.slice(0, number - 1);
}

function firstOfEarlier(
  attempt: Attempt,
  wrong: (earlier: Attempt, attempt: Attempt) => string | undefined,
): string | undefined {
  for (const earlier of earlierOnes(attempt)) {
    const text = wrong(earlier, attempt);
    if (text !== undefined) return `attempt ${attempt.number}: ${text}`;
  }
  return undefined;
}

function firstBad(attempts: readonly Attempt[], wrong: (attempt: Attempt) => string | undefined): string | undefined {
  for (const attempt of attempts) {
    const text = wrong(attempt);
    if (text !== undefined) return [text, ...storyOf(attempt.call)].join("\n");
  }
  return undefined;
}

/** Why the repeat table does not allow `attempt` after (or beside) `earlier`. */
function forbidden(earlier: Attempt, attempt: Attempt, plan: UniversePlan): string | undefined {
  if (earlier.end === "unprocessed") return undefined;
  const { effect } = attempt.call;
  // A journal is one peer's: there the answer is kept, or the repeat is refused.
  const isAtStore = isKept(attempt, plan) && earlier.peer === attempt.peer;
  const mayRepeat = effect === "none" || effect === "idempotent" || isAtStore;
  if (!mayRepeat) return `attempt ${earlier.number} may have reached a handler, and the effect is ${effect}`;
  if (earlier.end !== "status" || earlier.endedAtMs >= attempt.sentAtMs || earlier.status < 0) return undefined;
  if (repeatable.has(earlier.status)) return undefined;
  if (earlier.status === resourceExhausted) {
    // An attempt that was refused for overload while another went on was no answer: the other was awaited, and decides.
    if (earlier.pushbackMs === undefined ? wasBeside(earlier) : earlier.pushbackMs >= 0) return undefined;
  }
  return `attempt ${earlier.number} ended with status ${earlier.status}, which is not to be repeated`;
}

/** Whether its servers may keep its answer. */
function isKept({ call }: Attempt, { servers }: UniversePlan): boolean {
  return servers.journal !== undefined && call.effect === "once";
}

/** Whether another attempt of its call was open when it ended. */
function wasBeside({ call, number, endedAtMs }: Attempt): boolean {
  return call.attempts.some(
    (other) => other.number !== number && other.sentAtMs < endedAtMs && other.endedAtMs > endedAtMs,
  );
}

/** When something of an attempt's answer reached the caller (docs/decisions/commit-point.md); Infinity if nothing did. */
function committedAtMs({ call, repliedAtMs, status, end, endedAtMs }: Attempt): number {
  switch (call.kind) {
    case "unary":
    case "client-stream":
      return end === "status" && status === 0 ? endedAtMs : Number.POSITIVE_INFINITY;
    case "server-stream":
    case "bidi":
      return repliedAtMs;
  }
}

/**
 * Back to an excluded peer, though one that was never tried could have taken the call throughout: what came or went meanwhile may not
 * have been known when the choice was made. A peer is excluded from its attempt on, until one fails when all that are left were tried.
 */
function excludedPick(attempt: Attempt): string | undefined {
  // A call under which a connection has died shares no peer with another such call for a while: what is usable for others is not for it.
  const isAlone = attempt.call.attempts.some(
    ({ end, endedAtMs }) => end === "lost" && endedAtMs <= attempt.sentAtMs && attempt.sentAtMs - endedAtMs <= aloneMs,
  );
  if (isAlone) return undefined;
  const earlier = earlierOnes(attempt);
  const tried = new Set(earlier.map(({ peer }) => peer));
  const excluded = new Set<string>();
  for (const { peer, usableAtEnd, endedAtMs } of earlier) {
    excluded.add(peer);
    if (endedAtMs <= attempt.sentAtMs && usableAtEnd.every((other) => excluded.has(other))) excluded.clear();
  }
  if (!excluded.has(attempt.peer)) return undefined;
  const last = earlier.at(-1);
  const usableBefore = last === undefined || last.endedAtMs > attempt.sentAtMs ? attempt.usablePeers : last.usableAtEnd;
  const missed = attempt.usablePeers.filter((peer) => !tried.has(peer) && usableBefore.includes(peer));
  if (missed.length === 0) return undefined;
  return `attempt ${attempt.number} went back to ${attempt.peer}, ${missed.join(" and ")} had not been tried`;
}

/** When the budget was asked for an attempt: when the one before it had failed; for a copy, when it was sent. */
function askedAtMs(attempt: Attempt): number {
  return Math.min(attempt.sentAtMs, Math.max(...earlierOnes(attempt).map(({ endedAtMs }) => endedAtMs)));
}

/** Whether some of a client's attempts are more than its calls of the same 10 s allow, and one for a window that is not quite the client's. */
function overBudget(
  { fresh, history }: Look,
  counts: (attempt: Attempt) => boolean,
  allowedFor: (calls: number) => number,
  what: string,
): string | undefined {
  for (const attempt of fresh.attempts) {
    if (!counts(attempt)) continue;
    const { client, life } = attempt.call;
    const untilMs = askedAtMs(attempt);
    const isWithin = (atMs: number): boolean => atMs <= untilMs && atMs > untilMs - budget.windowMs;
    const own = history.calls.filter((call) => call.client === client && call.life === life);
    const taken = own.flatMap(({ attempts }) => attempts).filter((each) => counts(each) && isWithin(askedAtMs(each)));
    const allowed = allowedFor(own.filter(({ beganAtMs }) => isWithin(beganAtMs)).length);
    if (taken.length <= allowed + 1) continue;
    const text = `${taken.length} ${what} of ${client} within ${budget.windowMs} ms, at most ${allowed.toFixed(1)} are allowed`;
    return [text, ...storyOf(attempt.call)].join("\n");
  }
  return undefined;
}
