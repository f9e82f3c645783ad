import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NetworkRecorder } from "../testing/network-recorder.ts";
import { createSimulation } from "../testing/simulation.ts";
import { chaosProxy } from "./chaos-proxy.ts";
import type { ExitCode, Shell } from "./command.ts";
import { UsageError } from "./usage-error.ts";

const PLACES = ["--listen", "127.0.0.1:9000", "--target", "127.0.0.1:80"];

/** The command in a simulated machine, whose port 80 takes what it gets. */
async function machine() {
  const simulation = createSimulation({ link: { jitterMs: 0, splitShare: 0 } });
  const world = simulation.host("here");
  const out: string[] = [];
  const said: string[] = [];
  const interruption = new AbortController();
  const server = new NetworkRecorder();
  await simulation.settle(
    world.network.listen({
      address: { kind: "tcp", host: "127.0.0.1", port: 80 },
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1_000,
      accept: () => server,
      failed: (error) => assert.fail(error.text),
    }),
  );
  const shell: Shell = {
    world,
    print: (line) => void out.push(line),
    say: (line) => void said.push(line),
    interrupted: interruption.signal,
  };
  const run = (...flags: readonly string[]): Promise<ExitCode> => chaosProxy.run([...PLACES, ...flags], shell);
  const connect = (port: number): { readonly client: NetworkRecorder; write(text: string): void } => {
    const client = new NetworkRecorder();
    const socket = world.network.connect(
      { kind: "tcp", host: "127.0.0.1", port },
      { tls: undefined, alpn: [] },
      client,
    );
    return { client, write: (text) => socket.write(Buffer.from(text)) };
  };
  return { simulation, out, said, interruption, server, run, connect };
}

