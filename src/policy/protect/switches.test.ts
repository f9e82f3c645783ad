import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Mechanism, SwitchState } from "./switches.ts";
import { mechanisms, SwitchBoard } from "./switches.ts";

const ALL_ON = Object.fromEntries(mechanisms.map((mechanism) => [mechanism, "on"]));

function statesOf(board: SwitchBoard): Record<string, SwitchState> {
  return Object.fromEntries(mechanisms.map((mechanism) => [mechanism, board.get(mechanism)]));
}

describe("the switches", () => {
  it("are all on until they are switched", () => {
    const board = new SwitchBoard();
    assert.deepEqual(statesOf(board), ALL_ON);
    assert.equal(board.version, 0);
    board.set("hedge", "observe");
    assert.deepEqual(statesOf(board), { ...ALL_ON, hedge: "observe" });
    assert.equal(board.version, 1);
  });

  it("are after a text what the text says, and on where it says nothing", () => {
    const state = fc.constantFrom<SwitchState>("off", "observe", "on");
    const texts = fc.array(fc.dictionary(fc.constantFrom<Mechanism>(...mechanisms), state), { maxLength: 5 });
    fc.assert(
      fc.property(texts, (given) => {
        const board = new SwitchBoard();
        for (const one of given) {
          board.apply(JSON.stringify(one));
          assert.deepEqual(statesOf(board), { ...ALL_ON, ...one });
        }
      }),
    );
  });

  it("stay as they are when a text has a fault, which is named", () => {
    const board = new SwitchBoard();
    board.apply('{"hedge":"off","slow-start":"observe"}');
    const before = statesOf(board);
    for (const [text, name, message] of [
      ['{"retry":"off","hegde":"on"}', "TypeError", /^unknown key "hegde", did you mean "hedge"\?$/],
      ['{"retry":"of"}', "RangeError", /^retry must be "off" or "observe" or "on", got "of" \(did you mean "off"\?\)$/],
      ['{"retry":false}', "TypeError", /^retry must be "off" or "observe" or "on", got false$/],
      ['{"retry":null}', "TypeError", /^retry must not be null/],
      ['{"__proto__":"off"}', "TypeError", /^unknown key "__proto__"/],
      ['{"toString":"off"}', "TypeError", /^unknown key "toString"/],
      ['["hedge"]', "TypeError", /^switches must be an object such as \{"hedge":"off"\}, got an array$/],
      ["null", "TypeError", /got null$/],
      ['"off"', "TypeError", /got "off"$/],
      ["", "SyntaxError", /^switches must be JSON: /],
      ['{"hedge":"on"', "SyntaxError", /^switches must be JSON: /],
      [" ".repeat(70_000), "RangeError", /^switches must have at most 65536 characters, got 70000$/],
    ] as const) {
      assert.throws(() => board.apply(text), { name, message }, text.slice(0, 40));
      assert.deepEqual(statesOf(board), before);
      assert.equal(board.version, 1);
    }
  });

  it("refuse a mechanism or a state that is unknown", () => {
    const board = new SwitchBoard();
    assert.throws(() => board.set("hegde" as Mechanism, "off"), /unknown key "hegde", did you mean "hedge"\?/);
    assert.throws(() => board.set("hedge", "of" as SwitchState), /hedge must be "off" or "observe" or "on", got "of"/);
    assert.equal(board.version, 0);
  });

  it("tell of a change once, after it, and of nothing that is no change", () => {
    const board = new SwitchBoard();
    const heard: string[] = [];
    const stop = board.onChange((changed) =>
      heard.push(`${changed.version} ${changed.get("gate")} ${changed.get("panic")}`),
    );
    board.set("gate", "on");
    board.apply("{}");
    assert.deepEqual(heard, []);
    board.apply('{"gate":"off","panic":"observe"}');
    board.apply(' { "panic": "observe", "gate": "off" } ');
    board.set("gate", "observe");
    assert.deepEqual(heard, ["1 off observe", "2 observe observe"]);
    stop();
    stop();
    board.set("gate", "on");
    assert.equal(heard.length, 2);
    assert.equal(board.version, 3);
  });

  it("tell all, also when one who listens throws, leaves or switches himself", () => {
    const board = new SwitchBoard();
    const heard: string[] = [];
    board.onChange(() => {
      throw new Error("first");
    });
    const leave = board.onChange(() => {
      heard.push("leaves");
      leave();
    });
    board.onChange(() => {
      heard.push("switches");
      board.set("retry", "off");
    });
    assert.throws(() => board.set("hedge", "off"), new Error("first"));
    assert.equal(board.get("hedge"), "off");
    assert.equal(board.get("retry"), "off");
    assert.deepEqual(heard, ["leaves", "switches", "switches"]);
  });

  it("tell one who joins while they tell of the next change only", () => {
    const board = new SwitchBoard();
    const heard: string[] = [];
    const leave = board.onChange(() => {
      leave();
      board.onChange((changed) => heard.push(changed.get("hedge")));
    });
    board.set("hedge", "off");
    board.set("hedge", "observe");
    assert.deepEqual(heard, ["observe"]);
  });

  it("count the same listener given twice as two, each with its own end", () => {
    const board = new SwitchBoard();
    let heard = 0;
    const listener = (): void => {
      heard += 1;
    };
    const stop = board.onChange(listener);
    board.onChange(listener);
    board.set("retry", "off");
    assert.equal(heard, 2);
    stop();
    board.set("retry", "on");
    assert.equal(heard, 3);
  });

  it("have ten thousand listeners at most", () => {
    const board = new SwitchBoard();
    const stops = Array.from({ length: 10_000 }, () => board.onChange(() => undefined));
    assert.throws(() => board.onChange(() => undefined), RangeError);
    stops[0]?.();
    assert.equal(typeof board.onChange(() => undefined), "function");
  });
});
