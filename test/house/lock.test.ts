/**
 * The lock file fixes the whole toolchain, the Node binary included, on every platform, and names no registry.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { missingEntries } from "../../scripts/complete-lock.ts";
import type { LockEntry } from "../../scripts/complete-lock.ts";
import { ROOT } from "./source.ts";

const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  readonly packages: Record<string, LockEntry>;
};

test("npm ci finds every optional package of every platform in the lock file", () => {
  assert.deepEqual(Object.keys(missingEntries(lock.packages)), [], "run node scripts/complete-lock.ts");
});

test("a missing platform's entry is made from its name", () => {
  const packages = {
    "node_modules/a": {
      optionalDependencies: { "@a/linux-arm64-musl": "1.2.3", "a-win32-x64": "1.2.3", "a-linux-armv7": "1.2.3" },
    },
  };
  assert.deepEqual(missingEntries(packages), {
    "node_modules/@a/linux-arm64-musl": {
      version: "1.2.3",
      libc: ["musl"],
      cpu: ["arm64"],
      os: ["linux"],
      dev: true,
      optional: true,
    },
    "node_modules/a-win32-x64": { version: "1.2.3", cpu: ["x64"], os: ["win32"], dev: true, optional: true },
    "node_modules/a-linux-armv7": { version: "1.2.3", cpu: ["arm"], os: ["linux"], dev: true, optional: true },
  });
  assert.throws(() => missingEntries({ a: { optionalDependencies: { "a-linux-x64": "^1.2.3" } } }), /does not pin/);
  assert.throws(() => missingEntries({ a: { optionalDependencies: { fsevents: "1.2.3" } } }), /platform of fsevents/);
});

test("the lock file names no registry: each machine uses its own", () => {
  const named = Object.entries(lock.packages).filter(([, entry]) => /^https?:/.test(String(entry["resolved"] ?? "")));
  assert.deepEqual(
    named.map(([path]) => path),
    [],
  );
});

test("every version of package.json is exact", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<
    string,
    Record<string, string> | undefined
  >;
  const ranges = ["dependencies", "devDependencies"]
    .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
    .filter(([, version]) => !/^\d/.test(version));
  assert.deepEqual(ranges, []);
});
