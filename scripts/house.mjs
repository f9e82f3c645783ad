/**
 * The house door: every npm script of this repository goes through here.
 *
 * This is the one source file that is not TypeScript: it must run on whatever Node (20 or later) a machine happens to have,
 * before anything is installed. It (1) makes sure that node_modules is what package-lock.json says, (2) finds the Node 24
 * that the lock file pins, and (3) runs the verb's program with it. Only Node's own modules are imported.
 *
 * Everything it says goes to stderr, so that `npm run --silent demo -- --json` prints one JSON object and nothing else.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, constants } from "node:os";
import { basename, delimiter, dirname, join, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, "node_modules");
const LOCK_FILE = join(ROOT, "package-lock.json");
const STAMP_FILE = join(MODULES, ".holdfast-stamp");
const INSTALL_LOCK = join(ROOT, ".cache", "install.lock");
const NODE_MAJOR_MIN = 24;
/** Longest wait for another process's install, and the age at which a lock without a live owner is taken over. */
const INSTALL_WAIT_MAX_MS = 600_000;
const INSTALL_LOCK_BLANK_MAX_MS = 10_000;
const TEST_ROOTS = ["src", "test", "bench", "examples", "scripts"];

/** Thrown for what the user can act on: printed as one line, without a stack. */
class HouseError extends Error {}

/** verb -> (arguments) -> what to run with the pinned Node, in order; the first that fails ends the run. */
const VERBS = {
  demo: (args) => [program("demo", "examples/demo/main.ts", args)],
  bench: (args) => [program("bench", "bench/main.ts", args)],
  soak: (args) => [program("soak", "bench/soak.ts", args)],
  h2spec: (args) => [program("h2spec", "test/h2spec/main.ts", args)],
  simulate: (args) => [program("simulate", "test/simulation/main.ts", args)],
  conformance: (args) => [program("conformance", "test/conformance/main.ts", args)],
  test: (args) => [tests(args)],
  types: (args) => [tool("types", "typescript/bin/tsc", ["-p", "tsconfig.json", ...args])],
  lint: (args) => [tool("lint", "oxlint/bin/oxlint", ["--deny-warnings", ...args])],
  format: (args) => [tool("format", "@biomejs/biome/bin/biome", ["format", "--write", ...args])],
  build: (args) => [tool("build", "typescript/bin/tsc", ["-p", "tsconfig.build.json", ...args])],
  generate: (args) => [buf(args)],
  check: (args) => [
    tool("types", "typescript/bin/tsc", ["-p", "tsconfig.json"]),
    tool("lint", "oxlint/bin/oxlint", ["--deny-warnings"]),
    tool("format", "@biomejs/biome/bin/biome", ["format"]),
    tests(args),
  ],
};

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof HouseError)) throw error;
  say(error.message);
  process.exitCode = 1;
}

async function main([verb, ...args]) {
  if (verb === undefined || !Object.hasOwn(VERBS, verb)) {
    say(`usage: node scripts/house.mjs <${Object.keys(VERBS).join("|")}> [arguments]`);
    return 2;
  }
  await ensureDependencies();
  const node = findNode();
  const steps = VERBS[verb](args);
  for (const step of steps) {
    if (steps.length > 1) say(`${verb}: ${step.name}`);
    const code = await run(step.command ?? node, step.args, environment(node));
    if (code !== 0) {
      if (steps.length > 1) say(`${verb}: ${step.name} FAILED (exit ${code}); what comes after it was not run`);
      return code;
    }
  }
  if (steps.length > 1) say(`${verb}: ${steps.map((step) => step.name).join(", ")} passed`);
  return 0;
}

// ---------------------------------------------------------------------------------------------------------- the verbs

/** One of our own TypeScript programs. `holdfast-source` makes "holdfast" mean src/, not the built dist/. */
function program(name, file, args) {
  if (!existsSync(join(ROOT, file))) throw new HouseError(`${name}: ${file} does not exist`);
  return { name, args: ["--conditions=holdfast-source", file, ...args] };
}

function tool(name, script, args) {
  const path = join(MODULES, script);
  if (!existsSync(path))
    throw new HouseError(`${name}: ${relative(ROOT, path)} is missing; remove node_modules and run again`);
  return { name, args: [path, ...args] };
}

