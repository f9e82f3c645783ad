/**
 * The short version of `npm run bench -- once-chaos`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runOnceChaos } from "./chaos.ts";

for (const store of ["sqlite", "memory"] as const) {
  test(`servers killed, connections cut${store === "sqlite" ? ", clients killed" : ""}, ${store}: no effect twice, no acknowledged one lost`, {
    timeout: 240_000,
  }, async () => {
    const report = await runOnceChaos({ store, calls: 300, seed: 7, killsMax: 2 }, () => {});
    assert.ok(report.passed, JSON.stringify(report));
    assert.ok(report.serverKills >= 1 && report.connectionsCut >= 1, JSON.stringify(report));
    assert.ok((report.outcomes["OK"] ?? 0) > 150, JSON.stringify(report));
  });
}
