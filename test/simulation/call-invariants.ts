/** What must hold for every call, as its caller and the handlers see it. */
import { type CallNote, storyOf } from "./history.ts";
import type { Invariant, LastLook } from "./look.ts";
import type { UniversePlan } from "./universe-plan.ts";

/** A deadline may be told so much late: the wheel's tick, and a turn to let late answers in. */
const LATE_MS = 5;

export const settlesOnce: Invariant = {
  name: "settles-once",
  claim: "each call ends once, and says so once",
  bearsCorruption: true,
  always: ({ fresh }) =>
    firstOf(fresh.ended, ({ reports }) => (reports === 1 ? undefined : `onReply was called ${reports} times`)),
  // A second end would have come after the first was looked at.
  atLast: ({ history }) =>
    firstOf(history.calls, ({ reports }) => (reports <= 1 ? undefined : `onReply was called ${reports} times`)),
};

export const endsInTime: Invariant = {
  name: "ends-in-time",
  claim: `each call ends by its deadline + ${LATE_MS} ms; if its own process stands still then, when it goes on`,
  bearsCorruption: true,
  always: ({ fresh, history, plan, nowMs }) => {
    const late = (call: CallNote, atMs: number): string | undefined => {
      const latestMs = latestEndMs(plan, call);
      return atMs <= latestMs ? undefined : `it should have ended by ${latestMs.toFixed(3)} ms`;
    };
    return (
      firstOf(fresh.ended, (call) => late(call, call.endedAtMs)) ?? firstOf(history.open, (call) => late(call, nowMs))
    );
  },
};

export const runsOnce: Invariant = {
  name: "runs-once",
  claim: "a method of effect once or unknown runs at most once for a call",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstOf(fresh.ran, ({ effect, executions }) =>
      executions.length <= 1 || effect === "none" || effect === "idempotent"
        ? undefined
        : `its effect is ${effect}, and it ran ${executions.length} times`,
    ),
};

export const keepsAnswers: Invariant = {
  name: "keeps-answers",
  claim:
    "a server that keeps answers runs a unary call at most once, whatever its effect is to its caller: once in a process with a journal in memory, once on a machine with one in a file",
  bearsCorruption: false,
  always: ({ fresh, plan }) => {
    const { journal } = plan.servers;
    if (journal === undefined) return undefined;
    return firstOf(fresh.ran, ({ kind, executions }) => {
      if (kind !== "unary") return undefined;
      const places = new Set(executions.map(({ host, boot }) => (journal === "file" ? host : `${host} ${boot}`)));
      if (places.size === executions.length) return undefined;
      return `its servers keep answers, and it ran ${executions.length} times in ${places.size} places`;
    });
  },
};

export const answersWereRun: Invariant = {
  name: "answers-were-run",
  claim: "a call that succeeded was run, and one of effect once was run once",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstOf(fresh.ended, ({ outcome, effect, executions }) =>
      outcome !== "OK" || executions.length === 1 || (executions.length > 1 && effect !== "once")
        ? undefined
        : `it succeeded, its effect is ${effect}, and it ran ${executions.length} times`,
    ),
};

export const runsWithinAttempts: Invariant = {
  name: "runs-within-attempts",
  claim: "a call runs at most as often as its policy has attempts",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstOf(fresh.ran, ({ executions, attemptsMax }) =>
      executions.length <= attemptsMax
        ? undefined
        : `it ran ${executions.length} times, ${attemptsMax} attempts are allowed`,
    ),
};

export const repliesFit: Invariant = {
  name: "replies-fit",
  claim:
    "each reply is the function of its request that the handler computes; where bits flip, each that is under a checksum",
  bearsCorruption: true,
  always: ({ fresh, plan }) => {
    return firstOf(fresh.ended, (call) => (call.wrong === "" || !isChecked(call, plan) ? undefined : call.wrong));
  },
};

/**
 * Whether what is wrong with a reply was under a checksum. The messages of streams have none (docs/wire.md), nor has the request of a call
 * that begins before its connection has brought a first reply: so a handler may be given a flipped bit, and its one reply, which has a
 * checksum, then fits what it was given. Clients of the preset "none" ask for none.
 */