/** Arguments that begin with "-" go to node:test; the others choose the test files whose path contains one of them. */
function tests(args) {
  const filters = args.filter((arg) => !arg.startsWith("-")).map((filter) => filter.replace(/^\.\//, ""));
  const all = TEST_ROOTS.flatMap((root) => testFiles(join(ROOT, root))).map((file) =>
    relative(ROOT, file).split(sep).join("/"),
  );
  const files = filters.length === 0 ? all : all.filter((file) => filters.some((filter) => file.includes(filter)));
  if (files.length === 0)
    throw new HouseError(`test: no test file matches ${filters.join(" ") || TEST_ROOTS.join(" ")}`);
  return {
    name: "test",
    args: [
      "--conditions=holdfast-source",
      "--test",
      `--test-concurrency=${Math.max(2, Math.min(8, availableParallelism()))}`,
      "--test-reporter=./scripts/test-reporter.ts",
      "--test-reporter-destination=stdout",
      ...args.filter((arg) => arg.startsWith("-")),
      ...files,
    ],
  };
}

function testFiles(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return entry.name === "node_modules" || entry.name === "dist" ? [] : testFiles(path);
      return entry.name.endsWith(".test.ts") ? [path] : [];
    });
}

/** buf's own binary: its npm launcher is made to be replaced by an install script, and we run none. */
function buf(args) {
  const arch = process.platform === "linux" && process.arch === "arm64" ? "aarch64" : process.arch;
  const file = join(
    MODULES,
    "@bufbuild",
    `buf-${process.platform}-${arch}`,
    "bin",
    process.platform === "win32" ? "buf.exe" : "buf",
  );
  if (!existsSync(file)) throw new HouseError(`generate: no buf binary for ${process.platform} ${process.arch}`);
  return { name: "generate", command: file, args: ["generate", ...args] };
}

// ---------------------------------------------------------------------------------------------------- the dependencies

async function ensureDependencies() {
  if (isInstalled()) return;
  await takeInstallLock();
  try {
    // Another process may have installed while this one waited for the lock.
    if (!isInstalled()) await install();
  } finally {
    rmSync(INSTALL_LOCK, { recursive: true, force: true });
  }
}

/**
 * The stamp is the hash of the lock file that node_modules was made from. Without one (somebody ran npm by hand), npm's
 * own record of what it installed is compared with the lock file, so that a good tree is not thrown away.
 */
function isInstalled() {
  if (!existsSync(LOCK_FILE)) throw new HouseError("package-lock.json is missing; it belongs in the repository");
  const hash = lockHash();
  if (existsSync(STAMP_FILE) && readFileSync(STAMP_FILE, "utf8") === hash) return true;
  const record = join(MODULES, ".package-lock.json");
  if (!existsSync(record) || !recordAgrees(readPackages(LOCK_FILE), readPackages(record))) return false;
  writeFileSync(STAMP_FILE, hash);
  return true;
}

/** Every package that is not optional is there, and whatever is there is the locked one. */
function recordAgrees(locked, installed) {
  const isSame = (a, b) => a !== undefined && b !== undefined && a.version === b.version && a.integrity === b.integrity;
  return (
    Object.entries(locked).every(
      ([path, entry]) => !path.startsWith("node_modules/") || entry.optional === true || isSame(entry, installed[path]),
    ) &&
    Object.entries(installed).every(
      ([path, entry]) => isSame(entry, locked[path]) && (entry.link === true || existsSync(join(ROOT, path))),
    ) &&
    (pinnedNode() !== undefined || locked[`node_modules/${nodePackage()}`] === undefined)
  );
}

function readPackages(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages ?? {};
}

function lockHash() {
  return createHash("sha256").update(readFileSync(LOCK_FILE)).digest("hex");
}

async function install() {
  say("installing what package-lock.json names (npm ci, once) ...");
  // The flags undo what a surrounding npm, NODE_ENV=production or a user's npmrc may have set; no package's scripts are run.
  const flags = [
    "--include=dev",
    "--include=optional",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ];
  const { command, args, shell } = npm();
  const code = await run(
    command,
    [...args, "ci", ...flags],
    { ...process.env, NODE_ENV: "development" },
    { stdio: ["ignore", 2, 2], shell },
  );
  if (code !== 0) throw new HouseError(`npm ci failed (exit ${code}); its messages are above`);
  writeFileSync(STAMP_FILE, lockHash());
}

