/** curl, nghttp and h2load against a Holdfast server: HTTP/2 by programs that know nothing of gRPC. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { ProbeRequestSchema } from "../peers/gen/holdfast/interop/v1/probe_pb.js";
import { holdfast } from "../peers/holdfast.ts";
import { hasProgram, skipWithout } from "../peers/tools.ts";
import { limitedServer } from "./in-time.ts";
import type { PeerServer } from "./peer.ts";

const UNARY = "/holdfast.interop.v1.Probe/Unary";
const GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
const how = "test/peers/build.sh debian";

describe("a Holdfast server", () => {
  let directory = "";
  let server: PeerServer | undefined;
  const url = (path: string): string => `http://127.0.0.1:${server?.port}${path}`;
  /** A file with one gRPC message (flag, length, bytes), made by hand. */
  const bodyFile = (name: string, delayMs: number): string => {
    const message = toBinary(ProbeRequestSchema, create(ProbeRequestSchema, { body: Buffer.from("hello"), delayMs }));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    const file = join(directory, name);
    writeFileSync(file, Buffer.concat([prefix, message]));
    return file;
  };
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "holdfast-command-line-"));
    server = limitedServer(await holdfast.startServer({}));
  });
  after(async () => {
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  describe("and curl", { skip: skipWithout(hasProgram("curl"), how) }, () => {
    const curl = (...flags: readonly string[]): Promise<Output> =>
      run("curl", ["--http2-prior-knowledge", "-sS", "--max-time", "20", ...flags]);
    it("answers a gRPC request", async () => {
      const { code, text } = await curl("-v", ...GRPC, "--data-binary", `@${bodyFile("hello", 0)}`, url(UNARY));
      assert.equal(code, 0, text);
      assert.match(text, /^< HTTP\/2 200/m);
      assert.match(text, /^< content-type: application\/grpc/m);
      assert.match(text, /^< grpc-status: 0/m);
      assert.match(text, /hello/);
    });
    it("ends a call at its deadline although the client would wait on", async () => {
      const { text } = await curl(
        "-v",
        ...GRPC,
        "-H",
        "grpc-timeout: 200m",
        "--data-binary",
        `@${bodyFile("slow", 10_000)}`,
        url(UNARY),
      );
      assert.match(text, /^< grpc-status: 4/m);
    });
    it("says UNIMPLEMENTED for an unknown path, in HTTP's 200", async () => {
      // Without a body: this curl takes a reply that overtakes one for a broken stream.
      const { text } = await curl("-v", ...GRPC, "-X", "POST", url("/nobody.Knows/This"));
      assert.match(text, /^< HTTP\/2 200/m);
      assert.match(text, /^< grpc-status: 12/m);
    });
    it("refuses what is not gRPC with HTTP's 415", async () => {
      // Without a body, for the same reason.
      for (const type of ["application/json", "application/grpcx", "text/plain"]) {
        const { text } = await curl(
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          "-H",
          `content-type: ${type}`,
          "-X",
          "POST",
          url(UNARY),
        );
        assert.equal(text, "415", type);
      }
    });
    it("closes a connection that speaks HTTP/1.1", async () => {
      const { code, text } = await run("curl", ["-sS", "--http1.1", "--max-time", "20", url("/")]);
      assert.ok(code !== 0 && code !== 28, `curl ended with ${code} (28 is a timeout): ${text}`);
    });
  });

  it("answers nghttp's GET with a proper status", { skip: skipWithout(hasProgram("nghttp"), how) }, async () => {
    const { code, text } = await run("nghttp", ["-v", url("/")]);
    assert.equal(code, 0, text);
    assert.match(text, /:status: 4(15|05)/);
    assert.doesNotMatch(text, /RST_STREAM|error_code=(?!NO_ERROR)/);
  });

  it("answers 10,000 requests of h2load, none failed", { skip: skipWithout(hasProgram("h2load"), how) }, async () => {
    const { text } = await run("h2load", [
      "-n",
      "10000",
      "-c",
      "10",
      "-m",
      "50",
      ...GRPC,
      "-d",
      bodyFile("load", 0),
      url(UNARY),
    ]);
    assert.match(
      text,
      /requests: 10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout/,
    );
    assert.match(text, /status codes: 10000 2xx/);
  });
});

interface Output {
  readonly code: number | null;
  /** stdout and stderr as they came. */
  readonly text: string;
}

function run(program: string, flags: readonly string[]): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, flags, { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, text }));
  });
}
