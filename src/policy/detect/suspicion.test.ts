import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Suspicion, type SuspicionFacts, type SuspicionLook } from "./suspicion.ts";

const NEVER = Number.NEGATIVE_INFINITY;
const NONE = Number.POSITIVE_INFINITY;
type Facts = { -readonly [K in keyof SuspicionFacts]: SuspicionFacts[K] };

/** A connection on which one call began at 0, and nothing came since. */
function silent(changes: Partial<Facts> = {}): Facts {
  return {
    receivedAtMs: NEVER,
    frameAtMs: NEVER,
    outstandingSinceMs: 0,
    p99Ms: Number.NaN,
    rttMs: Number.NaN,
    stallScore: 0,
    stalledUntilMs: NEVER,
    ...changes,
  };
}

interface Seen {
  readonly atMs: number;
  readonly look: SuspicionLook;
}

/** Looks when the detector asks for it, until a time or the end; `script` may change the facts before each look. */
function run(
  suspicion: Suspicion,
  facts: Facts,
  untilMs: number,
  script: (atMs: number, last: SuspicionLook) => void = () => {},
): readonly Seen[] {
  const seen: Seen[] = [];
  let last: SuspicionLook = "trust";
  for (let atMs = 0; atMs <= untilMs && last !== "condemn"; atMs = suspicion.nextLookMs) {
    script(atMs, last);
    last = suspicion.look(atMs, facts);
    assert.equal(suspicion.isSuspect, last !== "trust");
    assert.ok(suspicion.nextLookMs > atMs, "looks go forward");
    seen.push({ atMs, look: last });
  }
  return seen;
}

function firstAt(seen: readonly Seen[], look: SuspicionLook): number {
  return seen.find((one) => one.look === look)?.atMs ?? Number.NaN;
}

