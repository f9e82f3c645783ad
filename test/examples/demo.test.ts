/**
 * The main job: `npm run demo`. Servers are killed while calls run, and no call fails.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../house/source.ts";
import { runProgram } from "./run-program.ts";

const DEMO = "examples/demo/main.ts";
/** A server that is left behind stays for good; one that is about to go is gone in milliseconds. */
const GONE_MS_MAX = 20_000;
const FIGURES = ["calls", "failed", "recovered", "streamsResumed", "p50Ms", "p99Ms"];

test("no call fails while a server is killed, and --json prints the report alone", async () => {
  using demo = runProgram(DEMO, ["--json", "--seconds", "3"]);
  const { code, stdout, stderr } = await demo.ended;
  assert.equal(stderr, "");
  const report = JSON.parse(stdout) as Record<string, number>;
  for (const name of FIGURES) assert.equal(typeof report[name], "number", name);
  assert.deepEqual(report["failures"], {});
  assert.equal(report["failed"], 0);
  assert.ok((report["recovered"] ?? 0) > 0, stdout);
  assert.ok((report["serversKilled"] ?? 0) > 0, stdout);
  assert.ok((report["calls"] ?? 0) > (report["recovered"] ?? 0), stdout);
  assert.ok((report["numbers"] ?? 0) > 0, stdout);
  assert.ok((report["p50Ms"] ?? 0) > 0 && (report["p50Ms"] ?? 0) <= (report["p99Ms"] ?? 0), stdout);
  assert.equal(code, 0);
});

test("Ctrl-C ends the demo with its report, in 80 columns without colour, and no server is left", async () => {
  using demo = runProgram(DEMO, ["--seconds", "60"]);
  const ports = portsIn(await demo.printed(/^ *2 s /m));
  demo.kill("SIGINT");
  const { code, stdout, stderr } = await demo.ended;
  assert.equal(stderr, "");
  assert.match(stdout, /^ {2}calls +[\d,]+ /m);
  assert.match(stdout, /^No call failed\. The run was ended early\.$/m);
  assert.deepEqual(
    stdout.split("\n").filter((line) => line.length > 80 || line !== line.trimEnd() || line.includes("\u001b")),
    [],
  );
  assert.equal(code, 0);
  for (const port of ports) await refuses(port);
});

test("the transcript in the README has the shape of what the demo prints", async () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const transcript = /^\$ npm run demo\n([^]*?)^```$/m.exec(readme)?.[1] ?? "";
  assert.match(transcript, /^ *\d+ s .* killed/m);
  assert.match(transcript, /^No call failed\.$/m);
  using demo = runProgram(DEMO, ["--seconds", "3"]);
  const shown = new Set(shapesOf((await demo.ended).stdout));
  assert.deepEqual(
    shapesOf(transcript).filter((shape) => !shown.has(shape)),
    [],
  );
});

test("a demo that is killed itself leaves no server behind", async () => {
  using demo = runProgram(DEMO, ["--seconds", "60"]);
  const ports = portsIn(await demo.printed(/^ *1 s /m));
  demo.kill("SIGKILL");
  assert.equal((await demo.ended).signal, "SIGKILL");
  for (const port of ports) await refuses(port);
});

test("a wrong flag is told with what is right, and exit code 2", async () => {
  for (const [args, text] of [
    [["--seconds", "2"], 'demo: --seconds must be 3..600, got "2"'],
    [["--seconds", "many"], 'demo: --seconds must be 3..600, got "many"'],
    [["--seconds="], 'demo: --seconds must be 3..600, got ""'],
    [["--second", "3"], "demo: Unknown option '--second'"],
    [["fast"], "demo: Unexpected argument 'fast'"],
  ] as const) {
    using demo = runProgram(DEMO, args);
    const { code, stdout, stderr } = await demo.ended;
    assert.equal(stdout, "");
    assert.deepEqual(stderr.split("\n").slice(0, 2), [text, "usage: npm run demo -- [flags]"]);
    assert.equal(code, 2);
  }
});

/** Lines without their figures. What stands in a line of the running table differs from second to second. */
function shapesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => !/^ *(\d+ s|\.\.\.)/.test(line))
    .map((line) => line.replaceAll(/ *\d[\d,.]*/g, " #"));
}

function portsIn(heading: string): readonly number[] {
  const ports = [...heading.matchAll(/on port (\d+)/g)].map((match) => Number(match[1]));
  assert.equal(ports.length, 3, heading);
  return ports;
}

/** Resolves when nobody listens on the port: its server notices the end of its parent by itself, which takes a moment. */
async function refuses(port: number): Promise<void> {
  for (const giveUpMs = performance.now() + GONE_MS_MAX; ; ) {
    assert.ok(performance.now() < giveUpMs, `a server still listens on ${port}`);
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
    } catch (error) {
      assert.match(String(error), /ECONNREFUSED|ECONNRESET/);
      return;
    } finally {
      socket.destroy();
    }
  }
}
