/**
 * Each invariant can fail: for each there is a history in which it does not hold, and one that differs in little in which it does.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createSimulation } from "holdfast/testing";
import { attemptsWithinBudget } from "./attempt-invariants.ts";
import { converges, repliesFit } from "./call-invariants.ts";
import { type Attempt, type CallNote, History } from "./history.ts";
import { invariants } from "./invariants.ts";
import { type Invariant, judge, type LastLook, type SeenClient, type SeenPeer } from "./look.ts";
import { planUniverse, type UniversePlan } from "./universe-plan.ts";
import { WireTap } from "./wire-tap.ts";

const plan: UniversePlan = { ...planUniverse(1), isCorrupting: false, faults: [] };
const nowMs = 50_000;

/** A world to look at, in which everything is as it should be until a case changes something. */
class Scene {
  readonly history = new History();
  readonly tap = new WireTap(createSimulation().host("c0"), this.history, () => nowMs, 1);
  peers: readonly SeenPeer[] = [];
  plan = plan;
  unhandled: readonly string[] = [];
  lostPeers: ReadonlyMap<string, string> = new Map();
  leftover: Readonly<Record<string, number>> = { timers: 0 };
  closedInMs = 5;
  runningHandlers = 0;

  call(facts: Partial<CallNote> = {}): CallNote {
    const call = this.history.callBegan({
      client: "c0",
      life: 0,
      effect: "none",
      kind: "unary",
      beganAtMs: 1000,
      dueAtMs: 2000,
      attemptsMax: 3,
      isProbe: false,
      ...facts,
    });
    return Object.assign(call, facts);
  }

  /** A call that ended well, and said so. */
  ended(facts: Partial<CallNote> = {}): CallNote {
    const call = this.call(facts);
    call.reports = 1;
    this.history.callEnded(call, 1500, "OK");
    return Object.assign(call, facts);
  }

  attempt(call: CallNote, facts: Partial<Attempt> = {}): Attempt {
    const where = {
      call,
      peer: "a",
      connection: 0,
      stream: 1,
      sentAtMs: 1000,
      usablePeers: [],
      isRequestChecked: true,
    };
    return Object.assign(this.history.attemptBegan({ ...where, ...facts }), facts);
  }

  ran(call: CallNote, times: number): void {
    for (let time = 0; time < times; time++) this.history.executed(call, { host: "shop/0", boot: 1, beganAtMs: 1100 });
  }

  /** A connection with a stream of this attempt. */
  opened(attempt: Attempt): void {
    const connection = this.tap.connecting("a", () => 0);
    connection.readyAtMs = 0;
    connection.streams.set(1, { attempt, isLocalEnded: true, isRemoteEnded: false, bytes: 0, prefix: [] });
  }

  look(): LastLook {
    const client: SeenClient = { host: "c0", life: 0, tap: this.tap, peers: this.peers };
    return {
      nowMs,
      plan: this.plan,
      history: this.history,
      fresh: this.history.takeFresh(),
      clients: [client],
      unhandled: this.unhandled,
      lostPeers: this.lostPeers,
      leftovers: [{ host: "c0", counts: this.leftover }],
      closedInMs: new Map([["shop/0", this.closedInMs]]),
      runningHandlers: new Map([["shop/0", this.runningHandlers]]),
    };
  }
}

const failed = { end: "lost", endedAtMs: 1200 } as const;
const answered = { end: "status", status: 14, endedAtMs: 1200 } as const;
const ready = { health: "ready", why: "ready", inFlight: 0 } as const;

