import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Breaker, REFUSED } from "./breaker.ts";

const HALF = 0.5;

function shutBreaker(nowMs = 0): Breaker {
  const breaker = new Breaker();
  for (let i = 0; i < 5; i++) breaker.failed(breaker.admit(nowMs), nowMs, "INTERNAL", HALF);
  return breaker;
}

describe("a gate", () => {
  it("is shut by the fifth fault in a row, and says why", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 4; i++) assert.equal(breaker.failed(breaker.admit(0), 0, "INTERNAL", HALF), undefined);
    assert.equal(breaker.failed(breaker.admit(0), 0, "UNAVAILABLE (refused)", HALF), "shut");
    assert.equal(breaker.why, "5 faults in a row, the last: UNAVAILABLE (refused)");
    assert.equal(breaker.admit(1), REFUSED);
  });

  it("stays open where a success interrupts the row", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 12; i++) {
      // Of twelve attempts a third is good: too few attempts to have a share.
      if (i % 3 === 2) breaker.succeeded(breaker.admit(i), i);
      else breaker.failed(breaker.admit(i), i, "INTERNAL", HALF);
    }
    assert.equal(breaker.state, "closed");
  });

  it("is shut by a share below 0.8 of at least 20 attempts, and not at 0.8", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 16; i++) breaker.succeeded(breaker.admit(0), 0);
    for (let i = 0; i < 4; i++) breaker.failed(breaker.admit(0), 0, "INTERNAL", HALF);
    assert.equal(breaker.state, "closed", "16 of 20");
    breaker.succeeded(breaker.admit(0), 0);
    breaker.failed(breaker.admit(0), 0, "INTERNAL", HALF);
    assert.equal(breaker.state, "shut");
    assert.equal(breaker.why, "77 % of 22 attempts succeeded");
  });

  it("has the share of 30 s: half bad is shut at 20 attempts in that time, and never at fewer", () => {
    const stateAfter = (everyMs: number): string => {
      const breaker = new Breaker();
      for (let i = 0; i < 60 && breaker.state === "closed"; i++) {
        breaker.failed(breaker.admit(i * everyMs), i * everyMs, "INTERNAL", HALF);
        breaker.succeeded(breaker.admit(i * everyMs), i * everyMs);
      }
      return breaker.state;
    };
    assert.equal(stateAfter(2_000), "shut");
    assert.equal(stateAfter(4_000), "closed");
  });

  it("is shut for 5 s with equal jitter, twice as long each time, 300 s at most", () => {
    for (const [chance, firstMs] of [
      [0, 2_500],
      [HALF, 3_750],
    ] as const) {
      const breaker = new Breaker();
      for (let i = 0; i < 5; i++) breaker.failed(breaker.admit(0), 0, "INTERNAL", chance);
      assert.equal(breaker.untilMs, firstMs);
    }
    const breaker = shutBreaker();
    const lasted: number[] = [];
    for (let i = 0; i < 9; i++) {
      const nowMs = breaker.untilMs;
      breaker.failed(breaker.admit(nowMs), nowMs, "INTERNAL", 1);
      lasted.push(breaker.untilMs - nowMs);
    }
    assert.deepEqual(lasted, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000, 300_000]);
  });

  it("takes a step off the next time for each 30 s of health", () => {
    const breaker = shutBreaker();
    let nowMs = breaker.untilMs;
    breaker.failed(breaker.admit(nowMs), nowMs, "INTERNAL", 1);
    nowMs = breaker.untilMs;
    assert.equal(breaker.succeeded(breaker.admit(nowMs), nowMs), "returned");
    nowMs += 61_000;
    for (let i = 0; i < 5; i++) breaker.failed(breaker.admit(nowMs), nowMs, "INTERNAL", 1);
    assert.equal(breaker.untilMs - nowMs, 5_000, "two steps of two are off");
  });
});

it("a gate that is shut again within 30 s of its return is shut for longer", () => {
  const breaker = shutBreaker();
  const nowMs = breaker.untilMs;
  breaker.succeeded(breaker.admit(nowMs), nowMs);
  for (let i = 0; i < 5; i++) breaker.failed(breaker.admit(nowMs), nowMs + 29_000, "INTERNAL", 1);
  assert.equal(breaker.untilMs - nowMs - 29_000, 10_000);
});

