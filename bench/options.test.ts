import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOptions, UsageError } from "./options.ts";

test("a scenario alone has the defaults", () => {
  assert.deepEqual(parseOptions(["unary"]), {
    scenario: "unary",
    isJson: false,
    rounds: 3,
    seconds: 2.5,
    warmUpSeconds: 3,
    contenders: undefined,
    concurrencies: undefined,
    connections: undefined,
  });
});

test("flags may stand before and after the scenario", () => {
  const options = parseOptions(["--json", "unary", "--concurrency", "1,64", "--contenders=grpc-js,holdfast"]);
  assert.equal(options.isJson, true);
  assert.deepEqual(options.concurrencies, [1, 64]);
  assert.deepEqual(options.contenders, ["grpc-js", "holdfast"]);
});

test("what is not known or out of range is refused by name", () => {
  const refused: readonly (readonly [string[], RegExp])[] = [
    [[], /which scenario/],
    [["unray"], /no scenario "unray"/],
    [["unary", "large"], /one scenario/],
    [["unary", "--rounds", "0"], /--rounds must be a whole number in 1\.\.100, got 0/],
    [["unary", "--rounds", "1.5"], /--rounds/],
    [["unary", "--seconds", ""], /--seconds must be 0\.2\.\.600/],
    [["unary", "--concurrency", "1,x"], /--concurrency/],
    [["unary", "--contenders", "grpc"], /no contender "grpc"/],
    [["open", "--concurrency", "4"], /open takes no --concurrency/],
    [["verdict", "--contenders", "grpc-js"], /verdict takes no --contenders/],
    [["unary", "--fast"], /fast/],
  ];
  for (const [args, text] of refused) {
    assert.throws(
      () => parseOptions(args),
      (error) => error instanceof UsageError && text.test(error.message),
      args.join(" "),
    );
  }
});
