/**
 * Races whose every outcome is drawn: when the name resolves and to how many addresses, what becomes of each dial and when, when
 * the owner or the peer ends it. What must come of it is worked out beside the code, in {@link expected}.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { NetworkRecorder } from "../../testing/network-recorder.ts";
import { nodeWorld } from "../../world/node.ts";
import type { NetworkError, ResolveResult, Socket, SocketEvents } from "../../world/network.ts";
import type { Timer } from "../../world/timers.ts";
import type { World } from "../../world/world.ts";
import { connectRacing } from "./happy-eyeballs.ts";

/** What becomes of one dial, so many milliseconds after it began. */
interface Fate {
  readonly ends: "opened" | "failed" | "never";
  readonly afterMs: number;
}

interface Plan {
  readonly resolves: "addresses" | "error" | "never";
  readonly resolveMs: number;
  readonly fates: readonly Fate[];
  readonly destroyAtMs: number | undefined;
  /** The peer ends the winner so long after it has won. */
  readonly peerEndsAfterMs: number | undefined;
}

const DELAY_MS = 100;

const afterMs = fc.oneof(
  fc.integer({ min: 1, max: 500 }),
  fc.constantFrom(1, DELAY_MS - 1, DELAY_MS, DELAY_MS + 1, 2 * DELAY_MS),
);
const planned: fc.Arbitrary<Plan> = fc.record({
  resolves: fc.oneof({ weight: 6, arbitrary: fc.constant("addresses" as const) }, fc.constantFrom("error", "never")),
  resolveMs: fc.integer({ min: 0, max: 50 }),
  fates: fc.array(
    fc.record({
      ends: fc.oneof({ weight: 3, arbitrary: fc.constant("failed" as const) }, fc.constantFrom("opened", "never")),
      afterMs,
    }),
    { minLength: 1, maxLength: 8 },
  ),
  destroyAtMs: fc.option(fc.integer({ min: 0, max: 1500 }), { nil: undefined }),
  peerEndsAfterMs: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
});

/** A clock with what is due on it, as little of it as a race needs. */
class Agenda {
  nowMs = 0;
  #order = 0;
  readonly #due = new Map<object, { readonly atMs: number; readonly order: number; readonly act: () => void }>();

  get size(): number {
    return this.#due.size;
  }

  at(atMs: number, act: () => void): () => void {
    const key = {};
    this.#due.set(key, { atMs, order: this.#order++, act });
    return () => this.#due.delete(key);
  }

  run(untilMs: number): void {
    for (;;) {
      const next = [...this.#due].toSorted(([, a], [, b]) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined || next[1].atMs > untilMs) break;
      this.#due.delete(next[0]);
      this.nowMs = next[1].atMs;
      next[1].act();
    }
    this.nowMs = untilMs;
  }
}

/** A socket that ends as it is told to, and keeps the port's contract. */
class FatedSocket implements Socket {
  readonly queuedBytes = 0;
  readonly localAddress = "here";
  readonly remoteAddress: string;
  readonly tls = undefined;
  state: "running" | "opened" | "closing" | "closed" = "running";
  readonly #agenda: Agenda;
  readonly #events: SocketEvents;
  readonly #cancels: (() => void)[] = [];

  constructor(agenda: Agenda, fate: Fate, host: string, plan: Plan, events: SocketEvents) {
    this.#agenda = agenda;
    this.#events = events;
    this.remoteAddress = host;
    if (fate.ends === "never") return;
    const outcome = (): void => {
      if (fate.ends === "failed") {
        this.#close({ phase: "connect", code: "ECONNREFUSED", text: `${host} refuses` });
        return;
      }
      this.state = "opened";
      if (plan.peerEndsAfterMs !== undefined) this.#later(plan.peerEndsAfterMs, () => this.#close(undefined));
      events.opened();
    };
    this.#later(fate.afterMs, outcome);
  }

