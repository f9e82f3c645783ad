import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBusyMs } from "./machine-load.ts";

test("busy is everything but idle and waiting for disks; guests count once, in user", () => {
  assert.equal(parseBusyMs("cpu  10 1 5 1000 50 2 3 4 8 8\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"), 250);
});

test("a text that is no /proc/stat is refused", () => {
  assert.throws(() => parseBusyMs(""), /\/proc\/stat/);
  assert.throws(() => parseBusyMs("cpu a b c d e f g h\n"), /\/proc\/stat/);
});
