import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ChecksWord, HealthBoard, type ServerPhase, type ServingWord } from "./health.ts";

function shop(): HealthBoard {
  const board = new HealthBoard();
  board.serviceAdded("shop.v1.Shop");
  board.serviceAdded("shop.v1.Stock");
  return board;
}

describe("a server's health", () => {
  it("is SERVING where nothing else is said", () => {
    const board = shop();
    assert.equal(board.server, "SERVING");
    assert.deepEqual(
      ["", "shop.v1.Shop"].map((name) => board.wordOf(name)),
      ["SERVING", "SERVING"],
    );
    assert.equal(board.wordOf("other"), undefined);
  });

  it("is what its checks say, and only DEGRADED of these serves", () => {
    const board = shop();
    const seen = (["pending", "degraded", "failing", "passing"] as const).map((word) => {
      board.checksChanged(word);
      return [board.server, board.wordOf(""), board.wordOf("shop.v1.Shop"), board.isDegraded];
    });
    assert.deepEqual(seen, [
      ["STARTING", "NOT_SERVING", "NOT_SERVING", false],
      ["DEGRADED", "SERVING", "SERVING", true],
      ["NOT_SERVING", "NOT_SERVING", "NOT_SERVING", false],
      ["SERVING", "SERVING", "SERVING", false],
    ]);
  });

  it("what its owner says of one service stands above the checks, and moves no other", () => {
    const board = shop();
    board.setHealth("shop.v1.Shop", "NOT_SERVING");
    assert.deepEqual([board.server, board.wordOf("shop.v1.Shop")], ["SERVING", "NOT_SERVING"]);
    assert.equal(board.wordOf("shop.v1.Stock"), "SERVING");
    board.checksChanged("failing");
    board.setHealth("shop.v1.Shop", "SERVING");
    assert.deepEqual([board.server, board.wordOf("shop.v1.Shop")], ["NOT_SERVING", "SERVING"]);
    assert.equal(board.wordOf("shop.v1.Stock"), "NOT_SERVING");
  });

  it("what its owner says of the whole counts for all of whom nothing else was said; failing checks are still told", () => {
    const board = shop();
    board.setHealth("shop.v1.Shop", "SERVING");
    board.setHealth("", "NOT_SERVING");
    assert.deepEqual([board.server, board.wordOf("shop.v1.Stock")], ["NOT_SERVING", "NOT_SERVING"]);
    assert.equal(board.wordOf("shop.v1.Shop"), "SERVING");
    board.checksChanged("failing");
    board.setHealth("", "SERVING");
    assert.deepEqual([board.server, board.wordOf("")], ["DEGRADED", "SERVING"]);
    board.checksChanged("pending");
    assert.deepEqual([board.server, board.wordOf("")], ["DEGRADED", "SERVING"]);
  });

  it("a drain stands above everything, and nothing leads back", () => {
    const board = shop();
    board.setHealth("", "SERVING");
    board.setHealth("shop.v1.Shop", "SERVING");
    board.phaseChanged("draining");
    assert.deepEqual(
      [board.server, board.wordOf(""), board.wordOf("shop.v1.Shop")],
      ["DRAINING", "NOT_SERVING", "NOT_SERVING"],
    );
    board.phaseChanged("open");
    assert.equal(board.server, "DRAINING");
    board.phaseChanged("closed");
    board.phaseChanged("draining");
    assert.equal(board.server, "NOT_SERVING");
  });

  it("tells of changes, and of nothing that is as it was", () => {
    const board = shop();
    let told = 0;
    const listening = board.onChange(() => (told += 1));
    board.checksChanged("passing");
    board.serviceAdded("shop.v1.Shop");
    board.phaseChanged("open");
    assert.equal(told, 0);
    board.setHealth("", "NOT_SERVING");
    board.setHealth("", "NOT_SERVING");
    assert.equal(told, 1);
    listening[Symbol.dispose]();
    board.phaseChanged("draining");
    assert.equal(told, 1);
  });

  it("refuses words and services that there are not", () => {
    const board = shop();
    assert.throws(
      () => board.setHealth("", "DEGRADED" as ServingWord),
      /health must be "SERVING" or "NOT_SERVING", got "DEGRADED"/,
    );
    assert.throws(() => board.setHealth("shop.v1.Shopp", "SERVING"), {
      name: "RangeError",
      message: 'service must be "" or one that was added (shop.v1.Shop, shop.v1.Stock), got "shop.v1.Shopp"',
    });
    assert.throws(() => new HealthBoard().setHealth("a", "SERVING"), /none was/);
  });

  it("never serves once it drains, and always when its owner says so before, whatever came in what order", () => {
    const step = fc.oneof(
      fc.record({ phase: fc.constantFrom<ServerPhase>("open", "draining", "closed") }),
      fc.record({ checks: fc.constantFrom<ChecksWord>("pending", "passing", "degraded", "failing") }),
      fc.record({ said: fc.constantFrom<ServingWord>("SERVING", "NOT_SERVING"), service: fc.constantFrom("", "a") }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const board = new HealthBoard();
        board.serviceAdded("a");
        let hasDrained = false;
        const said = new Map<string, ServingWord>();
        for (const one of steps) {
          if ("phase" in one) {
            board.phaseChanged(one.phase);
            hasDrained ||= one.phase !== "open";
          } else if ("checks" in one) {
            board.checksChanged(one.checks);
          } else {
            board.setHealth(one.service, one.said);
            said.set(one.service, one.said);
          }
          const words = [board.wordOf(""), board.wordOf("a")];
          if (hasDrained) assert.deepEqual(words, ["NOT_SERVING", "NOT_SERVING"]);
          else assert.deepEqual(words, [said.get("") ?? words[0], said.get("a") ?? words[0]]);
          assert.equal(words[0] === "SERVING", board.server === "SERVING" || board.server === "DEGRADED");
        }
      }),
    );
  });
});

describe("a store that has failed", () => {
  it("makes a server that serves DEGRADED, tells once, and takes nothing out", () => {
    const board = new HealthBoard();
    board.serviceAdded("shop.v1.Orders");
    let told = 0;
    using _ = board.onChange(() => {
      told += 1;
    });
    board.storeFailed();
    board.storeFailed();
    assert.deepEqual(
      [board.server, board.isDegraded, board.wordOf("shop.v1.Orders"), told],
      ["DEGRADED", true, "SERVING", 1],
    );
    for (const [word, health] of [
      ["pending", "STARTING"],
      ["failing", "NOT_SERVING"],
      ["degraded", "DEGRADED"],
      ["passing", "DEGRADED"],
    ] as const) {
      board.checksChanged(word);
      assert.equal(board.server, health);
    }
    board.setHealth("", "NOT_SERVING");
    assert.equal(board.server, "NOT_SERVING");
    board.setHealth("", "SERVING");
    assert.equal(board.server, "DEGRADED");
    board.phaseChanged("draining");
    assert.equal(board.server, "DRAINING");
  });
});
