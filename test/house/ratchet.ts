/**
 * The ratchet: what is over a size limit today may shrink and not grow. `ratchet.json` maps a path, or path#function, to its
 * lines; `hot-path.json` lists the files that call themselves hot path.
 *
 * `node test/house/ratchet.ts` brings both up to date: it lowers numbers, drops what is no longer too long, and writes the
 * list anew, so that a change of either is seen in review. It raises or adds no number, but with `--adopt`, which
 * takes in what is too long today and wants its reason in the commit.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, sourcesOf } from "./source.ts";
import { excesses, saysHotPath } from "./tidy.ts";
import type { Excess } from "./tidy.ts";

export type Ratchet = Readonly<Record<string, number>>;

const FILE = join(ROOT, "test/house/ratchet.json");
const HOT_PATH_FILE = join(ROOT, "test/house/hot-path.json");
/** An entry this much above the truth has room to grow back: it must be lowered. */
const SLACK_SHARE_MAX = 0.1;

export function readHotPath(): readonly string[] {
  return JSON.parse(readFileSync(HOT_PATH_FILE, "utf8")) as readonly string[];
}

export function readRatchet(): Ratchet {
  return JSON.parse(readFileSync(FILE, "utf8")) as Ratchet;
}

/** What has grown, and which entries say more than is true. */
export function ratchetFaults(found: readonly Excess[], ratchet: Ratchet): readonly string[] {
  const grown = found
    .filter(({ key, lines }) => lines > (ratchet[key] ?? 0))
    .map(({ key, lines, linesMax }) => `${key} has ${lines} lines, allowed are ${ratchet[key] ?? linesMax}`);
  const stale = Object.entries(ratchet).flatMap(([key, recorded]) => {
    const lines = found.find((excess) => excess.key === key)?.lines ?? 0;
    return lines < recorded * (1 - SLACK_SHARE_MAX)
      ? [`${key} is recorded with ${recorded} lines: run node test/house/ratchet.ts`]
      : [];
  });
  return [...grown, ...stale];
}

if (import.meta.main) {
  const sources = sourcesOf("src", "test", "bench", "examples", "scripts");
  const ratchet = readRatchet();
  const isAdopting = process.argv.includes("--adopt");
  const kept = sources
    .flatMap(excesses)
    .filter(({ key }) => isAdopting || ratchet[key] !== undefined)
    .map(({ key, lines }) => [key, isAdopting ? lines : Math.min(lines, ratchet[key] ?? lines)] as const);
  write(FILE, Object.fromEntries(kept));
  write(
    HOT_PATH_FILE,
    sources.filter(saysHotPath).map(({ path }) => path),
  );
}

function write(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}
