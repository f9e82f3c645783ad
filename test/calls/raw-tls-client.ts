/** A raw HTTP/2 client of a door with TLS, for tests of what is believed of whom. */
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import type { CertificateFiles } from "./certificate-files.ts";
import { type RawClient, rawClient } from "./raw-peer.ts";

/** Connects over loopback, with the client's own certificate if it is to have one. */
export function rawTlsClient(port: number, files: CertificateFiles, hasCertificate = false): Promise<RawClient> {
  const own = hasCertificate
    ? { cert: readFileSync(files.client.certFile), key: readFileSync(files.client.keyFile) }
    : {};
  const door = { host: "127.0.0.1", port, ca: files.caPem, ALPNProtocols: ["h2"], servername: "localhost" };
  return rawClient(`127.0.0.1:${port}`, { createConnection: () => connect({ ...door, ...own }) });
}
