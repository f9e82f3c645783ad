/**
 * Code blocks of documents: found, written into the tree, type-checked and run.
 *
 * A block marked ```ts is type-checked and run; one marked ```ts check is type-checked only (it would not end, or needs a
 * machine that is not there). `./gen/` in an import means examples/gen/, and port 50051 becomes a free one.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./source.ts";

/** A snippet that runs longer hangs. */
const RUN_MS_MAX = 30_000;

export interface Snippet {
  /** `README.md:12`, the line of the block's first line. */
  readonly place: string;
  readonly code: string;
  readonly isRun: boolean;
}

/** The TypeScript blocks of a document. */
export function snippetsOf(path: string, text: string): readonly Snippet[] {
  return [...text.matchAll(/^```ts( check)?\n([\s\S]*?)^```$/gm)].map((match) => ({
    place: `${path}:${text.slice(0, match.index).split("\n").length + 1}`,
    code: match[2] ?? "",
    isRun: match[1] === undefined,
  }));
}

/** The TypeScript blocks of a document of this repository. */
export function snippetsIn(path: string): readonly Snippet[] {
  return snippetsOf(path, readFileSync(join(ROOT, path), "utf8"));
}

/** Type-checks all snippets in one go, then runs those that are to be run. Gives what went wrong. */
export async function trySnippets(snippets: readonly Snippet[]): Promise<readonly string[]> {
  // Inside the tree, so that "holdfast" means this package; under .cache, so that no tool takes it for source.
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const directory = mkdtempSync(join(ROOT, ".cache", "snippets-"));
  try {
    const files = await Promise.all(snippets.map((snippet, index) => write(directory, snippet, index)));
    const typeFaults = await typeCheck(directory, files);
    if (typeFaults !== undefined)
      return [`${snippets.map(({ place }, index) => `${files[index] ?? ""} is ${place}`).join("\n")}\n${typeFaults}`];
    const results = await Promise.all(
      snippets.map((snippet, index) =>
        snippet.isRun ? runSnippet(join(directory, files[index] ?? "")) : Promise.resolve(undefined),
      ),
    );
    return results.flatMap((result, index) =>
      result === undefined ? [] : [`${snippets[index]?.place ?? ""}: ${result}`],
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function write(directory: string, { code }: Snippet, index: number): Promise<string> {
  const file = `snippet-${index}.ts`;
  const port = await freePort();
  writeFileSync(
    join(directory, file),
    `${code.replaceAll('"./gen/', '"../../examples/gen/').replaceAll("50051", String(port))}\nexport {};\n`,
  );
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function typeCheck(directory: string, files: readonly string[]): Promise<string | undefined> {
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", files, include: [] }),
  );
  return execute([join(ROOT, "node_modules/typescript/bin/tsc"), "-p", join(directory, "tsconfig.json")]);
}

/** Runs to the end of the module, its `await using` included; a server that goes on listening does not count as hanging. */
async function runSnippet(file: string): Promise<string | undefined> {
  const runner = `await import(${JSON.stringify(pathToFileURL(file).href)}); process.exit(0);`;
  return execute(["--conditions=holdfast-source", "--input-type=module", "--eval", runner]);
}

/** Undefined if it exits with 0, else what it said. */
function execute(args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, timeout: RUN_MS_MAX }, (error, stdout, stderr) => {
      const said = `${stdout}${stderr}`.trim();
      if (error === null) resolve(undefined);
      else
        resolve(
          error.killed === true ? `did not end within ${RUN_MS_MAX} ms\n${said}` : said === "" ? error.message : said,
        );
    });
  });
}
