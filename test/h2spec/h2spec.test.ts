/** The HTTP/2 engine passes h2spec. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { goProgram, hasProgram, skipWithout } from "../peers/tools.ts";
import { CASES_MIN, parseReport, runH2spec } from "./run.ts";

describe("h2spec's report", () => {
  it("is read case by case", () => {
    const xml = `<testsuites><testsuite name="a">
      <testcase package="http2/1" classname="passes"/>
      <testcase package="http2/2" classname="passes too"></testcase>
      <testcase package="http2/3" classname="fails"><failure>Actual: Timeout</failure></testcase>
      <testcase package="http2/4" classname="was skipped"><skipped/></testcase>
    </testsuite></testsuites>`;
    assert.deepEqual(parseReport(xml), { run: 4, failed: ["http2/3: fails"], skipped: ["http2/4: was skipped"] });
  });
});

describe("the HTTP/2 engine", { skip: skipWithout(hasProgram(goProgram("h2spec")), "test/peers/build.sh go") }, () => {
  it("passes every case of h2spec, skipping none", async () => {
    const { run, failed, skipped, output } = await runH2spec();
    assert.deepEqual({ failed, skipped }, { failed: [], skipped: [] }, output);
    assert.ok(run >= CASES_MIN, `only ${run} cases ran`);
  });
});