/** What breaks it, and what nearly does. */
const cases: Readonly<Record<string, { readonly bad: (scene: Scene) => void; readonly good: (scene: Scene) => void }>> =
  {
    "settles-once": { bad: (scene) => scene.ended({ reports: 2 }), good: (scene) => scene.ended() },
    "ends-in-time": {
      bad: (scene) => scene.ended({ endedAtMs: 2005.1 }),
      good: (scene) => {
        scene.ended({ endedAtMs: 2005 });
        // Its process stood still.
        scene.plan = { ...plan, faults: [{ kind: "freeze", peer: "c0", atMs: 1900, forMs: 1000 }] };
        scene.ended({ endedAtMs: 2904 });
      },
    },
    "runs-once": {
      bad: (scene) => scene.ran(scene.ended({ effect: "once" }), 2),
      good: (scene) => scene.ran(scene.ended({ effect: "idempotent" }), 2),
    },
    "keeps-answers": {
      bad: (scene) => {
        scene.plan = { ...plan, servers: { ...plan.servers, journal: "memory" } };
        scene.ran(scene.ended(), 2);
      },
      good: (scene) => {
        scene.plan = { ...plan, servers: { ...plan.servers, journal: "memory" } };
        // A process started anew has another memory.
        const call = scene.ended();
        for (const boot of [1, 2]) scene.history.executed(call, { host: "shop/0", boot, beganAtMs: 1100 });
        scene.ran(scene.ended({ kind: "bidi" }), 2);
      },
    },
    "answers-were-run": {
      bad: (scene) => scene.ended({ effect: "once" }),
      good: (scene) => {
        scene.ran(scene.call({ effect: "once" }), 1);
        scene.ended({ effect: "once", outcome: "ABORTED" });
      },
    },
    "runs-within-attempts": {
      bad: (scene) => scene.ran(scene.ended(), 4),
      good: (scene) => scene.ran(scene.ended(), 3),
    },
    "replies-fit": { bad: (scene) => scene.ended({ wrong: "the reply is another's" }), good: (scene) => scene.ended() },
    "reached-is-true": {
      bad: (scene) => scene.ran(scene.ended({ reached: "no" }), 1),
      good: (scene) => scene.ran(scene.ended({ reached: "maybe" }), 1),
    },
    "counters-add-up": {
      bad: (scene) => void scene.attempt(scene.ended({ toldAttempts: 0 })),
      good: (scene) => void scene.attempt(scene.ended({ toldAttempts: 1 })),
    },
    "no-unhandled-rejection": {
      bad: (scene) => {
        scene.unhandled = ["unhandled: Error: lost"];
      },
      good: () => {},
    },
    converges: {
      bad: (scene) => scene.ended({ isProbe: true, outcome: "UNAVAILABLE" }),
      good: (scene) => scene.ended({ outcome: "UNAVAILABLE" }),
    },
    "no-attempt-after-end": {
      bad: (scene) => void scene.attempt(scene.ended(), { sentAtMs: 1500.5, ...failed }),
      good: (scene) => void scene.attempt(scene.ended(), { sentAtMs: 1500, ...failed }),
    },
    "repeats-as-allowed": {
      bad: (scene) => again(scene, { effect: "unknown" }, failed),
      good: (scene) => {
        again(scene, { effect: "unknown" }, { ...failed, end: "unprocessed" });
        again(scene, { effect: "none" }, { ...failed, end: "status", status: 14 });
        again(scene, { effect: "none" }, { ...failed, end: "status", status: 8, pushbackMs: 1 });
      },
    },
    "no-attempt-after-commit": {
      bad: (scene) => again(scene, { kind: "server-stream" }, { ...failed, repliedAtMs: 1100 }),
      good: (scene) => {
        again(scene, { kind: "server-stream" }, { ...failed, answeredAtMs: 1100 });
        again(scene, { kind: "unary" }, { ...failed, repliedAtMs: 1100 });
      },
    },
    "attempts-within-limit": {
      bad: (scene) => tries(scene, 4 + plan.servers.replicas),
      good: (scene) => tries(scene, 3 + plan.servers.replicas),
    },
    "no-excluded-pick": {
      bad: (scene) => again(scene, {}, { ...answered, usableAtEnd: ["b"] }, { peer: "a", usablePeers: ["a", "b"] }),
      good: (scene) => {
        again(scene, {}, { ...answered, usableAtEnd: ["b"] }, { peer: "b", usablePeers: ["a", "b"] });
        // A connection has died under it: it shares no peer with another such call for a while.
        again(scene, {}, { ...failed, usableAtEnd: ["b"] }, { peer: "a", usablePeers: ["a", "b"] });
        // The other came only then.
        again(scene, {}, { ...failed, usableAtEnd: [] }, { peer: "a", usablePeers: ["a", "b"] });
      },
    },
    "pushback-is-obeyed": {
      bad: (scene) => again(scene, {}, { ...failed, end: "status", status: 14, pushbackMs: -1 }, { peer: "b" }),
      good: (scene) => again(scene, {}, { ...failed, end: "status", status: 14, pushbackMs: 500 }, { peer: "b" }),
    },
    "attempts-end-with-call": {
      bad: (scene) => scene.opened(scene.attempt(scene.ended())),
      good: (scene) => scene.opened(scene.attempt(scene.ended({ endedAtMs: nowMs - 10 }))),
    },
    "attempts-within-budget": {
      bad: (scene) => repeated(scene, 20, 20),
      good: (scene) => {
        repeated(scene, 110, 20);
        for (let count = 0; count < 40; count++) again(scene, {}, { ...failed, end: "unprocessed" });
      },
    },
    "copies-within-share": {
      bad: (scene) => repeated(scene, 60, 3, { endedAtMs: 1400 }),
      good: (scene) => repeated(scene, 60, 2, { endedAtMs: 1400 }),
    },
    "ejected-at-most-half": {
      bad: (scene) => {
        scene.peers = ["ejected", "ejected", "ready"].map((health) => ({ ...ready, health, address: health }));
      },
      good: (scene) => {
        scene.peers = ["ejected", "suspect", "ready"].map((health) => ({ ...ready, health, address: health }));
      },
    },
    "in-flight-adds-up": {
      bad: (scene) => {
        scene.peers = [{ ...ready, address: "a" }];
        scene.opened(scene.attempt(scene.call()));
      },
      good: (scene) => {
        scene.peers = [{ ...ready, address: "a", inFlight: 1 }];
        scene.opened(scene.attempt(scene.call()));
      },
    },
    "nothing-in-flight-at-last": {
      bad: (scene) => {
        scene.peers = [{ ...ready, address: "a", inFlight: 1 }];
      },
      good: (scene) => {
        scene.peers = [{ ...ready, address: "a" }];
      },
    },
    "nothing-left-open": {
      bad: (scene) => {
        scene.leftover = { timers: 0, holds: 1 };
      },
      good: () => {},
    },
    "slots-come-back": {
      bad: (scene) => {
        scene.closedInMs = 20_000;
      },
      good: () => {},
    },
  };

