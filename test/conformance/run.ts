/** connectrpc/conformance, everything that gRPC over HTTP/2 has, against Holdfast's client or server. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { goProgram, ROOT } from "../peers/tools.ts";

export type Mode = "client" | "server";

/** Fewer than these would mean that the configuration no longer says what Holdfast speaks. */
export const CASES_MIN: Readonly<Record<Mode, number>> = { client: 640, server: 560 };

export interface ConformanceResult {
  readonly run: number;
  readonly passed: number;
  /** Their names. */
  readonly failed: readonly string[];
  readonly output: string;
}

/** `flags` go to the runner: `--run PATTERN`, `--trace`, `-v`. At most five minutes. */
export async function runConformance(mode: Mode, flags: readonly string[] = []): Promise<ConformanceResult> {
  const here = import.meta.dirname;
  const program = [process.execPath, "--conditions=holdfast-source", join(here, `${mode}.ts`)];
  const runner = ["--mode", mode, "--conf", join(here, "config.yaml"), ...flags, "--", ...program];
  const output = await outputOf(runner);
  const [, run] = /^Total cases: (\d+)/m.exec(output) ?? [];
  const [, passed] = /^(\d+) passed, \d+ failed/m.exec(output) ?? [];
  const failed = [...output.matchAll(/^FAILED: (.*):$/gm)].map(([, name]) => name ?? "");
  return { run: Number(run ?? 0), passed: Number(passed ?? 0), failed, output };
}

function outputOf(flags: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(goProgram("connectconformance"), flags, {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 300_000,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    // Failed cases make its exit code 1: what it printed says more.
    child.once("close", () => resolve(output));
  });
}
