/**
 * Bugs to plant in the production code, each of which the simulator must find: they show that it can. A bug is a change of one text in
 * one file, made while that file is loaded (plant.ts); a new one is a new entry.
 */

export interface PlantedBug {
  readonly name: string;
  /** What goes wrong with it, in a sentence. */
  readonly what: string;
  /** From the repository's root. */
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The invariants by which it may be found. */
  readonly expects: readonly string[];
}

/** Says to a process which bug to plant, by name. */
export const plantedBugVariable = "HOLDFAST_PLANTED_BUG";

/** CPU time in which each must be found: under a minute of one core, whatever else the machine does. */
export const plantedCpuSecondsMax = 55;

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: "exclude-list-ignored",
    what: "a repeat may go to the peer that failed",
    file: "src/client/client-call.ts",
    find: "const peer = channel.pick(nowMs, this.#excluded(nowMs), this.isReplyStream, this.policy.gate);",
    replace: "const peer = channel.pick(nowMs, undefined, this.isReplyStream, this.policy.gate);",
    expects: ["no-excluded-pick"],
  },
  {
    name: "unknown-repeated",
    what: "a call of effect unknown is repeated after it may have run",
    file: "src/policy/recover/attempts.ts",
    find: 'return effect === "none" || effect === "idempotent" || (effect === "once" && isDeduplicated);',
    replace: 'return effect !== "once" || isDeduplicated;',
    expects: ["repeats-as-allowed", "runs-once"],
  },
  {
    name: "commit-ignored",
    what: "a reply stream begins anew although replies have been read",
    file: "src/client/client-call.ts",
    find: "isCommitted: this.isCommitted(attempt),\n      retryAfterMs:",
    replace: "isCommitted: false,\n      retryAfterMs:",
    expects: ["no-attempt-after-commit", "replies-fit"],
  },
  {
    name: "pushback-ignored",
    what: "a server that asks not to be called again is not heard",
    file: "src/wire/transport/client-attempt.ts",
    find: "this.retryAfterMs = /^-?\\d{1,9}$/.test(field.value) ? Number(field.value) : -1;",
    replace: "",
    expects: ["pushback-is-obeyed"],
  },
  {
    name: "copy-not-charged",
    what: "copies are made while there is any budget, and take nothing from it",
    file: "src/client/client-call.ts",
    find: "!state.budget.takeCopy(nowMs)",
    replace: "!state.budget.mayRepeat(nowMs)",
    expects: ["copies-within-share", "attempts-within-budget"],
  },
  {
    name: "budget-not-withdrawn",
    what: "repeats take nothing from the budget",
    file: "src/policy/recover/budget.ts",
    find: "    if (!this.mayRepeat(nowMs)) return false;\n    this.countTaken();",
    replace: "    if (this.mayRepeat(nowMs)) return true;\n    this.countTaken();",
    expects: ["attempts-within-budget"],
  },
  {
    name: "loser-not-cancelled",
    what: "an attempt that nobody waits for any more goes on",
    file: "src/wire/transport/client-attempt.ts",
    find: "    if (this.isEnded) return;\n    this.isEnded = true;\n    this.#leave(CANCEL);\n  }",
    replace: "    this.isEnded = true;\n  }",
    expects: ["attempts-end-with-call"],
  },
  {
    name: "deadline-not-armed",
    what: "a call does not end at its deadline by itself",
    file: "src/client/client-call.ts",
    find: "      this.deadlineMs,\n      this.#copyAtMs,",
    replace: "      this.#copyAtMs,",
    expects: ["ends-in-time"],
  },
  {
    name: "waiting-call-kept",
    what: "a call that ends while it waits for a peer stays in the queue",
    file: "src/client/client-call.ts",
    find: "if (this.isWaiting) this.channel.stopWaiting(this);",
    replace: "",
    expects: ["no-attempt-after-end", "nothing-left-open", "reached-is-true"],
  },
  {
    name: "never-dialled-again",
    what: "a peer whose dial failed is not dialled again",
    file: "src/wire/transport/peer-link.ts",
    find: 'if (this.state === "backoff") this.#dialNow();',
    replace: 'if (this.state === "backoff") void 0;',
    expects: ["converges", "ends-in-time"],
  },
  {
    name: "slot-not-released",
    what: "the server keeps the slot of a call that was cancelled",
    file: "src/server/server-call.ts",
    find: "    if (this.isReleased) return;\n    this.isReleased = true;",
    replace: "    if (this.isReleased || this.isCancelled) return;\n    this.isReleased = true;",
    expects: ["slots-come-back", "converges"],
  },
  {
    name: "drain-forgets-calls",
    what: "a server that drains says of calls it runs that it did not take them",
    file: "src/wire/transport/server-connection.ts",
    find: 'this.engine.goAway(NO_ERROR, this.engine.lastPeerId, "drain");',
    replace: 'this.engine.goAway(NO_ERROR, 0, "drain");',
    expects: ["runs-once", "reached-is-true", "runs-within-attempts"],
  },
  {
    name: "not-run-mark-on-everything",
    what: "a server says of calls that have run that they have not",
    file: "src/server/server-call.ts",
    find: "  return { code, text, metadata: undefined, details: undefined, retryAfterMs: undefined, isNotRun: false };",
    replace:
      "  return { code, text, metadata: undefined, details: undefined, retryAfterMs: undefined, isNotRun: true };",
    expects: ["runs-once", "reached-is-true", "runs-within-attempts"],
  },
];
