/** The certificates of `src/testing` as files in a new directory, for peers that read files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "../../src/testing/certificates.ts";
import type { TlsFiles } from "./peer.ts";

/** `server` and `client` name the same authority's file; `dispose` removes the directory. */
export interface Certificates {
  readonly server: TlsFiles;
  readonly client: TlsFiles;
  dispose(): void;
}

/** For localhost and 127.0.0.1. */
export function createCertificates(): Certificates {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-interop-"));
  const made = makeCertificates();
  const file = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const caFile = file("ca.crt", made.caPem);
  return {
    server: {
      caFile,
      certFile: file("server.crt", made.serverCertPem),
      keyFile: file("server.key", made.serverKeyPem),
    },
    client: {
      caFile,
      certFile: file("client.crt", made.clientCertPem),
      keyFile: file("client.key", made.clientKeyPem),
    },
    dispose: () => rmSync(directory, { recursive: true, force: true }),
  };
}