describe("a gate that was shut", () => {
  it("lets one probe through when its time is over, and no other beside it", () => {
    const breaker = shutBreaker();
    const { untilMs } = breaker;
    assert.equal(breaker.admit(untilMs - 1), REFUSED);
    assert.notEqual(breaker.admit(untilMs), REFUSED);
    assert.equal(breaker.admit(untilMs), REFUSED);
    assert.equal(breaker.admit(untilMs + 4_999), REFUSED);
  });

  it("opens for all when the probe succeeds, and then needs the full evidence again", () => {
    const breaker = shutBreaker();
    const { untilMs } = breaker;
    assert.equal(breaker.succeeded(breaker.admit(untilMs), untilMs + 10), "returned");
    for (let i = 0; i < 4; i++) breaker.failed(breaker.admit(untilMs + 20), untilMs + 20, "INTERNAL", HALF);
    assert.equal(breaker.state, "closed");
  });

  it("is shut again when the probe fails", () => {
    const breaker = shutBreaker();
    const { untilMs } = breaker;
    assert.equal(breaker.failed(breaker.admit(untilMs), untilMs, "UNKNOWN", HALF), "shut");
    assert.equal(breaker.why, "a probe failed (UNKNOWN)");
    assert.equal(breaker.untilMs, untilMs + 7_500);
  });

  it("lets the next call be the probe when the probe's end says nothing", () => {
    const breaker = shutBreaker();
    const { untilMs } = breaker;
    breaker.saidNothing(breaker.admit(untilMs));
    assert.equal(breaker.wouldAdmit(untilMs), true);
    const second = breaker.admit(untilMs);
    assert.notEqual(second, REFUSED);
    assert.equal(breaker.admit(untilMs), REFUSED, "one at a time");
  });

  it("never stays half-open: a probe that does not come back is followed by another after 5 s", () => {
    const breaker = shutBreaker();
    const { untilMs } = breaker;
    const lost = breaker.admit(untilMs);
    const second = breaker.admit(untilMs + 5_000);
    assert.notEqual(second, REFUSED);
    assert.equal(breaker.failed(lost, untilMs + 5_001, "INTERNAL", HALF), undefined, "the younger one decides");
    assert.equal(breaker.succeeded(lost, untilMs + 5_002), "returned", "but health is health");
    assert.equal(breaker.failed(second, untilMs + 5_003, "INTERNAL", HALF), undefined);
  });

  it("does not hear attempts that began before it was shut: 100 at once shut it once", () => {
    const breaker = new Breaker();
    const tickets = Array.from({ length: 100 }, () => breaker.admit(0));
    const changes = tickets.map((ticket) => breaker.failed(ticket, 10, "INTERNAL", HALF));
    assert.equal(changes.filter((change) => change === "shut").length, 1);
    assert.equal(breaker.untilMs, 10 + 3_750);
    const late = breaker.admit(breaker.untilMs);
    assert.equal(breaker.succeeded(tickets[0] ?? 0, breaker.untilMs), undefined, "nor does an old success open it");
    assert.equal(breaker.succeeded(late, breaker.untilMs), "returned");
  });
});

it("an old success does not interrupt a row of today", () => {
  const breaker = new Breaker();
  const old = breaker.admit(0);
  for (let i = 0; i < 5; i++) breaker.failed(breaker.admit(0), 0, "INTERNAL", HALF);
  const { untilMs } = breaker;
  breaker.succeeded(breaker.admit(untilMs), untilMs);
  for (let i = 0; i < 4; i++) breaker.failed(breaker.admit(untilMs), untilMs, "INTERNAL", HALF);
  breaker.succeeded(old, untilMs);
  assert.equal(breaker.failed(breaker.admit(untilMs), untilMs, "INTERNAL", HALF), "shut");
});

it("whatever happens, in whatever order: shut gates open in time, and at most one young probe is out", () => {
  const event = fc.record({
    kind: fc.constantFrom("admit", "succeed", "fail", "nothing"),
    afterMs: fc.integer({ min: 0, max: 4_000 }),
    pick: fc.nat(),
    chance: fc.double({ min: 0, max: 0.999, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 300 }), (events) => {
      const breaker = new Breaker();
      const out: { ticket: number; atMs: number; isProbe: boolean }[] = [];
      let nowMs = 0;
      for (const { kind, afterMs, pick, chance } of events) {
        nowMs += afterMs;
        if (kind === "admit") {
          const wasClosed = breaker.state === "closed";
          const would = breaker.wouldAdmit(nowMs);
          const ticket = breaker.admit(nowMs);
          assert.equal(ticket !== REFUSED, would);
          if (ticket === REFUSED) continue;
          const young = out.filter(
            ({ isProbe, atMs }) => isProbe && nowMs - atMs < 5_000 && breaker.state === "probing",
          );
          if (!wasClosed) assert.equal(young.length, 0, "a second probe");
          out.push({ ticket, atMs: nowMs, isProbe: !wasClosed });
          continue;
        }
        const [one] = out.splice(pick % Math.max(1, out.length), 1);
        if (one === undefined) continue;
        if (kind === "succeed") breaker.succeeded(one.ticket, nowMs);
        else if (kind === "fail") breaker.failed(one.ticket, nowMs, "INTERNAL", chance);
        else breaker.saidNothing(one.ticket);
        if (breaker.state !== "probing") for (const each of out) each.isProbe = false;
      }
      assert.ok(breaker.untilMs <= nowMs + 300_000);
      assert.equal(breaker.wouldAdmit(nowMs + 300_000), true, "it would stay shut");
    }),
  );
});
