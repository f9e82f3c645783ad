import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { booleanOption, numberOption, textOption, wordOption } from "../call/options.ts";
import { describeFlags, parseFlags } from "./flags.ts";
import { UsageError } from "./usage-error.ts";

const TABLE = {
  "--delay-ms": { takes: "number", option: numberOption({ default: 5, min: 0, max: 1_000 }), says: "how long" },
  "--name": { takes: "text", option: textOption(), says: "who" },
  "--way": { takes: "text", option: wordOption(["up", "down"]), says: "where" },
  "--stall": { takes: "nothing", option: booleanOption({ default: false }), says: "whether" },
} as const;

function parse(...args: readonly string[]): unknown {
  return parseFlags(args, TABLE);
}

describe("flags", () => {
  it("are read with their values, behind a space or an equals sign, and have their defaults", () => {
    assert.deepEqual(parse(), { "--delay-ms": 5, "--name": undefined, "--way": undefined, "--stall": false });
    assert.deepEqual(parse("--delay-ms", "1.5", "--name=a=b", "--way", "up", "--stall"), {
      "--delay-ms": 1.5,
      "--name": "a=b",
      "--way": "up",
      "--stall": true,
    });
  });

  it("that are wrong are told by their own name, with what they may be and what came", () => {
    const wrong = (message: string, ...args: readonly string[]): void => {
      assert.throws(
        () => parse(...args),
        (error) => error instanceof UsageError && error.message === message,
      );
    };
    wrong("--delay-ms must be 0..1000, got 1001", "--delay-ms", "1001");
    wrong("--delay-ms must be 0..1000, got -1", "--delay-ms", "-1");
    wrong('--delay-ms must be a number, got "5ms"', "--delay-ms", "5ms");
    wrong('--delay-ms must be a number, got "0x10"', "--delay-ms", "0x10");
    wrong('--delay-ms must be a number, got "1e3"', "--delay-ms=1e3");
    wrong("--delay-ms must have a value", "--delay-ms");
    wrong("--delay-ms must have a value", "--delay-ms=");
    wrong("--name must have a value", "--name", "--stall");
    wrong("--name is given twice", "--name", "a", "--name", "b");
    wrong('--stall takes no value, got "yes"', "--stall=yes");
    wrong('--way must be "up" or "down", got "upp" (did you mean "up"?)', "--way", "upp");
    wrong('unknown flag "--dealy-ms", did you mean "--delay-ms"?', "--dealy-ms", "5");
    wrong('unknown flag "-x", known are --delay-ms, --name, --way, --stall', "-x");
    wrong('unexpected "5"', "--stall", "5");
    wrong('unexpected "--stall"', "--", "--stall");
  });

  it("of any kind are read or refused as the user's mistake, never otherwise", () => {
    const word = fc.oneof(
      fc.constantFrom(...Object.keys(TABLE), "up", "7", "--", "--name=x", "-", "--__proto__=1"),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (args) => {
        try {
          assert.deepEqual(Object.keys(parseFlags(args, TABLE)), Object.keys(TABLE));
        } catch (error) {
          assert.ok(error instanceof UsageError, String(error));
        }
      }),
    );
  });

  it("are described in a column each", () => {
    assert.deepEqual(describeFlags(TABLE), [
      "  --delay-ms <number>  how long",
      "  --name <text>        who",
      "  --way <text>         where",
      "  --stall              whether",
    ]);
  });
});
