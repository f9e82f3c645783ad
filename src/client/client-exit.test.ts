import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { it } from "node:test";
import { promisify } from "node:util";
import { settings, settingsAck } from "../wire/http2/testdata/frame-script.ts";

const run = promisify(execFile);

const PROGRAM = `
  import { createClient } from "holdfast";
  import { Bench } from "./bench/gen/bench/v1/bench_pb.ts";
  const client = createClient(Bench, process.env.ADDRESS);
  await client.$channel.ready();
  await client.$close();
  console.log("closed");
`;

it("a process that has closed its client ends, although the server never closes its side", async () => {
  const sockets: Socket[] = [];
  // Says that it is there, and then nothing more: as a server that is frozen, whose kernel goes on.
  const frozen = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write(Buffer.concat([settings(), settingsAck()]));
  });
  frozen.listen(0, "127.0.0.1");
  await once(frozen, "listening");
  const at = frozen.address();
  const port = typeof at === "object" && at !== null ? at.port : 0;
  try {
    const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", PROGRAM];
    const env = { ...process.env, ADDRESS: `127.0.0.1:${port}` };
    const { stdout } = await run(process.execPath, node, { env, timeout: 20_000 });
    assert.equal(stdout, "closed\n");
    assert.equal(sockets.length, 1);
  } finally {
    for (const socket of sockets) socket.destroy();
    frozen.close();
  }
});
