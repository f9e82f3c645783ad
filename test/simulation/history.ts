/**
 * What happened in a universe, as those saw it who took part: each call at its caller, each run of a handler at its server, each attempt
 * on the wire. Invariants are judged over this, so they know nothing of how the client works inside.
 */
import type { CallKind, Effect } from "../../src/call/method.ts";

/** One run of a handler. */
export interface Execution {
  readonly host: string;
  /** Which process of its host it was. */
  readonly boot: number;
  readonly beganAtMs: number;
}

/** How an attempt stands. `unprocessed`: the server said, or the protocol proves, that no handler saw it. */
export type AttemptEnd = "open" | "status" | "unprocessed" | "reset-by-server" | "reset-by-client" | "lost";

/** One try of a call: a stream on a connection. */
export interface Attempt {
  readonly call: CallNote;
  /** From 1, in the order on the wire. */
  readonly number: number;
  readonly peer: string;
  readonly connection: number;
  readonly stream: number;
  readonly sentAtMs: number;
  /** Peers that could have taken it as well, as far as the wire and the client's opinion go. Known from a call's second attempt on. */
  readonly usablePeers: readonly string[];
  /** Its request has a checksum, or should: that of a call which begins before its connection has brought a first reply has none. */
  readonly isRequestChecked: boolean;
  /** Response headers came; Infinity before. */
  answeredAtMs: number;
  /** The first whole reply came; Infinity before. */
  repliedAtMs: number;
  endedAtMs: number;
  end: AttemptEnd;
  /** The gRPC status, when `end` is "status"; else -1. */
  status: number;
  /** What the server said about trying again; undefined: nothing. */
  pushbackMs: number | undefined;
  /** Peers that could have taken the call when this attempt failed. */
  usableAtEnd: readonly string[];
}

/** One call, as its caller sees it. */
export interface CallNote {
  readonly number: number;
  /** The client's host, and which of its lives this is: 0, 1 ... */
  readonly client: string;
  readonly life: number;
  readonly effect: Effect;
  readonly kind: CallKind;
  readonly beganAtMs: number;
  readonly dueAtMs: number;
  /** Attempts that its policy allows to reach a handler. */
  readonly attemptsMax: number;
  /** Part of the proof that all is well again; it must succeed. */
  readonly isProbe: boolean;
  readonly attempts: Attempt[];
  readonly executions: Execution[];
  /** What handlers answered to its stream of requests: the function of what they read, whatever a flipped bit has made of it. */
  readonly answers: Uint8Array[];
  endedAtMs: number;
  /** "OK", a code, or "left" when the caller left the reply stream; "" before the end. */
  outcome: string;
  /** The error's words. */
  text: string;
  /** Whether a handler may have seen it, as the error says. */
  reached: string;
  /** What is wrong with the reply; "" if nothing is. */
  wrong: string;
  /** The one reply to its stream of requests is none of `answers`, though there are some: it was changed on its way back. */
  isReplyChanged: boolean;
  /** How often `onReply` was called, and how many attempts it told of. */
  reports: number;
  toldAttempts: number;
  /** Its process died. */
  isAbandoned: boolean;
}

/** What was new since the last look. */
export interface Fresh {
  readonly ended: readonly CallNote[];
  readonly attempts: readonly Attempt[];
  readonly ran: readonly CallNote[];
}

export class History {
  readonly calls: CallNote[] = [];
  readonly open = new Set<CallNote>();
  attempts = 0;
  executions = 0;
  private ended: CallNote[] = [];
  private begun: Attempt[] = [];
  private ran: CallNote[] = [];

  callBegan(
    facts: Pick<CallNote, "client" | "life" | "effect" | "kind" | "beganAtMs" | "dueAtMs" | "attemptsMax" | "isProbe">,
  ): CallNote {
    const note: CallNote = {
      ...facts,
      number: this.calls.length,
      attempts: [],
      executions: [],
      answers: [],
      endedAtMs: Number.POSITIVE_INFINITY,
      outcome: "",
      text: "",
      reached: "",
      wrong: "",
      isReplyChanged: false,
      reports: 0,
      toldAttempts: 0,
      isAbandoned: false,
    };
    this.calls.push(note);
    this.open.add(note);
    return note;
  }