  write(): void {}
  writeAll(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {
    if (this.state === "closing" || this.state === "closed") return;
    this.state = "closing";
    for (const cancel of this.#cancels) cancel();
    this.#later(0, () => this.#close(undefined));
  }

  #later(ms: number, act: () => void): void {
    this.#cancels.push(this.#agenda.at(this.#agenda.nowMs + ms, act));
  }

  #close(error: NetworkError | undefined): void {
    this.state = "closed";
    this.#events.closed(error);
  }
}

interface Outcome {
  readonly told: readonly (readonly [what: string, atMs: number, code?: string])[];
  readonly dialsMs: readonly number[];
  readonly states: readonly FatedSocket["state"][];
  readonly left: number;
}

/** Runs a plan until `END_MS`. */
const END_MS = 10_000;
function played(plan: Plan): Outcome {
  const agenda = new Agenda();
  const told: [string, number, string?][] = [];
  const owner = new NetworkRecorder({
    opened: () => told.push(["opened", agenda.nowMs]),
    closed: (error) => told.push(error === undefined ? ["closed", agenda.nowMs] : ["closed", agenda.nowMs, error.code]),
  });
  const dialsMs: number[] = [];
  const sockets: FatedSocket[] = [];
  const result: ResolveResult =
    plan.resolves === "error"
      ? { error: { phase: "resolve", code: "ENOTFOUND", text: "gone" } }
      : { addresses: plan.fates.map((_, index) => `10.0.0.${index}`) };
  const schedule = (delayMs: number, callback: () => void): Timer => ({
    cancel: agenda.at(agenda.nowMs + delayMs, callback),
  });
  const world: World = {
    ...nodeWorld,
    clock: { monotonicMs: () => agenda.nowMs, wallMs: () => agenda.nowMs },
    timers: {
      schedule,
      hold: () => ({ cancel: () => undefined }),
      afterTurn: (callback) => void agenda.at(agenda.nowMs, callback),
    },
    network: {
      ...nodeWorld.network,
      resolve: (_, done) =>
        plan.resolves === "never" ? () => undefined : agenda.at(agenda.nowMs + plan.resolveMs, () => done(result)),
      connect: (address, _, events) => {
        const fate = plan.fates[dialsMs.length];
        assert.ok(fate !== undefined && address.kind === "tcp", "nothing is dialled twice");
        assert.equal(address.host, `10.0.0.${dialsMs.length}`);
        dialsMs.push(agenda.nowMs);
        const socket = new FatedSocket(agenda, fate, address.host, plan, events);
        sockets.push(socket);
        return socket;
      },
    },
  };
  const shop = { kind: "tcp", host: "shop.test", port: 80 } as const;
  const socket = connectRacing(world, shop, { tls: undefined, alpn: [], attemptDelayMs: DELAY_MS }, owner);
  if (plan.destroyAtMs !== undefined) agenda.at(plan.destroyAtMs, () => owner.during(() => socket.destroy()));
  agenda.run(END_MS);
  assert.equal(owner.wasNested, false);
  return { told, dialsMs, states: sockets.map(({ state }) => state), left: agenda.size };
}

/** When the race is decided, and how, if its owner does nothing. */
function expected(plan: Plan): { readonly what: "opened" | "closed" | "nothing"; readonly atMs: number } {
  if (plan.resolves !== "addresses") {
    return plan.resolves === "error"
      ? { what: "closed", atMs: plan.resolveMs }
      : { what: "nothing", atMs: Number.POSITIVE_INFINITY };
  }
  let dialMs = plan.resolveMs;
  let openMs = Number.POSITIVE_INFINITY;
  let lastFailureMs = 0;
  for (const { ends, afterMs } of plan.fates) {
    // Somebody has won before this one's turn.
    if (openMs < dialMs) break;
    const endMs = ends === "never" ? Number.POSITIVE_INFINITY : dialMs + afterMs;
    if (ends === "opened") openMs = Math.min(openMs, endMs);
    else lastFailureMs = Math.max(lastFailureMs, endMs);
    dialMs = Math.min(dialMs + DELAY_MS, ends === "failed" ? endMs : Number.POSITIVE_INFINITY);
  }
  if (openMs < Number.POSITIVE_INFINITY) return { what: "opened", atMs: openMs };
  if (lastFailureMs < Number.POSITIVE_INFINITY) return { what: "closed", atMs: lastFailureMs };
  return { what: "nothing", atMs: lastFailureMs };
}

describe("a race, whatever becomes of its dials", () => {
  it("tells opened and then closed, or closed alone, each once and nothing after it", () => {
    fc.assert(
      fc.property(planned, (plan) => {
        const { told } = played(plan);
        const words = told.map(([what]) => what).join();
        assert.ok(["", "opened", "closed", "opened,closed"].includes(words), words);
        if (plan.destroyAtMs !== undefined) assert.ok(words.endsWith("closed"), "a destroyed socket closes");
      }),
      { numRuns: 2000 },
    );
  });

  it("is won by the first to open, or lost with the last to fail, at that moment", () => {
    fc.assert(
      fc.property(planned, (plan) => {
        const { what, atMs } = expected(plan);
        const { told } = played(plan);
        const { destroyAtMs = Number.POSITIVE_INFINITY } = plan;
        // In the same millisecond either may come first.
        if (destroyAtMs === atMs) return;
        if (destroyAtMs < atMs) {
          assert.deepEqual(told, [["closed", destroyAtMs]]);
        } else if (what === "nothing") {
          assert.deepEqual(told, []);
        } else {
          assert.deepEqual(told[0]?.slice(0, 2), [what, atMs]);
          assert.equal(told[0]?.[2] !== undefined, what === "closed", "an error exactly when nobody won");
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("dials in order, no sooner than the delay unless the one before has failed", () => {
    fc.assert(
      fc.property(planned, (plan) => {
        const { dialsMs } = played(plan);
        for (let at = 1; at < dialsMs.length; at++) {
          const before = plan.fates[at - 1] as Fate;
          const gapMs = (dialsMs[at] as number) - (dialsMs[at - 1] as number);
          assert.equal(gapMs, before.ends === "failed" ? Math.min(DELAY_MS, before.afterMs) : DELAY_MS);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("leaves no timer, and no socket but the winner's", () => {
    fc.assert(
      fc.property(planned, (plan) => {
        const { told, states, left } = played(plan);
        assert.equal(left, 0, "nothing waits any more");
        const isDecided = told.length > 0;
        const isWon = told.length === 1 && told[0]?.[0] === "opened";
        assert.equal(states.filter((state) => state === "opened").length, isWon ? 1 : 0);
        if (isDecided) assert.ok(states.every((state) => state === "closed" || (isWon && state === "opened")));
      }),
      { numRuns: 1000 },
    );
  });
});
