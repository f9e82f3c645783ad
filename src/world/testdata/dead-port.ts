/** A port at which nobody listens, for tests: what was free a moment ago may be given to the next who asks the kernel for any. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Nobody listens there while it is held: it is the near end of a connection. */
export interface DeadPort extends Disposable {
  readonly port: number;
}

/** Holds one until it is disposed. */
export async function deadPort(): Promise<DeadPort> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = server.address();
  const accepted = once(server, "connection");
  server.once("connection", (far) => far.on("error", () => {}));
  const socket = connect(typeof at === "object" && at !== null ? at.port : 0, "127.0.0.1");
  await Promise.all([once(socket, "connect"), accepted]);
  const port = socket.localPort ?? Number.NaN;
  return {
    port,
    [Symbol.dispose]() {
      // With a reset: an orderly end would hold the port for a minute.
      socket.resetAndDestroy();
      server.close();
    },
  };
}
