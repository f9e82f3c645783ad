/**
 * Who calls, and whether they may: `authenticate`, `authorize`, and how urgent a call may be. Deny comes before allow. A server that
 * has nothing to ask answers in the turn in which the call came.
 */
import type { Call } from "../call/call.ts";
import { RpcError } from "../call/error.ts";
import { describeValue } from "../call/options.ts";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";
import type { Clock } from "../world/clock.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import { isNested, readable } from "./handler-error.ts";
import { ANYONE, AUTHENTICATED, type CheckedRule, isAllowed } from "./rule.ts";
import type { ServerCall } from "./server-call.ts";

/** Finds out who calls; undefined: nobody known. */
export type Authenticate = (call: Call & { readonly peer: Peer }) => unknown;

/** A verdict is asked for again after so long: a token may have been taken back. */
const VERDICT_MS = 5_000;
/** Verdicts that are kept at once; the oldest goes first. */
const VERDICTS_MAX = 10_000;
/** Of a call with more metadata than this (in characters) none is kept: a caller who sends other words each time would fill memory with them. */
const KEY_LENGTH_MAX = 4_096;

interface Verdict {
  /** Undefined while it is being found. */
  principal: Principal | undefined;
  untilMs: number;
  finding: Promise<Principal | undefined> | undefined;
  /** Whose call it is found with. */
  asker: ServerCall | undefined;
}

export class Identity {
  readonly #authenticate: Authenticate | undefined;
  readonly #critical: CheckedRule | undefined;
  readonly #clock: Clock;
  /** By connection, path and all metadata: whatever `authenticate` may have looked at. */
  readonly #verdicts: Map<string, Verdict>;
  readonly #numbers: WeakMap<ConnectionFacts, number>;
  #lastNumber: number;

  /** @param critical who may say that a call is critical; undefined: whoever is trusted. */
  constructor(authenticate: Authenticate | undefined, critical: CheckedRule | undefined, clock: Clock) {
    this.#authenticate = authenticate;
    this.#critical = critical;
    this.#clock = clock;
    this.#verdicts = new Map();
    this.#numbers = new WeakMap();
    this.#lastNumber = 0;
  }

  /** True: the call may go on now. False: it was refused, or `call.identified` follows. */
  identify(call: ServerCall, facts: ConnectionFacts): boolean {
    if (this.#authenticate === undefined) {
      call.principal = facts.certified;
      return this.#authorise(call, facts);
    }
    const { principal, finding, asker } = this.#verdictOf(this.#authenticate, call, facts);
    if (finding === undefined) {
      call.principal = principal;
      return this.#authorise(call, facts);
    }
    finding.then(
      (found) => {
        call.principal = found;
        if (!call.isOver && this.#authorise(call, facts)) call.identified();
      },
      (error: unknown) => {
        // Whoever it was asked with has gone, and has taken the question along: that is not this call's fault.
        if (asker === call || asker?.isOver !== true) refuseFor(call, error);
        else if (!call.isOver && this.identify(call, facts)) call.identified();
      },
    );
    return false;
  }

  #verdictOf(authenticate: Authenticate, call: ServerCall, facts: ConnectionFacts): Verdict {
    const key = this.#keyOf(call, facts);
    const nowMs = this.#clock.monotonicMs();
    const known = this.#verdicts.get(key);
    if (known !== undefined && nowMs < known.untilMs) return known;
    this.#verdicts.delete(key);
    this.#makeRoom(nowMs);
    const verdict: Verdict = { principal: undefined, untilMs: nowMs + VERDICT_MS, finding: undefined, asker: call };
    if (key.length <= KEY_LENGTH_MAX) this.#verdicts.set(key, verdict);
    const forget = (): void => {
      if (this.#verdicts.get(key) === verdict) this.#verdicts.delete(key);
    };
    verdict.finding = (async () => principalFrom(await authenticate(call.call)))().then(
      (principal) => {
        verdict.principal = principal;
        verdict.finding = undefined;
        verdict.asker = undefined;
        // Who is nobody now may be somebody in the next moment: only a yes is kept.
        if (principal === undefined) forget();
        return principal;
      },
      (error: unknown) => {
        forget();
        throw error;
      },
    );
    return verdict;
  }

  /** Verdicts that are kept at this moment. */
  get verdictCount(): number {
    return this.#verdicts.size;
  }

  /** Those that are over go, lest a server that was busy once holds them for ever; they stand in the order in which they end. */
  #makeRoom(nowMs: number): void {
    for (const [key, { untilMs }] of this.#verdicts) {
      if (nowMs < untilMs && this.#verdicts.size < VERDICTS_MAX) break;
      this.#verdicts.delete(key);
    }
  }

  #keyOf(call: ServerCall, facts: ConnectionFacts): string {
    let number = this.#numbers.get(facts);
    if (number === undefined) {
      number = this.#lastNumber += 1;
      this.#numbers.set(facts, number);
    }
    const parts: string[] = [String(number), call.route.plan.info.path];
    for (const part of call.requestPairs ?? []) {
      const text = typeof part === "string" ? part : Buffer.from(part).toString("base64");
      parts.push(`${text.length}:${text}`);
    }
    return parts.join("\n");
  }

  #authorise(call: ServerCall, facts: ConnectionFacts): boolean {
    const canAuthenticate = this.#authenticate !== undefined || facts.door.asksCertificates;
    const rule = call.route.rule ?? (canAuthenticate ? AUTHENTICATED : ANYONE);
    const answer = rule.kind === "anyone" ? true : isAllowed(rule, call.principal, () => call.call);
    if (answer === true) return this.#clamp(call, facts);
    if (answer === false) {
      deny(call);
      return false;
    }
    void answer.then((isYes) => {
      if (call.isOver) return;
      if (!isYes) deny(call);
      else if (this.#clamp(call, facts)) call.identified();
    });
    return false;
  }

  /** A call is critical only if its caller may say so. */
  #clamp(call: ServerCall, facts: ConnectionFacts): boolean {
    if (call.priority !== "critical") return true;
    const rule = this.#critical;
    const answer = rule === undefined ? facts.isTrusted : isAllowed(rule, call.principal, () => call.call);
    if (answer === true) return true;
    if (answer === false) {
      call.priority = "normal";
      return true;
    }
    void answer.then((isYes) => {
      if (!isYes) call.priority = "normal";
      call.identified();
    });
    return false;
  }
}

function principalFrom(found: unknown): Principal | undefined {
  if (found === undefined) return undefined;
  const id = typeof found === "object" && found !== null ? (found as { id?: unknown }).id : undefined;
  if (typeof id !== "string" || id === "") {
    throw new TypeError(
      `authenticate must give undefined or a principal, an object with an id of text, got ${describeValue(found)}`,
    );
  }
  return found as Principal;
}

function deny(call: ServerCall): void {
  if (call.principal === undefined) call.deny("UNAUTHENTICATED", "the caller is not known");
  else call.deny("PERMISSION_DENIED", "the caller may not call this method");
}

/**
 * What `authenticate` threw: its own RpcError is the answer; of anything else, a failed call of its own among them, the caller learns nothing.
 * What such a call asked has been repeated below: that is not to be done again above.
 */
function refuseFor(call: ServerCall, error: unknown): void {
  if (call.isOver) return;
  const thrown = readable(error);
  if (thrown instanceof RpcError && !isNested(thrown)) {
    call.fail(thrown);
    call.handlerEnded();
    return;
  }
  const retryAfterMs = thrown instanceof RpcError ? -1 : undefined;
  call.refuse("UNAVAILABLE", `the caller could not be authenticated (call ${call.id})`, undefined, retryAfterMs);
}
