/**
 * Completes package-lock.json after `npm install`, so that `npm ci` accepts it on every platform.
 *
 * npm leaves an optional package out of the lock file when the registry in use cannot give it (a mirror that holds Linux
 * builds only), and `npm ci` then refuses the whole lock file: "Missing: @biomejs/cli-darwin-x64@ from lock file". This adds
 * the missing entries: the version is the one that the depending package pins exactly, `os`, `cpu` and `libc` are read from
 * the name, as these packages are named for them. There is no integrity for such an entry, for nobody here has seen the
 * file: on those platforms npm trusts the registry. Run: `node scripts/complete-lock.ts`.
 */
import { readFileSync, writeFileSync } from "node:fs";

export interface LockEntry {
  readonly version?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

const OS: Readonly<Record<string, string>> = { win: "win32" };
const OS_WORDS = new Set(["aix", "android", "darwin", "freebsd", "linux", "openharmony", "sunos", "win", "win32"]);
const CPU: Readonly<Record<string, string>> = { armv7: "arm", aarch64: "arm64" };
const CPU_WORDS = new Set(["aarch64", "arm", "arm64", "armv7", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"]);
const LIBC: Readonly<Record<string, string>> = { gnu: "glibc", gnueabihf: "glibc", musl: "musl", musleabihf: "musl" };

/** The entries that are missing, by their place in the lock file. Throws where a version or platform cannot be known. */
export function missingEntries(packages: Readonly<Record<string, LockEntry>>): Record<string, LockEntry> {
  const missing: Record<string, LockEntry> = {};
  for (const [dependent, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const place = `node_modules/${name}`;
      if (packages[place] !== undefined || packages[`${dependent}/${place}`] !== undefined) continue;
      if (!/^\d+\.\d+\.\d+(-[\w.-]+)?$/.test(version)) throw new Error(`${dependent} does not pin ${name}: ${version}`);
      missing[place] = { version, ...platformOf(name), dev: true, optional: true };
    }
  }
  return missing;
}

function platformOf(name: string): { readonly os: string[]; readonly cpu: string[]; readonly libc?: string[] } {
  const words = name.split(/[/-]/);
  const os = words.find((word) => OS_WORDS.has(word));
  const cpu = words.find((word) => CPU_WORDS.has(word));
  if (os === undefined || cpu === undefined) throw new Error(`the platform of ${name} cannot be read from its name`);
  const libc = words.find((word) => LIBC[word] !== undefined);
  return {
    ...(libc === undefined ? {} : { libc: [LIBC[libc] ?? libc] }),
    cpu: [CPU[cpu] ?? cpu],
    os: [OS[os] ?? os],
  };
}

if (import.meta.main) {
  const file = new URL("../package-lock.json", import.meta.url);
  const lock = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, LockEntry> };
  const missing = missingEntries(lock.packages);
  const entries = Object.entries({ ...lock.packages, ...missing });
  lock.packages = Object.fromEntries(entries.sort(([a], [b]) => a.localeCompare(b, "en")));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  process.stderr.write(`${Object.keys(missing).length} entries added\n`);
}
