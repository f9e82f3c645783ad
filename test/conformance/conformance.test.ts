/** Holdfast passes the gRPC part of connectrpc/conformance; there is no list of known failures. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { goProgram, hasProgram, skipWithout } from "../peers/tools.ts";
import { CASES_MIN, runConformance } from "./run.ts";

describe("connectrpc/conformance", {
  skip: skipWithout(hasProgram(goProgram("connectconformance")), "test/peers/build.sh go"),
}, () => {
  for (const mode of ["client", "server"] as const) {
    it(`is passed by Holdfast's ${mode}, every case`, async () => {
      const { run, passed, failed, output } = await runConformance(mode);
      assert.deepEqual(failed, [], output);
      assert.equal(passed, run, output);
      assert.ok(run >= CASES_MIN[mode], `only ${run} cases ran: ${output}`);
    });
  }
});
