/** The whole command line: which command is meant, its help, and which exit code its end has. */
import { unknownKeyError } from "../call/options.ts";
import type { Command, ExitCode, Shell } from "./command.ts";
import { describeFlags } from "./flags.ts";
import { UsageError } from "./usage-error.ts";

/** Runs what the arguments say. Never rejects: what goes wrong is said, and is the exit code. */
export async function runCommandLine(
  args: readonly string[],
  commands: readonly Command[],
  shell: Shell,
): Promise<ExitCode> {
  const { words, rest } = split(args);
  try {
    const command = commands.find(({ name }) => name === words.join(" "));
    if (rest.includes("--help") || rest.includes("-h") || words[0] === "help") {
      for (const line of command === undefined ? overview(commands) : helpOf(command)) shell.print(line);
      return 0;
    }
    if (command === undefined) throw unknownCommand(words, commands);
    return await command.run(rest, shell);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    shell.say(`holdfast: ${text}`);
    if (!(error instanceof UsageError)) return 1;
    shell.say(`holdfast: "${["holdfast", ...knownWords(words, commands), "--help"].join(" ")}" says what there is`);
    return 2;
  }
}

/** The words before the first flag name the command. */
function split(args: readonly string[]): { readonly words: readonly string[]; readonly rest: readonly string[] } {
  const firstFlag = args.findIndex((arg) => arg.startsWith("-"));
  return firstFlag < 0 ? { words: args, rest: [] } : { words: args.slice(0, firstFlag), rest: args.slice(firstFlag) };
}

function unknownCommand(words: readonly string[], commands: readonly Command[]): UsageError {
  if (words.length === 0) return new UsageError("a command must be given");
  const names = commands.map(({ name }) => name);
  const { message } = unknownKeyError("", words.join(" "), names);
  return new UsageError(message.replace(/^unknown key/, "unknown command"));
}

/** What of the words is a command's name, so that its own help is named. */
function knownWords(words: readonly string[], commands: readonly Command[]): readonly string[] {
  return commands.some(({ name }) => name === words.join(" ")) ? words : [];
}

function overview(commands: readonly Command[]): readonly string[] {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    "holdfast <command> [flags]",
    "",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "Data goes to stdout, progress to stderr. Exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted.",
    '"holdfast <command> --help" says more.',
  ];
}

function helpOf({ name, summary, help, flags }: Command): readonly string[] {
  return [`holdfast ${name}: ${summary}`, "", ...help.split("\n"), "", ...describeFlags(flags)];
}