/** A call whose copy was sent at 1100 ms, beside its first attempt, and ended first; when that had ended too, a third followed. */
function afterCopy(scene: Scene, first: Partial<Attempt>, copy: Partial<Attempt>): void {
  const call = scene.call();
  scene.attempt(call, { ...failed, ...first, endedAtMs: 1250 });
  scene.attempt(call, { ...failed, ...copy, peer: "b", sentAtMs: 1100, endedAtMs: 1200 });
  scene.attempt(call, { peer: "c", sentAtMs: 1300 });
}

/** A call with two attempts: the second at 1300 ms. */
function again(scene: Scene, call: Partial<CallNote>, first: Partial<Attempt>, second: Partial<Attempt> = {}): void {
  const note = scene.call(call);
  scene.attempt(note, first);
  scene.attempt(note, { sentAtMs: 1300, ...second });
}

function tries(scene: Scene, count: number): void {
  const call = scene.call();
  for (let number = 0; number < count; number++) scene.attempt(call, { ...failed, end: "unprocessed" });
}

/** So many calls, of which some went to a second peer: after a failure, or beside it. */
function repeated(scene: Scene, calls: number, repeats: number, first: Partial<Attempt> = {}): void {
  for (let count = 0; count < calls - repeats; count++) scene.ended();
  for (let count = 0; count < repeats; count++) again(scene, {}, { ...failed, ...first }, { peer: "b" });
}

function wrong(invariant: Invariant, make: (scene: Scene) => void): string | undefined {
  const scene = new Scene();
  make(scene);
  const look = scene.look();
  const found = judge([invariant], look, ({ always, atLast }) => always?.(look) ?? atLast?.(look));
  return found?.text;
}

for (const invariant of invariants) {
  const { name, claim } = invariant;
  test(`${name}: ${claim}`, () => {
    const known = cases[name];
    assert.ok(known !== undefined, "an invariant without a case that breaks it");
    assert.notEqual(wrong(invariant, known.bad), undefined);
    assert.equal(wrong(invariant, known.good), undefined);
  });
}

