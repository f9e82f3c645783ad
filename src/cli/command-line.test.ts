import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { booleanOption } from "../call/options.ts";
import { createSimulation } from "../testing/simulation.ts";
import { defineCommand, type ExitCode } from "./command.ts";
import { runCommandLine } from "./command-line.ts";
import { COMMANDS } from "./commands.ts";
import { UsageError } from "./usage-error.ts";

const greet = defineCommand({
  name: "greet all",
  summary: "says hello",
  help: "Loudly or not.",
  flags: { "--loud": { takes: "nothing", option: booleanOption({ default: false }), says: "loudly" } },
  run: async (flags, shell) => {
    await Promise.resolve();
    shell.print(flags["--loud"] ? "HELLO" : "hello");
    return 0;
  },
});

function failing(error: unknown): typeof greet {
  return { ...greet, run: () => Promise.reject(error) };
}

async function play(
  args: readonly string[],
  commands = [greet],
): Promise<{ readonly code: ExitCode; readonly out: readonly string[]; readonly said: readonly string[] }> {
  const out: string[] = [];
  const said: string[] = [];
  const code = await runCommandLine(args, commands, {
    world: createSimulation().host("here"),
    print: (line) => void out.push(line),
    say: (line) => void said.push(line),
    interrupted: new AbortController().signal,
  });
  return { code, out, said };
}

describe("the command line", () => {
  it("runs the command that its words name, with its flags", async () => {
    assert.deepEqual(await play(["greet", "all"]), { code: 0, out: ["hello"], said: [] });
    assert.deepEqual(await play(["greet", "all", "--loud"]), { code: 0, out: ["HELLO"], said: [] });
  });

  it("prints help as data: of everything, or of one command", async () => {
    for (const args of [["--help"], ["-h"], ["help"], ["greet", "--help"]]) {
      const { code, out, said } = await play(args);
      assert.equal(code, 0);
      assert.deepEqual(said, []);
      assert.ok(out.includes("  greet all  says hello"), args.join(" "));
    }
    const own = await play(["greet", "all", "--help"]);
    assert.deepEqual(own.out, ["holdfast greet all: says hello", "", "Loudly or not.", "", "  --loud  loudly"]);
  });

  it("ends with 2 for what the user got wrong, and says where the help is", async () => {
    assert.deepEqual(await play(["greet", "al"]), {
      code: 2,
      out: [],
      said: [
        'holdfast: unknown command "greet al", did you mean "greet all"?',
        'holdfast: "holdfast --help" says what there is',
      ],
    });
    assert.deepEqual((await play([])).said[0], "holdfast: a command must be given");
    assert.equal((await play([])).code, 2);
    assert.deepEqual(await play(["greet", "all", "--lout"]), {
      code: 2,
      out: [],
      said: [
        'holdfast: unknown flag "--lout", did you mean "--loud"?',
        'holdfast: "holdfast greet all --help" says what there is',
      ],
    });
    assert.equal((await play(["greet", "all"], [failing(new UsageError("not so"))])).code, 2);
  });

  it("ends with 1 for what failed, in one line", async () => {
    assert.deepEqual(await play(["greet", "all"], [failing(new Error("no ear"))]), {
      code: 1,
      out: [],
      said: ["holdfast: no ear"],
    });
    assert.deepEqual((await play(["greet", "all"], [failing("a text")])).said, ["holdfast: a text"]);
  });

  it("has commands with names of their own, each with a summary, help and described flags", () => {
    assert.equal(new Set(COMMANDS.map(({ name }) => name)).size, COMMANDS.length);
    for (const { name, summary, help, flags } of COMMANDS) {
      assert.match(name, /^[a-z]+( [a-z]+)*$/);
      assert.ok(summary !== "" && help !== "");
      for (const [flag, { says }] of Object.entries(flags)) {
        assert.match(flag, /^--[a-z]+(-[a-z]+)*$/);
        assert.ok(says !== "" && !says.includes("\n"), flag);
      }
    }
  });
});