describe("holdfast chaos proxy", () => {
  it("passes bytes with the fault that was asked for, until its time is over, and prints what it did", async () => {
    const here = await machine();
    const running = here.run("--latency-ms", "200", "--direction", "up", "--for-ms", "5000", "--seed", "7");
    await here.simulation.advance(10);
    here.connect(9000).write("hello");
    await here.simulation.advance(190);
    assert.equal(here.server.receivedBytes, 0);
    await here.simulation.advance(20);
    assert.equal(String(here.server.bytes), "hello");
    assert.equal(await here.simulation.settle(running), 0);
    assert.equal(Math.round(here.simulation.nowMs), 5_000);
    assert.deepEqual(here.said, [
      "127.0.0.1:9000 passes to 127.0.0.1:80, seed 7",
      "fault: latency latencyMs 200 direction up",
    ]);
    assert.equal(here.out[0], "accepted     1");
    assert.ok(here.out.includes("upBytes      5"));
  });

  it("prints two JSON lines with --json", async () => {
    const here = await machine();
    assert.equal(await here.simulation.settle(here.run("--json", "--stall", "--for-ms", "100", "--seed", "7")), 0);
    const [listening, ended, ...rest] = here.out.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(listening, {
      event: "listening",
      listen: "127.0.0.1:9000",
      target: "127.0.0.1:80",
      seed: 7,
      faults: [{ kind: "stall" }],
    });
    assert.equal(ended?.["event"], "ended");
    assert.equal(ended?.["end"], "time");
    assert.equal(ended?.["ms"], 100);
    assert.equal(ended?.["accepted"], 0);
    assert.deepEqual(rest, []);
  });

  it("ends with 130 when it is interrupted, before it began as well, and still says what it did", async () => {
    const here = await machine();
    const running = here.run("--json", "--for-ms", "5000");
    await here.simulation.advance(100);
    here.interruption.abort();
    assert.equal(await here.simulation.settle(running), 130);
    assert.equal((JSON.parse(here.out.at(-1) ?? "") as { end: unknown }).end, "interrupted");
    assert.equal(await here.simulation.settle(here.run("--json")), 130);
    // Its timer is gone with it.
    const fired = here.simulation.eventsFired;
    await here.simulation.advance(10_000);
    assert.equal(here.simulation.eventsFired, fired);
  });

  it("says by an error that it cannot listen", async () => {
    const here = await machine();
    const running = here.run("--listen=127.0.0.1:80").catch((error: unknown) => error);
    assert.ok((await here.simulation.settle(running)) instanceof UsageError, "--listen is given twice");
    const taken = chaosProxy.run(["--listen", "127.0.0.1:80", "--target", "127.0.0.1:81"], {
      world: here.simulation.host("here"),
      print: () => undefined,
      say: () => undefined,
      interrupted: here.interruption.signal,
    });
    await assert.rejects(here.simulation.settle(taken), /EADDRINUSE/);
  });

  it("turns each flag into its fault", async () => {
    const flags: readonly (readonly [flags: string, fault: object])[] = [
      ["--latency-ms 50 --jitter-ms 10", { kind: "latency", latencyMs: 50, jitterMs: 10 }],
      ["--bandwidth-bytes 125000", { kind: "bandwidth", bytesPerSecond: 125_000 }],
      ["--slice-bytes 100 --slice-delay-ms 3", { kind: "slice", sliceBytes: 100, delayMs: 3 }],
      ["--stall --direction down --share 0.5", { kind: "stall", direction: "down", share: 0.5 }],
      ["--silence up", { kind: "silence", direction: "up" }],
      ["--half-open --share 0.5", { kind: "half-open", share: 0.5 }],
      ["--refuse", { kind: "refuse" }],
      ["--reset-share 0.1", { kind: "reset", share: 0.1 }],
      ["--reset-after-bytes 9", { kind: "reset", afterBytes: 9 }],
      ["--limit-bytes 9", { kind: "limit", bytes: 9 }],
      ["--slow-close-ms 9", { kind: "slow-close", delayMs: 9 }],
      ["--corrupt-share 0.01", { kind: "corrupt", chunkShare: 0.01 }],
      ["--corrupt-every-bytes 9", { kind: "corrupt", everyBytes: 9 }],
    ];
    for (const [given, fault] of flags) {
      const here = await machine();
      await here.simulation.settle(here.run("--json", "--for-ms", "1", ...given.split(" ")));
      assert.deepEqual((JSON.parse(here.out[0] ?? "") as { faults: unknown }).faults, [fault], given);
    }
  });

  it("refuses what makes no sense, as the user's mistake", async () => {
    const here = await machine();
    const refused = async (message: RegExp, ...args: readonly string[]): Promise<void> => {
      const running = chaosProxy.run(args, {
        world: here.simulation.host("here"),
        print: () => undefined,
        say: () => undefined,
        interrupted: here.interruption.signal,
      });
      await assert.rejects(running, (error) => error instanceof UsageError && message.test(error.message));
    };
    const target = ["--target", "127.0.0.1:80"];
    await refused(/^--listen must be given$/, ...target);
    await refused(/^--target must be given$/, "--listen", "127.0.0.1:0");
    await refused(
      /^--listen must be loopback unless --allow-remote is given, got 0\.0\.0\.0:9$/,
      "--listen",
      "0.0.0.0:9",
      ...target,
    );
    await refused(/^--listen must be "host:port"/, "--listen", "nowhere", ...target);
    await refused(/^--listen must be host:port, got "unix:\/a"$/, "--listen", "unix:/a", ...target);
    await refused(/^--target must have a port in 1\.\.65535, got 0$/, "--listen", "127.0.0.1:0", "--target", "a:0");
    await refused(/^--jitter-ms needs --latency-ms$/, ...PLACES, "--jitter-ms", "5");
    await refused(/^--slice-delay-ms needs --slice-bytes$/, ...PLACES, "--slice-delay-ms", "5");
    await refused(/^--reset-share must be 0\.\.1, got 10$/, ...PLACES, "--reset-share", "10");
    await refused(/^--silence must be "up" or "down" or "both", got "left"/, ...PLACES, "--silence", "left");
  });
});
