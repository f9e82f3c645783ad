/** h2spec, every section, strict cases too, against the engine's echo server; what came of it as numbers. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { goProgram } from "../peers/tools.ts";
import { startEchoServer } from "./echo-server.ts";

/** h2spec has so many, the strict one included. */
export const CASES_MIN = 146;

export interface H2specResult {
  readonly run: number;
  /** Section and claim of each. */
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
  /** What h2spec printed about failures: what was expected and what came. */
  readonly output: string;
}

export async function runH2spec(): Promise<H2specResult> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-h2spec-"));
  const server = await startEchoServer();
  try {
    const report = join(directory, "report.xml");
    const output = await outputOf([
      "--strict",
      "--host",
      "127.0.0.1",
      "--port",
      String(server.port),
      "--junit-report",
      report,
    ]);
    return {
      ...parseReport(readFileSync(report, "utf8")),
      output: output.slice(Math.max(0, output.indexOf("Failures:"))),
    };
  } finally {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** h2spec's JUnit report: a test case holds nothing, a failure or a mark that it was skipped. */
export function parseReport(xml: string): Omit<H2specResult, "output"> {
  const failed: string[] = [];
  const skipped: string[] = [];
  let run = 0;
  for (const [, attributes, content] of xml.matchAll(/<testcase([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const read = (name: string): string => new RegExp(`\\b${name}="([^"]*)"`).exec(attributes ?? "")?.[1] ?? "";
    const name = unescape(`${read("package")}: ${read("classname")}`);
    run += 1;
    if (/<(failure|error)\b/.test(content ?? "")) failed.push(name);
    else if (/<skipped\b/.test(content ?? "")) skipped.push(name);
  }
  return { run, failed, skipped };
}

function unescape(text: string): string {
  return text
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

function outputOf(flags: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(goProgram("h2spec"), flags, { stdio: ["ignore", "pipe", "pipe"], timeout: 300_000 });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    // Failed cases make its exit code 1: the report says more.
    child.once("close", () => resolve(output));
  });
}
