/**
 * Programs that the tests need and that are not from npm. Where one is missing, a test is skipped and says what would
 * install it; with CI=true it fails, so that nothing is silently left untested.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export const ROOT: string = join(import.meta.dirname, "..", "..");
const GO_PROGRAMS = join(ROOT, ".cache", "go", "bin");

export type GoProgram = "interop-client" | "interop-server" | "grpcurl" | "h2spec" | "connectconformance";

/** Where test/peers/build.sh puts it; it need not exist. */
export function goProgram(name: GoProgram): string {
  return join(GO_PROGRAMS, name);
}

/** Where test/peers/build.sh puts what Python imports; it need not exist. */
export const PYTHON_MODULES: string = join(ROOT, ".cache", "python");

/** Whether a program is there: a path, or a name on PATH. */
export function hasProgram(program: string): boolean {
  if (program.includes("/")) return existsSync(program);
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => existsSync(join(directory, program)));
}

/** For node:test's `skip`: false where all are there, or where this is CI and the test shall fail for the lack. */
export function skipWithout(isThere: boolean, how: string): string | false {
  if (isThere || isContinuousIntegration()) return false;
  return `missing: ${how}`;
}

export function isContinuousIntegration(): boolean {
  const value = process.env["CI"] ?? "";
  return value !== "" && value !== "false" && value !== "0";
}
