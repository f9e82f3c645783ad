/** Lets the simulator look for planted bugs, each in a process of its own, and says by which invariant each was found. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SimulateReport } from "../simulate.ts";
import { type PlantedBug, plantedBugVariable } from "./bugs.ts";

const program = fileURLToPath(new URL("../main.ts", import.meta.url));
const plant = fileURLToPath(new URL("plant.ts", import.meta.url));
/** Universes in which a bug is looked for at most, unless told. */
const universesMax = 200;
/** A process that does not end by itself is ended. */
const timeoutMs = 600_000;
const processesMax = 2;

export interface FoundBug {
  readonly name: string;
  /** Something did not hold that the bug is expected to break. */
  readonly isFound: boolean;
  readonly seed: number | undefined;
  readonly invariant: string | undefined;
  /** Of CPU time. */
  readonly cpuSeconds: number;
  readonly universes: number;
  /** What was seen, or why nothing was. */
  readonly text: string;
  readonly command: string | undefined;
}

/** `args`: those of the command line, handed on to the program that looks. */
export async function findPlanted(
  bugs: readonly PlantedBug[],
  args: readonly string[],
  progress: (line: string) => void,
): Promise<readonly FoundBug[]> {
  const found: FoundBug[] = [];
  const left = [...bugs];
  const worker = async (): Promise<void> => {
    for (let bug = left.shift(); bug !== undefined; bug = left.shift()) {
      const result = await findOne(bug, args);
      progress(formatOne(result));
      found.push(result);
    }
  };
  await Promise.all(Array.from({ length: Math.min(processesMax, bugs.length) }, worker));
  return bugs.flatMap(({ name }) => found.filter((result) => result.name === name));
}

export function formatPlanted(results: readonly FoundBug[]): string {
  const count = results.filter(({ isFound }) => isFound).length;
  const stories = results.length > 1 ? [] : results.flatMap(({ text, command = "" }) => [text, command]);
  return [...results.map(formatOne), ...stories, `${count} of ${results.length} planted bugs found`].join("\n");
}

function formatOne({ name, isFound, seed, invariant, cpuSeconds, universes, text }: FoundBug): string {
  const how = isFound ? `found by ${invariant}, seed ${seed}` : `NOT FOUND (${text.split("\n")[0] ?? ""})`;
  return `${name}: ${how}, ${universes} universes, ${cpuSeconds.toFixed(1)} s of CPU`;
}

async function findOne(bug: PlantedBug, args: readonly string[]): Promise<FoundBug> {
  const { output, errors, exit } = await run(bug, childArguments(args));
  const { name } = bug;
  const nothing = { name, isFound: false, seed: undefined, invariant: undefined, command: undefined };
  // Node's own failures exit with 1 too: a report is what tells the difference.
  if ((exit !== 0 && exit !== 1) || output === "")
    return { ...nothing, cpuSeconds: 0, universes: 0, text: `no report, exit ${String(exit)}: ${errors.slice(-2000)}` };
  const { failures, universes, cpuSeconds } = JSON.parse(output) as SimulateReport;
  const [failure] = failures;
  if (failure === undefined) return { ...nothing, universes, cpuSeconds, text: "everything held" };
  const { seed, invariant, text, command } = failure;
  const isFound = bug.expects.includes(invariant);
  const words = isFound ? text : `${invariant} does not hold, expected was ${bug.expects.join(" or ")}\n${text}`;
  return { name, isFound, cpuSeconds, seed, invariant, universes, text: words, command };
}

/** What the child is asked: the same, without what asks for bugs, with JSON, and with an end to the search. */
function childArguments(args: readonly string[]): readonly string[] {
  const own = args.filter(
    (arg, index) =>
      !["--bug", "--planted", "--json"].includes(arg) && !arg.startsWith("--bug=") && args[index - 1] !== "--bug",
  );
  const isBounded = own.some((arg) => arg.startsWith("--seed"));
  return [...own, "--json", ...(isBounded ? [] : ["--seeds", String(universesMax)])];
}

async function run(
  bug: PlantedBug,
  args: readonly string[],
): Promise<{ readonly output: string; readonly errors: string; readonly exit: unknown }> {
  const child = spawn(process.execPath, ["--conditions=holdfast-source", "--import", plant, program, ...args], {
    env: { ...process.env, [plantedBugVariable]: bug.name },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
  });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  return { output, errors, exit: code ?? `no result within ${timeoutMs} ms (${signal})` };
}