test("a repeat is free or charged by the failure that came last, not by that of the youngest attempt", () => {
  // 110 calls allow 21 repeats and copies, and one. Each of 15 has a copy, which is charged; with their repeats they would be 30.
  const calls = (first: Partial<Attempt>, copy: Partial<Attempt>) => (scene: Scene) => {
    for (let count = 0; count < 95; count++) scene.ended();
    for (let count = 0; count < 15; count++) afterCopy(scene, first, copy);
  };
  assert.equal(wrong(attemptsWithinBudget, calls({ end: "unprocessed" }, answered)), undefined);
  const found = wrong(attemptsWithinBudget, calls(answered, { end: "unprocessed" }));
  assert.match(found ?? "", /^30 repeats and copies of c0 /);
});

test("where bits flip, the reply to a stream of requests is held against what a handler answered", () => {
  const isWrong = (facts: Partial<CallNote>, isCorrupting: boolean, isRequestChecked = true): boolean =>
    wrong(repliesFit, (scene) => {
      const clients = plan.clients.map((client) => ({ ...client, preset: "standard" as const }));
      scene.plan = { ...plan, clients, isCorrupting };
      const call = scene.ended({ wrong: "the reply is another's", ...facts });
      scene.attempt(call, { end: "status", status: 0, isRequestChecked });
    }) !== undefined;
  const given = { kind: "client-stream", isReplyChanged: false } as const;
  assert.equal(isWrong(given, true), false, "its requests have no checksums");
  assert.equal(isWrong(given, false), true, "no bit was flipped");
  assert.equal(isWrong({ ...given, isReplyChanged: true }, true), true, "its reply has one");
  assert.equal(isWrong({ kind: "unary" }, true), true, "both have one");
  assert.equal(isWrong({ kind: "unary" }, true, false), false, "its connection had brought no reply before");
  assert.equal(isWrong({ kind: "unary" }, false, false), true, "no bit was flipped");
});

test("a probe may fail in the calm only where the link itself loses segments, and all its attempts were lost", () => {
  const isWrong = (lossShare: number, ends: readonly Attempt["end"][]): boolean =>
    wrong(converges, (scene) => {
      scene.plan = { ...plan, link: { ...plan.link, lossShare } };
      const call = scene.ended({ isProbe: true, outcome: "UNAVAILABLE", attemptsMax: 2 });
      for (const end of ends) scene.attempt(call, { ...failed, end });
    }) !== undefined;
  assert.equal(isWrong(0.1, ["lost", "lost"]), false);
  assert.equal(isWrong(0, ["lost", "lost"]), true, "nothing loses segments");
  assert.equal(isWrong(0.1, ["lost"]), true, "it had another attempt");
  assert.equal(isWrong(0.1, ["lost", "status"]), true, "it was answered");
  assert.equal(isWrong(0.1, []), true, "it found no peer");
});

test("a peer that no look finds ready after the storm is not taken for one that is made anew", () => {
  const lost = wrong(converges, (scene) => {
    scene.lostPeers = new Map([["to c0 its peer a", "connecting"]]);
  });
  assert.match(lost ?? "", /to c0 its peer a is connecting, long after the last fault/);
});

test("there are no cases for what is no invariant, and no name twice", () => {
  const names = invariants.map(({ name }) => name);
  assert.deepEqual(Object.keys(cases).sort(), [...names].sort());
  assert.equal(new Set(names).size, names.length);
});

test("what awaits something, and what cannot hold when bits flip, is not judged", () => {
  const never: Invariant = { name: "x", claim: "x", bearsCorruption: false, always: () => "wrong" };
  const scene = new Scene();
  const ask = (invariant: Invariant): string | undefined => invariant.always?.(scene.look());
  assert.equal(judge([never], scene.look(), ask)?.invariant, "x");
  assert.equal(judge([{ ...never, awaits: "y" }], scene.look(), ask), undefined);
  scene.plan = { ...plan, isCorrupting: true };
  assert.equal(judge([never], scene.look(), ask), undefined);
  assert.equal(judge([{ ...never, bearsCorruption: true }], scene.look(), ask)?.text, "wrong");
});
