/** grpcurl (grpc-go), as operators use it: it knows a server by its reflection alone. */
import { spawn } from "node:child_process";
import { goProgram } from "./tools.ts";

export interface GrpcurlResult {
  readonly code: number | null;
  readonly output: string;
}

/** Runs it against a port of this machine, at most 60 s. `flags` stand before the address, `words` behind it; `onOutput` gets all so far. */
export async function grpcurl(
  port: number,
  flags: readonly string[],
  words: readonly string[],
  onOutput: (output: string) => void = () => {},
): Promise<GrpcurlResult> {
  const child = spawn(goProgram("grpcurl"), ["-plaintext", ...flags, `127.0.0.1:${port}`, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      onOutput(output);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, output };
}
