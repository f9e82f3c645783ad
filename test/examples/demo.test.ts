/**
 * The main job: `npm run demo`. One fault after the other befalls its servers while calls run, and no call fails.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { ROOT } from "../house/source.ts";
import { runProgram } from "./run-program.ts";

const DEMO = "examples/demo/main.ts";
/** A server that is left behind stays for good; one that is about to go is gone in milliseconds. */
const GONE_MS_MAX = 20_000;
const FIGURES = ["calls", "failed", "recovered", "extraAttempts", "streamsResumed", "p50Ms", "p99Ms"];
/** Each fault has its turn, also where processes take a second to start. */
const SECONDS = "10";

interface Json extends Record<string, unknown> {
  readonly faults: readonly Readonly<Record<string, unknown>>[];
  readonly reliability: Readonly<Record<"perAttempt" | "perCall", { value: number; low: number; high: number }>>;
}

test("no call fails whatever befalls a server, and --json prints the report alone", async () => {
  using demo = runProgram(DEMO, ["--json", "--seconds", SECONDS]);
  const { code, stdout, stderr } = await demo.ended;
  assert.equal(stderr, "", stderr + stdout);
  const report = JSON.parse(stdout) as Json & Readonly<Record<string, number>>;
  for (const name of FIGURES) assert.equal(typeof report[name], "number", `${name} in ${stdout}`);
  // A call of which the machine took more than half of its time may fail; the exit code and the report say so.
  assert.equal(report["failed"], report["failedInStalls"], whyText(stdout));
  const isGood = report["failed"] === 0;
  assertFaults(report, isGood, stdout);
  assertFleet(report, isGood, stdout);
  const { perAttempt, perCall } = report.reliability;
  if (isGood) assert.deepEqual([report["failures"], report["failedCalls"], perCall.value], [{}, [], 1], stdout);
  assert.ok(perCall.low < 1 && perCall.high >= perCall.value, stdout);
  assert.ok(perAttempt.value < 1 && perAttempt.low < perAttempt.value && perAttempt.value < perAttempt.high, stdout);
  assert.ok((report["recovered"] ?? 0) > 0, stdout);
  assert.ok((report["serversKilled"] ?? 0) > 0, stdout);
  assert.ok((report["calls"] ?? 0) > (report["recovered"] ?? 0), stdout);
  assert.ok((report["numbers"] ?? 0) > 0, stdout);
  assert.ok((report["p50Ms"] ?? 0) > 0 && (report["p50Ms"] ?? 0) <= (report["p99Ms"] ?? 0), stdout);
  assert.equal(code, isGood ? 0 : 1, stdout);
});

/** The report of a run in which calls failed, to be read by people. */
function whyText(json: string): string {
  return inspect(JSON.parse(json), { depth: null, maxArrayLength: null, maxStringLength: null, breakLength: 160 });
}

function assertFaults({ faults }: Json, isGood: boolean, text: string): void {
  assert.deepEqual(
    faults.map(({ kind }) => kind),
    ["kill", "stop", "slow", "unavailable", "corrupt", "partition", "rolling restart", "overload"],
  );
  for (const chapter of faults) {
    if (isGood) assert.equal(chapter["failed"], 0, text);
    for (const name of ["extraAttempts", "calls", "lastedMs"])
      assert.ok(Number(chapter[name]) >= 0, `${name} in ${text}`);
  }
  for (const fault of faults.slice(0, -2)) {
    for (const name of ["detectedMs", "healedMs"]) {
      const ms = fault[name];
      assert.ok(ms === null || (typeof ms === "number" && ms >= 0), `${name} in ${text}`);
    }
  }
  // A dead process is noticed by whoever calls it, however busy the machine is.
  assert.equal(typeof faults[0]?.["detectedMs"], "number", text);
  assert.ok(
    faults.some(({ extraAttempts }) => Number(extraAttempts) > 0),
    text,
  );
}

function assertFleet({ faults }: Json, isGood: boolean, text: string): void {
  const [restart = {}, overload = {}] = faults.slice(-2);
  assert.equal(restart["restarts"], 5, text);
  assert.ok(Number(restart["unrepeatableCalls"]) > 0, text);
  // Eight streams run at any time, and each server ends: some were there.
  assert.ok(Number(restart["streamsResumed"]) > 0, text);
  if (isGood) assert.deepEqual([restart["unrepeatableFailed"], overload["criticalFailed"]], [0, 0], text);
  const { offered, shed, shedByClient, answered, unanswered } = overload;
  assert.equal(Number(shed) + Number(answered) + Number(unanswered), offered, text);
  assert.ok(Number(shed) > 0 && Number(shedByClient) <= Number(shed), text);
  assert.ok(Number(overload["criticalCalls"]) > 0 && Number(answered) > 0, text);
  assert.ok(Number(overload["goodputShare"]) > 0 && Number(overload["goodputShare"]) <= 1.1, text);
  assert.ok(Number(overload["criticalP50Ms"]) <= Number(overload["criticalP99Ms"]), text);
}

