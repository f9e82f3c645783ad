/** grpc-go's own interop client and server (google.golang.org/grpc/interop), as child processes. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { ClientTlsFiles, PeerServer, PeerServerOptions } from "../interop/peer.ts";
import { goProgram } from "./tools.ts";

/** Serves grpc.testing.TestService and load reports. */
export async function startGoServer({ tls }: PeerServerOptions = {}): Promise<PeerServer> {
  const secure =
    tls === undefined ? [] : ["-use_tls", `-tls_cert_file=${tls.certFile}`, `-tls_key_file=${tls.keyFile}`];
  const child = spawn(goProgram("interop-server"), ["-port=0", ...secure], {
    // The bound port is told in its log alone.
    env: { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: "info" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      const match = /interop server listening on .*:(\d+)$/.exec(line);
      if (match !== null) resolve(Number(match[1]));
    });
    child.once("error", reject);
    void ended.then(() => reject(new Error("grpc-go's interop server ended before it listened")));
  });
  return {
    port,
    async close() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs one case of grpc-go's client, at most 60 s; resolves with its exit code and all it printed. */
export async function runGoClient(
  testCase: string,
  port: number,
  tls: ClientTlsFiles | undefined,
  flags: readonly string[] = [],
): Promise<{ readonly code: number | null; readonly output: string }> {
  const secure = tls === undefined ? [] : ["-use_tls", `-ca_file=${tls.caFile}`, "-use_test_ca"];
  const child = spawn(
    goProgram("interop-client"),
    [`-test_case=${testCase}`, "-server_host=localhost", `-server_port=${port}`, ...secure, ...flags],
    {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, output };
}
