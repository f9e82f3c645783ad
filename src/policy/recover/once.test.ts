import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AnnouncedStore, NO_STORE } from "../../call/dedup.ts";
import { meaningOfOnce, type OnceFailure, type OnceMeaning } from "./once.ts";

const X: AnnouncedStore = { id: "x", scope: "process" };
/** A first attempt whose connection was lost, on which nothing had been answered. */
const LOST: OnceFailure = {
  code: "UNAVAILABLE",
  reason: "CONNECTION_LOST",
  reached: "maybe",
  isAnswered: false,
  announced: undefined,
  heard: undefined,
  isBound: false,
  isRepeat: false,
  retryAfterMs: undefined,
};
/** A first attempt whose handler, or a proxy, answered UNAVAILABLE. */
const ANSWERED: OnceFailure = { ...LOST, reason: undefined, reached: "yes", isAnswered: true };
/** A server's refusal that no handler has seen. */
const REFUSED: OnceFailure = { ...ANSWERED, reached: "no" };

describe("a failed attempt of a once call", () => {
  const table: readonly [name: string, change: Partial<OnceFailure>, base: OnceFailure, meaning: OnceMeaning][] = [
    ["lost", {}, LOST, "ambiguous"],
    ["lost while it was answered", { reached: "yes", announced: X, heard: X }, LOST, "ambiguous"],
    ["altered on its way", { code: "DATA_LOSS", reason: "CORRUPT", reached: "yes" }, LOST, "ambiguous"],
    ["never left", { reached: "no" }, LOST, "unreached"],
    ["refused", {}, REFUSED, "unreached"],
    ["refused by one that has another store", { isBound: true, reason: "OUTCOME_UNKNOWN" }, REFUSED, "unreached"],
    ["refused for its key's age", { reason: "OUTCOME_UNKNOWN", announced: X }, REFUSED, "answer"],
    ["refused for its key's other request", { isBound: true, reason: "KEY_CONFLICT" }, REFUSED, "answer"],
    ["not known to its own store", { isBound: true, reason: "OUTCOME_UNKNOWN", announced: X }, ANSWERED, "answer"],
    ["answered, and kept", { announced: X, heard: X }, ANSWERED, "answer"],
    ["answered, and kept by a proxy's server", { announced: X, heard: NO_STORE }, ANSWERED, "answer"],
    ["a repeat that was answered, and kept", { announced: X, heard: X, isRepeat: true }, ANSWERED, "answer"],
    ["told to come back", { announced: X, code: "RESOURCE_EXHAUSTED", retryAfterMs: 0 }, ANSWERED, "ambiguous"],
    ["told not to", { announced: X, code: "RESOURCE_EXHAUSTED", retryAfterMs: -1 }, ANSWERED, "answer"],
    ["overloaded without a word", { announced: X, code: "RESOURCE_EXHAUSTED" }, ANSWERED, "answer"],
    ["answered where nothing is kept", { heard: NO_STORE }, ANSWERED, "answer"],
    ["answered where nothing is known", {}, ANSWERED, "answer"],
    ["answered by a proxy in front of a store", { heard: X }, ANSWERED, "ambiguous"],
    ["a repeat that a proxy answered", { heard: undefined, isRepeat: true }, ANSWERED, "ambiguous"],
    ["answered with two stores", { announced: NO_STORE, heard: NO_STORE }, ANSWERED, "answer"],
  ];
  for (const [name, change, base, meaning] of table) {
    it(`${name}: ${meaning}`, () => assert.equal(meaningOfOnce({ ...base, ...change }), meaning));
  }
});