function isChecked({ kind, client, attempts, isReplyChanged }: CallNote, plan: UniversePlan): boolean {
  if (!plan.isCorrupting) return true;
  if (plan.clients.find(({ host }) => host === client)?.preset === "none") return false;
  if (kind === "unary") return attempts.find(({ status }) => status === 0)?.isRequestChecked ?? true;
  return kind === "client-stream" && isReplyChanged;
}

export const reachedIsTrue: Invariant = {
  name: "reached-is-true",
  claim: "no handler ran for a call whose error says that it reached none",
  bearsCorruption: false,
  always: ({ fresh }) =>
    firstOf(fresh.ended, ({ reached, executions }) =>
      reached !== "no" || executions.length === 0 ? undefined : `it says "no", and it ran ${executions.length} times`,
    ),
};

export const countersAddUp: Invariant = {
  name: "counters-add-up",
  claim: "each call of a process that lives is told of once, with the attempts that the wire saw",
  bearsCorruption: false,
  atLast: ({ history }) =>
    firstOf(history.calls, (call) => {
      if (call.isAbandoned) return undefined;
      if (call.outcome === "") return "it never ended";
      // One that was made and given up in the same turn never leaves.
      return call.toldAttempts >= call.attempts.length ? undefined : `it told of ${call.toldAttempts} attempts`;
    }),
};

export const noUnhandledRejection: Invariant = {
  name: "no-unhandled-rejection",
  claim: "no failure is left for nobody to see",
  bearsCorruption: true,
  always: ({ unhandled }) => unhandled[0],
};

export const converges: Invariant = {
  name: "converges",
  claim: "when all faults have ended every client comes back: its calls succeed, later every peer is ready",
  bearsCorruption: false,
  always: ({ fresh, plan }) =>
    firstOf(fresh.ended, (call) =>
      call.isProbe && call.outcome !== "OK" && !isLostByLink(call, plan) ? "all faults were over by then" : undefined,
    ),
  atLast: notReady,
};

export const callInvariants: readonly Invariant[] = [
  settlesOnce,
  endsInTime,
  runsOnce,
  keepsAnswers,
  answersWereRun,
  runsWithinAttempts,
  repliesFit,
  reachedIsTrue,
  countersAddUp,
  noUnhandledRejection,
  converges,
];

/** The first call with something wrong: what, and its story. */
export function firstOf(calls: Iterable<CallNote>, wrong: (call: CallNote) => string | undefined): string | undefined {
  for (const call of calls) {
    const text = wrong(call);
    if (text !== undefined) return [text, ...storyOf(call)].join("\n");
  }
  return undefined;
}

function notReady({ lostPeers }: LastLook): string | undefined {
  for (const [peer, health] of lostPeers) return `${peer} is ${health}, long after the last fault`;
  return undefined;
}

/**
 * A link may lose segments in the calm too. One that is lost three times in a row comes 1.4 s late, and by then a client has given up the
 * silent connection (docs/decisions/silence.md): then all attempts that a call has may be lost, where the preset is "none" its only one.
 */
function isLostByLink({ attempts, attemptsMax }: CallNote, { link }: UniversePlan): boolean {
  return link.lossShare > 0 && attempts.length >= attemptsMax && attempts.every(({ end }) => end === "lost");
}

/** When a call must have ended: by its deadline, or when its process goes on after a stop that the deadline fell into. */
function latestEndMs(plan: UniversePlan, call: CallNote): number {
  let latestMs = call.dueAtMs + LATE_MS;
  for (const fault of plan.faults) {
    const lastsMs = fault.kind === "stall" ? fault.stallMs : fault.forMs;
    if ((fault.kind !== "freeze" && fault.kind !== "stall") || fault.peer !== call.client) continue;
    const untilMs = fault.atMs + (lastsMs ?? Number.POSITIVE_INFINITY);
    if (fault.atMs <= latestMs && untilMs >= call.dueAtMs) latestMs = Math.max(latestMs, untilMs + LATE_MS);
  }
  return latestMs;
}