test("Ctrl-C ends the demo with its report, in 80 columns without colour, and no server is left", async () => {
  using demo = runProgram(DEMO, ["--seconds", "60"]);
  const ports = portsIn(await demo.printed(/^ *2 s /m));
  demo.kill("SIGINT");
  const { code, stdout, stderr } = await demo.ended;
  assert.equal(stderr, "", stderr + stdout);
  assertMatches(stdout, /^ {2}calls +[\d,]+ /m);
  const isExcused = EXCUSE.test(stdout);
  if (!isExcused) {
    assertMatches(stdout, /^No call failed\. The run was ended early\.$/m);
    const odd = stdout
      .split("\n")
      .filter((line) => line.length > 80 || line !== line.trimEnd() || line.includes("\u001b"));
    assert.deepEqual(odd, [], stdout);
  }
  assert.equal(code, isExcused ? 1 : 0, stdout);
  for (const port of ports) await refuses(port);
});

test("the transcript in the README has the shape of what the demo prints", async () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const transcript = /^\$ npm run demo\n([^]*?)^```$/m.exec(readme)?.[1] ?? "";
  assert.match(transcript, /^ *A is killed: kill -9$/m);
  assert.equal(transcript.match(FAULT_ROW)?.length, 6);
  assert.match(transcript, /^ {2}rolling restart .* 0 failed$/m);
  assert.match(transcript, /critical calls meanwhile: 0 failed$/m);
  assert.deepEqual(
    transcript.split("\n").filter((line) => line.length > 80),
    [],
  );
  assert.match(transcript, /^No call failed\.$/m);
  using demo = runProgram(DEMO, ["--seconds", SECONDS]);
  const { stdout, stderr } = await demo.ended;
  const shown = new Set(shapesOf(stdout));
  if (EXCUSE.test(stdout)) shown.add("No call failed.");
  const missing = shapesOf(transcript).filter((shape) => !shown.has(shape));
  assert.deepEqual(missing, [], `the demo has not printed ${JSON.stringify(missing)}, but:\n${stdout}${stderr}`);
});

test("a demo that is killed itself leaves nothing behind, not even the server that it has stopped", async () => {
  using demo = runProgram(DEMO, ["--seconds", SECONDS]);
  const ports = portsIn(await demo.printed(/^ *B is frozen /m));
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

/** Only then may a call fail: the machine took more than half of its time. The report says so, and the exit code that it failed. */
const EXCUSE = /^Each of the failed calls had less than half of its time: the demo itself stood still\.$/m;

/** A row of the table of faults: its name, and figures that a run may not have. */
const FAULT_ROW = /^ {2}[A-E] \S+(?: \S+)* {2,}/gm;

/** Lines without their figures. What stands in a line of the running table differs from second to second. */
function shapesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => !/^ *(\d+ s|\.\.\.)/.test(line))
    .map((line) => line.match(FAULT_ROW)?.[0].trim() ?? line.replaceAll(/ *\d[\d,.]*/g, " #"));
}

/** As `assert.match`; where it fails, the whole text is told, not its first lines. */
function assertMatches(text: string, pattern: RegExp): void {
  assert.ok(pattern.test(text), `nothing matches ${String(pattern)} in:\n${text}`);
}

function portsIn(heading: string): readonly number[] {
  const lists = [...heading.matchAll(/ on (?:ports )?((?:\d{4,5}(?:, )?){5})[;.]$/gm)].map((match) => match[1] ?? "");
  const ports = lists.flatMap((list) => list.split(", ").map(Number));
  assert.equal(ports.length, 10, heading);
  return ports;
}

/** Resolves when nobody listens on the port: its server notices the end of its parent by itself, which takes a moment. */
async function refuses(port: number): Promise<void> {
  for (const giveUpMs = performance.now() + GONE_MS_MAX; ; ) {
    assert.ok(performance.now() < giveUpMs, `somebody still listens on ${port}`);
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