/** The npm that called us if it did, else the one on the PATH. */
function npm() {
  const caller = process.env.npm_execpath;
  if (caller !== undefined && basename(caller) === "npm-cli.js" && existsSync(caller)) {
    return { command: process.execPath, args: [caller], shell: false };
  }
  // On Windows npm is a .cmd file, which only a shell can start.
  return { command: "npm", args: [], shell: process.platform === "win32" };
}

/** mkdir is atomic: who makes the directory installs, the others wait for it to go. A dead owner's lock is taken over. */
async function takeInstallLock() {
  mkdirSync(dirname(INSTALL_LOCK), { recursive: true });
  const startedMs = performance.now();
  for (let isFirst = true; ; isFirst = false) {
    try {
      mkdirSync(INSTALL_LOCK);
      writeFileSync(join(INSTALL_LOCK, "pid"), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw new HouseError(`cannot make ${INSTALL_LOCK}: ${error.message}`);
    }
    if (isAbandoned()) {
      rmSync(INSTALL_LOCK, { recursive: true, force: true });
      continue;
    }
    if (isFirst) say("another process is installing; waiting for it ...");
    if (performance.now() - startedMs > INSTALL_WAIT_MAX_MS) {
      throw new HouseError(
        `another install has held ${relative(ROOT, INSTALL_LOCK)} for ten minutes; remove it if none runs`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function isAbandoned() {
  try {
    const pid = Number(readFileSync(join(INSTALL_LOCK, "pid"), "utf8"));
    if (Number.isInteger(pid) && pid > 0) return !isAlive(pid);
  } catch {
    // The owner is between mkdir and its pid, or died there; the directory's age tells.
  }
  try {
    return Date.now() - statSync(INSTALL_LOCK).mtimeMs > INSTALL_LOCK_BLANK_MAX_MS;
  } catch {
    return false; // It went away meanwhile: the next mkdir decides.
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

// ------------------------------------------------------------------------------------------------------------ the Node

/** The Node that the lock file pins (see toolchain/package.json), else this one if it is new enough. */
function findNode() {
  const pinned = pinnedNode();
  if (pinned !== undefined) return pinned;
  if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR_MIN) return process.execPath;
  throw new HouseError(
    `no Node ${NODE_MAJOR_MIN} for ${process.platform} ${process.arch} comes with the lock file, and this is Node ${process.versions.node}; ` +
      `install Node ${NODE_MAJOR_MIN} or later and run again`,
  );
}

function nodePackage() {
  return `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
}

function pinnedNode() {
  const file = process.platform === "win32" ? "node.exe" : "node";
  return [MODULES, join(ROOT, "toolchain", "node_modules")]
    .map((modules) => join(modules, nodePackage(), "bin", file))
    .find((path) => existsSync(path));
}

/** The pinned Node and the installed tools come first on the PATH, so that what the programs start runs with them too. */
function environment(node) {
  const key = Object.keys(process.env).find((name) => name.toUpperCase() === "PATH") ?? "PATH";
  const path = [dirname(node), join(MODULES, ".bin"), process.env[key]].filter(
    (part) => part !== undefined && part !== "",
  );
  return { ...process.env, [key]: path.join(delimiter) };
}

// ---------------------------------------------------------------------------------------------------------- the running

/** Runs to the end; gives the exit code, or 128 + n where signal n ended it (what a shell would say). */
function run(command, args, env, { stdio = "inherit", shell = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env, stdio, shell });
    const forward = (signal) => {
      // Ctrl-C reaches the whole foreground group by the terminal: passing it on would make it two.
      const hasTerminal =
        process.stdin.isTTY === true || process.stdout.isTTY === true || process.stderr.isTTY === true;
      if (signal !== "SIGINT" || !hasTerminal) child.kill(signal);
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, forward);
    const settle = () => {
      for (const signal of signals) process.off(signal, forward);
    };
    child.on("error", (error) => {
      settle();
      const hint =
        error.code === "ENOENT" && basename(command) === "npm" ? "; npm is needed to install the dependencies" : "";
      reject(new HouseError(`cannot run ${command}: ${error.code ?? error.message}${hint}`));
    });
    child.on("exit", (code, signal) => {
      settle();
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

function say(text) {
  process.stderr.write(`${text}\n`);
}
