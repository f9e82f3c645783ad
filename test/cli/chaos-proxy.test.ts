/**
 * `holdfast chaos proxy` as a user runs it: a process of its own between a real client and a real server.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { connectRecorded, listenRecorded } from "../../src/testing/recorded-sockets.ts";
import { nodeWorld } from "../../src/world/node.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

interface Run {
  readonly child: ChildProcess;
  /** The next line of its stdout; undefined when there is none any more. */
  line(): Promise<string | undefined>;
  /** Its exit code, and all that it wrote to stderr. */
  end(): Promise<{ readonly code: number | null; readonly signal: string | null; readonly said: string }>;
}

function holdfast(...args: readonly string[]): Run {
  const child = spawn(process.execPath, ["--conditions=holdfast-source", MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const closed = once(child, "close");
  return {
    child,
    line: async () => {
      const next = await lines.next();
      return next.done === true ? undefined : next.value;
    },
    end: async () => {
      const [code, signal] = (await closed) as [number | null, string | null];
      return { code, signal, said };
    },
  };
}

describe("the holdfast command", { timeout: 60_000 }, () => {
  it("proxies with a fault until SIGINT, then says what it did and ends with 130", async () => {
    const target = await listenRecorded(nodeWorld.network);
    const port = target.address.kind === "tcp" ? target.address.port : assert.fail();
    const run = holdfast(
      ...["chaos", "proxy", "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${port}`],
      ...["--corrupt-every-bytes", "4", "--direction", "up", "--seed", "7", "--json"],
    );
    try {
      const first = JSON.parse((await run.line()) ?? "") as { readonly event: string; readonly listen: string };
      assert.equal(first.event, "listening");
      const [host = "", at = ""] = first.listen.split(":");
      const client = connectRecorded(nodeWorld.network, { kind: "tcp", host, port: Number(at) });
      const server = await target.accepted();
      client.socket.write(Buffer.from("question"));
      await server.seen.until(() => server.seen.byteLength === 8);
      assert.notEqual(server.seen.text, "question");
      server.socket.write(Buffer.from("answer"));
      await client.seen.until(() => client.seen.text === "answer");
      run.child.kill("SIGINT");
      const last = JSON.parse((await run.line()) ?? "") as Readonly<Record<string, unknown>>;
      assert.equal(last["end"], "interrupted");
      assert.equal(last["accepted"], 1);
      assert.equal(last["upBytes"], 8);
      assert.equal(last["downBytes"], 6);
      assert.ok(last["flippedBits"] === 2 || last["flippedBits"] === 3, String(last["flippedBits"]));
      assert.equal(await run.line(), undefined, "two lines and no more");
      const { code, said } = await run.end();
      assert.equal(code, 130);
      assert.match(said, /^127\.0\.0\.1:\d+ passes to 127\.0\.0\.1:\d+, seed 7\nfault: corrupt /);
      await client.seen.has("ended", "closed");
      client.socket.destroy();
      server.socket.destroy();
    } finally {
      run.child.kill("SIGKILL");
      await target.listener.close();
    }
  });

  it("ends by itself with 0 when its time is over", async () => {
    const run = holdfast(
      "chaos",
      "proxy",
      "--listen",
      "127.0.0.1:0",
      "--target",
      "127.0.0.1:1",
      "--for-ms",
      "1",
      "--stall",
    );
    const { code } = await run.end();
    assert.equal(code, 0);
    assert.equal(await run.line(), "accepted     0");
  });

  it("ends with 2 and a sentence for a wrong flag, with 1 where it cannot listen, with 0 for help", async () => {
    const wrong = holdfast("chaos", "proxy", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:1", "--latency", "5");
    const taken = await listenRecorded(nodeWorld.network);
    const port = taken.address.kind === "tcp" ? taken.address.port : assert.fail();
    const unable = holdfast("chaos", "proxy", "--listen", `127.0.0.1:${port}`, "--target", "127.0.0.1:1");
    const help = holdfast("--help");
    const ends = await Promise.all([wrong.end(), unable.end(), help.end()]);
    await taken.listener.close();
    assert.deepEqual(
      ends.map(({ code }) => code),
      [2, 1, 0],
    );
    assert.match(ends[0].said, /^holdfast: unknown flag "--latency", did you mean "--latency-ms"\?\n/);
    assert.match(ends[1].said, /^holdfast: cannot listen on 127\.0\.0\.1:\d+ .*EADDRINUSE/);
    assert.equal(ends[2].said, "");
    assert.equal(await help.line(), "holdfast <command> [flags]");
  });
});
