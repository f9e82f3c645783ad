/**
 * TLS, done by node:tls: what a client and a listener ask of it, and what a handshake proved. TLS 1.2 or later (RFC 9113,
 * section 9.2), the peer's certificate always verified, ALPN by RFC 7301. Sessions are not resumed by clients, so no
 * session ever crosses from one server name to another.
 */
import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { ClientTlsOptions, ListenRequest, ServerTlsOptions, SocketAddress, TlsFacts } from "./network.ts";
import { certificateNames } from "./node-certificate-names.ts";

/** What `tls.connect` needs besides the address. Throws what OpenSSL says about a PEM text it cannot read. */
export function clientTlsOptions(
  tls: ClientTlsOptions,
  alpn: readonly string[],
  address: SocketAddress,
): ConnectionOptions {
  const name = tls.serverName ?? (address.kind === "tcp" ? address.host : "localhost");
  return {
    secureContext: contextOf(tls),
    // SNI carries no IP addresses (RFC 6066, section 3); they are still compared with the certificate's.
    servername: isIP(name) === 0 ? name : "",
    checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    rejectUnauthorized: true,
    ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }),
  };
}

/** What `tls.createServer` needs. */
export function serverTlsOptions(tls: ServerTlsOptions, request: ListenRequest): TlsOptions {
  return {
    cert: tls.cert,
    key: tls.key,
    ...(tls.clientCa !== undefined && { ca: tls.clientCa }),
    minVersion: "TLSv1.2",
    requestCert: tls.clientCert !== "none",
    // With "request" a client without a certificate is let in; one with a false proof is cut by isFalseProof.
    rejectUnauthorized: tls.clientCert === "require",
    handshakeTimeout: request.handshakeTimeoutMs,
    ...(request.alpn.length > 0 && { ALPNProtocols: [...request.alpn] }),
  };
}

/** Whether the client showed a certificate that does not verify. */
export function isFalseProof(stream: TLSSocket, tls: ServerTlsOptions): boolean {
  return tls.clientCert !== "none" && !stream.authorized && stream.getPeerX509Certificate() !== undefined;
}

/** What the handshake of `stream` proved; names only from a certificate that was verified. */
export function tlsFactsOf(stream: TLSSocket): TlsFacts {
  return {
    protocol: stream.getProtocol() ?? "unknown",
    alpn: typeof stream.alpnProtocol === "string" && stream.alpnProtocol !== "" ? stream.alpnProtocol : undefined,
    identities: stream.authorized ? namesIn(stream.getPeerX509Certificate()) : [],
  };
}

/** Parsing certificates costs up to a millisecond: once per options object, not per connection. */
const contexts = new WeakMap<ClientTlsOptions, SecureContext>();

function contextOf(tls: ClientTlsOptions): SecureContext {
  const known = contexts.get(tls);
  if (known !== undefined) return known;
  const context = createSecureContext({
    minVersion: "TLSv1.2",
    ...(tls.ca !== undefined && { ca: tls.ca }),
    ...(tls.cert !== undefined && { cert: tls.cert }),
    ...(tls.key !== undefined && { key: tls.key }),
  });
  contexts.set(tls, context);
  return context;
}

/** What a verified certificate proves; one without a name of today is known by its subject's common name, as it was before there were others. */
function namesIn(certificate: X509Certificate | undefined): readonly string[] {
  if (certificate === undefined) return [];
  const names = certificateNames(certificate.subjectAltName);
  if (names.length > 0) return names;
  const common: unknown = certificate.toLegacyObject().subject?.CN;
  return typeof common === "string" && common !== "" ? [`CN=${common}`] : [];
}