  callEnded(note: CallNote, nowMs: number, outcome: string): void {
    note.outcome = outcome;
    note.endedAtMs = nowMs;
    this.open.delete(note);
    this.ended.push(note);
  }

  /** Its process died: nobody waits for it any more. */
  callAbandoned(note: CallNote): void {
    note.isAbandoned = true;
    this.open.delete(note);
  }

  attemptBegan(
    facts: Pick<Attempt, "call" | "peer" | "connection" | "stream" | "sentAtMs" | "usablePeers" | "isRequestChecked">,
  ): Attempt {
    const attempt: Attempt = {
      ...facts,
      number: facts.call.attempts.length + 1,
      answeredAtMs: Number.POSITIVE_INFINITY,
      repliedAtMs: Number.POSITIVE_INFINITY,
      endedAtMs: Number.POSITIVE_INFINITY,
      end: "open",
      status: -1,
      pushbackMs: undefined,
      usableAtEnd: [],
    };
    facts.call.attempts.push(attempt);
    this.begun.push(attempt);
    this.attempts += 1;
    return attempt;
  }

  /** A handler began to work for this call. */
  executed(note: CallNote, execution: Execution): void {
    note.executions.push(execution);
    this.ran.push(note);
    this.executions += 1;
  }

  /** What came since this was asked last. */
  takeFresh(): Fresh {
    const fresh = { ended: this.ended, attempts: this.begun, ran: this.ran };
    this.ended = [];
    this.begun = [];
    this.ran = [];
    return fresh;
  }
}

/** What a call says of itself on the wire: its number, and a check so that a flipped bit does not make it another's. */
export function callMark(number: number): string {
  return `${number}-${(Math.imul(number + 1, 0x9e3779b1) >>> 0).toString(16)}`;
}

/** The number in such a mark, or undefined if it is none. */
export function readCallMark(mark: string | undefined): number | undefined {
  const number = Number(mark?.split("-")[0] ?? Number.NaN);
  return Number.isSafeInteger(number) && callMark(number) === mark ? number : undefined;
}

/** A call from its beginning to its end, for people. */
export function storyOf(call: CallNote): readonly string[] {
  const end = call.isAbandoned
    ? "its process died"
    : call.outcome === ""
      ? "open"
      : `${call.outcome} at ${time(call.endedAtMs)} (${call.reports} reports, told ${call.toldAttempts} attempts) ${call.text}`;
  return [
    `call ${call.number} of ${call.client} (life ${call.life}): ${call.kind}, effect ${call.effect}, began ${time(call.beganAtMs)}, due ${time(call.dueAtMs)}: ${end}`,
    ...call.attempts.map((attempt) => {
      const { number, peer, connection, stream, sentAtMs, answeredAtMs, repliedAtMs, endedAtMs, status } = attempt;
      const how = attempt.end === "status" ? `status ${status}` : attempt.end;
      const pushback = attempt.pushbackMs === undefined ? "" : `, pushback ${attempt.pushbackMs} ms`;
      const usable = attempt.usablePeers.length === 0 ? "" : `, usable then: ${attempt.usablePeers.join(" ")}`;
      return `  attempt ${number} to ${peer} (connection ${connection}, stream ${stream}) sent ${time(sentAtMs)}, answered ${time(answeredAtMs)}, replied ${time(repliedAtMs)}, ended ${time(endedAtMs)}: ${how}${pushback}${usable}`;
    }),
    ...call.executions.map(({ host, boot, beganAtMs }) => `  ran on ${host} (boot ${boot}) at ${time(beganAtMs)}`),
  ];
}

function time(ms: number): string {
  return ms === Number.POSITIVE_INFINITY ? "never" : `${ms.toFixed(3)} ms`;
}
