/** The server under test: reads what it shall be, starts, says where, and serves until SIGTERM. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { PeerServer } from "../interop/peer.ts";
import { readMessages, writeMessage } from "./framing.ts";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";

export interface CompatServerOptions {
  readonly tls:
    | {
        readonly certFile: string;
        readonly keyFile: string;
        /** Clients must show a certificate of this authority. */
        readonly clientCaFile: string | undefined;
      }
    | undefined;
  /** Of a request. */
  readonly messageBytesMax: number | undefined;
}

export async function runCompatServer(start: (options: CompatServerOptions) => Promise<PeerServer>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-conformance-"));
  const fileOf = (name: string, content: Uint8Array): string => {
    const file = join(directory, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  const terminated = new Promise<void>((resolve) => process.once("SIGTERM", () => resolve()));
  let server: PeerServer | undefined;
  for await (const bytes of readMessages(process.stdin)) {
    const { useTls, serverCreds, clientTlsCert, messageReceiveLimit } = fromBinary(ServerCompatRequestSchema, bytes);
    if (useTls && serverCreds === undefined) throw new Error("TLS is asked for without a certificate");
    const tls =
      serverCreds === undefined || !useTls
        ? undefined
        : {
            certFile: fileOf("server.crt", serverCreds.cert),
            keyFile: fileOf("server.key", serverCreds.key),
            clientCaFile: clientTlsCert.length === 0 ? undefined : fileOf("clients.crt", clientTlsCert),
          };
    server = await start({ tls, messageBytesMax: messageReceiveLimit === 0 ? undefined : messageReceiveLimit });
    const response = create(ServerCompatResponseSchema, {
      host: "127.0.0.1",
      port: server.port,
      pemCert: useTls && serverCreds !== undefined ? serverCreds.cert : new Uint8Array(),
    });
    writeMessage(process.stdout, toBinary(ServerCompatResponseSchema, response));
  }
  // The runner closes stdin once it has said what it wants.
  if (server === undefined) throw new Error("stdin ended before a request came");
  await terminated;
  await server.close();
  rmSync(directory, { recursive: true, force: true });
}
