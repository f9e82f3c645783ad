/** One certificate for all contenders of a run, in files: some of them take nothing else. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "../src/testing/certificates.ts";
import { tlsServerName, type TlsFiles } from "./contender.ts";

/** Makes an authority and a server certificate for `tlsServerName`; `remove` deletes the files. */
export async function makeTlsFiles(): Promise<{ readonly files: TlsFiles; remove(): Promise<void> }> {
  const { caPem, serverCertPem, serverKeyPem } = makeCertificates({ hosts: [tlsServerName] });
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
  const files = {
    caFile: join(folder, "ca.pem"),
    certFile: join(folder, "cert.pem"),
    keyFile: join(folder, "key.pem"),
  };
  await writeFile(files.caFile, caPem);
  await writeFile(files.certFile, serverCertPem);
  await writeFile(files.keyFile, serverKeyPem, { mode: 0o600 });
  return { files, remove: () => rm(folder, { recursive: true, force: true }) };
}
