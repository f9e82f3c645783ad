import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadRatios, ratiosOf, spreadOf, summarise, type Row } from "./summary.ts";

const row = (name: Row["name"], round: number, rps: number, p99Ms = 1): Row => ({
  name,
  caseKey: "64",
  round,
  metrics: { rps, p99Ms, clientCpuUsPerCall: 1, serverCpuUsPerCall: 3 },
});

test("a ratio is the median of the rounds' ratios, not the ratio of the medians", () => {
  // The machine was ten times slower in the second round, for both.
  const rows = [row("holdfast", 0, 200), row("grpc-js", 0, 10), row("holdfast", 1, 20), row("grpc-js", 1, 1)];
  const rows3 = [...rows, row("holdfast", 2, 100), row("grpc-js", 2, 10)];
  const ratios = ratiosOf(rows3, "64", loadRatios);
  assert.equal(ratios["rpsOverGrpcJs"], 20);
  assert.deepEqual(ratios.spread["rpsOverGrpcJs"], [10, 20]);
});

test("a round in which one of the two failed has no ratio", () => {
  const rows = [row("holdfast", 0, 100), row("holdfast", 1, 100), row("grpc-js", 1, 10)];
  assert.equal(ratiosOf(rows, "64", loadRatios)["rpsOverGrpcJs"], 10);
});

test("a contender that was not measured is in no ratio", () => {
  const ratios = ratiosOf([row("holdfast", 0, 1), row("grpc-js", 0, 1)], "64", loadRatios);
  assert.deepEqual(Object.keys(ratios).toSorted(), ["cpuOverGrpcJs", "p99OverGrpcJs", "rpsOverGrpcJs", "spread"]);
});

test("CPU is compared as the sum of both sides", () => {
  const cheap = {
    ...row("holdfast", 0, 1),
    metrics: { rps: 1, p99Ms: 1, clientCpuUsPerCall: 1, serverCpuUsPerCall: 1 },
  };
  assert.equal(ratiosOf([cheap, row("grpc-js", 0, 1)], "64", loadRatios)["cpuOverGrpcJs"], 0.5);
});

test("every pair that the verdict needs is there by name", () => {
  const names = new Set(loadRatios.map(({ name }) => name));
  for (const name of ["rpsOverGrpcJs", "rpsOverFloor", "rpsOverNodeHttp2", "p99OverGrpcJs", "cpuOverGrpcJs"]) {
    assert.ok(names.has(name), name);
  }
});

test("a median lies between the least and the greatest, and half of the values on each side of it", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
      const { median, min, max } = spreadOf(values);
      assert.ok(min <= median && median <= max);
      assert.ok(values.filter((value) => value <= median).length * 2 >= values.length);
      assert.ok(values.filter((value) => value >= median).length * 2 >= values.length);
    }),
  );
  assert.throws(() => spreadOf([]), RangeError);
});

test("a summary is of one contender in one case", () => {
  const rows = [row("grpc-js", 0, 10), row("grpc-js", 1, 30), row("holdfast", 0, 99)];
  assert.deepEqual(summarise(rows, "grpc-js", "64")?.["rps"], { median: 20, min: 10, max: 30 });
  assert.equal(summarise(rows, "grpc-js", "1"), undefined);
});
