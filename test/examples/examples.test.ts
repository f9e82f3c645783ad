/**
 * Every example runs to its end and shows what it is there for.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../house/source.ts";
import { runProgram } from "./run-program.ts";

test("hello: the client talks to the server, and SIGTERM ends that", async () => {
  using server = runProgram("examples/hello/server.ts", ["0"]);
  const address = /listens on (\S+)/.exec(await server.printed(/listens on \S+\n/))?.[1] ?? "";
  using client = runProgram("examples/hello/client.ts", [address]);
  const { code, stdout, stderr } = await client.ended;
  assert.equal(`${stdout}${stderr}`, "1 + 2 = 3\n1\n2\n3\n");
  assert.equal(code, 0);
  server.kill("SIGTERM");
  const end = await server.ended;
  assert.equal(end.signal, "SIGTERM", end.stderr);
});

test("streams: four kinds of calls, and three ends before the end", async () => {
  using program = runProgram("examples/streams/main.ts");
  const { code, stdout, stderr } = await program.ended;
  assert.equal(stderr, "");
  for (const line of [
    "  tea",
    "  step 3",
    "  2 accepted",
    "  HELLO",
    "  GOODBYE",
    "  server: nobody watches any more",
  ]) {
    assert.ok(stdout.split("\n").includes(line), `${line} is missing in:\n${stdout}`);
  }
  assert.equal(stdout.match(/^ {2}DEADLINE_EXCEEDED: /gm)?.length, 2, stdout);
  assert.equal(stdout.match(/^ {2}CANCELLED: /gm)?.length, 1, stdout);
  assert.doesNotMatch(stdout, /step 4|it was answered/);
  assert.equal(code, 0);
});

test("interceptors: calls are refused, changed and logged", async () => {
  using program = runProgram("examples/interceptors/main.ts");
  const { code, stdout, stderr } = await program.ended;
  assert.equal(stderr, "");
  for (const line of [
    "  server: add for shop 7",
    "  client: /calc.v1.Calculator/Add OK",
    "  6",
    "  client: /calc.v1.Calculator/Count OK",
    "  3 numbers",
    "  UNAUTHENTICATED: which shop is calling?",
  ]) {
    assert.ok(stdout.split("\n").includes(line), `${line} is missing in:\n${stdout}`);
  }
  assert.equal(code, 0);
});

test("every example stands in the README and is run here", () => {
  const programs = readdirSync(join(ROOT, "examples"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !["gen", "proto", "node_modules"].includes(entry.name))
    .map(({ name }) => name)
    .sort();
  assert.deepEqual(programs, ["demo", "hello", "interceptors", "streams"], "each is run by a test of this folder");
  const readme = readFileSync(join(ROOT, "examples/README.md"), "utf8");
  const listed = [...readme.matchAll(/^\| \[(\w+)\]\(\1\//gm)].map((match) => match[1] ?? "");
  assert.deepEqual(listed.sort(), programs);
});