describe("suspicion", () => {
  it("suspects after 300 ms of silence, sends one PING, and condemns after 1,000 ms more", () => {
    const seen = run(new Suspicion(), silent(), 10_000);
    assert.deepEqual(seen[0], { atMs: 0, look: "trust" });
    assert.deepEqual(seen[1], { atMs: 300, look: "ping" });
    assert.equal(firstAt(seen, "condemn"), 1_300);
    assert.equal(seen.filter(({ look }) => look === "ping").length, 1);
  });

  it("says condemn again to whoever asks again, and asks for no further look", () => {
    const suspicion = new Suspicion();
    run(suspicion, silent(), 1_300);
    assert.equal(suspicion.look(2_000, silent()), "condemn");
    assert.equal(suspicion.nextLookMs, NONE);
  });

  it("does not look while nothing is outstanding", () => {
    const suspicion = new Suspicion();
    assert.equal(suspicion.look(1e9, silent({ outstandingSinceMs: NONE, receivedAtMs: 0 })), "trust");
    assert.equal(suspicion.nextLookMs, NONE);
  });

  it("waits four p99 of a slow method, eight round trips of a far peer, and never more than 5 s", () => {
    const pingAt = (changes: Partial<Facts>): number => firstAt(run(new Suspicion(), silent(changes), 60_000), "ping");
    assert.equal(pingAt({ p99Ms: 50 }), 300);
    assert.equal(pingAt({ p99Ms: 100 }), 400);
    assert.equal(pingAt({ rttMs: 100 }), 800);
    assert.equal(pingAt({ rttMs: 100, p99Ms: 1_000 }), 4_000);
    assert.equal(pingAt({ p99Ms: 30_000 }), 5_000);
  });

  it("gives the answer four round trips where those are longer than 1,000 ms", () => {
    const seen = run(new Suspicion(), silent({ rttMs: 600 }), 60_000);
    assert.equal(firstAt(seen, "condemn") - firstAt(seen, "ping"), 2_400);
  });

  it("counts silence from the last byte, from the start of the work, and from the end of our own stall, whichever is latest", () => {
    const pingAt = (changes: Partial<Facts>): number => firstAt(run(new Suspicion(), silent(changes), 60_000), "ping");
    assert.equal(pingAt({ receivedAtMs: 200 }), 500);
    assert.equal(pingAt({ receivedAtMs: 200, outstandingSinceMs: 700 }), 1_000);
    assert.equal(pingAt({ receivedAtMs: 200, stalledUntilMs: 5_000 }), 5_300);
  });

  it("stretches both times by our own stall score", () => {
    const seen = run(new Suspicion(), silent({ stallScore: 3 }), 60_000);
    assert.equal(firstAt(seen, "ping"), 1_200);
    assert.equal(firstAt(seen, "condemn"), 1_200 + 4_000);
  });

  it("condemns nobody for the silence of our own stall: a PING in it has its time again", () => {
    const facts = silent();
    const suspicion = new Suspicion();
    run(suspicion, facts, 300);
    // Blocked until 2,300; the timer of the look comes then.
    facts.stalledUntilMs = 2_300;
    assert.equal(suspicion.look(2_300, facts), "suspect");
    facts.receivedAtMs = 2_301;
    assert.equal(suspicion.look(suspicion.nextLookMs, facts), "trust");
  });

  it("trusts again at any byte, within 50 ms", () => {
    const facts = silent();
    const suspicion = new Suspicion();
    const seen = run(suspicion, facts, 900, (atMs) => {
      if (atMs >= 800) facts.receivedAtMs = 790;
    });
    const again = seen.find(({ atMs, look }) => atMs > 300 && look === "trust");
    assert.ok(again !== undefined && again.atMs - 790 <= 50);
    assert.equal(suspicion.isSuspect, false);
  });

  it("takes an answer of the very millisecond of the PING for an answer: in a simulation the round trip may be 0", () => {
    const facts = silent();
    const seen = run(new Suspicion(), facts, 5_000, (atMs, last) => {
      if (last === "ping") facts.receivedAtMs = 300;
      else if (atMs > 400) facts.receivedAtMs = atMs;
    });
    assert.equal(
      seen.some(({ look }) => look === "condemn"),
      false,
    );
  });

  it("lets a handler take 20 s for two PINGs, and condemns nobody", () => {
    const facts = silent();
    const seen = run(new Suspicion(), facts, 20_000, (atMs, last) => {
      // The peer answers PINGs, and nothing else.
      if (last === "ping") facts.receivedAtMs = atMs - 49;
    });
    const pings = seen.filter(({ look }) => look === "ping").map(({ atMs }) => atMs);
    assert.equal(pings.length, 2);
    assert.equal(pings[0], 300);
    assert.ok((pings[1] ?? 0) >= 301 + 1_200, "the second waits four times as long");
    assert.equal(firstAt(seen, "condemn"), Number.NaN);
  });

  it("sends at most two PINGs between HEADERS or DATA frames, and two again after a frame", () => {
    const facts = silent();
    const frames = [30_000, 60_000];
    let sinceFrame = 0;
    run(new Suspicion(), facts, 90_000, (atMs, last) => {
      if (last === "ping") {
        sinceFrame += 1;
        assert.ok(sinceFrame <= 2, `${sinceFrame} PINGs since the last frame`);
        facts.receivedAtMs = atMs - 49;
      }
      if (atMs >= (frames[0] ?? NONE)) {
        assert.equal(sinceFrame, 2);
        frames.shift();
        facts.frameAtMs = atMs;
        facts.receivedAtMs = atMs;
        sinceFrame = 0;
      }
    });
    assert.equal(frames.length, 0);
    assert.equal(sinceFrame, 2);
  });

  it("never condemns without a PING that was not answered: with both used up a silent peer is suspect, no more", () => {
    const facts = silent();
    let pings = 0;
    const seen = run(new Suspicion(), facts, 300_000, (atMs, last) => {
      if (last !== "ping") return;
      pings += 1;
      facts.receivedAtMs = atMs - 49;
    });
    assert.equal(pings, 2);
    assert.equal(firstAt(seen, "condemn"), Number.NaN);
    assert.equal(seen.at(-1)?.look, "suspect");
  });

  it("finds a peer that died with both PINGs used up by the one PING in 5.5 minutes that no server strikes", () => {
    const facts = silent();
    let pings = 0;
    const seen = run(new Suspicion(), facts, 600_000, (atMs, last) => {
      if (last !== "ping") return;
      pings += 1;
      if (pings <= 2) facts.receivedAtMs = atMs - 49;
    });
    const pingsAt = seen.filter(({ look }) => look === "ping").map(({ atMs }) => atMs);
    assert.equal(pingsAt.length, 3);
    assert.ok((pingsAt[2] ?? 0) - (pingsAt[1] ?? 0) > 300_000);
    assert.equal(firstAt(seen, "condemn"), (pingsAt[2] ?? 0) + 1_000);
  });

  it("condemns a peer that did not answer its PING also when its calls were all taken elsewhere", () => {
    const facts = silent();
    const seen = run(new Suspicion(), facts, 5_000, (_atMs, last) => {
      if (last === "ping") facts.outstandingSinceMs = NONE;
    });
    assert.equal(firstAt(seen, "condemn"), 1_300);
  });

  it("keeps a silent peer suspect for 5 s after its work was taken away, then tries it again", () => {
    const facts = silent();
    const suspicion = new Suspicion();
    let pings = 0;
    const seen = run(suspicion, facts, 60_000, (atMs, last) => {
      if (last === "ping") {
        pings += 1;
        facts.receivedAtMs = atMs - 49;
      }
      if (pings === 2 && last === "suspect") facts.outstandingSinceMs = NONE;
    });
    const lastSuspect = seen.findLast(({ look }) => look === "suspect")?.atMs ?? 0;
    const end = seen.at(-1);
    assert.equal(end?.look, "trust");
    assert.equal(suspicion.nextLookMs, NONE);
    const takenAtMs = seen.filter(({ look }) => look === "suspect")[0]?.atMs ?? 0;
    assert.ok(lastSuspect > takenAtMs && (end?.atMs ?? 0) - takenAtMs >= 5_000);
  });

  it("is quick again with the next call after a slow handler has answered", () => {
    const facts = silent();
    const suspicion = new Suspicion();
    run(suspicion, facts, 3_000, (atMs, last) => {
      if (last === "ping") facts.receivedAtMs = atMs - 49;
    });
    Object.assign(facts, { receivedAtMs: 4_000, frameAtMs: 4_000, outstandingSinceMs: NONE });
    suspicion.look(4_000, facts);
    facts.outstandingSinceMs = 5_000;
    assert.equal(suspicion.look(5_000, facts), "trust");
    assert.equal(suspicion.nextLookMs, 5_300);
    assert.equal(suspicion.look(5_300, facts), "ping");
  });

  it("sends no PING while answers flow, however long one call takes", () => {
    const facts = silent();
    const seen = run(new Suspicion(), facts, 20_000, (atMs) => {
      facts.receivedAtMs = Math.floor(atMs / 100) * 100;
      facts.frameAtMs = facts.receivedAtMs;
    });
    assert.equal(
      seen.every(({ look }) => look === "trust"),
      true,
    );
    assert.ok(seen.length < 120, "about three looks a second at most");
  });

  it("condemns nobody for not answering a PING that could not be sent, and asks again after the next frame", () => {
    const facts = silent();
    const suspicion = new Suspicion();
    let refused = 0;
    const seen = run(suspicion, facts, 20_000, (atMs, last) => {
      if (last !== "ping") return;
      refused += 1;
      suspicion.notAsked(atMs);
    });
    assert.ok(refused > 0);
    assert.ok(seen.every(({ look }) => look !== "condemn"));
    assert.equal(suspicion.isSuspect, true);
    Object.assign(facts, { receivedAtMs: 21_000, frameAtMs: 21_000 });
    assert.equal(suspicion.look(21_000, facts), "trust");
    assert.equal(suspicion.look(21_300, facts), "ping");
  });
});
