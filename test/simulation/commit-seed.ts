/**
 * The seed that a commit brings: each change is also tried in a universe of its own, and a failure names it.
 */
import { execFileSync } from "node:child_process";

/** Hex digits of a hash that a seed has room for: 48 of its 53 bits. */
const digits = 12;

/** The seed of a commit hash; undefined if that is none. */
export function seedOfCommit(hash: string): number | undefined {
  return /^[0-9a-f]{12,64}$/.test(hash) ? Number.parseInt(hash.slice(0, digits), 16) : undefined;
}

/** The seed of the commit that is being checked, where a CI runs it; undefined elsewhere, so that a run can be compared with the last. */
export function commitSeed(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): number | undefined {
  const given = environment["HOLDFAST_COMMIT"] ?? environment["GITHUB_SHA"] ?? environment["CI_COMMIT_SHA"];
  if (given !== undefined) return seedOfCommit(given.toLowerCase());
  return environment["CI"] === undefined ? undefined : headSeed();
}

/** The seed of the commit that is checked out; undefined in a copy of the tree without its history. */
export function headSeed(): number | undefined {
  try {
    const hash = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return seedOfCommit(hash.trim());
  } catch {
    return undefined;
  }
}
