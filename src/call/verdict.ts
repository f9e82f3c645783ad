/**
 * The verdict: one sentence that says what happened, whose part it was, and what may be done.
 */
import type { Code } from "./code.ts";
import type { Fault } from "./fault.ts";
import type { Effect } from "./method.ts";
import { type Reason, reasons } from "./reason.ts";

/** What the sentence is made from. */
export interface VerdictFacts {
  readonly code: Code;
  readonly text: string;
  readonly reason: Reason | undefined;
  readonly reached: "no" | "maybe" | "yes";
  readonly isRepeatable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly faults: readonly Fault[];
  /** The method's short name and effect, if the call is known. */
  readonly method: { readonly name: string; readonly effect: Effect } | undefined;
  readonly attempts: number | undefined;
  readonly tookMs: number | undefined;
}

/** Faults named in the sentence; the rest are counted. */
const faultsShownMax = 4;

/**
 * For instance: "UNAVAILABLE after 2 attempts in 340 ms: 10.0.0.7 reset the connection after the request was sent, 10.0.0.8
 * refused it; buy may have happened once; repeat it with the same idempotencyKey."
 */
export function verdictOf(facts: VerdictFacts): string {
  const clauses = [`${headOf(facts)}: ${whatHappened(facts)}`];
  const effect = effectOf(facts);
  if (effect !== undefined) clauses.push(effect);
  const advice = adviceOf(facts);
  if (advice !== undefined) clauses.push(advice);
  return `${clauses.join("; ")}.`;
}

function headOf({ code, attempts, tookMs }: VerdictFacts): string {
  const after = attempts !== undefined && attempts > 1 ? ` after ${attempts} attempts` : "";
  const within = tookMs === undefined ? "" : ` in ${durationOf(tookMs)}`;
  return `${code}${after}${within}`;
}

function whatHappened({ faults, reason, text }: VerdictFacts): string {
  if (faults.length > 0) {
    const shown = faults.slice(0, faultsShownMax).map(faultPhrase).join(", ");
    const hidden = faults.length - faultsShownMax;
    return hidden > 0 ? `${shown}, and ${hidden} more` : shown;
  }
  const said = withoutFullStop(text);
  if (reason === undefined) return said === "" ? "no reason was given" : said;
  return said === "" || said === reasons[reason] ? reasons[reason] : `${reasons[reason]} (${said})`;
}

function effectOf({ method, reached }: VerdictFacts): string | undefined {
  if (method === undefined || method.effect === "none") return undefined;
  if (reached === "no") return `${method.name} did not happen`;
  if (reached === "yes") return undefined;
  return method.effect === "once" ? `${method.name} may have happened once` : `${method.name} may have happened`;
}

function adviceOf({ method, reached, isRepeatable, retryAfterMs, reason }: VerdictFacts): string | undefined {
  if (reason === "CANCELLED_BY_CALLER" || reason === "CLIENT_CLOSED" || reason === "UNREAD") return undefined;
  if (retryAfterMs !== undefined && retryAfterMs < 0) return "the server asks not to repeat it";
  if (isRepeatable)
    return retryAfterMs === undefined ? "it is safe to repeat" : `it is safe to repeat in ${durationOf(retryAfterMs)}`;
  if (method === undefined || reached !== "maybe") return undefined;
  if (method.effect === "once") return "repeat it with the same idempotencyKey";
  return method.effect === "unknown" ? "repeat it only if doing it twice does no harm" : undefined;
}

function faultPhrase(fault: Fault): string {
  return `${fault.peer?.address ?? "no peer"} ${faultVerb(fault)}`;
}

function faultVerb({ kind, phase, code, text }: Fault): string {
  switch (kind) {
    case "resolve-failed":
      return withText("could not be resolved", text);
    case "refused":
      return "refused the connection";
    case "connect-timeout":
      return "did not answer the connection attempt in time";
    case "tls":
      return withText("failed the TLS handshake", text);
    case "reset":
      return phase === "connect" ? "reset the connection while it was made" : `reset the connection ${whenOf(phase)}`;
    case "goaway":
      return `closed the connection ${whenOf(phase)}`;
    case "stream-refused":
      return "refused it";
    case "attempt-timeout":
      return "took longer than the attempt's timeout";
    case "deadline":
      return `had not answered at the deadline (${placeOf(phase)})`;
    case "overload":
      return "refused it for overload";
    case "status":
      return withText(`answered ${code ?? "UNKNOWN"}`, text);
    case "protocol":
      return withText("broke the protocol", text);
    case "unreadable":
      return withText("answered what is not taken here", text);
    case "corrupt":
      return "and we did not see the same bytes: a message was altered on its way";
    case "cancelled":
      return "was cancelled";
    case "local-stall":
      return "was waited for by a stalled process";
    case "disagreed":
      return "gave another answer than the others";
  }
}

function whenOf(phase: Fault["phase"]): string {
  switch (phase) {
    case "resolve":
    case "connect":
    case "queue":
      return "before the request was sent";
    case "send":
      return "while the request was sent";
    case "server":
    case "stall":
      return "after the request was sent";
    case "receive":
      return "while the reply arrived";
  }
}

function placeOf(phase: Fault["phase"]): string {
  switch (phase) {
    case "resolve":
      return "looking up the peers";
    case "connect":
      return "connecting";
    case "queue":
      return "waiting for a free stream";
    case "send":
      return "sending the request";
    case "server":
      return "waiting for the server";
    case "receive":
      return "receiving the reply";
    case "stall":
      return "this process was stalled";
  }
}

function withText(verb: string, text: string): string {
  const said = withoutFullStop(text);
  return said === "" ? verb : `${verb} (${said})`;
}

function withoutFullStop(text: string): string {
  return text.trim().replace(/\.$/, "");
}

function durationOf(ms: number): string {
  if (ms >= 10_000) return `${Math.round(ms / 100) / 10} s`;
  return ms >= 10 || Number.isInteger(ms) ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}
