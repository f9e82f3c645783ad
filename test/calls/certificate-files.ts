/**
 * Throw-away certificates as files, as doors and clients are given them.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CertificateOptions, makeCertificates } from "../../src/testing/certificates.ts";

export interface CertificateFiles extends AsyncDisposable {
  /** PEM of the authority, for peers that are no Holdfast. */
  readonly caPem: string;
  /** A door's own certificate. */
  readonly server: { readonly certFile: string; readonly keyFile: string };
  /** What a client trusts. */
  readonly caFile: string;
  /** A client's own certificate. */
  readonly client: { readonly certFile: string; readonly keyFile: string };
}

/** Removed with their directory when disposed of. */
export async function certificateFiles(options: CertificateOptions = {}): Promise<CertificateFiles> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-certificates-"));
  const pem = makeCertificates(options);
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(folder, `${name}.pem`);
    await writeFile(path, text);
    return path;
  };
  return {
    caPem: pem.caPem,
    server: {
      certFile: await write("server-cert", pem.serverCertPem),
      keyFile: await write("server-key", pem.serverKeyPem),
    },
    caFile: await write("ca", pem.caPem),
    client: {
      certFile: await write("client-cert", pem.clientCertPem),
      keyFile: await write("client-key", pem.clientKeyPem),
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
