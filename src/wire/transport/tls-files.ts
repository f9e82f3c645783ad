/**
 * TLS given as files: reads the PEM texts that the world's network needs, with errors that name the option, the file and
 * the cause. A file that holds something else (a key for a certificate, DER for PEM) fails here, not in a handshake.
 */
import type { Disk } from "../../world/disk.ts";
import type { ClientTlsOptions, ServerTlsOptions } from "../../world/network.ts";

/** What a server's `tls` option names. */
export interface ServerTlsFiles {
  /** The server's certificate, followed by its intermediates. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Authorities of clients: with it clients prove who they are (mutual TLS). Default none. */
  readonly clientCaFile?: string | undefined;
  /** Whether a client must or may prove who it is. Needs `clientCaFile`; default "require" with it. */
  readonly clientCert?: "require" | "request" | undefined;
}

/** What a client's `tls` option names. */
export interface ClientTlsFiles {
  /** Authorities of servers. Default Node's own list. */
  readonly caFile?: string | undefined;
  /** The client's certificate, with `keyFile`, for mutual TLS. Default none. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** The name that the server must prove. Default the host of the address. */
  readonly serverName?: string | undefined;
}

/**
 * Reads a server's files. Rejects with a RangeError for options that do not belong together, with an Error (the system's
 * as `cause`) for a file that cannot be read or holds no such PEM. `optionPath` is how errors call the options.
 */
export async function readServerTls(disk: Disk, files: ServerTlsFiles, optionPath = "tls"): Promise<ServerTlsOptions> {
  if (files.clientCert !== undefined && files.clientCaFile === undefined) {
    throw new RangeError(
      `${optionPath}.clientCert needs ${optionPath}.clientCaFile: without it no client can prove itself`,
    );
  }
  // One after the other, so that of several that are missing the first is named.
  const cert = await readPem(disk, `${optionPath}.certFile`, files.certFile, CERTIFICATE);
  const key = await readPem(disk, `${optionPath}.keyFile`, files.keyFile, PRIVATE_KEY);
  const clientCa = await readOptional(disk, `${optionPath}.clientCaFile`, files.clientCaFile, CERTIFICATE);
  const clientCert = files.clientCert ?? (clientCa === undefined ? "none" : "require");
  return { cert, key, clientCa, clientCert };
}

/** Reads a client's files; errors as in {@link readServerTls}. Without files, TLS with Node's authorities. */
export async function readClientTls(disk: Disk, files: ClientTlsFiles, optionPath = "tls"): Promise<ClientTlsOptions> {
  if ((files.certFile === undefined) !== (files.keyFile === undefined)) {
    const [given, missing] = files.certFile === undefined ? ["keyFile", "certFile"] : ["certFile", "keyFile"];
    throw new RangeError(
      `${optionPath}.${given} needs ${optionPath}.${missing}: a certificate and its key go together`,
    );
  }
  const [ca, cert, key] = await Promise.all([
    readOptional(disk, `${optionPath}.caFile`, files.caFile, CERTIFICATE),
    readOptional(disk, `${optionPath}.certFile`, files.certFile, CERTIFICATE),
    readOptional(disk, `${optionPath}.keyFile`, files.keyFile, PRIVATE_KEY),
  ]);
  return { ca, cert, key, serverName: files.serverName };
}

/** What a file must hold (RFC 7468): how it is called, and the line that shows it. */
interface PemKind {
  readonly name: string;
  readonly pattern: RegExp;
}

const CERTIFICATE: PemKind = { name: "certificate", pattern: /^-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/m };
const PRIVATE_KEY: PemKind = { name: "private key", pattern: /^-----BEGIN (?:[A-Z0-9]+ )?PRIVATE KEY-----/m };

async function readOptional(
  disk: Disk,
  option: string,
  file: string | undefined,
  kind: PemKind,
): Promise<string | undefined> {
  return file === undefined ? undefined : readPem(disk, option, file, kind);
}

async function readPem(disk: Disk, option: string, file: string, kind: PemKind): Promise<string> {
  let text: string;
  try {
    text = await disk.readText(file);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${option}: cannot read ${JSON.stringify(file)}: ${words}`, { cause });
  }
  if (kind.pattern.test(text)) return text;
  // Not the contents: a wrong file may hold a secret.
  throw new Error(`${option}: ${JSON.stringify(file)} holds no PEM ${kind.name}`);
}
